"""What is served over HTTP: /metrics, the page, the API, the health checks."""
