"""The columns of a row: the arguments of a network, its costs, times and verdicts, and its error."""

from collections.abc import Callable, Mapping
from typing import Any

from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.validation import DEEPEST, LARGEST, is_count, nests_deeper
from costlab.guidelines import GUIDELINES
from costlab.latency.execution import ExecutionConfig
from costlab.sweeps.space import Space

NAME, ERROR = "name", "error"
RESERVED = ("key", "seconds")  # of a journal
COSTS = tuple(key for key, metric in METRICS.items() if metric.unit != "s")
VERDICTS = tuple(code for code, guideline in GUIDELINES.items() if guideline.limit is not None)
COUNTS = ("uncounted", "estimated")


def all_columns(space: Space) -> tuple[str, ...]:
    """The columns of every row."""
    return (NAME, *axis_columns(space).values(), *result_columns(space), ERROR)


def axis_columns(space: Space) -> dict[str, str]:
    """The column of each axis: its name, with a prefix if that is another column's."""
    taken = {NAME, ERROR, *RESERVED, *result_columns(space)}
    return {name: f"argument_{name}" if name in taken else name for name in space.axes}


def varied_columns(space: Space) -> list[str]:
    """The columns of the axes with more than one value."""
    return [column for name, column in axis_columns(space).items() if len(space.axes[name]) > 1]


def result_columns(space: Space) -> tuple[str, ...]:
    """The columns of results."""
    verdicts = (name for code in VERDICTS for name in (code, f"{code}_share"))
    return (*COSTS, *time_columns(space), *verdicts, *COUNTS)


def time_columns(space: Space) -> dict[str, ExecutionConfig]:
    """The column of the predicted time on each device; it has the device in its name if there are several."""
    configs = {
        device.name: ExecutionConfig(device, amp=space.amp, fusion=space.fusion, channels_last=space.channels_last)
        for device in space.devices
    }
    if len(configs) == 1:
        return dict.fromkeys([PREDICTED], *configs.values())
    return {f"{PREDICTED}_{name}": config for name, config in configs.items()}


def parquet_type(space: Space, column: str) -> str:
    """The type of a column as pyarrow names it."""
    axis = next((space.axes[name] for name, own in axis_columns(space).items() if own == column), None)
    if axis is not None:
        types = axis.types() - {type(None)}
        numeric = "int64" if types == {int} else "float64"
        return "bool_" if types == {bool} else numeric if types and types <= {int, float} else "string"
    if column in (*COSTS, *COUNTS) and column != "arithmetic_intensity":
        return "int64"
    return "string" if column in (NAME, ERROR, *VERDICTS) else "float64"


def row_checker(space: Space) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a row of a journal has the columns of a space, in their order, and a value of the right type in each."""
    columns = (*RESERVED, *all_columns(space))
    checks: dict[str, Callable[[Any], bool]] = {
        "key": is_string,
        "seconds": is_number,
        NAME: is_string,
        **dict.fromkeys(axis_columns(space).values(), lambda value: not nests_deeper(value, DEEPEST)),
        **dict.fromkeys(result_columns(space), lambda value: value is None or is_number(value)),
        **dict.fromkeys((*COSTS, *COUNTS), lambda value: value is None or is_count(value)),
        "arithmetic_intensity": lambda value: value is None or is_number(value),
        **dict.fromkeys(VERDICTS, lambda value: value is None or is_string(value)),
        ERROR: lambda value: value is None or is_string(value),
    }

    def is_row(row: Mapping[str, Any]) -> bool:
        return tuple(row) == columns and all(checks[column](value) for column, value in row.items())

    return is_row


def is_string(value: object) -> bool:
    """Whether a value is a string."""
    return type(value) is str


def is_number(value: object) -> bool:
    """Whether a value is a finite number, 0 or more."""
    return type(value) in (int, float) and 0 <= value <= LARGEST  # type: ignore[operator]
