"""The table of metrics: every number that costlab knows of a network, with its label and its unit."""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from costlab.errors import CostlabError
from costlab.formatting import units

PREDICTED = "predicted_seconds"
MEASURED = "measured_seconds"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a network, and of its modules if it can be split among them."""

    key: str  # the attribute of a cost, the key in JSON, the column of a table
    label: str  # in prose and in the head of a table
    unit: str = ""  # "" for a count, "B" for bytes, "s" for seconds, "FLOP/B"
    per_module: bool = True  # modules and operators have it, and their sum is the network's
    stored: bool = True  # a field of `Cost`; otherwise derived from one, or known for a device only
    sortable: bool = True
    budgetable: bool = True  # less of it is better

    def format(self, value: float | None) -> str:
        """The value as people read it, four significant digits and its unit."""
        if self.unit == "FLOP/B":
            return units.UNKNOWN if value is None else f"{units.factor(value)} FLOP/B"
        return units.quantity(value, self.unit)

    def change(self, value: float) -> str:
        """A difference with its sign."""
        return units.change(value, self.unit)


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric("mult_adds", "mult-adds"),
        Metric("element_wise_ops", "element-wise ops"),
        Metric("params", "params"),
        Metric("memory_access", "memory access"),
        Metric("read_bytes", "read bytes", "B"),
        Metric("write_bytes", "write bytes", "B"),
        Metric("activations", "activations"),
        Metric("activation_bytes", "activation bytes", "B"),
        Metric("param_bytes", "param bytes", "B"),
        Metric("bytes_accessed", "bytes accessed", "B", stored=False),
        Metric("flops", "FLOPs", stored=False, sortable=False),
        Metric("unused_params", "unused params", stored=False, sortable=False),
        Metric("peak_activation_bytes", "peak activation", "B", per_module=False, stored=False, sortable=False),
        Metric("peak_bytes", "peak memory", "B", per_module=False, stored=False, sortable=False),
        Metric("saved_bytes", "saved bytes", "B", stored=False, sortable=False),
        Metric("gradient_bytes", "gradient bytes", "B", per_module=False, stored=False, sortable=False),
        Metric("optimizer_bytes", "optimizer bytes", "B", per_module=False, stored=False, sortable=False),
        Metric("trainable_params", "trainable params", stored=False, sortable=False),
        Metric("arithmetic_intensity", "arithmetic intensity", "FLOP/B", False, False, False, budgetable=False),
        Metric(PREDICTED, "predicted", "s", stored=False),
        Metric(MEASURED, "measured", "s", stored=False, sortable=False, budgetable=False),
    )
}

SORTABLE = tuple(
    key for key, metric in METRICS.items() if metric.sortable and key != PREDICTED
)  # known without a device


def sortable_metric(name: str, timed: bool = False) -> str:
    """The key of the metric that `name` means, if tables can be sorted by it; `timed`: predicted times are known.

    Raises CostlabError if the metric is unknown, or needs a device.
    """
    key = metric_named(name, lambda metric: metric.sortable).key
    if key == PREDICTED and not timed:
        raise CostlabError(f"{PREDICTED} needs a device: choose one with --device")
    return key


def metric_named(
    name: str, among: Callable[[Metric], bool] = lambda metric: metric.key != MEASURED, others: Iterable[str] = ()
) -> Metric:
    """The metric that `name` means, with dashes or spaces for underscores, of those that `among` accepts.

    The first words are enough if no other metric begins with them: "predicted", "trainable".

    Args:
        others: what may be named instead, for the error.

    Raises:
        CostlabError: unknown metric; the message names the nearest.
    """
    keys = [metric.key for metric in METRICS.values() if among(metric)]
    key = re.sub(r"[ -]+", "_", name.strip().lower())
    begun = [each for each in keys if each.startswith(f"{key}_")]
    if key not in keys and len(begun) == 1:
        key = begun[0]
    if key not in keys:
        known = list(dict.fromkeys([*keys, *others]))
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"; nearest: {close[0]}" if close else f"; choose one of {', '.join(known)}"
        raise CostlabError(f"unknown metric {name!r}{hint}")
    return METRICS[key]
