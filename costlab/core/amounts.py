"""Amounts as people write them: `3.5M`, `8 MiB`, `5 ms`, `+1%`. Read exactly; each metric has its units."""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from costlab.core.metrics import METRICS
from costlab.errors import CostlabError

LONGEST = 64  # characters
LARGEST_EXPONENT = 30
AMOUNT = re.compile(r"([+-]?)(\d+(?:_\d+)*(?:\.\d+)?)(?:[eE]([+-]?\d+))?\s*(%|[^\W\d_]*)")

PREFIXES = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BINARY_BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
SECONDS = {"s": Fraction(1), "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6), "ns": Fraction(1, 10**9)}

# By the unit of a metric: the factors of the units that its amounts take, how an error lists them, an example.
UNITS: dict[str, tuple[dict[str, Fraction], str, str]] = {
    "": ({unit: Fraction(n) for unit, n in PREFIXES.items()}, "k, M, G or T", "320 M"),
    "B": (
        {unit: Fraction(n) for unit, n in (BYTES | BINARY_BYTES | PREFIXES).items()},
        "B, kB, MB, GB, TB, KiB, MiB, GiB or TiB",
        "8 MB",
    ),
    "s": (SECONDS, "s, ms, us or ns", "5 ms"),
}


@dataclass(frozen=True)
class Amount:
    """A number to compare with: a value, or a change from a base."""

    value: Fraction
    relative: bool  # a change from a base, by a share of the base if `share`, else by `value`
    share: bool
    text: str

    def applied_to(self, base: float | None) -> Fraction:
        """The value of the amount. Raises CostlabError if the amount is a change and has no base."""
        if not self.relative:
            return self.value
        if base is None:
            raise CostlabError(f"{self.text} is a change and needs a base, such as a saved profile")
        return Fraction(base) * (1 + self.value) if self.share else Fraction(base) + self.value


def parse_amount(text: str, key: str) -> Amount:
    """Read an amount of a metric: a number, perhaps with a prefix, a unit of the metric or a percent sign.

    A number with a sign is a change. A key that is not in the table of metrics is a plain number. Raises CostlabError.
    """
    text = text.strip()
    metric = METRICS.get(key)
    factors, names, example = UNITS.get(metric.unit if metric else "", UNITS[""])
    match = AMOUNT.fullmatch(text) if len(text) <= LONGEST else None
    if not match:
        raise CostlabError(f"{text[:LONGEST]!r} is not an amount of {key}: write {example} or +1%")
    sign, digits, exponent, unit = match.groups()
    if abs(int(exponent or 0)) > LARGEST_EXPONENT:
        raise CostlabError(f"{text!r} is out of range: exponents go up to {LARGEST_EXPONENT}")
    value = Fraction(Decimal(digits.replace("_", ""))) * Fraction(10) ** int(exponent or 0)
    value = -value if sign == "-" else value
    if unit == "%":
        if not sign:
            raise CostlabError(f"{text!r} needs a sign: a change in percent is +1% or -1%")
        return Amount(value / 100, relative=True, share=True, text=text)
    if unit and unit not in factors:
        raise CostlabError(f"unknown unit {unit!r} in {text!r}: {key} takes {names}")
    return Amount(value * factors.get(unit, 1), relative=bool(sign), share=False, text=text)
