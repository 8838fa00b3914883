"""Windows of the audit: what should have reached each stage, and what did."""
