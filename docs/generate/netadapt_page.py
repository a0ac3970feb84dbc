"""docs/netadapt-measured.md and its plot, from tests/data/netadapt.json: `python docs/generate/netadapt_page.py`."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from costlab.formatting import units

DOCS = Path(__file__).parents[1]
PAGE, PLOT = DOCS / "netadapt-measured.md", DOCS / "images" / "netadapt-digits.png"
RESULTS = DOCS.parent / "tests" / "data" / "netadapt.json"
TITLES = {"netadapt": "NetAdapt", "width multiplier": "width multiplier", "dac": "DAC"}
SETTINGS = {"netadapt": "{:.2f}x predicted", "width multiplier": "width {:.2f}", "dac": "rank {:.0f}"}
Rows = Sequence[Mapping[str, Any]]


def page(found: Mapping[str, Any]) -> str:
    """The page."""
    parts = [
        "# NetAdapt, measured",
        filled(about(found)),
        "## Predicted and measured savings",
        networks(found["networks"]),
    ]
    parts += ["## Accuracy over measured time", digits(found["digits"])]
    return "\n\n".join(parts) + "\n"


def about(found: Mapping[str, Any]) -> str:
    return f"""Measured by `python tests/bench/netadapt.py` on {found["date"]} with one thread of a CPU ({found["processor"]}),
        torch {found["torch"]}, float32. Predictions are for the profile that `costlab calibrate --threads 1` wrote on the same
        machine. The load average was {" and ".join(map(str, found["load"].values()))}: other programs were running. So times
        are CPU time of the thread, the median of runs in turns, and what is compared are parts of the original network's time."""


def networks(rows: Rows) -> str:
    """The savings of published networks, and how far predictions are off."""
    lines = ["| network | predicted | measured | off by |", "| --- | ---: | ---: | ---: |"]
    errors = []
    for row in rows:
        predicted, measured = (row[side][1] / row[side][0] for side in ("predicted", "measured"))
        errors.append(abs(measured / predicted - 1))
        lines.append(f"| {row['network']} | {predicted:.2f}x | {measured:.2f}x | {measured / predicted - 1:+.0%} |")
    within = sum(error <= 0.15 for error in errors)
    text = f"""One image of 224x224. NetAdapt was asked for a part of the predicted time, 5 % in the first step, without data. {within}
        of {len(rows)} networks fell to within 15 % of the predicted part; the median error is {units.percent(median(errors))}."""
    return f"{filled(text)}\n\n" + "\n".join(lines)


def medians(rows: Rows) -> dict[tuple[str, float], dict[str, float]]:
    """The medians over seeds, by method and setting."""
    found: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["method"], row["setting"]), []).append(row)
    keys = ("measured", "predicted", "accuracy")
    return {point: {key: median(row[key] for row in each) for key in keys} for point, each in found.items()}


def digits(rows: Rows) -> str:
    """Accuracy over measured time on scikit-learn's digits."""
    points = medians(rows)
    lines = ["| network | predicted | measured | accuracy |", "| --- | ---: | ---: | ---: |"]
    for (method, setting), values in points.items():
        name = "as trained" if method == "base" else f"{TITLES[method]}, {SETTINGS[method].format(setting)}"
        numbers = f"{values['predicted']:.2f}x | {values['measured']:.2f}x | {values['accuracy']:.1%}"
        lines.append(f"| {name} | {numbers} |")
    seeds = len({row["seed"] for row in rows})
    text = f"""The network of [the other rewrites](rewriting.md#on-trained-networks): six 3x3 convolutions (16, 16, 32, 32, 32 and 32
        outputs), each with batch norm and ReLU, on 8x8 images, 256 at a time. It learns from 997 of scikit-learn's digits; NetAdapt
        trains each proposal for half an epoch and compares them on 300 others. Every network is then trained
        for 8 epochs, and those of a width multiplier, which start anew, for 16, as long as the others in all. Accuracy on the other 500
        images, medians of {seeds} seeds."""
    seen = """NetAdapt and the width multiplier are as good as each other, within the spread of the seeds, down to a third of the time:
        on this small network the paper's advantage does not show. Proposals have to be trained before they are compared: in an earlier
        run without that and in larger steps, NetAdapt left the first layers so few channels that it fell 3 points behind below half of the time. DAC does
        not make this network faster. Its depthwise convolutions have several outputs for each input, for which
        torch has no fast kernel on this CPU; the prediction does not know that, and is far too low for ranks above 1."""
    picture = f"![Accuracy over measured time of three ways to make a network smaller](images/{PLOT.name})"
    return f"{filled(text)}\n\n{picture}\n\n{filled(seen)}\n\n" + "\n".join(lines)


def draw(rows: Rows) -> None:
    """The plot: a line for each method, a small point for each seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    points = medians(rows)
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    base = points["base", 1.0]
    for number, (method, title) in enumerate(TITLES.items()):
        line = sorted((v["measured"], v["accuracy"]) for (name, _), v in points.items() if name == method)
        if method != "dac":
            line.append((1.0, base["accuracy"]))
        axes.plot(*zip(*line, strict=True), "o-", color=f"C{number}", label=title)
        each = [(row["measured"], row["accuracy"]) for row in rows if row["method"] == method]
        axes.plot(*zip(*each, strict=True), ".", color=f"C{number}", alpha=0.35, markersize=4)
    axes.plot(1.0, base["accuracy"], "s", color="black", label="as trained")
    axes.set_xscale("log")
    axes.set_xticks([0.25, 0.5, 1, 2, 4], ["0.25x", "0.5x", "1x", "2x", "4x"])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("measured time, of that of the original network (log scale)")
    axes.set_ylabel("accuracy on 500 digits")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(PLOT, dpi=110)


def filled(text: str) -> str:
    """A paragraph."""
    return textwrap.fill(" ".join(text.split()), 140, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    results = json.loads(RESULTS.read_text())
    PAGE.write_text(page(results))
    draw(results["digits"])
