"""How well a calibration predicts: that of a recorded H100 is fitted again, and judged on networks it has not seen.

    python tests/bench/calibrating.py                  # blocks held out, and the networks of docs/latency
    python tests/bench/calibrating.py --tables DIR     # the rows of DIR/h100/inference.jsonl too

The card is fitted twice: as if costlab had no parameters of its own for it, and from those of its device file.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

import costlab
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.measurement import calibration
from costlab.measurement.calibration_result import Calibration
from costlab.measurement.fit import Errors, errors
from costlab.measurement.microbenchmarks import blocks
from costlab.measurement.result import Measurement
from costlab.models import ModelSpec, profile_of

FOLDER = Path(__file__).parents[2] / "docs" / "latency" / "nvidia-h100-80gb-hbm3"
BATCH = 128


def recorded(name: str) -> list[Measurement]:
    """The rows of a file."""
    with gzip.open(FOLDER / name, "rt", encoding="utf-8") as lines:
        return [Measurement.from_json(line) for line in lines]


def calibrated(card: Device) -> Calibration:
    """What `costlab calibrate` fits to the recorded blocks."""
    rows = recorded("blocks.jsonl.gz")
    groups: list[list[calibration.Sample]] = [[], []]
    for number, (block, found) in enumerate(zip(blocks(), rows, strict=False)):
        if (found.name, found.inputs[0].shape) != (block.name, block.shape):
            raise ValueError(f"row {number} is {found.name}, not {block.name}")
        groups[number % 2] += calibration.samples_of(block, found, card)
    gap = median(calibration.host_seconds(found) / len(found.ops) for found in rows)
    return calibration.fit_device(card, groups, gap, len(rows), interrupted=True)


def busy(device: Device) -> Errors:
    """How far the sums of kernels are off on the networks of docs/latency."""
    found = recorded("inference.jsonl.gz")
    profiles = [profile_of(ModelSpec(f"{one.provider}:{one.name}")) for one in found]
    predictions = [costlab.predict(profile, device, batch=BATCH, amp=True) for profile in profiles]
    sums = np.array([sum(prediction.by_op.values()) for prediction in predictions])
    return errors(sums, np.array([one.activity.busy.median for one in found if one.activity and one.activity.busy]))


def whole(device: Device, measured: Mapping[str, float]) -> Errors:
    """How far predicted passes are off, of networks by name."""
    found = [costlab.predict(profile_of(ModelSpec(name)), device, batch=BATCH, amp=True).seconds for name in measured]
    return errors(np.array(found), np.array([*measured.values()]))


def said(what: str, found: Errors) -> str:
    """Errors as a line."""
    return f"{what:44} {found.networks:4} {found.median:6.1%} {found.ninetieth:6.1%} {found.spearman:.3f}"


def main() -> None:
    """Fit, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, metavar="DIR", help="folder of the tables")
    tables = parser.parse_args().tables
    rows = {}
    if tables:
        lines = (tables / "h100" / "inference.jsonl").read_text(encoding="utf-8").splitlines()
        rows = {row["name"]: row["whole"] for row in map(json.loads, lines)}
    own = find_device("h100")
    without = replace(own, efficiency={"eager": {"half_norms": 0.0}})
    for name, card in (("no parameters of its own", without), ("those of its device file", own)):
        found = calibrated(card)
        print(f"{name}\n{said('operators and blocks held out', found.held_out)}")
        for step, device in (("before", card), ("calibrated", found.device)):
            print(said(f"{step}: busy time of networks", busy(device)))
            if rows:
                print(said(f"{step}: passes of tables", whole(device, rows)))


if __name__ == "__main__":
    main()
