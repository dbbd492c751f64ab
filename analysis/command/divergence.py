"""``duality divergence``: KL both ways, entropies and cross-entropies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.command.printed import AsJson, finite, print_json
from analysis.command.targets import target_of

if TYPE_CHECKING:
    from models.quadrature import Estimate

__all__ = ["divergence"]


def divergence(
    p: Annotated[str, typer.Argument(help="Catalogue name, inline JSON, or a JSON file.")],
    q: Annotated[str, typer.Argument(help="Catalogue name, inline JSON, or a JSON file.")],
    as_json: AsJson = False,
) -> None:
    """Compute both KL divergences, entropies and cross-entropies of two distributions, continuous or discrete, in nats."""
    first, second = target_of(p), target_of(q)
    from models.divergences import cross_entropy, entropy, kl

    values = {
        "kl_pq": kl(first, second),
        "kl_qp": kl(second, first),
        "entropy_p": entropy(first),
        "entropy_q": entropy(second),
        "cross_entropy_pq": cross_entropy(first, second),
        "cross_entropy_qp": cross_entropy(second, first),
    }
    values = {name: _of(name, e) for name, e in values.items()}
    if as_json:
        numbers = ("value", "error")
        print_json(
            {n: {k: finite(v) if k in numbers else v for k, v in e.as_dict().items()} for n, e in values.items()}
        )
        return
    from analysis.site.numbers import est, plain

    for name, e in values.items():
        known = f"{plain(est(e, digits=12))} nats" if e.value == e.value else "cannot be computed"
        typer.echo(f"{name:17} {known}{f': {e.reason}' if e.reason else ''}")


def _of(name: str, e: Estimate) -> Estimate:
    """An estimate whose reason calls the distributions p and q, as its name does: in kl_qp the first is q."""
    reason = e.reason and e.reason.replace("the first", name[-2]).replace("the second", name[-1])
    return replace(e, reason=reason)
