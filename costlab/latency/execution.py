"""How a network is executed: what a prediction needs in addition to the network."""

from dataclasses import dataclass
from functools import cached_property

from costlab.errors import CostlabError
from costlab.latency.device import Device
from costlab.latency.efficiency import efficiency_of
from costlab.latency.precision import FLOATS

OPTIMIZER_FORMS = ("foreach", "for-loop", "fused")
AUTOCAST = {"cuda": "float16", "mps": "float16", "cpu": "bfloat16"}  # torch's default lower precision by device type


@dataclass(frozen=True)
class ExecutionConfig:
    """A device and how a network runs on it.

    Args:
        device: where the network runs.
        batch: size of the batch; None for the batch of the trace.
        dtype: floating-point type of the weights and inputs; None for the type of the trace.
        amp: run under `torch.autocast`.
        fusion: "none" (eager), "bn" (batch norms folded into convolutions) or "pointwise" (`torch.compile`).
        channels_last: weights and images are in channels-last layout.
        optimizer_form: how torch runs the optimizer of a training step: "foreach" (its default on GPUs), "for-loop" or
            "fused".

    Raises:
        CostlabError: `batch` is not a positive integer, or `dtype` is not a known floating-point type.
    """

    device: Device
    batch: int | None = None
    dtype: str | None = None
    amp: bool = False
    fusion: str = "none"
    channels_last: bool = False
    optimizer_form: str = "foreach"

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in FLOATS:
            raise CostlabError(f"cannot predict for dtype {self.dtype!r}; use one of {', '.join(FLOATS)}")
        if self.batch is not None and (type(self.batch) is not int or self.batch < 1):
            raise CostlabError(f"batch must be a positive integer, got {self.batch!r}")
        if self.optimizer_form not in OPTIMIZER_FORMS:
            forms = ", ".join(OPTIMIZER_FORMS)
            raise CostlabError(f"unknown form of an optimizer {self.optimizer_form!r}; use one of {forms}")

    @property
    def gpu(self) -> bool:
        return self.device.is_gpu

    @property
    def compiled(self) -> bool:
        """Whether a compiler generates the code: casts are free, element-wise operators fuse."""
        return self.fusion == "pointwise"

    @property
    def autocast_dtype(self) -> str | None:
        """The lower precision of autocast; None without autocast."""
        return AUTOCAST[self.device.type] if self.amp else None

    @cached_property
    def efficiency(self) -> dict[str, float]:
        """The fitted parameters of the device for this way of running (`costlab.latency.parameters`)."""
        return efficiency_of(self.device, "compiled" if self.compiled else "eager")

    @property
    def half_norms(self) -> bool:
        """Whether layer and group norms stay in the lower precision under autocast."""
        return self.amp and self.efficiency["half_norms"] > 0
