"""The pages for people: a template over data, and the same data as JSON below /v1."""
