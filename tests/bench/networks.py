"""Measure networks on this machine and compare them with a prediction; write docs/latency: results and a plot.

    costlab calibrate --threads 1 && python tests/bench/networks.py

None of these networks is among those that `costlab calibrate` measures. Results of another kind of device stay as they
are. Nothing else should be at work on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "latency"
NETWORKS = """
    zoo:mobilenet_v1 zoo:mobilenet_v2 zoo:mobilenet_v3_large zoo:mobilenet_v3_small zoo:shufflenet_v1 zoo:shufflenet_v2
    torchvision:alexnet torchvision:squeezenet1_1 torchvision:resnet18 torchvision:resnet50 torchvision:resnext50_32x4d
    torchvision:densenet121 torchvision:googlenet torchvision:mnasnet1_0 torchvision:efficientnet_b0
    torchvision:efficientnet_b2 torchvision:efficientnet_v2_s torchvision:regnet_x_800mf torchvision:regnet_y_400mf
    torchvision:convnext_tiny torchvision:vit_b_32 torchvision:swin_t torchvision:wide_resnet50_2
    torchvision:inception_v3
    timm:vit_tiny_patch16_224 timm:vit_small_patch16_224 timm:deit_tiny_patch16_224
    timm:mixer_s32_224 timm:ghostnet_100
    timm:mobilevit_s timm:levit_192 timm:resnet26
    timm:repvgg_a0 timm:poolformer_s12 timm:cspresnet50 timm:edgenext_small
    timm:mobilenetv4_conv_small timm:tf_efficientnetv2_b0 timm:lcnet_100 timm:convnext_atto
""".split()
SEED = 0


def main() -> int:
    import matplotlib
    import torch

    import costlab
    from costlab.errors import CostlabError
    from costlab.formatting import units
    from costlab.measurement.environment import environment
    from costlab.measurement.fit import errors
    from costlab.models import ModelSpec, load_model
    from costlab.plots import predicted_vs_measured

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="where to run: cpu or cuda")
    parser.add_argument("--predict-for", default="here", help="the device profile; by default what calibrate wrote")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--min-seconds", type=float, default=1.0, help="for each network, and again for its operators")
    parser.add_argument("--only", nargs="*", default=NETWORKS, help="networks instead of all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="instead of docs/latency")
    asked = parser.parse_args()

    rows: list[dict[str, Any]] = []
    for name in asked.only:
        try:
            torch.manual_seed(SEED)
            loaded = load_model(ModelSpec(name, {}, batch=asked.batch), weights=True)
            way = {"amp": asked.amp, "channels_last": asked.channels_last}
            taken = costlab.measure(
                loaded.model,
                loaded.inputs,
                loaded.inputs.kwargs,
                device=asked.device,
                compile=asked.compile,
                threads=asked.threads,
                min_seconds=asked.min_seconds,
                **way,
            )
            traced = costlab.profile(loaded.model, loaded.inputs)
            fusion = "pointwise" if asked.compile else "none"
            predicted = costlab.predict(traced, asked.predict_for, fusion=fusion, **way)
        except CostlabError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        rows.append(
            {
                "name": name,
                "mult_adds": traced.mult_adds,
                "memory_access": traced.total.memory_access,
                "measured_seconds": taken.whole.median,
                "measured_iqr": taken.whole.iqr,
                "parts_seconds": taken.parts_seconds,
                "predicted_seconds": predicted.seconds,
            }
        )
        ratio = predicted.seconds / taken.whole.median
        parts = (taken.parts_seconds or 0) / taken.whole.median
        print(
            f"{name:34}{units.seconds(taken.whole.median):>10}{units.seconds(predicted.seconds):>11}"
            f"{units.factor(ratio):>7}{units.factor(parts):>7}",
            flush=True,
        )
    measured = np.array([row["measured_seconds"] for row in rows])
    summary: dict[str, Any] = {}
    for key in ("predicted_seconds", "mult_adds", "memory_access"):
        values = np.array([row[key] for row in rows], dtype=float)
        if key != "predicted_seconds":  # with the best single factor
            values = values * np.median(measured / values)
        summary[key] = errors(values, measured)._asdict()
    known = [row["parts_seconds"] / row["measured_seconds"] for row in rows if row["parts_seconds"]]
    summary["parts_over_whole"] = median(known) if known else None
    for key, found in summary.items():
        print(key, found)
    way_name = "-".join(
        [asked.device, f"batch{asked.batch}"]
        + [word for word in ("amp", "compile", "channels_last") if getattr(asked, word)]
    )
    asked.folder.mkdir(parents=True, exist_ok=True)
    document = {
        "date": date.today().isoformat(),
        "way": {key: getattr(asked, key) for key in ("device", "batch", "threads", "amp", "compile", "channels_last")},
        "environment": environment(torch.device(asked.device)),
        "summary": summary,
        "networks": rows,
    }
    (asked.folder / f"{way_name}.json").write_text(json.dumps(document, indent=1) + "\n")
    matplotlib.use("Agg")
    predicted_vs_measured(rows).figure.savefig(asked.folder / f"{way_name}.svg", metadata={"Date": None})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
