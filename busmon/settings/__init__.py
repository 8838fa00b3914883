"""The shape of the configuration: frozen sections, checked quantities, secrets."""
