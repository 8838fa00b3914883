"""AMQP as Fedora uses it, from a queue of busmon's own."""
