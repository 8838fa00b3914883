"""Sources: one package a protocol. Each receives, judges, records and acknowledges."""
