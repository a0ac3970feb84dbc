"""docs/experiments/README.md, written from the results that are saved beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from costlab.experiments.designs import EXPERIMENTS
from costlab.experiments.report import GUIDELINES, conclusions, markdown, savings_markdown, savings_sentence
from costlab.experiments.results import Record, read_record
from costlab.formatting.escaping import markdown_text

FOLDER = Path(__file__).parents[1] / "experiments"
SAVINGS = "savings"

INTRODUCTION = """# The paper's experiments, repeated

Generated from the results in these folders by `make experiments`; [how it is measured](method.md).

ShuffleNet V2 (Ma et al., arXiv 1807.11164) rests on experiments: networks of equal mult-adds that take unequal times.
Here they are on other machines, the paper's figures beside them. Machines differ, so speeds are held against the first
row of each column: "relative" is the speed over that row's. The paper's GPU is a GeForce GTX 1080 Ti, its ARM a
Snapdragon 810.

"""
OPEN = """No GPU has been measured yet: the rows are open. Where there is one, `make experiments DEVICE=cuda` fills them
in, at the paper's batches and once more at batch 32, where the work of a convolution outlasts its launch.

"""


def saved(folder: Path = FOLDER) -> dict[str, list[Record]]:
    """The results of each folder, "cpu" for instance, in the order of the paper."""
    found = {
        sub.name: [read_record(path) for name in EXPERIMENTS if (path := sub / f"{name}.json").exists()]
        for sub in sorted(folder.iterdir())
    }
    return {name: records for name, records in found.items() if records}


def page(results: Mapping[str, Sequence[Record]]) -> str:
    """Every machine with what holds on it, then its experiments in full."""
    parts = [INTRODUCTION]
    for name, records in results.items():
        around = records[0].environment
        machine = markdown_text(str(around.get("gpu") or around.get("cpu") or "unknown processor"))
        parts.append(f"## {name}: {machine}\n\n### What holds\n\n")
        parts += [f"- {markdown_text(sentence)}\n" for record in records for sentence in conclusions(record)]
        parts.append("\n")
        for record in records:
            parts.append(f"{markdown(record)}\n![{record.experiment.title}]({name}/{record.name}.svg)\n\n")
        guidelines = [record for record in records if record.name in GUIDELINES]
        parts.append(f"### Predicted and measured savings\n\n{savings_sentence(guidelines)}\n\n")
        parts.append("Saved by following the guideline, with the share of the time; below zero it is lost.\n\n")
        parts.append(f"{savings_markdown(guidelines)}\n")
        if any(record.predicted_for for record in guidelines):
            parts.append(f"![Predicted and measured savings]({name}/{SAVINGS}.svg)\n\n")
    if not any(name.startswith("cuda") for name in results):
        parts.append(f"## cuda\n\n{OPEN}")
    return "".join(parts).rstrip("\n") + "\n"
