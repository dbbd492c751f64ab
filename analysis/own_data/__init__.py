"""Your own data: ``duality data``."""
