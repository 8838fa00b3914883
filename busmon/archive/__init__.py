"""Datagrepper, which stores the messages of a bus: asks it, and learns from it what is usual."""
