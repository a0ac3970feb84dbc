"""Peak memory of a training step of 40 networks against torch's MemTracker; writes docs/training-memory.md."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]

BATCH = 4
NETWORKS = """
    zoo:mobilenet_v1 zoo:mobilenet_v2 zoo:shufflenet_v1 zoo:shufflenet_v2 zoo:mobilenet_v3_small torchvision:alexnet
    torchvision:resnet18 torchvision:resnet50 torchvision:resnext50_32x4d torchvision:vgg11_bn torchvision:densenet121
    torchvision:squeezenet1_1 torchvision:mnasnet0_5 torchvision:regnet_y_400mf torchvision:efficientnet_b0
    torchvision:convnext_tiny torchvision:shufflenet_v2_x1_0 timm:resnet26 timm:seresnet33ts timm:res2net50_26w_4s
    timm:mobilenetv3_large_100 timm:efficientnet_lite0 timm:mixnet_s timm:ghostnet_100 timm:hrnet_w18_small timm:dla34
    timm:dpn68 timm:cspresnet50 timm:repvgg_a0 timm:convnext_atto timm:convmixer_768_32 timm:mixer_s32_224
    timm:resmlp_12_224 timm:gmlp_ti16_224 timm:deit_tiny_patch16_224 timm:vit_tiny_patch16_224 timm:cait_xxs24_224
    timm:pvt_v2_b0 timm:poolformer_s12 timm:edgenext_xx_small
""".split()

ABOUT = """# Peak memory of a training step, against MemTracker

Written by `tests/soak/training_memory.py`. Bytes of everything that lives at the peak of a step, batch 4, float32, SGD
with momentum, attention by the math path: `peak_bytes`, and what `torch.distributed._tools.MemTracker` sees in
the second step on the meta device. Dropout keeps a mask of one byte an element, as on a GPU; on the meta device torch
keeps four bytes, which is the difference of squeezenet1_1.

| network | peak_bytes | MemTracker | difference |
| --- | ---: | ---: | ---: |
"""


def compare(name: str) -> tuple[int, int]:
    """Our peak and theirs."""
    from helpers.step_memory import tracked_peak
    from torch.nn.attention import SDPBackend, sdpa_kernel

    import costlab
    from costlab.models import ModelSpec, load_model

    loaded = load_model(ModelSpec(name, batch=BATCH))
    with sdpa_kernel(SDPBackend.MATH):
        profile = costlab.profile(loaded.model, loaded.inputs, mode="step", optimizer="momentum")
    return profile.total.peak_bytes or 0, tracked_peak(loaded.model, loaded.inputs.args, "momentum")


def main() -> int:
    """Compare all networks; 1 if one differs by more than 1 %."""
    lines, worst = [], 0.0
    for name in NETWORKS:
        ours, theirs = compare(name)
        off = ours / theirs - 1
        worst = max(worst, abs(off))
        lines.append(f"| {name} | {ours:,} | {theirs:,} | {off:+.3%} |")
        print(lines[-1], flush=True)
    (ROOT / "docs" / "training-memory.md").write_text(
        ABOUT + "\n".join(lines) + f"\n\nThe largest difference is {worst:.3%}.\n"
    )
    return int(worst > 0.01)


if __name__ == "__main__":
    sys.exit(main())
