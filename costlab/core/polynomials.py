"""Closed forms: the exact polynomial through integer costs at evenly spaced sizes, if there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

FEW = 32  # sizes that are all checked
HIGHEST = 4  # degree: attention over image positions grows with the fourth power of the resolution


@dataclass(frozen=True)
class Polynomial:
    """A polynomial with exact coefficients, and where it was found to hold."""

    coefficients: tuple[Fraction, ...]  # of the powers, the constant first
    first: int  # the sizes are first, first + step, ..., up to last
    step: int
    last: int

    def __call__(self, size: int) -> Fraction:
        value = Fraction(0)
        for coefficient in reversed(self.coefficients):
            value = value * size + coefficient
        return value

    def text(self, variable: str) -> str:
        """`117.25 r^2 + 3 r - 1000`: decimals if they are short, else fractions."""
        terms: list[str] = []
        for power, coefficient in reversed(list(enumerate(self.coefficients))):
            if coefficient or (power == 0 and not terms):
                sign = "-" if coefficient < 0 else "+"
                amount = number(abs(coefficient))
                name = "" if power == 0 else variable if power == 1 else f"{variable}^{power}"
                word = name if amount == "1" and name else f"{amount} {name}".strip()
                terms.append(f"{sign} {word}" if terms else word if sign == "+" else f"-{word}")
        return " ".join(terms)

    def domain(self) -> str:
        """`from 32 to 512 in steps of 32`."""
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"from {self.first:,} to {self.last:,}{steps}"


def number(value: Fraction) -> str:
    """A number without loss: `5,875.4`, or `1/3`."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    twos_and_fives = value.denominator
    for prime in (2, 5):
        while twos_and_fives % prime == 0:
            twos_and_fives //= prime
    if twos_and_fives == 1 and value.denominator <= 10_000:
        return f"{float(value):,.6f}".rstrip("0").rstrip(".")
    return f"{value.numerator:,}/{value.denominator:,}"


def polynomial(values: Mapping[int, int], first: int, step: int) -> Polynomial | None:
    """The polynomial of the lowest degree through all values; None if its degree would be above `HIGHEST`.

    Args:
        values: costs by size, at `first + n step` for n from 0 to `HIGHEST`, and at further sizes, which check it.
    """
    points = [values[first + n * step] for n in range(HIGHEST + 1)]
    differences, row = [], points
    while row:
        differences.append(row[0])
        row = [after - before for before, after in pairwise(row)]
    found = Polynomial(expanded(differences, first, step), first, step, max(values))
    return found if all(found(size) == value for size, value in values.items()) else None


def expanded(differences: Sequence[int], first: int, step: int) -> tuple[Fraction, ...]:
    """The coefficients of the sum of differences[d] times the binomial of ((x - first) / step, d) (Newton)."""
    result = [Fraction(0)] * len(differences)
    basis = [Fraction(1)]  # of the binomial, by power
    for d, difference in enumerate(differences):
        for power, coefficient in enumerate(basis):
            result[power] += difference * coefficient
        root = Fraction(first, step) + d  # the next factor is (x / step - root) / (d + 1)
        shifted = [Fraction(0), *(c / step for c in basis)]
        basis = [a - root * b for a, b in zip(shifted, [*basis, Fraction(0)], strict=True)]
        basis = [c / (d + 1) for c in basis]
    while len(result) > 1 and result[-1] == 0:
        result.pop()
    return tuple(result)


def sizes_of(first: int, step: int, last: int) -> list[int]:
    """Sizes that decide on a polynomial: the first ones, then all others if they are few, else some up to the last.

    Adaptive pooling, for instance, is exact where its output divides the image and overlaps elsewhere.
    """
    multiples = (last - first) // step
    spread = {multiples, multiples - 1, multiples // 2, multiples // 3, (2 * multiples) // 3}
    checks = range(multiples + 1) if multiples < FEW else spread
    return [first + n * step for n in sorted({*range(HIGHEST + 1), *checks})]
