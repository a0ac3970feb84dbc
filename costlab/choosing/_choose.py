"""`costlab.choose`: the most accurate pretrained networks inside budgets of time and cost."""

import fnmatch
from collections.abc import Callable, Sequence
from pathlib import Path

from costlab.choosing.catalogue import DATE, SOURCE, Candidate, published, read_table
from costlab.choosing.margins import factor_of
from costlab.choosing.result import Choice, Network
from costlab.core.conditions import Criterion, parse_criterion
from costlab.core.pareto import pareto_front
from costlab.errors import CostlabError
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig

MARGIN = 0.7  # of the networks that look as if they met a budget of time, those that do
ACCURACIES = ("top1", "top5")
SORTS = (*ACCURACIES, "predicted_seconds", "mult_adds", "params", "peak_activation_bytes")


def choose(
    *,
    device: str | Path | Device,
    budgets: Sequence[str] = (),
    batch: int = 1,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
    sort: str = "top1",
    filter: str | None = None,
    margin: float = MARGIN,
    table: str | Path | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Choice:
    """The pretrained networks that meet budgets on a device, by accuracy.

    Each network is counted and predicted at the image size at which its accuracy was published. The first question
    traces all networks, or those of its filter, which takes minutes; their costs are kept in the cache.

    Args:
        device: a name, the path of a .toml file, or a `Device`.
        budgets: conditions on "latency" (of the whole batch) or a metric: "latency<=2ms", "params<=20M".
        batch: images at a time.
        amp, fusion, channels_last: as in `costlab.predict`.
        sort: "top1", "top5", or a cost.
        filter: a pattern of names, such as "mobilenet*".
        margin: how sure a budget of time is to hold, 0.5 to 0.99, by the published error of predictions.
        table: a CSV file with columns model and top1 (perhaps top5, image_size) instead of timm's networks.
        progress: called with how many networks are traced, of how many.

    Returns:
        The networks inside the budgets, best first, with the frontier of accuracy over time.

    Raises:
        CostlabError: a budget, the table, the device or another argument is invalid, or no network matches.
    """
    config = ExecutionConfig(
        device if isinstance(device, Device) else find_device(device), batch, None, amp, fusion, channels_last
    )
    criteria = [budget(text) for text in budgets]
    check(sort, margin)
    every = published() if table is None else read_table(Path(table))
    considered, failed = predicted(every, matching(every, filter), config, progress)
    factor = factor_of(margin, config)
    inside = [n for n in considered if all(c.holds(limited(n, c.key, factor)) for c in criteria)]
    inside.sort(key=lambda n: order(n, sort))
    return Choice(
        device=config.device.name,
        verified=config.device.verified,
        batch=batch,
        setup=setup(config),
        budgets=tuple(c.text for c in criteria),
        margin=margin,
        source=f"{SOURCE}, {DATE}" if table is None else str(table),
        networks=tuple(inside),
        considered=tuple(considered),
        frontier=tuple(frontier(inside)),
        failed=failed,
        nearest=None if inside or not considered else min(considered, key=lambda n: excess(n, criteria, factor)),
    )


def check(sort: str, margin: float) -> None:
    """Raise CostlabError for an unknown order, or a margin out of its range."""
    if sort not in SORTS:
        raise CostlabError(f"unknown sort {sort!r}; choose one of {', '.join(SORTS)}")
    if not 0.5 <= margin <= 0.99:
        raise CostlabError(f"margin must be from 0.5 to 0.99, got {margin!r}")


def matching(every: Sequence[Candidate], pattern: str | None) -> list[int]:
    """The positions of the networks whose name matches a pattern. Raises CostlabError if there is none."""
    kept = [n for n, c in enumerate(every) if pattern is None or fnmatch.fnmatchcase(c.model, pattern)]
    if not kept:
        raise CostlabError(f"no network matches {pattern!r}; patterns are such as 'mobilenet*'")
    return kept


def predicted(
    every: Sequence[Candidate], kept: Sequence[int], config: ExecutionConfig, progress: Callable[[int, int], None]
) -> tuple[list[Network], dict[str, str]]:
    """The networks in some positions with their costs, and those that have none, with the reason."""
    from costlab.choosing.lowered import networks, read_networks, seconds_of

    found = read_networks(every, config)
    if found is None:  # only those that are asked for
        every, kept = [every[n] for n in kept], range(len(kept))
        found = networks(every, config, progress)
    seconds = seconds_of(found, config, config.batch or 1)
    considered, failed = [], {}
    for n in kept:
        if found.errors[n]:
            failed[every[n].model] = found.errors[n]
            continue
        mult_adds, params, peak = map(int, found.costs[n])
        considered.append(Network(*every[n], float(seconds[n]), mult_adds, params, peak))
    return considered, failed


def budget(text: str) -> Criterion:
    """A condition on a metric; "latency" is the predicted time. Raises CostlabError."""
    stripped = text.strip()
    renamed = f"predicted_seconds{stripped[7:]}" if stripped.lower().startswith("latency") else stripped
    try:
        criterion = parse_criterion(renamed)
    except CostlabError as error:
        if not str(error).startswith("unknown metric"):
            raise CostlabError(str(error).replace("predicted_seconds", "latency")) from None
        criterion = None
    if criterion is None or criterion.key not in SORTS or criterion.key in ACCURACIES:
        raise CostlabError(f"{text!r}: budgets are on latency, mult_adds, params or peak_activation_bytes")
    if getattr(criterion.value, "relative", False):
        raise CostlabError(f"{text!r}: a change needs a base; write an amount, such as latency<=2ms")
    return Criterion(criterion.key, criterion.operator, criterion.value, stripped)


def limited(network: Network, key: str, factor: float) -> float:
    """The value of a network that has to be inside a budget; a time with its margin."""
    value: float = getattr(network, key)
    return value * factor if key == "predicted_seconds" else value


def excess(network: Network, criteria: Sequence[Criterion], factor: float) -> float:
    """How many times over its budgets a network is, at most."""
    ratios = []
    for criterion in criteria:
        wanted = float(getattr(criterion.value, "value", 0)) or 1e-30
        value = limited(network, criterion.key, factor)
        ratios.append(value / wanted if criterion.operator.startswith("<") else wanted / max(value, 1e-30))
    return max(ratios)


def order(network: Network, sort: str) -> tuple[float, float]:
    """The most accurate first, or the cheapest."""
    value = getattr(network, sort)
    first = -(value or 0.0) if sort in ACCURACIES else value
    return first, network.predicted_seconds


def frontier(networks: Sequence[Network]) -> list[Network]:
    """The networks that no other one beats in top-1 and predicted time, the fastest first."""
    return [networks[i] for i in pareto_front([(n.predicted_seconds, n.top1) for n in networks], False, True)]


def setup(config: ExecutionConfig) -> str:
    """How the networks run, in words."""
    words = [f"{config.autocast_dtype} autocast" if config.amp else "float32"]
    words += ["compiled" if config.compiled else "eager"]
    return ", ".join([*words, "channels-last"] if config.channels_last else words)
