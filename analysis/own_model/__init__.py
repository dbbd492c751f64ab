"""Your own PyMC model: ``duality model``."""
