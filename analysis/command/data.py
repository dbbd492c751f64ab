"""``duality data``: families for your own data."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated

import typer

from analysis.command.printed import AsJson, print_json, visible
from analysis.command.questions import JOBS, Seed, folder_of, own_folder

__all__ = ["data"]


def data(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, xlsx, Parquet, Feather, npy, npz or netCDF.")],
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="A,B",
            help="Columns, analysed jointly; also given more than once.",
            show_default="all numeric but those that count rows",
        ),
    ] = None,
    families: Annotated[
        str | None, typer.Option("--families", metavar="F,G", help="Families, e.g. normal,student_t.")
    ] = None,
    sep: Annotated[
        str | None, typer.Option("--sep", help="Separator: a character, or tab, blanks, none.", show_default="detected")
    ] = None,
    decimal: Annotated[
        str | None, typer.Option("--decimal", help="Decimal mark: . or ,", show_default="detected")
    ] = None,
    thousands: Annotated[
        str | None, typer.Option("--thousands", help="Mark of thousands, or none.", show_default="detected")
    ] = None,
    na: Annotated[list[str] | None, typer.Option("--na", help="Content that means a missing value.")] = None,
    skip: Annotated[int, typer.Option("--skip", help="Lines at the top to leave out.")] = 0,
    sheet: Annotated[str | None, typer.Option("--sheet", help="Sheet of a workbook: name or number.")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="W", help="Column of weights of the rows.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="Folder to write to.", show_default="duality-NAME/", parser=folder_of, metavar="PATH"
        ),
    ] = None,
    jitter: Annotated[bool, typer.Option("--jitter", help="Spread rounded values before judging the entropy.")] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit families to your own data: which is closest, and how far it is in nats."""
    from analysis.running.progress import labelled_bar

    started = time.perf_counter()
    with labelled_bar() as progress:
        progress(f"reading {file.name}", 0.0)
        from analysis.own_data.files import Options, read_columns

        options = Options(sep, decimal, thousands, tuple(na or ()), skip, sheet, weights)
        table = read_columns(file, columns, lambda label, fraction: progress(label, 0.1 * fraction), options)
        progress("importing PyMC", 0.1)
        from analysis.own_data import study as own_data
        from analysis.own_data.summary import summary
        from analysis.store import Store
        from models.results import save

        named = _names(families)
        if named is not None:
            own_data.check_families(named, len(table.names))
        folder = output if output is not None else Path(f"duality-{file.name.split('.')[0]}")
        own_folder(folder, "data.json", "data.nc")
        tree = own_data.analyse(
            table.values,
            table.names,
            named,
            name=file.name,
            rows=table.rows,
            warnings=table.warnings,
            reading=table.reading,
            weights=table.weights,
            places=table.places,
            settings=own_data.Settings(seed=seed, jitter=jitter),
            jobs=JOBS,
            remember=Store(folder / "parts", "own_data"),
            on_progress=lambda label, fraction: progress(label, 0.1 + 0.8 * fraction),
        )
        progress("report", 0.9)
        from analysis.own_data import page
        from analysis.site import provenance

        document = summary(tree)
        facts = page.provenance(tree, time.perf_counter() - started)
        written = page.write(tree, folder, facts | {"commit": provenance.commit()})
        save(tree, folder / "data.nc")
        (folder / "data.json").write_text(json.dumps(document, allow_nan=False, indent=1), encoding="utf-8")
    if as_json:
        print_json(document)
        return
    for line in page.printed(tree):
        typer.echo(visible(line))
    typer.echo(f"{time.perf_counter() - started:.0f} s; {written[0]}")


def _names(text: str | None) -> list[str] | None:
    """Names in a list that commas separate; commas within brackets belong to a name."""
    return None if text is None else [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]
