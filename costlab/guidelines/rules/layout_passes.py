"""Use channels-last where NCHW convolutions pay for layout conversions.

**What it does.** With a device, predicts the network once more with weights and images in channels-last, and reports it
if that saves at least 2 % of the time.

**Why is this bad?** cuDNN's tensor-core kernels and oneDNN's blocked kernels compute in NHWC or a blocked layout. An
NCHW convolution is converted before and after, a pass over its input and its output each (NVIDIA, Convolutional Layers
User's Guide, "Tensor Layouts"; PyTorch, Channels Last Memory Format). In channels-last nothing is converted, as long as
every operator between convolutions keeps the layout.

**Price.** Unknown in elements. In seconds, the whole network in channels-last against the network as it is.

**Use instead.** `model.to(memory_format=torch.channels_last)`, and the same for the images.
"""

from dataclasses import replace

from costlab.core.cost import FAMILY_OF
from costlab.core.profile import Profile
from costlab.formatting.units import percent
from costlab.guidelines.model import CheckResult, Finding, Guideline, nothing_found
from costlab.latency.execution import ExecutionConfig

WORTH = 0.02  # of the time


def check(profile: Profile, config: ExecutionConfig) -> CheckResult:
    """Find a network that is faster in channels-last."""
    from costlab.latency._predict import predict_with

    images = [op for op in profile.ops if FAMILY_OF.get(op.kind) == "convolution" and len(op.output.shape) == 4]
    if config.channels_last or not images:
        return CheckResult([])
    now = predict_with(profile, config).seconds
    saved = now - predict_with(profile, replace(config, channels_last=True)).seconds
    if saved < WORTH * now:
        return CheckResult([])
    found = Finding(
        message=f"{len(images)} convolutions convert their layout, which takes {percent(saved / now)} of the time",
        advice="model and images .to(memory_format=torch.channels_last)",
        predicted_seconds_saved=saved,
    )
    return CheckResult([found])


BAD = {
    "convolutions on a GPU, in NCHW": """from torch import nn

network = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(4)))
inputs = (32, 64, 56, 56)
"""
}
GOOD = {
    "no convolution": """from torch import nn

network = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
inputs = (32, 64)
"""
}

GUIDELINE = Guideline("X13", "layout-passes", __doc__, nothing_found, check_on=check, as_run=True, bad=BAD, good=GOOD)
