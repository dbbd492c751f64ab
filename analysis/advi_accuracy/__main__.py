"""``python -m analysis.advi_accuracy``: the same as ``duality run advi_accuracy``."""

from analysis.command.main import run_question

run_question("advi_accuracy")
