"""What is served over HTTP: /metrics, the pages, the API, the health checks."""
