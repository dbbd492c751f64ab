"""Where the process of ``duality`` begins: interrupts are heeded before anything is imported."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.command.interrupt import ignore, leave_at_once

leave_at_once()

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    from analysis.command.main import main as command

    try:
        command(arguments)
    except SystemExit as stop:
        if not stop.code:
            ignore()  # all is done: what is left is Python's own end
        raise
