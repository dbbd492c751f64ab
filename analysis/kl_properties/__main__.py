"""``python -m analysis.kl_properties``: the same as ``duality run kl_properties``."""

from analysis.command.main import run_question

run_question("kl_properties")
