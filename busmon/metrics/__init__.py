"""The Prometheus collectors of what the ledger holds."""
