"""What is usual of a topic, and when it has been silent for too long."""
