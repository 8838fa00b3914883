"""How long messages take from stage to stage, and whether that is within the service levels."""
