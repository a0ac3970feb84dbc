"""Closed forms of `costlab.scale` at sizes that they were not made from: 30 networks, 10 sizes each.

Exits with 1 if one total differs.

    python tests/soak/closed_forms.py --page docs/choosing.md
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from helpers.language_models import save_small_config  # noqa: E402

import costlab  # noqa: E402
from costlab.core.polynomials import HIGHEST  # noqa: E402
from costlab.errors import CostlabError  # noqa: E402
from costlab.formatting.table import markdown_row  # noqa: E402
from costlab.sweeps._scale import resized  # noqa: E402

FRESH = 10
NETWORKS = {
    "batch": (
        "resnet50 densenet121 googlenet squeezenet1_1 timm:swin_tiny_patch4_window7_224 timm:mixer_s32_224"
        " timm:efficientformer_l1 timm:hrnet_w18_small timm:levit_128s timm:mobilenetv3_small_100"
    ).split(),
    "resolution": (
        "resnet50 mobilenet_v2 shufflenet_v2_x1_0 regnet_y_400mf efficientnet_b0 vgg11 timm:convnext_atto"
        " timm:repvgg_a0 timm:ghostnet_100 timm:mobilenetv4_conv_small"
    ).split(),
    "length": "bert roberta distilbert gpt2 llama qwen2 gemma3_text t5 mamba mixtral".split(),
}
START = {"batch": 2, "resolution": 224, "length": 32}


def loaded(target: str, axis: str, folder: Path) -> Any:
    """A network and its inputs."""
    if axis != "length":
        return costlab.load(target)
    return costlab.load(f"hf:{save_small_config(target, folder, max_position_embeddings=4096, n_positions=4096)}")


def compared(target: str, axis: str, folder: Path, draw: random.Random) -> tuple[int, int, int, list[str]]:
    """How many totals have a closed form, how many have none, sizes tried, and what differs."""
    model, inputs = loaded(target, axis, folder)
    grown = costlab.scale(model, inputs, over={axis: [START[axis]]})
    forms = {key: form for key, form in grown.forms.items() if form is not None}
    domains = {(form.first, form.last, form.step) for form in forms.values()}
    at, wrong, tried = resized(model, inputs, axis), [], 0
    for first, last, step in domains:
        others = range(first + (HIGHEST + 1) * step, last + 1, step)  # the form was not made from these
        for size in sorted(draw.sample(others, min(FRESH, len(others)))):
            total = costlab.profile(model, at(size)).total
            tried += 1
            for key, form in forms.items():
                mine = (form.first, form.last, form.step) == (first, last, step)
                if mine and form(size) != getattr(total, key):
                    wrong.append(f"{target}, {axis}={size}, {key}: {form(size)} instead of {getattr(total, key)}")
    return len(forms), len(grown.forms) - len(forms), tried, wrong


def lines(seed: int) -> Iterator[tuple[str, list[str]]]:
    """A row of the page for each network, and what differs."""
    for axis, targets in NETWORKS.items():
        for target in targets:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found, without, tried, wrong = compared(
                        target, axis, Path(folder), random.Random(f"{seed}{target}")
                    )
                except CostlabError as error:
                    yield markdown_row((f"`{target}`", axis, "-", "-", "-", "failed")), [f"{target}: {error}"]
                    continue
            yield markdown_row((f"`{target}`", axis, str(found), str(without), str(tried), str(len(wrong)))), wrong


def main() -> int:
    """Print what differs, and write the page's section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="the page whose section to replace")
    parser.add_argument("--seed", type=int, default=int(f"{date.today():%Y%m%d}"), help="of the sizes")
    arguments = parser.parse_args()
    rows, wrong = [], []
    for row, differing in lines(arguments.seed):
        rows.append(row)
        wrong += differing
        print(row, *differing, sep="\n", flush=True)
    head = ("network", "over", "closed forms", "without one", "fresh sizes", "mismatches")
    table = [markdown_row(head), markdown_row(("---", "---", *["---:"] * 4)), *rows]
    if arguments.page is not None:
        text = arguments.page.read_text(encoding="utf-8")
        pattern = re.compile(r"(?<=<!-- closed-forms -->\n).*?(?=<!-- /closed-forms -->)", re.S)
        body = "\n".join([*table, "", f"Seed {arguments.seed}, torch {torch.__version__}.", ""])
        arguments.page.write_text(pattern.sub(lambda _: body, text), encoding="utf-8")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
