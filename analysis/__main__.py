"""``python -m analysis`` is the ``duality`` command."""

from analysis.support.cli import main

main()
