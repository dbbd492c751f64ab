"""Where the built report is that tests look at: ``reports/``, or the folder that ``DUALITY_REPORT`` names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = Path(os.environ.get("DUALITY_REPORT", ROOT / "reports"))


def pages(suffix: str) -> list[Path]:
    """The pages of the site but the front one; that there are none is a failure."""
    found = sorted((SITE / "pages").glob(f"*{suffix}"))
    if not found:
        pytest.fail(f"{SITE} has no pages/*{suffix}: build the site with `duality report`", pytrace=False)
    return found
