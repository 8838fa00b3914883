"""The description of what is below /v1, in OpenAPI 3.1. It is loaded when somebody asks for it."""
