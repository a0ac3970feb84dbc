"""Use few large operators in a block instead of many small ones.

**What it does.** Checks blocks: modules with a fork of their own. A module has a fork if some value (its own input
counts) is read in two of its children, or in one child and by the module itself, and the paths from there meet again
inside the module. *Fragments* are convolutions, matrix products, attention, recurrent layers and poolings; those of a
block inside another block count for the inner one. The *degree* of a block is its number of fragments, its *width* is
the largest number of fragments of which none depends on another.

**Why is this bad?** Every operator is launched, waits for its inputs and leaves part of the device idle, and branches
that read the same tensor read it several times. The paper (ShuffleNet V2, arXiv 1807.11164, section 2, Table 3)
measured one to four 1x1 convolutions in series and in parallel at equal mult-adds (maps of 56 x 56; batches/s on a
GTX 1080Ti with 128, 256 and 512 channels in the single convolution, images/s on an ARM core with 64):

| structure | GPU 128 | GPU 256 | GPU 512 | ARM 64 |
| --- | ---: | ---: | ---: | ---: |
| 1 fragment | 2446 | 1274 | 434 | 40.2 |
| 2 in series | 1790 | 909 | 336 | 38.6 |
| 4 in series | 752 | 745 | 349 | 38.4 |
| 2 in parallel | 1537 | 803 | 320 | 33.4 |
| 4 in parallel | 691 | 572 | 292 | 35.0 |

The paper counts 13 fragments in a block of NASNet-A, and 2 or 3 in one of ResNet. costlab counts 25 in the same normal
cell of NASNet-A, with a width of 8. The paper counts each of the 10 separable convolutions (5, each applied twice) as
one fragment, and 3 poolings; costlab counts a depthwise and a pointwise convolution for each, the 3 poolings, and the
two 1x1 convolutions that adapt the inputs of the cell. In a ResNet costlab counts the same 2 and 3, and 3 and 4 if the
shortcut has a convolution.

**Price.** The elements that parallel branches read after one of them has read them; and the launches: the number of
fragments less the longest chain of them.

**Use instead.** Merge branches that read the same tensor into one wider operator (three 1x1 convolutions of one input,
or query, key and value, become one layer whose output is split), or run them one after another.

**Limit.** Broken if a block has a width of at least 3.
"""

from collections.abc import Sequence

from costlab.core.profile import Profile
from costlab.guidelines.analysis.blocks import blocks
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find blocks that are at least as wide as the limit."""
    found = blocks(profile)
    findings = [
        Finding(
            module=block.path,
            message=f"{block.degree} convolutions, matrix products and poolings, {block.width} of them in parallel",
            advice="merge branches that read the same tensor into one wider operator, or run them one after another",
            excess_memory_access=block.repeated_elements,
            excess_bytes=block.repeated_bytes,
            excess_launches=block.degree - block.chain,
            fix=Fix(merged=names_of(profile, block.levels)),
        )
        for block in found
        if limit is not None and block.width >= limit
    ]
    widest = max((block.width for block in found), default=0)
    return CheckResult(findings, value=widest, detail=f"{len(findings)} of {len(found)} blocks" if findings else "")


def names_of(profile: Profile, levels: Sequence[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    """The operators of each level that has several."""
    return tuple(tuple(profile.ops[i].name for i in level) for level in levels if len(level) > 1)


BAD = {
    "four branches read one tensor": """import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 128, 1)
        self.a, self.b, self.c, self.d = (nn.Conv2d(128, 32, 1) for _ in range(4))

    def forward(self, x):
        x = self.stem(x)
        return torch.cat([self.a(x), self.b(x), self.c(x), self.d(x)], 1)

network = Block()
inputs = (1, 3, 56, 56)
""",
    "query, key and value in three layers": """import torch.nn.functional as F
from torch import nn

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(64, 64)
        self.q, self.k, self.v = (nn.Linear(64, 64) for _ in range(3))

    def forward(self, x):
        x = self.embed(x)
        return F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))

network = Attention()
inputs = (1, 128, 64)
""",
}
GOOD = {
    "one operator instead": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 128, 1), nn.Conv2d(128, 128, 1))
inputs = (1, 3, 56, 56)
""",
    "a shortcut with a convolution, as in ResNet": """from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 1)
        self.body = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
        self.shortcut = nn.Conv2d(64, 64, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.body(x) + self.shortcut(x)

network = Block()
inputs = (1, 3, 56, 56)
""",
}

GUIDELINE = Guideline("G3", "fragmentation", __doc__, check, limit=3, bad=BAD, good=GOOD)
