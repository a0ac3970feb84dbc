"""How far predictions for an H100 are off that no rows of it were fitted to, without and with one network as an anchor.

    python tests/bench/anchors.py --tables DIR            # each network in turn as the anchor, the others judged
    python tests/bench/anchors.py --tables DIR --halves   # own parameters from half of the networks, the others judged

DIR is that of tests/bench/latency.py. A fit takes minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from latency import TIMM_CARDS, kernels_of
from latency_fit import Fits, h100_operators, mode_of
from tables import H100, Row, families, fitting, read

from costlab.measurement.anchor import adjusted, launch
from costlab.measurement.fit import Samples

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
from generate.latency_page import shipped


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, metavar="DIR", help="folder of the tables")
    parser.add_argument("--halves", action="store_true", help="fit to every other network instead")
    parser.add_argument("--every", type=int, default=2, metavar="N", help="fit to every Nth network only")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    return parser.parse_args()


def errors(values: Mapping[str, float], whole: Samples, without: Collection[str]) -> np.ndarray:
    """|predicted / measured - 1| of all networks but some."""
    judged = np.array([sample.name not in without for sample in whole.samples])
    return np.abs(whole.predicted(values) / whole.measured - 1)[judged]


def anchors(fits: Fits, rows: list[Row], kernels: Mapping[tuple[str, str], np.ndarray]) -> None:
    """Print the error for each anchor."""
    card = fits.devices["h100"]
    before = fits.shared("eager", "H100")
    whole = fits.groups[H100]
    print(f"without an anchor: {np.median(errors(before, whole, ())):.1%}")
    found = []
    for row in rows:
        values = adjusted(h100_operators(card, [row], kernels), before)
        alone = replace(whole, samples=[sample for sample in whole.samples if sample.name == str(row.network)])
        works = float(replace(alone, host=False).predicted(values)[0])
        launches = float(np.sum(alone.distinct[1] * alone.model.launches))
        values["launch_seconds"] = launch(values, row.seconds, works, launches)
        found.append(errors(values, whole, [str(row.network)]))
        print(f"{row.name}: median {np.median(found[-1]):.1%}, 90th percentile {np.percentile(found[-1], 90):.1%}")
    print(f"median over anchors: {np.median([np.median(each) for each in found]):.1%}")


def halves(fits: Fits, rows: list[Row], kernels: Mapping[tuple[str, str], np.ndarray]) -> None:
    """Print the error of networks whose rows were left out of the fit of the card's own parameters."""
    card, shared = fits.devices["h100"], fits.shared("eager", "H100")
    whole, found = fits.groups[H100], []
    for half in (0, 1):
        fits.operators[H100] = h100_operators(card, rows[half::2], kernels)
        fits.groups[H100] = replace(whole, samples=whole.samples[half::2])
        left = [sample.name for sample in whole.samples[half::2]]
        found.append(errors(fits.own(shared), whole, left))
    every = np.concatenate(found)
    print(
        f"half of the networks left out: median {np.median(every):.1%}, 90th percentile {np.percentile(every, 90):.1%}"
    )


def main() -> None:
    """Fit without the H100, then judge."""
    asked = arguments()
    tables = {t: rows for t, rows in read(asked.tables).items() if mode_of(t) == "eager"}
    family = families(row.network.architecture for t, rows in tables.items() if t.card in TIMM_CARDS for row in rows)
    even = fitting(family.values())
    chosen = {
        t: [row for row in rows if family.get(row.network.architecture) in even][:: asked.every]
        if t.card in TIMM_CARDS
        else rows
        for t, rows in tables.items()
    }
    kernels = kernels_of(chosen, asked.jobs)
    fits = Fits(chosen, {t.device: shipped(t.device) for t in chosen}, kernels, lambda row: True, asked.tables)
    (halves if asked.halves else anchors)(fits, chosen[H100], kernels)


if __name__ == "__main__":
    main()
