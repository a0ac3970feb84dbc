"""Limits on what a network may cost, as people write them: `params<=3.5M`, `mult_adds>+1%`, `predicted_seconds<5ms`."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from costlab.core.cost import COST_KEYS
from costlab.errors import CostlabError

PREDICTED = "predicted_seconds"  # of a forward pass on a device: not in the totals of a profile
METRICS = (
    *COST_KEYS,
    *("flops", "bytes_accessed", "unused_params", "peak_activation_bytes", "arithmetic_intensity"),
    PREDICTED,
)
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
SECONDS = {"s": 0, "ms": -3, "us": -6, "ns": -9}
PREFIXES = {"": 0, "k": 3, "K": 3, "M": 6, "G": 9, "B": 9, "T": 12, "P": 15}
CONDITION = re.compile(r"\s*([A-Za-z][\w -]*?)\s*(<=|>=|==|<|>)\s*(.+?)\s*")
AMOUNT = re.compile(r"([+-]?)(\d+(?:_\d+)*(?:\.\d+)?(?:[eE]\d{1,3})?)\s*(%|[mun]?s|(?:([kKMGBTP]?)(?:i?B|bytes)?))")


@dataclass(frozen=True)
class Amount:
    """A number to compare with: absolute, or a change against a base."""

    value: Fraction
    relative: bool  # a change, in parts of the base where `share`, else in units
    share: bool
    text: str


@dataclass(frozen=True)
class Condition:
    """`metric operator amount`."""

    metric: str
    operator: str
    amount: Amount
    text: str

    def holds(self, value: float | None, base: float | None = None) -> bool:
        """Whether the condition is true of a value of its metric, beside that of a base where the amount is a change.

        Raises:
            CostlabError: the amount is a change and there is no base, or the value is not known.
        """
        if value is None:
            raise CostlabError(f"{self.text}: {self.metric} is not known for this network")
        if not self.amount.relative:
            return OPERATORS[self.operator](Fraction(value), self.amount.value)
        if base is None:
            raise CostlabError(f"{self.text} is a change: it needs a base to compare with")
        before = Fraction(base)
        change = Fraction(value) - before
        allowed = before * self.amount.value if self.amount.share else self.amount.value
        return OPERATORS[self.operator](change, allowed)


def amount(text: str, metric: str = "") -> Amount:
    """`3.5M`, `8 MB`, `320 M`, `+1%`, `-2k`; `5 ms` of seconds. Prefixes are powers of 1000. Raises CostlabError."""
    match = AMOUNT.fullmatch(text.strip())
    if not match:
        raise CostlabError(f"{text!r} is no amount: write 3.5M, 320 M, 8 MB, 5 ms, +1% or +20k")
    sign, digits, unit, prefix = match.groups()
    value = Fraction(Decimal(digits.replace("_", "")))
    if sign == "-":
        value = -value
    if unit == "%":
        if not sign:
            raise CostlabError(f"{text!r} is a share of nothing: a change has a sign, +1% or -1%")
        return Amount(value / 100, relative=True, share=True, text=text.strip())
    if unit and (unit in SECONDS) != (metric == PREDICTED):
        raise CostlabError(f"{text!r} is no amount of {metric}" + (": write 5 ms" if metric == PREDICTED else ""))
    power = SECONDS[unit] if unit in SECONDS else PREFIXES[prefix or ""]
    return Amount(value * Fraction(10) ** power, relative=bool(sign), share=False, text=text.strip())


def condition(text: str) -> Condition:
    """`mult_adds>+1%` or `params<=3.5M`; parsed, never evaluated. Raises CostlabError."""
    match = CONDITION.fullmatch(text)
    if not match:
        raise CostlabError(f"{text!r} is no condition: write params<=3.5M or mult_adds>+1%")
    metric, comparison, right = match.groups()
    metric = metric_named(metric)
    return Condition(metric, comparison, amount(right, metric), text.strip())


def metric_named(name: str) -> str:
    """The total that `name` means, with dashes or blanks for underscores. Raises CostlabError."""
    key = re.sub(r"[ -]+", "_", name.strip().lower())
    if key not in METRICS:
        close = difflib.get_close_matches(key, METRICS, n=1, cutoff=0.5)
        hint = f"; nearest: {close[0]}" if close else f"; there are {', '.join(METRICS)}"
        raise CostlabError(f"no total {name!r}{hint}")
    return key
