"""Repeat the paper's experiments on this machine and write docs/experiments: results, plots, and the page about them.

Results of another kind of device stay as they are. Nothing else should be at work on the machine meanwhile.
`--saved` measures nothing: it predicts, draws and writes again what is saved, for instance after a change of the model.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEVICES = ROOT / "costlab" / "latency" / "data"
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]

BATCHES = {"cuda": (None, 32)}  # None: the paper's; at the larger one the work outlasts the launches


def main() -> int:
    from generate.experiment_pages import FOLDER, SAVINGS, page, saved

    from costlab.core.files import write_text
    from costlab.experiments.pictures import save_figure, write_picture
    from costlab.experiments.report import GUIDELINES
    from costlab.experiments.results import read_record
    from costlab.experiments.savings import savings_picture

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--predict-for", help="a device to predict for: what `costlab calibrate` has written")
    parser.add_argument("--quick", action="store_true", help="a few short rounds: to see that it works")
    parser.add_argument("--saved", action="store_true", help="do not measure; predict, plot and write the page again")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="instead of docs/experiments")
    asked = parser.parse_args()

    code = predict_again(asked.folder, asked.predict_for) if asked.saved else measure(asked)
    if code:
        return code
    for place in filter(Path.is_dir, asked.folder.iterdir()):
        records = [read_record(path) for path in sorted(place.glob("*.json"))]
        for record in records:
            write_picture(record, place / f"{record.name}.svg")
        guidelines = [record for record in records if record.name in GUIDELINES]
        if any(record.predicted_for for record in guidelines):
            save_figure(savings_picture(guidelines), place / f"{SAVINGS}.svg")
    write_text(asked.folder / "README.md", page(saved(asked.folder)))
    return 0


def measure(asked: argparse.Namespace) -> int:
    """Run every experiment at every batch; returns the exit code of the first that fails."""
    from costlab.cli import run
    from costlab.experiments.designs import EXPERIMENTS

    for batch in BATCHES.get(asked.device, (None,)):
        place = asked.folder / (asked.device if batch is None else f"{asked.device}-batch{batch}")
        place.mkdir(parents=True, exist_ok=True)
        options = ["--device", asked.device, *(["--batch", str(batch)] if batch else [])]
        options += ["--predict-for", asked.predict_for] if asked.predict_for else []
        options += ["--quick"] if asked.quick else []
        for name in EXPERIMENTS:
            words = ["experiment", name, *options, "--format", "json", "-o", str(place / f"{name}.json")]
            print("costlab", *words, flush=True)
            code = run(words)
            if code:
                return code
    return 0


def predict_again(folder: Path, device: str | None) -> int:
    """Predict saved results again: for `device`, or where it is None for the shipped device that each names.

    Results that name another device, such as one that `costlab calibrate` wrote, stay as they are.
    """
    from costlab.core.files import write_text
    from costlab.experiments.results import read_record
    from costlab.experiments.running import with_predictions

    for path in sorted(folder.glob("*/*.json")):
        record = read_record(path)
        target = device or record.predicted_for
        if target and (device or (DEVICES / f"{target}.toml").exists()):
            print(f"predicting {path.parent.name}/{path.name} for {target}", flush=True)
            write_text(path, with_predictions(record, target).to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
