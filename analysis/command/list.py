"""``duality list``: what there is to choose from."""

from __future__ import annotations

import typer

from analysis.catalogue import names_in, questions

__all__ = ["list_"]


def list_() -> None:
    """List questions, targets and families."""
    targets = names_in("models.targets", "TARGETS")
    typer.echo("questions")
    for name, question in questions().items():
        typer.echo(f"  {name}: {question}")
    typer.echo(f"targets\n  {', '.join(targets)}")
    typer.echo(f"  known by draws: {', '.join(names_in('analysis.data.columns', 'DATASETS'))}")
    families = names_in("models.families", "FAMILIES")
    typer.echo(f"families\n  {', '.join(families)}, normal_mixture(k), mvnormal_mixture(k)")
