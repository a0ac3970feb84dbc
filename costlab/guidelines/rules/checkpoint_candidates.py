"""Checkpoint modules that keep many bytes for little arithmetic.

**What it does.** In a training step (`--mode step`), lists the modules that free the most memory for each mult-add that
runs again if they are checkpointed, none inside another: those that free at least 1 % of what is kept, and at most a
quarter, since what runs again lives again.

**Why is this bad?** Activations kept for the backward pass are most of a step's memory. A module that is checkpointed
keeps its inputs only and runs again in the backward pass (Chen et al., arXiv 1604.06174): cheap where large activations
come of few products, in early stages and in attention that is written out, expensive elsewhere.

**Price.** The bytes that the step keeps less at least: what later modules read is taken for kept. The module's
mult-adds run once more. `--checkpoint MODULE` shows both exactly.

**Use instead.** `torch.utils.checkpoint.checkpoint(module, x, use_reentrant=False)`; `--checkpoint GLOB` shows the step
with it.
"""

from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.guidelines.analysis.kept import checkpoints
from costlab.guidelines.model import CheckResult, Finding, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find modules to checkpoint, those that free most for a mult-add first."""
    if profile.trace.step is None:
        return CheckResult([])
    findings = [
        Finding(
            module=candidate.path,
            message=f"can run again in the backward pass for {units.short(candidate.mult_adds)} mult-adds",
            advice="torch.utils.checkpoint, if memory is short",
            kept_bytes=candidate.bytes,
        )
        for candidate in checkpoints(profile, profile.trace.step)
    ]
    return CheckResult(findings)


BAD = {
    "early blocks": """from torch import nn

def block(channels, stride):
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride, 1, groups=channels), nn.BatchNorm2d(channels), nn.SiLU(),
        nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.SiLU(),
    )

network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *(block(16, 2) for _ in range(4)))
inputs = (1, 3, 64, 64)
"""
}
GOOD = {
    "layers that keep their inputs only": """from torch import nn

network = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
inputs = (16, 64)
"""
}

GUIDELINE = Guideline("X17", "checkpoint-candidate", __doc__, check, training=True, bad=BAD, good=GOOD)
