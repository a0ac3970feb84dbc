"""NetAdapt on this machine: is predicted time saved in truth, and what accuracy is left?

    OMP_NUM_THREADS=1 python tests/bench/netadapt.py --device DEVICE.toml [networks] [digits]

Writes tests/data/netadapt.json. DEVICE.toml is what `costlab calibrate --threads 1` writes. Times are CPU time of the
only thread, the median of runs in turns, so that other programs disturb all networks alike.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

import costlab
from costlab.measurement.environment import cpu_name
from costlab.models import ModelSpec, load_model
from costlab.rewrite import dac, netadapt

RESULTS = Path(__file__).parents[1] / "data" / "netadapt.json"

# Published networks, and the part of their predicted time that is to be left.
NETWORKS = {
    "zoo:mobilenet_v1": 0.6,
    "zoo:mobilenet_v2": 0.6,
    "torchvision:mobilenet_v3_large": 0.6,
    "torchvision:resnet50": 0.6,
    "torchvision:regnet_y_400mf": 0.6,
    "zoo:shufflenet_v2": 0.8,  # only the middle of its units can shrink
    "torchvision:efficientnet_b0": 0.6,
    "torchvision:convnext_tiny": 0.6,
    "torchvision:densenet121": 0.6,
}
TURNS = 15

# Digits: 997 images to train on, 300 to choose by, 500 to judge by.
WIDTHS = (16, 16, 0, 32, 32, 0, 32, 32)  # 0 is a pooling
TRAINING, CHOOSING, BATCH, MEASURED_BATCH = 997, 300, 64, 256
EPOCHS = 8  # of the first training, and of the last fine-tuning
STEPS = 8  # batches of the fine-tuning of each proposal
PARTS = (0.75, 0.6, 0.45, 0.35, 0.25)  # of the predicted time
MULTIPLIERS = (0.85, 0.7, 0.55, 0.45, 0.35, 0.25, 0.2, 0.15)
RANKS = (4, 3, 2, 1)
SEEDS = range(5)


def times(models: Sequence[nn.Module], x: torch.Tensor, turns: int = TURNS) -> list[float]:
    """The median CPU seconds of a forward pass of each network, in turns."""
    seconds: list[list[float]] = [[] for _ in models]
    with torch.inference_mode():
        for turn in range(turns + 1):
            for model, found in zip(models, seconds, strict=True):
                begin = process_time()
                model(x)
                if turn:
                    found.append(process_time() - begin)
    return [median(found) for found in seconds]


def networks(device: str) -> list[dict[str, Any]]:
    """Predicted and measured time of published networks before and after."""
    rows = []
    for name, part in NETWORKS.items():
        loaded = load_model(ModelSpec(name), weights=True)
        model, x = loaded.model.eval(), torch.randn(1, 3, 224, 224)
        smaller = netadapt(model, x, target_latency=part, device=device, step=0.05).model.eval()
        predicted = [costlab.predict(costlab.profile(m, x), device).seconds for m in (model, smaller)]
        measured = times([model, smaller], x)
        rows.append({"network": name, "predicted": predicted, "measured": measured})
        print(name, *(f"{b / a:.3f}" for a, b in (predicted, measured)), measured, flush=True)
    return rows


class Digits:
    """Scikit-learn's 8x8 digits in three parts, and how networks are trained on them."""

    def __init__(self) -> None:
        images, labels = load_digits(return_X_y=True)
        self.x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        self.y = torch.tensor(labels)
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(0))
        self.train, self.choose, self.judge = order.split([TRAINING, CHOOSING, len(order) - TRAINING - CHOOSING])

    def fit(self, model: nn.Module, steps: int, rate: float) -> nn.Module:
        """Train for some batches, with one cycle of the learning rate."""
        model.train()
        optimiser = torch.optim.AdamW(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
        batches: list[torch.Tensor] = []
        for _ in range(steps):
            batches = batches or list(self.train[torch.randperm(TRAINING)].split(BATCH))
            batch = batches.pop()
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(self.x[batch]), self.y[batch]).backward()
            optimiser.step()
            schedule.step()
        return model.eval()

    def epochs(self, model: nn.Module, count: int, rate: float = 0.01) -> nn.Module:
        return self.fit(model, count * -(-TRAINING // BATCH), rate)

    def accuracy(self, model: nn.Module, of: torch.Tensor) -> float:
        with torch.no_grad():
            return float((model.eval()(self.x[of]).argmax(1) == self.y[of]).double().mean())


def network(width: float = 1.0) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 1
    for size in WIDTHS:
        if size:
            outputs = max(round(size * width), 1)
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            channels = outputs
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def digits(device: str) -> list[dict[str, Any]]:
    """Accuracy and time of networks made smaller in three ways, for several seeds."""
    data, rows = Digits(), []
    for seed in SEEDS:
        torch.manual_seed(seed)
        made = smaller_networks(data, device)
        x = data.x[:MEASURED_BATCH]
        base, *seconds = times([model for _, _, model in made], x, 4 * TURNS)
        shape = tuple(x.shape)
        predicted = [costlab.predict(costlab.profile(model, shape), device).seconds for _, _, model in made]
        for (method, setting, model), own, expected in zip(made, [base, *seconds], predicted, strict=True):
            row = {"seed": seed, "method": method, "setting": setting, "accuracy": data.accuracy(model, data.judge)}
            rows.append({**row, "measured": own / base, "predicted": expected / predicted[0], "seconds": own})
            print(rows[-1], flush=True)
    return rows


def smaller_networks(data: Digits, device: str) -> list[tuple[str, float, nn.Module]]:
    """A trained network, and smaller ones; each is trained for as many epochs in all, NetAdapt's steps aside."""
    base = data.epochs(network(), EPOCHS)
    made: list[tuple[str, float, nn.Module]] = [("base", 1.0, data.epochs(copy.deepcopy(base), EPOCHS, 0.003))]
    shape = (MEASURED_BATCH, 1, 8, 8)
    whole = costlab.predict(costlab.profile(base, shape), device).seconds
    model: nn.Module = base
    for part in PARTS:
        now = costlab.predict(costlab.profile(model, shape), device).seconds
        model = netadapt(
            model,
            shape,
            target_latency=part * whole / now,
            device=device,
            multiple=1,
            evaluate=lambda m: data.accuracy(m, data.choose),
            finetune=lambda m, last: None if last else data.fit(m, STEPS, 0.003),
        ).model
        made.append(("netadapt", part, data.epochs(copy.deepcopy(model), EPOCHS)))
    for width in MULTIPLIERS:
        made.append(("width multiplier", width, data.epochs(network(width), 2 * EPOCHS)))
    for rank in RANKS:
        made.append(("dac", rank, data.epochs(dac(base, rank=rank).model, EPOCHS)))
    return made


def main() -> None:
    """Measure, and keep what was measured before of the other part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("parts", nargs="*", default=["networks", "digits"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in arguments.parts:
        found[part] = {"networks": networks, "digits": digits}[part](arguments.device)
        found |= {"date": str(date.today()), "torch": torch.__version__, "processor": cpu_name()}
        found.setdefault("load", {})[part] = round(os.getloadavg()[0], 1)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
