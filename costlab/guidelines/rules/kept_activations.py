"""Do not keep activations for the backward pass that cheap operators make again.

**What it does.** In a training step (`--mode step`), checks for activations that are kept for the backward pass
although element-wise operators, norms or copies lead to them from others that are kept as well: of a batch norm and an
activation between two convolutions, the inputs of both and the output.

**Why is this bad?** Every activation that is kept lives from the forward pass to its gradient and limits the batch. One
of the two ends is enough: the other is made again in the kernel that needs it (Rota Bulò et al., In-Place Activated
BatchNorm, arXiv 1712.02616).

**Price.** The bytes that the step keeps less; elements moved are unknown.

**Use instead.** `torch.compile`, which computes cheap operators again in the backward pass; an in-place or fused norm
and activation; `inplace=True` where the activation's input is not needed.
"""

from costlab.core.profile import Profile
from costlab.guidelines.analysis.kept import recomputable
from costlab.guidelines.model import CheckResult, Finding, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find activations that are kept and need not be, the largest first."""
    if profile.trace.step is None:
        return CheckResult([])
    found = sorted(recomputable(profile, profile.trace.step), key=lambda each: -each.storage.bytes)
    findings = [
        Finding(
            module=each.maker.module,
            op=each.maker.name,
            message=f"{'a copy made by' if each.copied else 'the output of'} {each.maker.kind}"
            f" is kept for the gradient of {each.kept_by.kind}",
            advice="torch.compile, or a form fused with the operator before it",
            kept_bytes=each.storage.bytes,
        )
        for each in found
    ]
    return CheckResult(findings)


BAD = {
    "a batch norm and SiLU": """from torch import nn

network = nn.Sequential(
    nn.Conv2d(3, 32, 3, bias=False), nn.BatchNorm2d(32), nn.SiLU(), nn.Conv2d(32, 32, 3)
)
inputs = (1, 3, 32, 32)
"""
}
GOOD = {
    "no activation between products": """from torch import nn

network = nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 64))
inputs = (16, 64)
"""
}

GUIDELINE = Guideline("X16", "kept-activation", __doc__, check, training=True, bad=BAD, good=GOOD)
