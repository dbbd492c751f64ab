"""``python -m analysis.mode_covering_vs_seeking``: the same as ``duality run mode_covering_vs_seeking``."""

from analysis.command.main import run_question

run_question("mode_covering_vs_seeking")
