"""Launch many small kernels at once.

**What it does.** With a GPU, reports a network that waits at least 5 % of its time for the CPU to launch kernels.

**Why is this bad?** In eager mode the CPU takes several microseconds to launch a kernel. If kernels are shorter than
that, the device is idle in between, and a faster device or fewer mult-adds change nothing (PyTorch, Accelerating
PyTorch with CUDA Graphs).

**Price.** As many launches as the network has operators. In seconds, the time that the device waits.

**Use instead.** A CUDA graph, which launches all kernels at once: `torch.compile(model, mode="reduce-overhead")`, or
`torch.cuda.make_graphed_callables`. A larger batch makes each kernel longer.
"""

from costlab.core.profile import Profile
from costlab.formatting.units import percent
from costlab.guidelines.model import CheckResult, Finding, Guideline, nothing_found
from costlab.latency.execution import ExecutionConfig

WAITING = 0.05  # share of the time


def check(profile: Profile, config: ExecutionConfig) -> CheckResult:
    """Find a network that waits for launches."""
    from costlab.latency._predict import predict_with

    prediction = predict_with(profile, config)
    waits = prediction.overhead_seconds
    if config.device.type != "cuda" or waits < WAITING * prediction.seconds:
        return CheckResult([])
    operators, part = len(prediction.by_op), percent(waits / prediction.seconds)
    found = Finding(
        message=f"{operators} operators, and {part} of the time the GPU waits for launches",
        advice="replay a CUDA graph: torch.compile(model, mode='reduce-overhead')",
        excess_launches=operators - 1,
        predicted_seconds_saved=waits,
    )
    return CheckResult([found])


BAD = {
    "many small layers": """from torch import nn

network = nn.Sequential(*(nn.Linear(16, 16) for _ in range(64)))
inputs = (1, 16)
"""
}
GOOD = {
    "a few large ones": """from torch import nn

network = nn.Sequential(*(nn.Linear(4096, 4096) for _ in range(4)))
inputs = (4096, 4096)
"""
}

GUIDELINE = Guideline("X14", "launch-bound", __doc__, nothing_found, check_on=check, as_run=True, bad=BAD, good=GOOD)
