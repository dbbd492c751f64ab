"""``python -m analysis.alpha_bridge``: the same as ``duality run alpha_bridge``."""

from analysis.command.main import run_question

run_question("alpha_bridge")
