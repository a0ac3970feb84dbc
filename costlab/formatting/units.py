"""Numbers as people read them: the only place where a number becomes text.

Prefixes are powers of 1000, for bytes as for counts. Unknown values are a dash.
"""

from collections.abc import Sequence

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")
SECONDS = {0: "s", 3: "ms", 6: "us", 9: "ns"}
UNKNOWN = "-"
EIGHTHS = " ▏▎▍▌▋▊▉█"


def short(count: int | None, unit: str = "") -> str:
    """Four significant digits and a prefix: 300774272 is `300.8 M`; below a thousand the number itself."""
    if count is None:
        return UNKNOWN
    if count < 1000:
        return f"{count} {unit}".strip()
    power = min((len(str(count)) - 1) // 3, len(PREFIXES) - 1)
    digits = f"{count / 1000**power:#.4g}"
    if digits.startswith("1000") and power + 1 < len(PREFIXES):  # 999,999 rounds up into the next prefix
        power, digits = power + 1, "1.000"
    return f"{digits} {PREFIXES[power]}{unit}"


def size(count: int | None) -> str:
    """Bytes: 9633792 is `9.634 MB`."""
    return short(count, "B")


def seconds(value: float | None) -> str:
    """Four significant digits and a prefix: 0.0012345 is `1.234 ms`."""
    if value is None:
        return UNKNOWN
    power = next((p for p in (0, 3, 6) if abs(value) * 10**p >= 0.99995), 9) if value else 0
    return f"{f'{value * 10**power:#.4g}'.rstrip('.')} {SECONDS[power]}"


def quantity(value: float | None, unit: str = "") -> str:
    """A time if the unit is "s", otherwise a count or bytes ("B")."""
    return seconds(value) if unit == "s" else short(None if value is None else int(value), unit)


def unit_of(total: str) -> str:
    """The unit of a total, from its name: `peak_activation_bytes` and `bytes_accessed` are in "B"."""
    return "B" if "bytes" in total else "s" if total.endswith("seconds") else ""


def exact(count: int) -> str:
    """Every digit: `300,774,272`."""
    return f"{count:,}"


def both(count: int) -> str:
    """Short, then every digit: `300.8 M (300,774,272)`."""
    return short(count) if count < 1000 else f"{short(count)} ({exact(count)})"


def shape(sizes: Sequence[int] | None) -> str:
    """`1x3x224x224`; no sizes are a scalar."""
    return UNKNOWN if sizes is None else "x".join(map(str, sizes)) or "scalar"


def percent(share: float | None) -> str:
    """`33.8%`; a share too small to show is `<0.1%`, not zero."""
    if share is None:
        return UNKNOWN
    return "<0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def bar(share: float | None, width: int, ascii_only: bool = False) -> str:
    """A share of `width` cells, in eighths of a cell; in ASCII, whole cells of `#`."""
    eighths = round((share or 0) * width * 8)
    if ascii_only:
        return "#" * ((eighths + 4) // 8)
    whole, rest = divmod(eighths, 8)
    return EIGHTHS[8] * whole + EIGHTHS[rest].strip()


def times(counts: dict[str, int]) -> str:
    """Counts by name, the most frequent first: `nonzero x3, nms x1`."""
    return ", ".join(f"{name} x{count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def change(count: float, unit: str = "") -> str:
    """A difference with its sign; `0` if there is none."""
    return "0" if count == 0 else f"{'+' if count > 0 else '-'}{quantity(abs(count), unit)}"


def ratio(before: float, after: float) -> str:
    """Growth in percent or, beyond a factor of ten, as a factor."""
    if not before:
        return "" if not after else "new"
    if after >= 10 * before:
        return f"x{after / before:.1f}"
    return f"{100 * (after - before) / before:+.1f}%" if after != before else "="


def rate(value: float | None) -> str:
    """Times per second: `1480`, `76.2`, `8.90`."""
    if value is None:
        return UNKNOWN
    return f"{value:.{0 if value >= 999.95 else 1 if value >= 9.995 else 2}f}"


def factor(value: float | None) -> str:
    """A ratio: `0.61`, `1.40`, `49.0`."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
