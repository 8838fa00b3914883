"""MQTT, with a persistent session at QoS 1."""
