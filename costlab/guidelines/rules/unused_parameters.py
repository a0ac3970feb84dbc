"""Remove parameters that the forward pass never reads.

**What it does.** Checks, module by module, for parameters that no operator of the traced forward pass reads. For a
module that never ran, the advice names the inputs that forward was not given.

**Why is this bad?** They take memory, loading time and disk space, and in distributed training they stall or break the
gradient exchange. Often they are left over: a head that was replaced, or a branch that eval mode never takes.

**Price.** No traffic: 0 elements, 0 bytes, 0 launches. The message says how many parameters are unused.

**Use instead.** Give the network the input that reaches the module, or delete the module. If only training needs it,
build the network without it for inference.
"""

from collections.abc import Iterator

from costlab.core.graph import ModuleInfo
from costlab.core.profile import Profile
from costlab.formatting.units import exact, size
from costlab.guidelines.model import CheckResult, Finding, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find modules that never ran, and unused parameters of those that did, most parameters first."""
    uncalled = set(profile.uncalled)
    missed = f"give it an input (not given: {profile.inputs_not_given})" if profile.inputs_not_given else "remove it"
    idle = [(path, list(inside(profile, path))) for path in profile.never_ran]
    unused = [(m.path, [m]) for m in profile.trace.modules if m.unused_params and m.path not in uncalled]
    ranked = sorted([*idle, *unused], key=lambda entry: -sum(m.unused_params for m in entry[1]))
    return CheckResult(
        [
            finding(
                path,
                modules,
                "are in a module that never ran: no input reached it",
                f"{missed}, or build the network without it",
            )
            if path in uncalled
            else finding(
                path, modules, "are never read", "remove them, or build the network without them for inference"
            )
            for path, modules in ranked
        ]
    )


def inside(profile: Profile, path: str) -> Iterator[ModuleInfo]:
    """A module and those in it."""
    return (m for m in profile.trace.modules if m.path == path or m.path.startswith(f"{path}."))


def finding(path: str, modules: list[ModuleInfo], what: str, advice: str) -> Finding:
    """Parameters of a module without an effect, which cost no traffic."""
    params, bytes_held = sum(m.unused_params for m in modules), sum(m.unused_param_bytes for m in modules)
    return Finding(
        module=path,
        message=f"{exact(params)} parameters ({size(bytes_held)}) {what}",
        advice=advice,
        excess_memory_access=0,
        excess_bytes=0,
        excess_launches=0,
    )


BAD = {
    "a head that is never called": """from torch import nn

class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)
        self.old_head = nn.Linear(16, 1000)

    def forward(self, x):
        return self.head(self.body(x))

network = TwoHeads()
inputs = (1, 16)
"""
}
GOOD = {
    "one head": """from torch import nn

network = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))
inputs = (1, 16)
"""
}

GUIDELINE = Guideline("X4", "unused-parameters", __doc__, check, bad=BAD, good=GOOD)
