"""``python -m analysis.unknown_p_data``: the same as ``duality run unknown_p_data``."""

from analysis.command.main import run_question

run_question("unknown_p_data")
