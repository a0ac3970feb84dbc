"""`[tool.costlab]` of pyproject.toml: the models of a project, and how they are linted (docs/ci.md)."""

from __future__ import annotations

import contextlib
import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from costlab.ci.budgets import parse_budgets
from costlab.core.amounts import Amount
from costlab.core.files import read_text
from costlab.core.graph import Fusion
from costlab.errors import CostlabError
from costlab.guidelines import GUIDELINES
from costlab.guidelines.registry import find_guideline
from costlab.latency.devices import find_device

NAME = "pyproject.toml"
TABLE = "tool.costlab"
HEADER = re.compile(r"\s*\[\[\s*tool\s*\.\s*costlab\s*\.\s*model\s*\]\]")
LARGEST = 1 << 20  # bytes of a configuration
LONGEST = 10_000  # characters of a line: the memory that a dotted key takes is quadratic in its dots
NULL = re.compile(r"\\(u0000|U00000000)")
Result = TypeVar("Result")


def checked(function: Callable[[Any], Result]) -> Callable[[Any], Result]:
    """A check of ours as pydantic wants it: with ValueError."""

    def check(value: Any) -> Result:
        try:
            return function(value)
        except CostlabError as error:
            raise ValueError(str(error)) from None

    return check


def known_device(name: str) -> str:
    """The name of a device, or the full path of its file. Raises CostlabError where there is none."""
    find_device(name)
    return str(Path(name).resolve()) if name.endswith(".toml") else name


Rule = Annotated[str, AfterValidator(checked(lambda name: find_guideline(name).code))]
Device = Annotated[str, AfterValidator(checked(known_device))]
Inputs = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
Threshold = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TomlTable(BaseModel):
    """A table of TOML; keys have dashes. A key that it does not know is an error that names the nearest one."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"), frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def only_known_keys(cls, given: Any) -> Any:
        known = [name.replace("_", "-") for name in cls.model_fields]
        for key in given if isinstance(given, dict) else ():
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
                raise ValueError(f"no key {key!r}; {hint}")
        return given


class ModelConfig(TomlTable):
    """`[[tool.costlab.model]]`: a network that is linted, and what it may cost."""

    name: str = Field(min_length=1)
    target: str = Field(min_length=1)
    input: Inputs = []
    arguments: dict[str, Any] = {}
    batch: int | None = None
    resolution: int | None = None
    dtype: str | None = None
    budgets: dict[str, Any] = {}
    base: str | None = None  # a saved profile that budgets such as "+1%" count from

    @property
    def parsed_budgets(self) -> dict[str, Amount]:
        """The budgets as exact amounts, by metric."""
        return parse_budgets(self.budgets)

    @field_validator("budgets")
    @classmethod
    def are_amounts(cls, budgets: dict[str, Any]) -> dict[str, Any]:
        checked(parse_budgets)(budgets)
        return budgets

    @model_validator(mode="after")
    def changes_have_a_base(self) -> ModelConfig:
        changes = [f"{metric} = {amount.text!r}" for metric, amount in self.parsed_budgets.items() if amount.relative]
        if changes and self.base is None:
            raise ValueError(f'{changes[0]} is a change: add base = "profile.json", a saved profile to count from')
        return self


class LintConfig(TomlTable):
    """`[tool.costlab.lint]`: the rules, and what fails a run."""

    select: list[Rule] | None = None
    extend_select: list[Rule] = []
    ignore: list[Rule] = []
    per_module_ignores: dict[str, list[Rule]] = {}
    thresholds: dict[Rule, Threshold] = {}
    fail_level: Literal["note", "warning", "error"] = "warning"
    device: Device | None = None
    fusion: Fusion = "bn"


class ProjectConfig(TomlTable):
    """`[tool.costlab]`."""

    lint: LintConfig = LintConfig()
    model: list[ModelConfig] = []

    @field_validator("model")
    @classmethod
    def names_differ(cls, models: list[ModelConfig]) -> list[ModelConfig]:
        names = [model.name for model in models]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two models are called {twice!r}")
        return models


@dataclass(frozen=True)
class ConfigurationFile:
    """A configuration file, read."""

    path: Path
    settings: ProjectConfig
    lines: list[int]  # of each model's entry

    @property
    def folder(self) -> Path:
        """What the paths in it are relative to."""
        return self.path.resolve().parent


def find(folder: Path) -> Path | None:
    """The nearest pyproject.toml with a `[tool.costlab]`, in a folder or above it. Raises CostlabError."""
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        path = place / NAME
        if path.is_file() and table_of(parsed(path)[0]) is not None:
            return path
    return None


def read(path: Path) -> ConfigurationFile:
    """The `[tool.costlab]` of a TOML file. Raises CostlabError: which key, what is wrong, what is meant perhaps."""
    document, text = parsed(path)
    table = table_of(document)
    if table is None:
        raise CostlabError(f"{path} has no [{TABLE}]")
    try:
        with contextlib.chdir(path.resolve().parent):
            settings = ProjectConfig.model_validate(table)
    except ValidationError as error:
        raise CostlabError(f"{path}: {first_error(error, TABLE)}") from None
    return ConfigurationFile(path, settings, entry_lines(text, len(settings.model)))


def merged(configured: LintConfig, options: Mapping[str, Any]) -> LintConfig:
    """Options of the command line over the configuration; `select` then holds every rule that is checked.

    Each of the two either replaces the selection or adds to and removes from it; it starts with every guideline.

    Raises:
        CostlabError: an option has a value that there is not.
    """
    try:
        asked = LintConfig.model_validate({key: value for key, value in options.items() if value is not None})
    except ValidationError as error:
        raise CostlabError(f"--{first_error(error)}") from None
    codes = list(GUIDELINES)
    for layer in (configured, asked):
        codes = [*(codes if layer.select is None else layer.select), *layer.extend_select]
        codes = [code for code in codes if code not in layer.ignore]
    values = {name: getattr(asked, name) for name in asked.model_fields_set}
    return configured.model_copy(update={**values, "select": codes, "extend_select": [], "ignore": []})


def table_of(document: dict[str, Any]) -> Any:
    """What stands under `[tool.costlab]`; None where nothing does."""
    tools = document.get("tool")
    return tools.get("costlab") if isinstance(tools, dict) else None


def parsed(path: Path) -> tuple[dict[str, Any], str]:
    """A TOML file, and its text."""
    try:
        text = read_text(path, LARGEST, longest_line=LONGEST)
        if NULL.search(text):
            raise CostlabError(f"{path} holds a null character, which no name and no path has")
        return tomllib.loads(text), text
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        what = str(error) or "tables nest too deep"
        raise CostlabError(f"{path} is no TOML: {what[:1].lower()}{what[1:]}") from None


def entry_lines(text: str, models: int) -> list[int]:
    """The line of each `[[tool.costlab.model]]`; where they are written otherwise, that of the first mention."""
    lines = text.splitlines()
    found = [number for number, line in enumerate(lines, 1) if HEADER.match(line)]
    if len(found) == models:
        return found
    first = next((number for number, line in enumerate(lines, 1) if TABLE in line), 1)
    return [first] * models


def first_error(error: ValidationError, root: str = "") -> str:
    """The first thing that is wrong with a document, and where."""
    first = error.errors()[0]
    place = root
    for part in first["loc"]:
        if part != "[key]":
            place += f"[{part}]" if isinstance(part, int) else f"{'.' if place else ''}{part}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] != "value_error":
        message = message[:1].lower() + message[1:]
    if first["type"] not in ("value_error", "missing", "json_invalid"):
        message += f"; got {first['input']!r:.60}"
    others = error.error_count() - 1
    return f"{place}: {message}".removeprefix(": ") + (f" (and {others} more)" if others else "")
