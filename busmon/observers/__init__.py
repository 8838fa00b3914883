"""What watches the listener and its workers."""
