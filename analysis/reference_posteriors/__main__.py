"""``python -m analysis.reference_posteriors``: the same as ``duality run reference_posteriors``."""

from analysis.command.main import run_question

run_question("reference_posteriors")
