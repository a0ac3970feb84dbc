"""Measure what the best changes of ten networks save on this CPU, beside what was predicted (docs/what-ifs.md).

    python tests/bench/what_ifs.py --calibrate here.toml         # a quarter of an hour, once
    python tests/bench/what_ifs.py --device here.toml            # half an hour: writes docs/latency/what-ifs.json
    python tests/bench/what_ifs.py --device here.toml --again    # predicts what was measured again, in minutes
    python tests/bench/what_ifs.py --page                        # the page again, from that file

Network and changed network run in turns, in one thread; the clock counts the CPU seconds of this process, so that other
programs disturb it little. A change that takes another network than a rewritten one ("follow the best findings") is not
measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

time.perf_counter = time.process_time  # before torch and costlab take it for their stopwatches

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "latency" / "what-ifs.json"
PAGE = ROOT / "docs" / "what-ifs.md"
NETWORKS = """
    zoo:mobilenet_v2 zoo:shufflenet_v2 torchvision:resnet18 torchvision:densenet121 torchvision:efficientnet_b0
    torchvision:convnext_tiny torchvision:swin_t torchvision:regnet_y_400mf torchvision:googlenet
    timm:vit_tiny_patch16_224
""".split()
KEEPS_MEMORY = {  # read when a process starts
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
}
SECONDS = 3.0  # of turns for a change
FEWEST = 5  # turns
Run = Callable[[], Any]


def main() -> int:
    if not os.environ.items() >= KEEPS_MEMORY.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEPS_MEMORY})
    import torch

    from costlab.latency.devices import find_device, write_device
    from costlab.measurement.calibration import calibrate
    from costlab.measurement.environment import environment

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrate", type=Path, help="fit this machine and write the device file")
    parser.add_argument("--device", default="here", help="the device to predict for")
    parser.add_argument("--only", nargs="*", default=NETWORKS, help="networks instead of all")
    parser.add_argument("--output", type=Path, default=RESULTS, help="instead of docs/latency/what-ifs.json")
    parser.add_argument("--again", action="store_true", help="predict again; what was measured stays")
    parser.add_argument("--page", action="store_true", help="only write the page from the results")
    asked = parser.parse_args()
    if asked.calibrate:
        write_device(calibrate(threads=1).device, asked.calibrate)
        return 0
    if asked.again:
        document = json.loads(RESULTS.read_text())
        changes = [row for name in asked.only for row in predicted_again(name, find_device(asked.device), document)]
        asked.output.write_text(json.dumps({**document, "changes": changes}, indent=1) + "\n")
    elif not asked.page:
        torch.set_num_threads(1)
        rows = [row for name in asked.only for row in judged(name, find_device(asked.device))]
        facts = environment(torch.device("cpu"))
        document = {"date": date.today().isoformat(), "environment": facts, "changes": rows}
        asked.output.write_text(json.dumps(document, indent=1) + "\n")
    if asked.output == RESULTS:
        PAGE.write_text(page(json.loads(RESULTS.read_text())))
    return 0


# Measuring.


def network(name: str) -> tuple[Any, Any]:
    """A network with weights, and an image for it."""
    import torch

    from costlab.models import ModelSpec, load_model
    from costlab.models.providers.torchvision import import_torchvision

    torch.manual_seed(0)
    if name.startswith("timm:"):
        import_torchvision()
        import timm.layers

        timm.layers.set_fused_attn(False)  # attention is written out: fusing it is one of the changes
    return load_model(ModelSpec(name, {}), weights=True).model.eval(), torch.randn(1, 3, 224, 224)


def predicted(model: Any, images: Any, device: Any) -> tuple[float, dict[str, float], list[str]]:
    """The predicted seconds of a network, what each change saves of them, and the changes that are shown."""
    import costlab
    from costlab.guidelines.what_ifs import candidates, what_ifs
    from costlab.latency._predict import predict_with
    from costlab.latency.execution import ExecutionConfig

    profile, config = costlab.profile(model, (images,)), ExecutionConfig(device)
    now = predict_with(profile, config).seconds
    found = costlab.lint(profile, device=device).findings
    saved = {change: now - seconds for change, _, seconds in candidates(profile, config, found)}
    return now, saved, [each.change for each in what_ifs(profile, config, found).changes]


def predicted_again(name: str, device: Any, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The changes of a network that were measured, predicted by the present model."""
    now, saved, shown = predicted(*network(name), device)
    for row in (row for row in document["changes"] if row["network"] == name):
        change = row["change"]
        new = {"shown": change in shown, "predicted_now": now, "predicted_saved": saved[change]}
        print(f"{name:32}{change:26}{saved[change] / now:>8.1%}{shares(row)[1]:>8.1%}", flush=True)
        yield {**row, **new}


def judged(name: str, device: Any) -> Iterator[dict[str, Any]]:
    """The best changes of a network by prediction, each with its predicted and measured saving."""
    model, images = network(name)
    now, saved, shown = predicted(model, images, device)
    for change in sorted(saved, key=saved.__getitem__, reverse=True):
        if "findings" in change:
            continue
        try:
            run, times = changed(change, model, images)
            before, after = in_turns(lambda: model(images), run)
        except Exception as error:  # what cannot be changed or compiled here is said
            print(f"{name}: {change}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
            continue
        row = {
            "network": name,
            "change": change,
            "shown": change in shown,
            "predicted_now": now,
            "predicted_saved": saved[change],
            "measured_now": before,
            "measured_saved": before - after / times,
        }
        print(f"{name:32}{change:26}{saved[change] / now:>8.1%}{row['measured_saved'] / before:>8.1%}", flush=True)
        yield row


def changed(change: str, model: Any, images: Any) -> tuple[Run, int]:
    """The changed network, and how many batches of now each of its runs takes."""
    import torch

    if change.startswith("batch "):
        times = int(change.split()[1])
        more = images.repeat(times, 1, 1, 1)
        return lambda: model(more), times
    if change == "compile it":
        compiled = torch.compile(deepcopy(model))
        return lambda: compiled(images), 1
    if change == "use channels-last":
        form = {"memory_format": torch.channels_last}
        other, last = deepcopy(model).to(**form), images.to(**form)
        return lambda: other(last), 1
    if change == "use half precision":
        half, low = deepcopy(model).to(torch.bfloat16), images.to(torch.bfloat16)
        return lambda: half(low), 1
    if change == "fold batch norms":
        from torch.fx.experimental.optimization import fuse

        folded = fuse(deepcopy(model))
        return lambda: folded(images), 1
    if change == "fuse attention":
        fused = deepcopy(model)
        for module in fused.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = True
        return lambda: fused(images), 1
    raise ValueError(f"no way to make this change: {change}")


def in_turns(before: Run, after: Run) -> tuple[float, float]:
    """The median CPU seconds of both, run alternately."""
    import torch

    times: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode(False), torch.no_grad():
        for run in (before, after, before, after):
            run()
        begin = time.process_time()
        while time.process_time() - begin < SECONDS or len(times[0]) < FEWEST:
            for run, seconds in zip((before, after), times, strict=True):
                start = time.process_time()
                run()
                seconds.append(time.process_time() - start)
    return median(times[0]), median(times[1])


# The page.


def shares(row: dict[str, Any]) -> tuple[float, float]:
    """The predicted and the measured saving, as shares of the time before the change."""
    return row["predicted_saved"] / row["predicted_now"], row["measured_saved"] / row["measured_now"]


def median_factor(rows: list[dict[str, Any]]) -> float:
    """The median of how many times as large the larger of predicted and measured saving is; both save time."""
    pairs = [shares(row) for row in rows if row["measured_saved"] > 0]
    return median(max(predicted / measured, measured / predicted) for predicted, measured in pairs)


def page(document: dict[str, Any]) -> str:
    """docs/what-ifs.md."""
    rows, facts = document["changes"], document["environment"]
    shown = [row for row in rows if row["shown"]]
    wrong = {row["network"] for row in shown if row["measured_saved"] <= 0}
    networks = {row["network"] for row in rows}
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(row["change"].split()[0] + " " + row["change"].split()[1], []).append(row)
    named = [[row for row in group if row["shown"]] for group in kinds.values()]
    return PAGE_TEXT.format(
        date=document["date"],
        cpu=facts["cpu"],
        torch=facts["torch"],
        changes=len(shown),
        right=sum(row["measured_saved"] > 0 for row in shown),
        networks=len(networks),
        good=len(networks - wrong),
        factor=f"{median_factor(shown):.2f}",
        kinds="\n".join(kind_row(kind, group) for kind, group in zip(kinds, named, strict=True) if group),
        rows="\n".join(table_row(row) for row in rows),
    )


def kind_row(kind: str, rows: list[dict[str, Any]]) -> str:
    """A kind of change in the first table."""
    right = sum(row["measured_saved"] > 0 for row in rows)
    return f"| {kind} | {len(rows)} | {right} | {median_factor(rows):.2f} |"


def table_row(row: dict[str, Any]) -> str:
    """A change of a network in the second table."""
    predicted, measured = shares(row)
    shown = "yes" if row["shown"] else ""
    return f"| `{row['network']}` | {row['change']} | {shown} | {predicted:.1%} | {measured:.1%} |"


PAGE_TEXT = """# What-ifs: predicted and measured

Written by `python tests/bench/what_ifs.py` on {date}: {cpu}, one thread, torch {torch}, calibrated by
`costlab calibrate`. The clock counts CPU seconds of the process, and network and changed network run in turns. glibc
was told to keep its memory, also during the calibration.

`lint`, `report --device` and the HTML page say what to do first: up to five changes of the whole network that the
latency model predicts to save more than 2 % of the time. Here every change of {networks} networks that a few lines of
code can make was made and measured, those that are not shown as well. "Follow the best findings" asks for another
network and is left out.

- {right} of {changes} changes that are shown save time, as predicted; in {good} of {networks} networks all of them.
- The larger of predicted and measured saving is {factor} times the smaller one in the median.

| change | shown | saves time | median factor |
| --- | ---: | ---: | ---: |
{kinds}

Where predictions are off, and why:

- **Page faults** hide what a change saves. With glibc's default settings MobileNet V2 spends a third of its time in
  them ([Measuring](measuring.md)), and which of two networks that run in turns pays for them depends on the history
  of the heap: measured so, 37 of 40 changes that were shown saved time, all in 7 of 10 networks, and two images of
  MobileNet V2 at once took 22 % longer an image than one.
- **Compiling** and **channels-last** save the passes in which oneDNN reorders NCHW images around convolutions. They
  are predicted (docs/latency.md); channels-last saves about twice as much as predicted. Compiling ConvNeXt and the
  transformers saves 3 to 7 %, which is not predicted.
- **Half precision** speeds up matrix products by what was calibrated, and convolutions by less: in bfloat16 five of the
  seven networks of convolutions alone saved up to 13 %, and two a third, where the peak of the units said 37 to 68 %.
  Therefore only matrix products count in this what-if on a CPU. The rule was made from earlier measurements of these
  networks; all other predictions are from the calibration alone.

| network | change | shown | predicted | measured |
| --- | --- | --- | ---: | ---: |
{rows}
"""


if __name__ == "__main__":
    raise SystemExit(main())
