"""``duality project``: exact optima of a divergence over a family."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from analysis.command.printed import AsJson, finite, print_json
from analysis.command.targets import target_of
from models.errors import InputError, lookup_error

__all__ = ["project"]


def project(
    target: Annotated[str, typer.Argument(help="Catalogue name, inline JSON, or a JSON file.")],
    onto: Annotated[str, typer.Option("--onto", help="Family, e.g. normal or mvnormal_diag.")],
    direction: Annotated[str, typer.Option("--direction", help="forward, reverse or alpha.")],
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", help="With --direction alpha: strictly between 0 (reverse) and 1 (forward)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute exact optima of a divergence over a family."""
    if direction not in ("forward", "reverse", "alpha"):
        raise lookup_error("direction", direction, ("forward", "reverse", "alpha"))
    if (alpha is not None) != (direction == "alpha"):
        raise InputError(
            f"--alpha belongs to --direction alpha; the direction is {direction}"
            if alpha is not None
            else "--direction alpha needs --alpha A, strictly between 0 (reverse KL) and 1 (forward KL)"
        )
    if alpha is not None and not 0 < alpha < 1:
        raise InputError(f"--alpha is {alpha:g}; it must be strictly between 0 (reverse KL) and 1 (forward KL)")
    from models.families import find_family

    family = find_family(onto)
    p = target_of(target)
    from models.projections import alpha_projections, forward_projection, reverse_projections

    if alpha is not None:
        found = alpha_projections(p, family, alpha)
    else:
        found = [forward_projection(p, family)] if direction == "forward" else reverse_projections(p, family)
    solutions = [
        {
            "params": {k: finite(v.item()) if v.ndim == 0 else v.tolist() for k, v in s.params.items()},
            "divergence": finite(s.divergence.value),
            "error": finite(s.divergence.error),
            "status": s.status,
            "gradient_norm": s.gradient_norm,
            "hessian_eigenvalues": s.hessian_eigenvalues.tolist(),
            "certificate": s.certificate,
            **({"limit": s.limit} if s.limit is not None else {}),
            **({"cross_entropy": s.cross_entropy.as_dict()} if s.cross_entropy is not None else {}),
        }
        for s in found
    ]
    if as_json:
        print_json(
            {
                "target": dict(p.spec),
                "family": family.name,
                "direction": direction,
                "alpha": alpha,
                "solutions": solutions,
            }
        )
        return
    from analysis.site.numbers import est, plain

    measure = f"D_{alpha:g}" if alpha is not None else "KL"
    typer.echo(f"{direction} {'divergence' if alpha is not None else 'KL'}, {p.name} onto {family.name}")
    for s in found:
        values = ", ".join(f"{k} = {_show(v)}" for k, v in s.params.items())
        known = s.divergence.value == s.divergence.value
        divergence = f"{plain(est(s.divergence, digits=10))} nats" if known else "unknown"
        where = f" (limit {s.limit})" if s.limit is not None else ""
        typer.echo(f"  {s.status}{where}: {values}; {measure} {divergence}")
        if not known and s.cross_entropy is not None:
            ce = plain(est(s.cross_entropy))
            typer.echo(
                f"    cross-entropy {ce} nats; the entropy of p_data, and so the KL, cannot be told from draws alone"
            )
    if direction != "forward":
        typer.echo(f"  signs of the Hessians: {found[0].certificate if found else 'open'}")


def _show(value: Any) -> str:
    import numpy as np

    return np.array2string(
        np.round(np.asarray(value), 12) + 0.0, precision=8, separator=", ", suppress_small=True
    ).replace("\n", "")
