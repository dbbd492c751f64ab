"""``python -m analysis.mle_is_forward_kl``: the same as ``duality run mle_is_forward_kl``."""

from analysis.command.main import run_question

run_question("mle_is_forward_kl")
