"""Counts $MESSAGES of MQTT with QoS 1 and does nothing else: `bare_paho PORT CLIENT TOPIC`."""

import os
import sys
from itertools import count
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

KEEPALIVE = 600  # seconds


def consume(port: int, client_id: str, topic: str, number: int) -> None:
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, manual_ack=True
    )
    numbers = count(1)

    def acknowledge(client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        client.ack(message.mid, message.qos)
        if next(numbers) == number:
            print("done", flush=True)

    def subscribe(client: paho.Client, *_: Any) -> None:
        client.subscribe(topic, qos=1)

    client.on_connect = subscribe
    client.on_subscribe = lambda *_: print("subscribed", flush=True)
    client.on_message = acknowledge
    client.connect("127.0.0.1", port, KEEPALIVE, clean_start=False)
    client.loop_forever()


if __name__ == "__main__":
    port, client_id, topic = sys.argv[1:]
    consume(int(port), client_id, topic, int(os.environ["MESSAGES"]))
