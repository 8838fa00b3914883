"""MQTT's reason codes in words (MQTT 5, 2.4), and what to check."""

from busmon.sources.base import Cause

FAILURE = 128  # this and what is above

# Of those that a broker sends with CONNACK, SUBACK and DISCONNECT.
REASONS = {
    0: "Normal disconnection",
    128: "Unspecified error",
    129: "Malformed packet",
    130: "Protocol error",
    131: "Implementation specific error",
    132: "Unsupported protocol version",
    133: "Client identifier not valid",
    134: "Bad user name or password",
    135: "Not authorized",
    136: "Server unavailable",
    137: "Server busy",
    138: "Banned",
    139: "Server shutting down",
    140: "Bad authentication method",
    141: "Keep alive timeout",
    142: "Session taken over",
    143: "Topic filter invalid",
    144: "Topic name invalid",
    145: "Packet identifier in use",
    147: "Receive maximum exceeded",
    148: "Topic alias invalid",
    149: "Packet too large",
    150: "Message rate too high",
    151: "Quota exceeded",
    152: "Administrative action",
    153: "Payload format invalid",
    154: "Retain not supported",
    155: "QoS not supported",
    156: "Use another server",
    157: "Server moved",
    158: "Shared subscriptions not supported",
    159: "Connection rate exceeded",
    161: "Subscription identifiers not supported",
    162: "Wildcard subscriptions not supported",
}
TAKEN_OVER = 142

REFUSALS = {
    132: (Cause.ERROR, "check version"),
    133: (Cause.LOGIN, "check client_id"),
    134: (Cause.LOGIN, "check username and password"),
    135: (Cause.LOGIN, "check username, password and certificate"),
    138: (Cause.LOGIN, "ask those who run the broker"),
    140: (Cause.LOGIN, "check username and password"),
}


def describe(code: int) -> str:
    """Return a reason code in words."""
    return REASONS.get(code, f"reason code {code}")
