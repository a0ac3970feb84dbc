"""Forward and backward mult-adds of many networks against FlopCounterMode on meta; writes docs/training-counts.md."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]

TIMM = """
    resnet50 resnext50_32x4d wide_resnet50_2 seresnet50 ecaresnet26t resnest14d res2net50_26w_4s densenet121
    vgg13 mobilenetv2_100 mobilenetv3_large_100 mobilenetv4_conv_small efficientnet_b0 efficientnetv2_rw_t
    tf_efficientnet_lite0 mixnet_s mnasnet_100 spnasnet_100 fbnetc_100 ghostnet_100 rexnet_100 regnetx_008
    regnety_008 hrnet_w18 dla34 dpn68 inception_v3 inception_resnet_v2 xception41 nasnetalarge darknet53
    cspresnet50 cspdarknet53 repvgg_a2 mobileone_s0 vit_tiny_patch16_224 deit_small_patch16_224 cait_xxs24_224
    swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 beit_base_patch16_224 twins_svt_small pvt_v2_b0
    pit_s_224 convit_tiny crossvit_tiny_240 coat_tiny levit_128 convnext_tiny convnextv2_nano convmixer_768_32
    mixer_s32_224 resmlp_12_224 gmixer_24_224 gmlp_s16_224 poolformer_s12 coatnet_0_rw_224 maxvit_tiny_rw_224
    edgenext_small mobilevit_s fastvit_t8 tiny_vit_5m_224 xcit_nano_12_p16_224 nest_tiny volo_d1_224
    davit_tiny hiera_tiny_224
""".split()
TRANSFORMERS = """
    albert beit bert bloom clip convnext deit dinov2 distilbert electra fnet funnel layoutlm mobilevit mpt opt roberta
    segformer swin t5 timesformer videomae vit xlnet
""".split()

ABOUT = """# Counts of a training step, against FlopCounterMode

Written by `tests/soak/training_counts.py`. Mult-adds of forward and backward, batch 2, in train mode on the meta
device, attention by the math path in both; FlopCounterMode's count of a grouped convolution's weight gradient is
divided by the groups. Every layer with parameters is compared with FlopCounterMode's count for it or, where
branches run side by side and FlopCounterMode books one operator to several open modules, with the rule that a layer
costs twice its forward pass (no gradient of its input) or three times. The forward pass is compared with that of
`--mode train`, operator by operator.
"""


@dataclass(frozen=True)
class Outcome:
    """One network."""

    name: str
    ours: int = 0
    theirs: int = 0
    modules: int = 0
    equal_modules: int = 0
    lawful_modules: int = 0  # equal, or twice or three times their forward pass
    forward_equals_train: bool = False
    seconds: float = 0.0
    uncounted: tuple[str, ...] = ()
    error: str = ""

    @property
    def agrees(self) -> bool:
        """Whether every number is equal to the digit."""
        equal = self.ours == self.theirs and self.modules == self.lawful_modules
        return not self.error and equal and self.forward_equals_train and not self.uncounted


def attempt(target: str) -> Outcome:
    """Compare one network."""
    from helpers.step_references import counted
    from torch.nn.attention import SDPBackend, sdpa_kernel

    import costlab
    from costlab.models import ModelSpec
    from costlab.models._load import load_model

    try:
        loaded = load_model(ModelSpec(target, batch=2))
        model, inputs = loaded.model, loaded.inputs
        with sdpa_kernel(SDPBackend.MATH):
            train = costlab.profile(model, inputs, mode="train")
            start = time.perf_counter()
            step = costlab.profile(model, inputs, mode="step")
            seconds = time.perf_counter() - start
        counter = counted(model, inputs.args, dict(inputs.kwargs))
    except Exception as error:
        return Outcome(target, error=f"{type(error).__name__}: {str(error)[:200]}")
    root = type(model).__name__
    theirs = {path.removeprefix(f"{root}."): sum(c.values()) // 2 for path, c in counter.get_flop_counts().items()}
    rows, passes = step.by_module(), train.by_module()
    leaves = [path for path, module in model.named_modules() if path in theirs and is_layer(module)]
    equal = {path for path in leaves if rows[path].mult_adds == theirs[path]}
    lawful = {p for p in leaves if rows[p].mult_adds in (2 * passes[p].mult_adds, 3 * passes[p].mult_adds)}
    forward = [(op.name, op.kind, op.free) for op in step.ops if op.phase == "forward"]
    return Outcome(
        target,
        step.mult_adds,
        counter.get_total_flops() // 2,
        len(leaves),
        len(equal),
        len(equal | lawful),
        forward == [(op.name, op.kind, op.free) for op in train.ops],
        seconds,
        tuple(step.uncounted),
    )


def is_layer(module: Any) -> bool:
    """Whether a module has parameters and no children."""
    return not list(module.children()) and any(p is not None for p in module._parameters.values())


def targets(folder: Path) -> list[str]:
    """Torchvision's classifiers, timm networks, transformers families."""
    from helpers.transformers_families import FAMILIES, write_config

    from costlab.models.providers.torchvision import import_torchvision

    torchvision = import_torchvision()
    classifiers = torchvision.models.list_models(module=torchvision.models)
    families = [write_config(name, folder) for name in TRANSFORMERS if name in FAMILIES]
    return [*(f"torchvision:{name}" for name in classifiers), *(f"timm:{name}" for name in TIMM), *families]


def label(target: str) -> str:
    """A target without the folder of its configuration."""
    return "hf:" + Path(target).stem if target.startswith("hf:") else target


def page(outcomes: list[Outcome]) -> str:
    """The results as a page."""
    agree = sum(outcome.agrees for outcome in outcomes)
    lines = [
        ABOUT,
        f"{agree} of {len(outcomes)} networks agree to the digit, in total and layer by layer.",
        "",
        "| network | mult-adds | theirs | layers equal, by the rule, of | forward as train | seconds |",
        "| --- | ---: | ---: | ---: | --- | ---: |",
    ]
    for o in outcomes:
        if o.error:
            lines.append(f"| {label(o.name)} | {o.error.replace('|', ' ')} | | | | |")
            continue
        modules = f"{o.equal_modules}, {o.lawful_modules - o.equal_modules}, {o.modules}"
        forward = "yes" if o.forward_equals_train else "no"
        note = f" uncounted: {', '.join(o.uncounted)}" if o.uncounted else ""
        lines.append(f"| {label(o.name)}{note} | {o.ours:,} | {o.theirs:,} | {modules} | {forward} | {o.seconds:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Compare all networks; 1 if one differs."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = []
        for target in targets(Path(folder)):
            outcomes.append(attempt(target))
            last = outcomes[-1]
            print(label(target), "ok" if last.agrees else last, flush=True)
    (ROOT / "docs" / "training-counts.md").write_text(page(outcomes))
    return 0 if all(outcome.agrees for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
