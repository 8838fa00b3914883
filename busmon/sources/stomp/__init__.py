"""STOMP from ActiveMQ or RabbitMQ, by durable subscriptions or queues."""
