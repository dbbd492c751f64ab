"""``python -m analysis.initialisation``: the same as ``duality run initialisation``."""

from analysis.command.main import run_question

run_question("initialisation")
