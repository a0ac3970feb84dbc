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
    WithJsonSchema,
    field_validator,
    model_validator,
)

from costlab.ci.budgets import parse_budgets
from costlab.core.amounts import Amount
from costlab.core.files import read_text
from costlab.core.graph import Fusion, Mode
from costlab.errors import CostlabError
from costlab.guidelines import GUIDELINES
from costlab.guidelines.registry import find_guideline
from costlab.latency.devices import find_device

FILE_NAME = "pyproject.toml"
TABLE = "tool.costlab"
HEADER = re.compile(r"\s*\[\[\s*tool\s*\.\s*costlab\s*\.\s*model\s*\]\]")
LARGEST = 1 << 20  # bytes of a configuration
LONGEST = 10_000  # characters of a line: the memory that a dotted key takes is quadratic in its dots
NULL = re.compile(r"\\(u0000|U00000000)")
Result = TypeVar("Result")


def as_validator(function: Callable[[Any], Result]) -> Callable[[Any], Result]:
    """A function that raises CostlabError as a validator of pydantic, which expects ValueError."""

    def validate(value: Any) -> Result:
        try:
            return function(value)
        except CostlabError as error:
            raise ValueError(str(error)) from None

    return validate


def known_device(name: str) -> str:
    """The name of a device, or the full path of its file. Raises CostlabError if it is unknown."""
    find_device(name)
    return str(Path(name).resolve()) if name.endswith(".toml") else name


Rule = Annotated[str, AfterValidator(as_validator(lambda name: find_guideline(name).code))]
Device = Annotated[str, AfterValidator(as_validator(known_device))]
TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Inputs = Annotated[
    list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value), WithJsonSchema(TEXTS)
]
Threshold = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TomlTable(BaseModel):
    """A TOML table whose keys have dashes. An unknown key is an error that names the nearest known one."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"), frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def reject_unknown_keys(cls, table: Any) -> Any:
        known = [name.replace("_", "-") for name in cls.model_fields]
        for key in table if isinstance(table, dict) else ():
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known)}"
                raise ValueError(f"unknown key {key!r}; {hint}")
        return table


class ModelConfig(TomlTable):
    """`[[tool.costlab.model]]`: a network to lint, and its budgets."""

    name: str = Field(min_length=1)
    target: str = Field(min_length=1)
    input: Inputs = []
    arguments: dict[str, Any] = {}
    batch: int | None = None
    resolution: int | None = None
    dtype: str | None = None
    mode: Mode = "eval"
    training: dict[str, Any] = {}  # options of a training step: optimizer, amp, freeze, ...
    max_iterations: int | None = None
    budgets: dict[str, Any] = {}
    base: str | None = None  # a saved profile that budgets such as "+1%" count from

    @property
    def parsed_budgets(self) -> dict[str, Amount]:
        """The budgets as exact amounts, by metric."""
        return parse_budgets(self.budgets)

    @model_validator(mode="after")
    def check_training(self) -> ModelConfig:
        if self.training and self.mode != "step":
            raise ValueError('training needs mode = "step"')
        return self

    @field_validator("budgets")
    @classmethod
    def validate_budgets(cls, budgets: dict[str, Any]) -> dict[str, Any]:
        as_validator(parse_budgets)(budgets)
        return budgets


class LintConfig(TomlTable):
    """`[tool.costlab.lint]`: which rules to check, and which findings fail a run."""

    select: list[Rule] | None = None
    extend_select: list[Rule] = []
    ignore: list[Rule] = []
    per_module_ignores: dict[str, list[Rule]] = {}
    thresholds: dict[Rule, Threshold] = {}
    fail_level: Literal["note", "warning", "error"] = "warning"
    device: Device | None = None
    fusion: Fusion | None = None  # default: check with batch norms folded, predict as traced


class ProjectConfig(TomlTable):
    """`[tool.costlab]`."""

    lint: LintConfig = LintConfig()
    model: list[ModelConfig] = []

    @field_validator("model")
    @classmethod
    def require_distinct_names(cls, models: list[ModelConfig]) -> list[ModelConfig]:
        names = [model.name for model in models]
        duplicate = next((name for name in names if names.count(name) > 1), None)
        if duplicate is not None:
            raise ValueError(f"two models have the name {duplicate!r}")
        return models


@dataclass(frozen=True)
class ConfigurationFile:
    """The content of a configuration file."""

    path: Path
    settings: ProjectConfig
    lines: list[int]  # the line of each model

    @property
    def folder(self) -> Path:
        """The folder that paths in the file are relative to."""
        return self.path.resolve().parent


def find(folder: Path) -> Path | None:
    """The nearest pyproject.toml with a `[tool.costlab]`, in a folder or its parents. Raises CostlabError."""
    folder = folder.resolve()
    for parent in (folder, *folder.parents):
        path = parent / FILE_NAME
        if path.is_file() and table_of(read_toml(path)[0]) is not None:
            return path
    return None


def read(path: Path) -> ConfigurationFile:
    """The `[tool.costlab]` of a TOML file. Raises CostlabError with the key, what is wrong and a suggestion."""
    document, text = read_toml(path)
    table = table_of(document)
    if table is None:
        raise CostlabError(f"{path} has no [{TABLE}]")
    try:
        with contextlib.chdir(path.resolve().parent):
            settings = ProjectConfig.model_validate(table)
    except ValidationError as error:
        raise CostlabError(f"{path}: {first_error(error, TABLE)}") from None
    return ConfigurationFile(path, settings, entry_lines(text, len(settings.model)))


def merge_options(configured: LintConfig, options: Mapping[str, Any]) -> LintConfig:
    """The configuration overridden by command-line options; its `select` holds every rule to check.

    Rules are chosen in two steps, configuration and options, starting from all guidelines: each step replaces the rules
    (`select`), adds to them (`extend-select`) and removes some (`ignore`).

    Args:
        configured: the `[tool.costlab.lint]` of the configuration.
        options: values of options by name, with dashes; None if not given.

    Raises:
        CostlabError: an option has an invalid value.
    """
    try:
        given = LintConfig.model_validate({key: value for key, value in options.items() if value is not None})
    except ValidationError as error:
        raise CostlabError(f"--{first_error(error)}") from None
    codes = list(GUIDELINES)
    for step in (configured, given):
        codes = [*(codes if step.select is None else step.select), *step.extend_select]
        codes = [code for code in codes if code not in step.ignore]
    values = {name: getattr(given, name) for name in given.model_fields_set}
    return configured.model_copy(update={**values, "select": codes, "extend_select": [], "ignore": []})


def table_of(document: dict[str, Any]) -> Any:
    """The content of `[tool.costlab]`, or None."""
    tools = document.get("tool")
    return tools.get("costlab") if isinstance(tools, dict) else None


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """The content of a TOML file, and its text. Raises CostlabError."""
    try:
        text = read_text(path, LARGEST, longest_line=LONGEST)
        if NULL.search(text):
            raise CostlabError(f"{path} contains a null character")
        return tomllib.loads(text), text
    except (ValueError, RecursionError) as error:  # an integer of very many digits is a ValueError
        what = str(error) or "tables are nested too deeply"
        raise CostlabError(f"{path} is not valid TOML: {what[:1].lower()}{what[1:]}") from None


def entry_lines(text: str, models: int) -> list[int]:
    """The line of each `[[tool.costlab.model]]`; of the first `tool.costlab` if models are written in another form."""
    lines = text.splitlines()
    found = [number for number, line in enumerate(lines, 1) if HEADER.match(line)]
    if len(found) == models:
        return found
    first = next((number for number, line in enumerate(lines, 1) if TABLE in line), 1)
    return [first] * models


def first_error(error: ValidationError, root: str = "") -> str:
    """The first error in a document: its location below `root`, and the message."""
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
