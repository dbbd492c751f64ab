"""``python -m analysis.diagnosing_missed_modes``: the same as ``duality run diagnosing_missed_modes``."""

from analysis.command.main import run_question

run_question("diagnosing_missed_modes")
