"""Devices in a table, and one device with the source of each number."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.escaping import markdown_text, visible
from costlab.formatting.table import Column, Table
from costlab.latency.device import Device

if TYPE_CHECKING:
    from costlab.measurement.calibration_result import Calibration, Peak

SCHEMA_VERSION = 1
NOT_GIVEN = "not given"

# Title and cell of each column of the table, and when a narrow terminal drops it.
COLUMNS: tuple[tuple[str, Callable[[Device], str], int], ...] = (
    ("device", lambda device: device.name, 0),
    ("title", lambda device: device.title, 1),
    ("float32\nFLOP/s", lambda device: units.short(round(device.peak_flops("float32"))), 0),
    ("float16\nFLOP/s", lambda device: units.short(round(device.peak_flops("float16"))), 0),
    ("bandwidth", lambda device: units.short(round(device.bandwidth), "B/s"), 4),
    ("ridge point\nfloat16", lambda device: units.short(round(device.ridge_point("float16"))), 3),
    ("memory", lambda device: units.size(device.memory), 2),
    ("predictions", lambda device: "measured" if device.verified else "unverified", 5),
)


class Number(NamedTuple):
    """One number of a device as text."""

    label: str
    value: str
    source: str


def table(devices: Sequence[Device]) -> Table:
    """One row a device."""
    words = ("device", "title", "predictions")
    return Table(
        [
            Column(title, [*map(cell, devices)], left=title in words, drop=drop, code=title == "device")
            for title, cell, drop in COLUMNS
        ]
    )


def text(devices: Sequence[Device], width: int, ascii_only: bool = False) -> Grid:
    """The table for terminals and pipes, `width` cells wide if that is 40 or more."""
    return tables.text(table(devices), width, ascii_only)


def markdown(devices: Sequence[Device]) -> str:
    """The table for issues and wikis."""
    return tables.markdown(table(devices)) + "\n"


def page(device: Device, width: int, ascii_only: bool = False) -> Group:
    """Every number of a device, with its source as a footnote."""
    labels, values, sources = zip(*numbers_of(device), strict=True)
    notes = {source: f"[{i}]" for i, source in enumerate(dict.fromkeys(sources), 1)}
    body = Table(
        [
            Column("", labels, ["quiet"] * len(labels), left=True, fit="end", least=24),
            Column("", values, left=True, fit="wrap", least=20),
            Column("", [notes[source] for source in sources], ["quiet"] * len(sources), left=True),
        ]
    )
    marks = Column("", [*notes.values()], ["quiet"] * len(notes), left=True)
    foot = Table([marks, Column("", [*notes], left=True, fit="wrap")])
    drawn = [tables.text(part, width, ascii_only) for part in (body, foot)]
    return Group(Text(heading(device), style="bold"), drawn[0], Text(), drawn[1])


def markdown_page(device: Device) -> str:
    """Every number of a device with its source, as Markdown."""
    labels, values, sources = zip(*numbers_of(device), strict=True)
    columns = Column("label", labels, left=True), Column("value", values), Column("source", sources, left=True)
    return f"### {markdown_text(heading(device))}\n\n{tables.markdown(Table(columns))}\n"


def document(devices: Sequence[Device]) -> str:
    """Devices as JSON: the numbers in their files, and the ridge points."""
    entries = [
        {**asdict(device), "ridge_points": ridge_points(device), "measured": evidence(device)} for device in devices
    ]
    return json.dumps({"schema_version": SCHEMA_VERSION, "devices": entries}, indent=2, allow_nan=False) + "\n"


def heading(device: Device) -> str:
    """`rtx3090: GeForce RTX 3090 (cuda, ampere)`."""
    return visible(f"{device.name}: {device.title} ({device.type}, {device.architecture})")


def ridge_points(device: Device) -> dict[str, float]:
    """FLOP/byte for every dtype that the device has units for."""
    return {dtype: device.ridge_point(dtype) for dtype in {**device.vector_flops, **device.matrix_flops}}


def evidence(device: Device) -> str | None:
    """What was measured on a device; None if nothing was."""
    return device.measured or ("parameters of its own, fitted on it" if device.fitted else None)


def numbers_of(device: Device) -> Iterator[Number]:
    """Every number of a device, as a label, a value with its unit, and a source."""

    def number(label: str, value: str, path: str) -> Number:
        return Number(label, value, visible(device.sources.get(path, NOT_GIVEN)))

    yield Number(
        "predictions",
        "measured" if device.verified else "unverified",
        visible(evidence(device) or "nothing was measured on it"),
    )
    yield number("units", units.exact(device.units), "units")
    yield number("clock", units.short(round(device.clock), "Hz"), "clock")
    yield number("bandwidth", units.short(round(device.bandwidth), "B/s"), "bandwidth")
    if device.memory is not None:
        yield number("memory", units.size(device.memory), "memory")
    if device.power is not None:
        yield number("power", f"{device.power:g} W", "power")
    if device.boost != 1:
        yield number("clock under load", f"{units.factor(device.boost)} of its clock", "boost")
    if device.slowest_unit < 1:
        yield number("slowest unit, of the mean", units.percent(device.slowest_unit), "slowest_unit")
    yield number("launch of an operator", units.seconds(device.launch_seconds), "launch_seconds")
    for name, flops in (("vector", device.vector_flops), ("matrix", device.matrix_flops)):
        for dtype, peak in flops.items():
            yield number(f"{dtype}, {name} units", units.short(round(peak), "FLOP/s"), f"{name}_flops.{dtype}")
    for cache in device.caches:
        whose = " of each unit" if cache.per == "unit" else ""
        yield number(f"{cache.level}{whose}", units.size(cache.bytes), f"caches.{cache.level}.bytes")
        if cache.bandwidth is not None:
            speed = units.short(round(cache.bandwidth), "B/s")
            yield number(f"{cache.level}, bandwidth", speed, f"caches.{cache.level}.bandwidth")
    if device.link is not None:
        speed = units.short(round(device.link.bandwidth), "B/s")
        yield number("link, each direction", speed, "link.bandwidth")
        yield number("link, small all-reduce", units.seconds(device.link.latency), "link.latency")
    for dtype, ridge in ridge_points(device).items():
        value = units.short(round(ridge), "FLOP/byte")
        yield Number(f"ridge point, {dtype}", value, "derived: peak / bandwidth")
    yield from (Number(visible(path), value, "fitted") for path, value in fitted("efficiency", device.efficiency))


def fitted(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """The fitted parameters, which only the prediction interprets, as they are in the file."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from fitted(f"{path}.{key}", member)
    else:
        yield path, visible(value) if isinstance(value, str) else json.dumps(value)


def calibration(found: Calibration) -> list[str]:
    """The result of a calibration, line by line."""
    lines = [f"{visible(found.device.title)}: {found.operators} operators of {found.blocks} small networks"]
    for peak in found.peaks:
        unit, work = ("B/s", "copy") if peak.name == "bandwidth" else ("FLOP/s", "matrix product")
        lines.append(
            f"  {peak.name:10} {units.short(int(peak.measured), unit)} in a large {work}{published(peak, unit)}"
        )
    for name, errors in (("fitted", found.fitted), ("held out", found.held_out)):
        median, ninetieth = units.percent(errors.median), units.percent(errors.ninetieth)
        lines.append(f"  {name:10} median error {median} of an operator, 90th percentile {ninetieth}")
    if found.busy:
        lines.append(f"  NOISY      {found.busy}: run it again on an idle machine")
    return lines


def published(peak: Peak, unit: str) -> str:
    """`, 989.4 TFLOP/s in the datasheet (72.0% of it)`; empty without a datasheet."""
    if peak.datasheet is None:
        return ""
    share = units.percent(peak.measured / peak.datasheet)
    return f", {units.short(int(peak.datasheet), unit)} in the datasheet ({share} of it)"
