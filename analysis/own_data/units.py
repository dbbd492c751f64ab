"""What stands beside the digits of a cell: a currency, a percent sign or a unit that a whole column has, and signs of accountants."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

__all__ = ["PLAIN", "beside", "signed", "without"]

_CURRENCY = r"[$£¥\u0e3f\u20a0-\u20cf]|Rs\.?|CHF|EUR|USD|GBP|SFr\.?|Fr\.|kr\.?|zł"
_BEFORE, _BEHIND = rf"(?:{_CURRENCY}) ?", rf" ?(?:[%‰°]|°C|°F|{_CURRENCY})| [^\W\d_][^\d\s,;]{{0,11}}"
_BODY = r"\d(?:[\d.,' ]*\d)?[.,]?(?:[eE][-+]?\d+)?|[.,]\d+"
_WHOLE = re.compile(rf"(\(?[-+]?)({_BEFORE})?([-+]?(?:{_BODY}))({_BEHIND})?(-?\)?)")
_LOOKED = 100  # cells with digits by which the unit of a column is told
#: Marks that a number written plainly has; a column of nothing else has no unit.
PLAIN = frozenset("0123456789.,+eE' ")


def beside(cells: Sequence[str]) -> tuple[str, str]:
    """What stands before and behind the digits of most numbers of a column, blanks around it left out; nothing in one of text.

    Examples
    --------
    >>> beside(["n/a", "12,5 %", "13 %"]), beside(["€ 5"]), beside(["17a", "18 b", "19"]), beside(["7", "5", "8 kg"])
    (('', '%'), ('€', ''), ('', ''), ('', ''))
    """
    digits = [cell for cell in cells if any(map(str.isdigit, cell))][:_LOOKED]
    found = Counter(map(_beside, digits)).most_common(1)
    return found[0][0] if found and 2 * found[0][1] > len(digits) else ("", "")


def _beside(cell: str) -> tuple[str, str]:
    found = _WHOLE.fullmatch(cell)
    return ("", "") if found is None else ((found[2] or "").strip(), (found[4] or "").strip())


def without(cell: str, unit: tuple[str, str]) -> str | None:
    """A number without the unit of its column; None if it is none with this unit.

    Examples
    --------
    >>> without("-1.234,50 €", ("", "€")), without("-$5", ("$", "")), without("7", ("", "%"))
    ('-1.234,50', '-5', None)
    """
    found = _WHOLE.fullmatch(cell)
    if found is None or _beside(cell) != unit:
        return None
    return signed(f"{found[1]}{found[3]}{found[5]}")


def signed(cell: str) -> str:
    """A number with its sign in front: accountants write it behind, or put brackets around; a dash in place of decimals is none.

    Examples
    --------
    >>> signed("12,50-"), signed("(1,234.00)"), signed("5"), signed("12-13"), signed("(a)"), signed("3'043.-")
    ('-12,50', '-1,234.00', '5', '12-13', '(a)', "3'043")
    """
    if cell.endswith((".-", ",-")) and any(map(str.isdigit, cell)):
        return cell[:-2]
    if cell[-1:] == "-" and cell[:1].isdigit():
        return f"-{cell[:-1].rstrip()}"
    if cell[-1:] == ")" and cell[:1] == "(" and cell[1:2].isdigit():
        return f"-{cell[1:-1]}"
    return cell
