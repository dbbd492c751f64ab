"""Commands that compute exactly and print at once: ``duality project`` and ``duality divergence``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError, lookup_error

if TYPE_CHECKING:
    from models.targets import Target

__all__ = ["AsJson", "divergence", "print_json", "project"]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def _target(text: str) -> Target:
    """Build a target from a catalogue name, a data set, inline JSON, or a JSON file."""
    from analysis.support.datasets import DATASETS, load_column
    from models.targets import TARGETS, find_target, from_draws, from_spec

    if text.lstrip().startswith(("{", "[")):
        return from_spec(_json(text, "inline target"))
    if text in TARGETS:
        return find_target(text)
    if text in DATASETS:
        return from_draws(load_column(text), name=text)
    if text.endswith(".json") or Path(text).is_file():
        try:
            content = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"target file {text!r} cannot be read ({error}); give a readable JSON file") from None
        return from_spec(_json(content, f"target file {text!r}"))
    raise lookup_error("target", text, [*TARGETS, *DATASETS])


def _json(text: str, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; "
            'write for example {"weights": [0.5, 0.5], "means": [-3, 3], "sds": [1, 1]}'
        ) from None
    if not isinstance(value, Mapping):
        raise InputError(f"{where} is a JSON {type(value).__name__}; it must be an object")
    return value


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
    p = _target(target)
    from models.projections import alpha_projections, forward_projection, reverse_projections

    if alpha is not None:
        found = alpha_projections(p, family, alpha)
    else:
        found = [forward_projection(p, family)] if direction == "forward" else reverse_projections(p, family)
    solutions = [
        {
            "params": {k: _finite(v.item()) if v.ndim == 0 else v.tolist() for k, v in s.params.items()},
            "divergence": _finite(s.divergence.value),
            "error": _finite(s.divergence.error),
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
    from analysis.support.report import num

    measure = f"D_{alpha:g}" if alpha is not None else "KL"
    typer.echo(f"{direction} {'divergence' if alpha is not None else 'KL'}, {p.name} onto {family.name}")
    for s in found:
        values = ", ".join(f"{k} = {_show(v)}" for k, v in s.params.items())
        known = s.divergence.value == s.divergence.value
        divergence = f"{num(s.divergence.value, s.divergence.error, digits=10)} nats" if known else "unknown"
        where = f" (limit {s.limit})" if s.limit is not None else ""
        typer.echo(f"  {s.status}{where}: {values}; {measure} {divergence}")
        if not known and s.cross_entropy is not None:
            ce = num(s.cross_entropy.value, s.cross_entropy.error)
            typer.echo(
                f"    cross-entropy {ce} nats; the entropy of p_data, and so the KL, cannot be told from draws alone"
            )
    if direction != "forward":
        typer.echo(f"  signs of the Hessians: {found[0].certificate if found else 'incomplete'}")


def _show(value: Any) -> str:
    import numpy as np

    return np.array2string(
        np.round(np.asarray(value), 12) + 0.0, precision=8, separator=", ", suppress_small=True
    ).replace("\n", "")


def _finite(value: float) -> float | str | None:
    """Write a number for JSON, which has neither nan nor infinity."""
    return None if value != value else value if abs(value) != float("inf") else "inf"


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(document, allow_nan=False))


def divergence(
    p: Annotated[str, typer.Argument(help="Catalogue name, inline JSON, or a JSON file.")],
    q: Annotated[str, typer.Argument(help="Catalogue name, inline JSON, or a JSON file.")],
    as_json: AsJson = False,
) -> None:
    """Compute both KL divergences, entropies and cross-entropies of two distributions, in nats."""
    first, second = _target(p), _target(q)
    from models.divergences import cross_entropy, entropy, kl

    values = {
        "kl_pq": kl(first, second),
        "kl_qp": kl(second, first),
        "entropy_p": entropy(first),
        "entropy_q": entropy(second),
        "cross_entropy_pq": cross_entropy(first, second),
        "cross_entropy_qp": cross_entropy(second, first),
    }
    if as_json:
        print_json({name: {"value": _finite(e.value), "error": e.error} for name, e in values.items()})
        return
    from analysis.support.report import num

    for name, e in values.items():
        typer.echo(f"{name:17} {num(e.value, e.error, digits=12)} nats")
