"""What stands beside the digits of a cell: a currency, a percent sign or a unit that a whole column has, and signs of accountants; and names of units."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

__all__ = ["PLAIN", "beside", "is_unit", "signed", "without"]

_CURRENCY = r"[$£¥\u0e3f\u20a0-\u20cf]|Rs\.?|CHF|EUR|USD|GBP|SFr\.?|Fr\.|kr\.?|zł"
_MILLIONS = r"(?:Tsd|Mio|Mrd|Mill|Bio|mn|bn)\.?"
_BEFORE, _BEHIND = (
    rf"(?:{_CURRENCY}) ?",
    rf" {_MILLIONS} ?(?:{_CURRENCY})| ?(?:[%‰°]|°C|°F|{_CURRENCY})| [^\W\d_][^\d\s,;]{{0,11}}",
)
_BODY = r"\d(?:[\d.,' ]*\d)?[.,]?(?:[eE][-+]?\d+)?|[.,]\d+"
_WHOLE = re.compile(rf"(\(?[-+]?)({_BEFORE})?(\(?[-+]?(?:{_BODY}))({_BEHIND})?(-?\)?)")
_LOOKED = 100  # cells with digits by which the unit of a column is told
#: Units that take prefixes of powers of ten and units that take none, as they are written; and units in words, in any case.
_UNITS = {
    "with prefixes": "m g s A K mol cd Hz N Pa J W C V F Ω Ohm ohm S Wb T H lm lx Bq Gy Sv kat l L eV bar cal Wh Ah VA var B b t a Ci "
    "rad M eq Eq osm Osm U IU Da Nm Gal barg cts € $",
    "without": "% ‰ ° °C °F °K º ºC £ ¥ R min h d y kn kt kts mph kph in ft yd mi lb lbs oz gal pt ha ac atm Torr psi mmHg cmH psu ppm ppb ppt "
    "US$ R$ dB dBA dBm pH CO NTU TCU PSU DN ppmv ppbv kmh sq sqft Min Sek Std Pkt rpm fps bpm cfu CFU cps px dpi Å hr hrs sec msec yr yrs wk mo deg degC degF grad sr au AU gC dex mag Jy pc ly RFU OD "
    "EUR USD GBP CHF JPY CNY SEK NOK DKK PLN CZK HUF INR AUD CAD BRL RUB TRY TEUR Tsd Mio Mrd Mill Stk St kcal BTU hp PS qm cbm",
    "words": "meter meters metre metres gram grams second seconds minute minutes hour hours day days week weeks month months year years volt "
    "volts watt watts ampere amperes kelvin celsius fahrenheit degree degrees percent percentage prozent pct number count counts anzahl nombre "
    "stück personen persons people index points punkte dollars euro euros thousand thousands million millions billion billions tausend millionen "
    "milliarden jahr jahre tag tage stunde stunden minuten sekunden cells copies reads units unit einheit dimensionless unitless cycles steps "
    "inch inches foot feet yard yards mile miles acre acres gallon gallons pint pints quart quarts ounce ounces pound pounds stone ton tons tonne tonnes "
    "bushel bushels barrel barrels knot knots litre litres liter liters min mins sec secs hrs millisecond milliseconds microseconds kilogram kilograms "
    "milligram milligrams kilometer kilometers kilometre kilometres centimeter centimeters centimetre centimetres millimeter millimeters millimetre "
    "millimetres hectare hectares pascal pascals joule joules newton newtons hertz cubic square continuous categorical ordinal "
    "samples arb log ratio fraction vol beats breaths photons pixels cent cents float double int integer numeric real per pro je in of",
}  # fmt: skip
_WITH, _WITHOUT, _IN_WORDS = (frozenset(units.split()) for units in _UNITS.values())
_PREFIX = re.compile(r"(?:da|[YZEPTGMkhdcmuµnpfa])(?=.)")
#: Units, with exponents, and what stands between them; before them a power of ten may, and a number within.
_WORD = r"(?:[^\W\d_]|[%‰°$€£¥])+"
_NAMED = rf"{_WORD}(?:\^?-\d|\^\d|[23]|10)?"
_BETWEEN = r"[\s/·⋅*×_-]+"
_TEN = r"[x×]?10(?:\^|\*\*|[eE])[-+]?\d+[\s/·*×]*|10*/\s*"
_UNIT = re.compile(rf"[\s-]*(?:{_TEN})?({_NAMED}(?:{_BETWEEN}(?:{_NAMED}|\d+))*)\s*")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_PLAINLY = str.maketrans({"\u03bc": "µ", ".": "", **dict.fromkeys("()[]{}", " ")})
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


def is_unit(text: str) -> bool:
    """Whether text is a unit, maybe one made of several, in brackets or with a power of ten: each word of it names one.

    Examples
    --------
    >>> [is_unit(text) for text in ("feet", "bushels/acre", "cm", "[m/s]", "10^9/L", "µg/dL", "°C", "W m⁻²", "in 1000", "k€")]
    [True, True, True, True, True, True, True, True, True, True]
    >>> [is_unit(text) for text in ("ND", "ERROR", "high", "n.d.", "--1.5", "5 kg", "<0.5", "A1")]
    [False, False, False, False, False, False, False, False]
    """
    raised = re.sub("[⁰¹²³⁴-⁹⁻]+", lambda found: f"^{found[0].translate(_RAISED)}", text.translate(_PLAINLY))
    found = _UNIT.fullmatch(raised)
    return found is not None and all(map(_names_unit, re.findall(_WORD, found[1])))


def _names_unit(word: str) -> bool:
    found = _PREFIX.match(word)
    known = word in _WITH or word in _WITHOUT or word.casefold() in _IN_WORDS
    return known or (found is not None and word[found.end() :] in _WITH)
