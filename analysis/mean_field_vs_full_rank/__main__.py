"""``python -m analysis.mean_field_vs_full_rank``: the same as ``duality run mean_field_vs_full_rank``."""

from analysis.command.main import run_question

run_question("mean_field_vs_full_rank")
