"""``duality cache``: the graphs that are stored compiled."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["cache_"]


def cache_(clear: Annotated[bool, typer.Option("--clear", help="Remove them.")] = False) -> None:
    """Show the folder of compiled graphs and how much it holds, or clear it."""
    from models.graphs import store as graph_store

    folder, files, size = graph_store.usage()
    if clear:
        removed = graph_store.clear()
        typer.echo(f"{removed} compiled graphs removed from {folder}; they are compiled again when they are needed")
    else:
        typer.echo(f"{files} compiled graphs, {size / 1e6:.1f} MB, in {folder}")
