"""``python -m analysis.posterior_modes``: the same as ``duality run posterior_modes``."""

from analysis.command.main import run_question

run_question("posterior_modes")
