"""What a device did in one pass: its kernels, the operators that launched them, and how long it was busy. No torch.

A trace holds passes over the whole network, and passes over its operators one by one. The host marks them, and each
operator, with ranges, whose names this module makes and reads.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import median

from costlab.measurement.kernel_trace import KernelTrace, Launch, Range, busy_shares, enclosing
from costlab.measurement.result import DeviceActivity, Kernel, Timing

WHOLE, PASS, OPERATOR = "costlab whole", "costlab operators", "costlab operator"
INDUCTOR = re.compile(r"(?:triton|cpp)_(?:[a-z]+_)?fused_(\w+?)_\d+$")


def operator_range(position: int) -> str:
    """The name of the range of an operator, by its position among those that are timed."""
    return f"{OPERATOR} {position}"


@dataclass(frozen=True, slots=True)
class Pass:
    """What ran on the device in a pass."""

    launches: Sequence[Launch]
    operators: Sequence[int | None]  # position of the operator that launched each; None outside of all
    seconds: Sequence[float]  # share of each in the busy time, which they sum to

    @property
    def sequence(self) -> tuple[tuple[str, int | None], ...]:
        """What ran, without times: equal in passes that did the same."""
        return tuple(zip((launch.name for launch in self.launches), self.operators, strict=True))

    def of_operator(self, position: int | None) -> float:
        """Seconds of one operator, or of no operator."""
        return sum(seconds for seconds, own in zip(self.seconds, self.operators, strict=True) if own == position)


def passes_of(trace: KernelTrace, name: str) -> list[Pass]:
    """The passes in ranges of this name, each of which ends only when the device has done its work.

    A launch belongs to the pass and to the operator during which the host called for it; if the trace does not tell
    when that was, to the pass during which it ran.
    """
    passes = [one for one in trace.ranges if one.name == name]
    operators = [one for one in trace.ranges if one.name.startswith(f"{OPERATOR} ")]
    members: list[list[tuple[Launch, int | None]]] = [[] for _ in passes]
    owners = enclosing((launch.launched for launch in trace.launches), operators)
    homes = enclosing((one.start if one.launched is None else one.launched for one in trace.launches), passes)
    for launch, owner, home in zip(trace.launches, owners, homes, strict=True):
        if home is not None:
            members[home].append((launch, None if owner is None else position_of(operators[owner])))
    return [
        Pass([launch for launch, _ in own], [owner for _, owner in own], busy_shares([launch for launch, _ in own]))
        for own in members
    ]


def position_of(operator: Range) -> int:
    """The position in the name of an operator's range."""
    return int(operator.name.removeprefix(OPERATOR))


def activity_of(
    trace: KernelTrace, names: Sequence[str], fused: Callable[[str], tuple[str, ...]] = lambda kernel: ()
) -> tuple[DeviceActivity, dict[str, Timing]]:
    """What the device did, and the time of each operator on it.

    Args:
        names: of the timed operators, by position; empty if only the whole network ran.
        fused: the kinds of operators that a kernel of this name replaces.
    """
    whole, apart = passes_of(trace, WHOLE), passes_of(trace, PASS)
    usual = typical(apart if names else whole)
    kernels = tuple(
        Kernel(
            name=launch.name,
            op=None if position is None else names[position],
            stream=launch.stream,
            grid=launch.grid,
            block=launch.block,
            seconds=median(one.seconds[number] for one in usual),
            fused=fused(launch.name),
        )
        for number, (launch, position) in enumerate(zip(usual[0].launches, usual[0].operators, strict=True))
    )
    times = {
        name: Timing(tuple(one.of_operator(position) for one in apart)) for position, name in enumerate(names) if apart
    }
    busy = Timing(tuple(sum(one.seconds) for one in whole))
    unattributed = median(one.of_operator(None) for one in apart) if apart else None
    return DeviceActivity("kernels", busy, kernels, unattributed), times


def typical(passes: Sequence[Pass]) -> list[Pass]:
    """The passes that did what most of them did: a library may choose another kernel now and then."""
    usual = Counter(one.sequence for one in passes).most_common(1)[0][0]
    return [one for one in passes if one.sequence == usual]


def fused_kinds(kernel: str, known: Collection[str]) -> tuple[str, ...]:
    """The operators in the name that TorchInductor gives a kernel: `triton_poi_fused_add_relu_3` has add and relu.

    Args:
        known: names of torch's operators; of several readings the one with the longest names is taken.
    """
    found = INDUCTOR.search(kernel)
    rest, kinds = found[1].split("_") if found else [], []
    while rest:
        lengths = range(len(rest), 0, -1)
        length = next((n for n in lengths if "_".join(rest[:n]) in known), 1)
        kinds.append("_".join(rest[:length]))
        rest = rest[length:]
    return tuple(kinds)
