"""All SQL and all files: what was received, and what observers reported of it."""
