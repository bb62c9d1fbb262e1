"""Numbers as texts state them: which number it is, and one way to write each."""

from __future__ import annotations

import re
from fractions import Fraction

PLACES = 40  # after the point; a number that needs more is written as a fraction
GROUP = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
NUMERAL = (
    re.compile(  # at most 30 digits in a row, and an exponent of two: no text makes a number that fills the memory
        r"(?<![\w.])[-+]?(?:\d{1,30}\s?/\s?0{0,9}[1-9]\d{0,30}"
        r"|(?:\d{1,30}(?:\.\d{1,30})?|\.\d{1,30})(?:e[-+]?\d{1,2}(?!\d))?)(?![.,]?\d)(?![xyzn]\b)",
        re.IGNORECASE,
    )
)
UNIT = re.compile(r"\b(?:[cdkm]?m|ft|in|yd)\^?[23]\b")  # of an area or a volume: its digit is no number
OTHER = re.compile(  # what makes another number, or a range of them, of the digits beside it
    r"[√π∞^<>≤≥≠±|¼-¾⅐-⅞]|!=|\\(?:d?frac|sqrt|pi|infty|log|ln)\b"
    r"|(?<![^\W\d_])[¹²³⁰-⁹]|(?<=[\d)])!|(?<=\d)\s*\+"
    r"|\b(?:than|at least|at most|over|under|above|below|half|twice|plus|minus|(?:log|ln|root)\(?)"
    r"(?=(?:\s+of)?\s*[$€£*-]*\.?\d)"
    r"|(?<=\d)[\s-]+(?:hundred|thousand|[mbtr]+illion|squared|cubed|factorial)\b",
    re.IGNORECASE,
)


def stated_numbers(text: str) -> list[str] | None:
    """The numerals of a text as they stand there, in order; None where digits are left that these are not, or where a
    word or a sign makes another number of one.

    A comma before three digits groups thousands. "1/2" is one numeral, and so is "1.5e3"; "12:30", "2x + 3", "√2",
    "5 million" or "less than 5" are none or several.
    """
    plain = UNIT.sub(" ", ungrouped(text))
    left = NUMERAL.sub(" ", plain)
    return None if changed(text) or re.search(r"\d", left) else NUMERAL.findall(plain)


def changed(text: str) -> set[str]:
    """The words and signs of a text that make other numbers of its digits."""
    return {found[0].strip(" -").casefold() for found in OTHER.finditer(UNIT.sub(" ", ungrouped(text)))}


def ungrouped(text: str) -> str:
    """Without commas between thousands, and with a plain minus."""
    return GROUP.sub("", text.replace("−", "-"))


def canonical(numeral: str) -> str:
    """One way to write a number: "1,000", "1000.0" and "1e3" are all "1000"; "2/4" is "0.5", "1/3" stays a fraction.

    Raises ValueError for what is no numeral.
    """
    value = Fraction(re.sub(r"\s", "", ungrouped(numeral)))
    places = 0
    while places <= PLACES and (value * 10**places).denominator > 1:
        places += 1
    if places > PLACES:
        return f"{value.numerator}/{value.denominator}"
    digits = f"{abs(value.numerator * 10**places // value.denominator):0{places + 1}d}"
    whole, part = (digits[:-places], digits[-places:]) if places else (digits, "")
    return ("-" if value < 0 else "") + whole + (f".{part}" if part else "")
