"""`costlab.predict`: the latency of a network on a device that one need not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from costlab.core.gc import uncollected
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.latency.devices import Device, find_device
from costlab.latency.lowering import Kernels, Running, kernels_of
from costlab.latency.precision import FLOATS
from costlab.latency.roofline import BOUNDS, DIVISORS, START, Model, generated, whole_seconds

if TYPE_CHECKING:
    import networkx as nx

AUTOCAST = {"cuda": "float16", "mps": "float16", "cpu": "bfloat16"}  # torch's own choice of the lower precision
REFERENCES = {  # whose efficiency a device has that was not fitted itself
    "cuda": {"eager": "rtx3090", "compiled": "rtx4090"},
    "mps": {"eager": "rtx3090", "compiled": "rtx4090"},
    "cpu": {"eager": "i9-10940x", "compiled": "i9-10940x"},
}


@dataclass(frozen=True)
class Prediction:
    """The predicted latency of one forward pass. Prints nothing."""

    device: str
    batch: int | None  # None where the network has no inputs to tell it by
    dtype: str | None
    amp: bool
    fusion: str
    channels_last: bool
    seconds: float  # the whole forward pass
    by_op: Mapping[str, float] = field(repr=False)  # of each operator of the fused profile that moves anything
    bound: Mapping[str, str] = field(repr=False)  # what bounds each: "compute", "memory" or "launch"
    unknown: tuple[str, ...]  # operators without a cost rule: not in the sum

    @property
    def overhead_seconds(self) -> float:
        """What the whole takes longer than its operators: the device waits for the host."""
        return self.seconds - sum(self.by_op.values())

    @property
    def summary(self) -> dict[str, Any]:
        """The prediction without its operators, as plain data."""
        return {
            "device": self.device,
            "batch": self.batch,
            "dtype": self.dtype,
            "amp": self.amp,
            "fusion": self.fusion,
            "channels_last": self.channels_last,
            "predicted_seconds": self.seconds,
            "overhead_seconds": self.overhead_seconds,
        }

    def join(self, profile: Profile) -> nx.DiGraph:
        """The graph of the fused profile, a copy, with `predicted_seconds` on every node."""
        graph = profile.fused(self.fusion).graph.copy()
        for name, node in graph.nodes.items():
            node["predicted_seconds"] = self.by_op.get(name, 0.0 if node["free"] else None)
        return graph

    def _repr_html_(self) -> str:
        from costlab.formatting.notebook import html_repr

        return html_repr(self)


@uncollected()
def predict(
    profile: Profile,
    device: str | Path | Device,
    *,
    batch: int | None = None,
    dtype: str | None = None,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
) -> Prediction:
    """The latency of one forward pass on a device, operator by operator, without torch.

    Args:
        device: a name (`costlab devices` lists them), a file that ends in .toml, or a Device.
        batch: members of the batch; activations grow with it, weights do not. By default the traced one.
        dtype: type of the network and its inputs; by default the traced one.
        amp: run under `torch.autocast`: float16 on a GPU, bfloat16 on a CPU.
        fusion: "none" stands for eager running, "bn" for folded batch norms, "pointwise" for `torch.compile`.
        channels_last: the network and its images lie in channels-last.

    Raises:
        CostlabError: there is no such device, type or fusion, or the batch is no whole number of 1 and more.
    """
    device = device if isinstance(device, Device) else find_device(device)
    if dtype is not None and dtype not in FLOATS:
        raise CostlabError(f"no floating-point type {dtype!r} to predict for; there are {', '.join(FLOATS)}")
    traced = traced_batch(profile)
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise CostlabError(f"a batch is a whole number, 1 or more; {batch!r} is not")
    if batch is not None and traced is None:
        raise CostlabError(f"{profile.name} has no input whose first dimension could be the batch")
    mode = "compiled" if fusion == "pointwise" else "eager"
    efficiency = efficiency_of(device, mode)
    running = Running(
        dtype=dtype,
        lower=AUTOCAST[device.type] if amp else None,
        half_norms=amp and efficiency["half_norms"] > 0,
        channels_last=channels_last,
        compiled=mode == "compiled",
        gpu=device.type != "cpu",
    )
    view = fused_view(profile, fusion)
    model = Model(lowered(profile, view, fusion, running), device, (batch or 1) / (traced or 1) if batch else 1.0)
    return predicted(profile, view, model, efficiency, running, fusion, batch or traced, amp)


def predicted(
    profile: Profile,
    view: Profile,
    model: Model,
    efficiency: Mapping[str, float],
    running: Running,
    fusion: str,
    batch: int | None,
    amp: bool,
) -> Prediction:
    kernels, terms = model.kernels, model.terms(efficiency)
    by_op = np.bincount(kernels.op, terms.seconds, kernels.ops)
    by_term = [np.bincount(kernels.op, term, kernels.ops) for term in (terms.compute, terms.memory, terms.launch)]
    bound = np.argmax(by_term, axis=0)
    names = [op.name for op in view.ops]
    present = np.unique(kernels.op).tolist()
    whole = whole_seconds(by_op.sum(), len(kernels), efficiency, model.gpu)
    return Prediction(
        device=model.device.name,
        batch=batch,
        dtype=running.dtype,
        amp=amp,
        fusion=fusion,
        channels_last=running.channels_last,
        seconds=float(whole),
        by_op={names[i]: float(by_op[i]) for i in present},
        bound={names[i]: BOUNDS[bound[i]] for i in present},
        unknown=tuple(op.name for op, cost in zip(view.ops, view.costs, strict=True) if cost is None),
    )


def fused_view(profile: Profile, fusion: str) -> Profile:
    """The fused profile, worked out once."""
    if ("fused", fusion) not in profile.derived:
        profile.derived["fused", fusion] = profile.fused(fusion)
    found: Profile = profile.derived["fused", fusion]
    return found


def lowered(profile: Profile, view: Profile, fusion: str, running: Running) -> Kernels:
    """The kernels of a profile, worked out once for every way of running it."""
    key = "kernels", fusion, running
    if key not in profile.derived:
        profile.derived[key] = Kernels(kernels_of(profile, view, running), len(view.ops))
    found: Kernels = profile.derived[key]
    return found


def traced_batch(profile: Profile) -> int | None:
    """The first dimension of the first input."""
    shapes = [i.shape for i in profile.trace.inputs if i.shape]
    return shapes[0][0] if shapes else None


def efficiency_of(device: Device, mode: str) -> dict[str, float]:
    """The parameters of a device when it runs "eager" or "compiled": its own, or those of the device it refers to.

    Raises:
        CostlabError: its file names a parameter that does not exist, or refers to a device that does not.
    """
    own = device.efficiency
    if mode in own:
        return checked(own[mode], device)
    if mode == "compiled" and "eager" in own:
        return generated(checked(own["eager"], device))
    reference = find_device(str(own.get("reference") or REFERENCES[device.type][mode]))
    if mode in reference.efficiency:
        return checked(reference.efficiency[mode], reference)
    if mode == "compiled" and "eager" in reference.efficiency:
        return generated(checked(reference.efficiency["eager"], reference))
    return (
        dict(START) if "compiled" not in reference.efficiency else checked(reference.efficiency["compiled"], reference)
    )


def checked(table: Any, device: Device) -> dict[str, float]:
    """Fitted numbers on top of the starting ones."""
    unknown = sorted(set(table) - START.keys()) if isinstance(table, Mapping) else ["efficiency"]
    if unknown:
        raise CostlabError(f"device {device.name}: no parameter {unknown[0]!r}; docs/latency.md lists them")
    for name, value in table.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not (value > 0 or (value == 0 and name not in DIVISORS)):
            least = "above 0" if name in DIVISORS else "of 0 or more"
            raise CostlabError(f"device {device.name}: parameter {name} is a number {least}; {value!r:.60} is not")
    return {**START, **{name: float(value) for name, value in table.items()}}
