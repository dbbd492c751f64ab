"""The ``duality`` command."""
