"""A figure that is drawn: as SVG, as a file, on a screen."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arviz_plots import PlotCollection
from matplotlib.text import Text

from analysis.drawing.style import Rim, Style
from analysis.drawing.svg import lighter

__all__ = ["Drawing"]


@dataclass(frozen=True)
class Drawing:
    """A figure; its words are in the chapter."""

    figure: PlotCollection

    def svg(self, style: Style) -> bytes:
        """Return the matplotlib figure as SVG bytes, the same for the same numbers."""
        buffer = io.BytesIO()
        figure = self._matplotlib()
        for words in figure.findobj(Text):
            if (effects := words.get_path_effects()) and isinstance(effects[0], Rim):
                # `lighter` draws the rim: matplotlib would outline every letter twice.
                words.set(path_effects=[], gid=effects[0].group)
        with style.settings():
            figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
        self.close()
        return lighter(buffer.getvalue())

    def save(self, path: Path, style: Style) -> Path:
        """Write an image (matplotlib), or a web page (plotly, bokeh) with its library in a file beside it, and return its path."""
        if style.backend == "matplotlib":
            path = path.with_suffix(".svg")
            path.write_bytes(self.svg(style))
            return path
        from analysis.drawing.interactive import finish, write_page

        return write_page(finish(self.figure.viz["figure"].item(), style), path.with_suffix(".html"), style)

    def show(self, style: Style) -> None:
        """Open the figure in a window or a browser."""
        if not style.interactive:
            self.figure.show()
            return
        from analysis.drawing.interactive import finish

        style.draw.show(finish(self.figure.viz["figure"].item(), style))

    def close(self) -> None:
        """Free the matplotlib figure."""
        import matplotlib.pyplot as plt

        plt.close(self._matplotlib())

    def _matplotlib(self) -> Any:
        return self.figure.viz["figure"].item()
