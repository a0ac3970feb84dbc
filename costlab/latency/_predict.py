"""`costlab.predict`: the latency of a network on a device that is not at hand."""

import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from costlab.core.gc import gc_paused
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import KernelTable, lower
from costlab.latency.prediction import Prediction
from costlab.latency.roofline import BOUNDS, RooflineModel, whole_seconds

Options = tuple[object, ...]
_tables: dict[int, dict[Options, KernelTable]] = {}  # by the id of a live profile


def predict(
    profile: Profile,
    device: str | Path | Device,
    *,
    batch: int | None = None,
    dtype: str | None = None,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
    optimizer_form: str = "foreach",
) -> Prediction:
    """Predict the latency of one forward pass or training step on a device, operator by operator, without torch.

    Args:
        profile: the network, as traced by `costlab.profile`.
        device: a name (`costlab devices` lists them), the path of a .toml file, or a `Device`.
        batch: batch size; activations grow with it, weights do not. Default: the traced batch.
        dtype: "float32", "float16" or "bfloat16" for weights and inputs. Default: the traced type.
        amp: predict for `torch.autocast`: float16 on a GPU, bfloat16 on a CPU.
        fusion: "none" for eager mode, "bn" for folded batch norms, "pointwise" for `torch.compile`.
        channels_last: weights and images are in channels-last layout.
        optimizer_form: how torch runs the optimizer of a training step: "foreach", its default on GPUs, "for-loop" or
            "fused".

    Returns:
        The latency in seconds, in total and by operator, with what bounds each operator.

    Raises:
        CostlabError: unknown device, dtype, fusion or form of an optimizer, `batch` is not a positive integer, or a
            training step was traced in another precision than it is to be predicted for.
    """
    device = device if isinstance(device, Device) else find_device(device)
    config = ExecutionConfig(device, batch, dtype, amp, fusion, channels_last, optimizer_form)
    return predict_with(profile, config)


@gc_paused()
def predict_with(profile: Profile, config: ExecutionConfig, view: Profile | None = None) -> Prediction:
    """Predict the latency of one forward pass or training step, as `predict` does. Raises CostlabError.

    Args:
        profile: the network as traced.
        config: how it runs.
        view: the operators that run, if they are not those of `profile.fused(config.fusion)`: an edited network.
    """
    if profile.trace.autocast is not None:  # the trace has the casts
        config = replace(config, amp=False)
    elif config.amp and profile.trace.step is not None:
        raise CostlabError(f"the step of {profile.name} was traced without autocast: trace it with amp as well")
    traced = traced_batch(profile)
    if config.batch is not None and traced is None:
        raise CostlabError(f"{profile.name} has no input whose first dimension could be the batch")
    scale = config.batch / (traced or 1) if config.batch else 1.0
    if view is None:
        view = profile.fused(config.fusion)
        kernels = kernel_table(profile, view, config)
    else:
        kernels = KernelTable(lower(profile, view, config), len(view.ops))
    model = RooflineModel(kernels, config.device, scale)
    terms = model.terms(config.efficiency)
    by_op = np.bincount(kernels.op, terms.seconds, kernels.ops)
    by_term = [np.bincount(kernels.op, getattr(terms, bound), kernels.ops) for bound in BOUNDS]
    bound = np.argmax(by_term, axis=0)
    names = [op.name for op in view.ops]
    phases = Counter[str]()
    for op, seconds in zip(view.ops if profile.trace.step else (), by_op.tolist(), strict=False):
        phases[op.phase] += seconds
    present = np.unique(kernels.op).tolist()
    return Prediction(
        device=config.device.name,
        batch=config.batch or traced,
        dtype=config.dtype,
        amp=config.amp,
        fusion=config.fusion,
        channels_last=config.channels_last,
        seconds=float(whole_seconds(by_op.sum(), model.host(config.efficiency).sum(), config.efficiency)),
        by_op={names[i]: float(by_op[i]) for i in present},
        bound={names[i]: BOUNDS[bound[i]] for i in present},
        unknown=tuple(op.name for op, cost in zip(view.ops, view.costs, strict=True) if cost is None),
        by_phase=dict(phases),
        optimizer_form=config.optimizer_form if profile.trace.step else None,
        verified=config.device.verified,
        gpu=config.gpu,
    )


def kernel_table(profile: Profile, view: Profile, config: ExecutionConfig) -> KernelTable:
    """The kernels of a profile, lowered once for all devices and batches that run them alike."""
    if id(profile) not in _tables:
        _tables[id(profile)] = {}
        weakref.finalize(profile, _tables.pop, id(profile)).atexit = False
    tables = _tables[id(profile)]
    key = (
        config.gpu,
        config.device.units == 1,
        config.dtype,
        config.autocast_dtype,
        config.half_norms,
        config.fusion,
        config.channels_last,
        config.optimizer_form,
    )
    if key not in tables:
        tables[key] = KernelTable(lower(profile, view, config), len(view.ops))
    return tables[key]


def traced_batch(profile: Profile) -> int | None:
    """The first dimension of the first input."""
    shapes = [i.shape for i in profile.trace.inputs if i.shape]
    return shapes[0][0] if shapes else None
