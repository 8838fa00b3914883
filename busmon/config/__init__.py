"""From a TOML file and the environment to one configuration, or to all its problems."""
