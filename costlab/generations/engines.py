"""What runs a language model: how it launches kernels, keeps its cache and divides memory among sequences."""

from dataclasses import dataclass

from costlab.errors import CostlabError
from costlab.latency.device import nearest


@dataclass(frozen=True)
class Engine:
    """One way of running a language model. Times come on top of what a device predicts for its kernels."""

    name: str
    fusion: str  # of the predicted kernels
    launches: bool  # the host launches every operator; otherwise kernels are replayed from a graph
    cache_in_place: bool  # new keys and values are written into the cache; otherwise the cache is copied
    schedules: bool  # sequences that do not fit wait for others to end
    memory_share: float  # of the device's memory that it uses
    operator_seconds: float = 0.0  # of Python for every operator, beyond its launch
    device_factor: float = 1.0  # fitted: time of its kernels by the predicted time
    step_seconds: float = 0.0  # fitted: of scheduling and sampling, for each step


# memory_share: vLLM's gpu_memory_utilization and TensorRT-LLM's free_gpu_memory_fraction are 0.9 by default.
# Fitted: docs/language-models.md says on which rows.
ENGINES = {
    engine.name: engine
    for engine in (
        Engine("eager", "none", True, False, False, 1.0, operator_seconds=8e-6),
        Engine("graphs", "pointwise", False, True, False, 1.0),
        Engine("vllm", "pointwise", False, True, True, 0.9, device_factor=1.00, step_seconds=2.88e-3),
        Engine("tensorrt-llm", "pointwise", False, True, True, 0.9, device_factor=0.85, step_seconds=3.82e-3),
    )
}


def find_engine(name: str) -> Engine:
    """The engine of that name. Raises CostlabError."""
    if name not in ENGINES:
        raise CostlabError(f"no engine {name!r}; choose one of {', '.join(ENGINES)}{nearest(name, ENGINES)}")
    return ENGINES[name]
