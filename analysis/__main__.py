"""``python -m analysis`` is the ``duality`` command."""

from analysis.command.entry import main

main()
