"""The Prometheus collectors."""
