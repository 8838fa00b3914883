"""Made-up traffic through the real code."""
