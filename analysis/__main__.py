"""``python -m analysis`` is the ``duality`` command."""

from analysis.command.main import main

main()
