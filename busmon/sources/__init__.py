"""Sources: one package a protocol. Each receives messages, and acknowledges them once recorded."""
