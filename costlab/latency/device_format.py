"""The format of device files (docs/devices.md): TOML in which every number may name its source."""

from __future__ import annotations

import reprlib
import tomllib
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from costlab.core.validation import nests_deeper
from costlab.errors import CostlabError
from costlab.latency.device import DTYPES, Cache, Device, Link, nearest

DEEPEST = 8  # maximum nesting of tables
LONGEST = 2000  # maximum bytes of a line: the time to read a dotted key is quadratic in its dots

Number = Annotated[float, Field(strict=True, ge=1e-12, le=1e30, allow_inf_nan=False)]
Whole = Annotated[float, Field(strict=True, ge=1, le=1e30, multiple_of=1, allow_inf_nan=False), AfterValidator(int)]
Words = Annotated[str, Field(strict=True, min_length=1, max_length=1000)]


def validate_dtypes(flops: dict[str, float]) -> dict[str, float]:
    """Every key is a dtype."""
    for dtype in flops:
        if dtype not in DTYPES:
            raise ValueError(f"should map dtypes ({', '.join(DTYPES)}) to peaks; unknown dtype {reprlib.repr(dtype)}")
    return flops


def validate_float32(flops: dict[str, float]) -> dict[str, float]:
    """There is a peak for float32."""
    if "float32" not in flops:
        raise ValueError("should have float32, the fallback of all other types")
    return flops


def validate_levels(caches: list[CacheEntry]) -> list[CacheEntry]:
    """No level occurs twice."""
    levels = [cache.level for cache in caches]
    if len(set(levels)) < len(levels):
        raise ValueError("should have each level once")
    return caches


def validate_parameters(table: dict[str, Any]) -> dict[str, Any]:
    """Tables of numbers and strings, under any keys."""
    for key, value in table.items():
        if isinstance(value, dict):
            validate_parameters(value)
        elif not isinstance(value, str) and not (type(value) in (int, float) and abs(value) <= 1e30):
            raise ValueError(f"should hold numbers, strings and tables; {reprlib.repr(key)} is {reprlib.repr(value)}")
    return table


Peaks = Annotated[dict[str, Number], AfterValidator(validate_dtypes)]


class Entry(BaseModel):
    """A table of a device file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class CacheEntry(Entry):
    """A `[[caches]]` table."""

    level: Literal["L1", "L2", "L3"]
    bytes: Whole
    per: Literal["unit", "device"]
    bandwidth: Number | None = None


class LinkEntry(Entry):
    """The `[link]` table."""

    bandwidth: Number
    latency: Number


class DeviceEntry(Entry):
    """A device file without its sources."""

    title: Words
    type: Literal["cuda", "cpu", "mps"]
    architecture: Words
    units: Whole
    clock: Number
    bandwidth: Number
    launch_seconds: Number
    vector_flops: Annotated[Peaks, AfterValidator(validate_float32)]
    matrix_flops: Peaks = {}
    memory: Whole | None = None
    power: Number | None = None
    boost: Annotated[float, Field(strict=True, gt=0, le=2)] = 1.0
    slowest_unit: Annotated[float, Field(strict=True, gt=0, le=1)] = 1.0
    caches: Annotated[list[CacheEntry], AfterValidator(validate_levels)] = []
    link: LinkEntry | None = None
    measured: Words | None = None
    efficiency: Annotated[dict[str, Any], AfterValidator(validate_parameters)] = {}


ENTRIES: dict[str, type[Entry]] = {"caches": CacheEntry, "link": LinkEntry}


def parsed(content: bytes, name: str) -> Device:
    """The device in a file's content. Raises CostlabError: which key is invalid, and why."""
    if max(map(len, content.splitlines()), default=0) > LONGEST:
        raise CostlabError(f"a line has more than {LONGEST} characters")
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise CostlabError("it is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise CostlabError(f"invalid TOML: {error}") from None
    if nests_deeper(document, DEEPEST):
        raise CostlabError(f"tables are nested more than {DEEPEST} levels deep")
    texts = document.pop("sources", {})
    if not isinstance(texts, dict) or not all(isinstance(words, str) and words for words in texts.values()):
        raise CostlabError("sources should be a table of strings")
    sources: dict[str, str] = {}
    plain = {
        key: value if key == "efficiency" else without_sources(value, key, texts, sources)
        for key, value in document.items()
    }
    try:
        entry = DeviceEntry.model_validate(plain)
    except ValidationError as error:
        raise CostlabError(message(error)) from None
    caches = tuple(Cache(**cache.model_dump()) for cache in entry.caches)
    link = Link(**entry.link.model_dump()) if entry.link else None
    return Device(name=name, **entry.model_dump(exclude={"caches", "link"}), caches=caches, link=link, sources=sources)


def without_sources(value: Any, where: str, texts: dict[str, str], sources: dict[str, str]) -> Any:
    """A value with each `{ value = 1.0, source = "KEY" }` replaced by 1.0; adds the sources to `sources`, by path."""
    if isinstance(value, list):
        levels = [item.get("level", i) if isinstance(item, dict) else i for i, item in enumerate(value)]
        return [
            without_sources(item, f"{where}.{level}", texts, sources) for item, level in zip(value, levels, strict=True)
        ]
    if not isinstance(value, dict):
        return value
    if "value" not in value and "source" not in value:
        return {key: without_sources(item, f"{where}.{key}", texts, sources) for key, item in value.items()}
    if set(value) != {"value", "source"}:
        raise CostlabError(f"{where} should be a number or {{ value = NUMBER, source = KEY }}")
    key = value["source"]
    if not isinstance(key, str) or key not in texts:
        raise CostlabError(f"{where}: [sources] has no {reprlib.repr(key)}{nearest(str(key), texts)}")
    sources[where] = texts[key]
    return value["value"]


def message(error: ValidationError) -> str:
    """The first problem, in one line; a misspelled key is more helpful than the key that is then missing."""
    first = min(error.errors(include_url=False), key=lambda found: found["type"] == "missing")
    where, last = ".".join(map(str, first["loc"])), str(first["loc"][-1])
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] == "extra_forbidden":
        known = [*ENTRIES.get(str(first["loc"][0]), DeviceEntry).model_fields, "sources"]
        return f"{reprlib.repr(where)} is not a key of a device file{nearest(last, known)}"
    what = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    got = "" if first["type"] == "value_error" else f"; got {reprlib.repr(first['input'])}"
    return f"{where} {what}{got}"


def text(device: Device) -> str:
    """The content of a device's file, which `parsed` reads back."""
    keys = {words: f"s{number}" for number, words in enumerate(dict.fromkeys(device.sources.values()), 1)}

    def lines(values: dict[str, Any], prefix: str = "") -> str:
        return "".join(line(key, value, prefix + key) for key, value in values.items() if value is not None)

    def line(key: str, value: Any, where: str) -> str:
        if where not in device.sources:
            return tomli_w.dumps({key: value})
        return f'{key} = {{ {tomli_w.dumps({"value": value}).strip()}, source = "{keys[device.sources[where]]}" }}\n'

    values = {key: getattr(device, key) for key in DeviceEntry.model_fields}
    for key in ("boost", "slowest_unit"):
        if values[key] == 1:
            del values[key]
    vector, matrix, link = map(values.pop, ("vector_flops", "matrix_flops", "link"))
    caches, efficiency = map(values.pop, ("caches", "efficiency"))
    sections = [lines(values), f"[vector_flops]\n{lines(vector, 'vector_flops.')}"]
    if matrix:
        sections.append(f"[matrix_flops]\n{lines(matrix, 'matrix_flops.')}")
    if link:
        sections.append(f"[link]\n{lines(vars(link), 'link.')}")
    sections += [f"[[caches]]\n{lines(vars(cache), f'caches.{cache.level}.')}" for cache in caches]
    rest = {"efficiency": efficiency, "sources": {key: words for words, key in keys.items()}}
    sections.append(tomli_w.dumps({key: table for key, table in rest.items() if table}))
    return "\n".join(section for section in sections if section)
