"""``python -m analysis.two_families``: the same as ``duality run two_families``."""

from analysis.command.main import run_question

run_question("two_families")
