"""``python -m analysis.separation_sweep``: the same as ``duality run separation_sweep``."""

from analysis.command.main import run_question

run_question("separation_sweep")
