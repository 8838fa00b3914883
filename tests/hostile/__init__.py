"""What publishers and brokers can do to busmon, and what it may cost."""
