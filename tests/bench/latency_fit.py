"""Fit the parameters of the latency model to measured tables, all cards together or one left out.

Samples are whole passes and, where a table has them, single operators. One set of parameters is fitted to all GPUs in
eager mode, one to compiled mode, one to CPUs; the H100, measured with another PyTorch and host, has numbers of its own.
"""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import floor, log, log10, prod
from pathlib import Path
from typing import Any

import numpy as np
from tables import COMPILED, H100, NEUSIGHT, UNFITTED, Row, Table, Tables, traced

from costlab.errors import CostlabError
from costlab.latency import parameters
from costlab.latency.device import Device
from costlab.latency.devices import write_device
from costlab.latency.efficiency import efficiency_of
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import WORK, Kernel, lower
from costlab.latency.parameters import CPU, FIXED, GPU
from costlab.measurement.fit import OUTLIER, Errors, Sample, Samples, errors, fit

EVALUATIONS = {"eager": 12, "compiled": 16, "cpu": 20, "own": 8}
PULL = {"eager": 0.05, "compiled": 0.05, "cpu": 0.3, "own": 0.05}  # of priors; chosen like OUTLIERS
OWN_CHANGE = 0.05  # logarithm of a parameter's ratio to the shared one from which on a device file has its own
RESOLUTION = {"h100": 15e-6, "neusight": 20e-6}  # seconds of an operator; shorter ones are mostly stopwatch
NEVER = {*FIXED, "start_seconds"}
LIBRARY = frozenset(  # kernels of cuBLAS, cuDNN and PyTorch, which compiled code calls too: fitted to eager mode alone
    "matmul convolution pointwise_convolution grouped_flops padded_flops vector_share"
    " half_warp_vector_share operand_bytes convolution_operand_bytes image_operand_bytes block_cycles"
    " matmul_cycles convolution_cycles"
    " vector_cycles attention attention_padding attention_traffic score_cycles mask_cycles recurrent"
    " stream l2_bytes cache_share depthwise large_depthwise channels_last_depthwise channels_last_large_depthwise"
    " depthwise_convolution_traffic pooling pooling_traffic pooled_output".split()
)
WEIGHTS = {"timm": 1.0, "h100 operators": 0.2, "neusight operators": 0.3, "neusight": 0.4}
SAMPLES = 600  # a group counts as if it had so many samples
FIXED_IN = {"compiled": LIBRARY, "eager": frozenset({"launch_seconds"})}  # large batches do not tell an eager launch
OUTLIERS = {"eager": 0.05}  # chosen by leaving out half of the fitting families
UNTOLD_BY_H100 = frozenset(  # no products in float32; gathers only of tables so small that the host takes longer
    ("vector_share", "half_warp_vector_share", "vector_cycles", "gather", "gather_traffic")
)
Lowered = Mapping[tuple[str, str], np.ndarray]  # by network and table
EMBEDDINGS = ("embedding", "wte", "wpe")
OPERATORS = ("add", "mul", "truediv", "pow", "tanh", "sub")  # element-wise, in NeuSight's names


def mode_of(table: Table) -> str:
    if table.device.startswith("i"):
        return "cpu"
    return "compiled" if table.way == COMPILED else "eager"


def lowered(name: str, network: Any, tables: Sequence[tuple[Table, Device]]) -> dict[str, np.ndarray]:
    """The kernels of a network in each way of running, as rows of numbers; none where it cannot be traced."""
    try:
        profile = traced(name, network)
    except CostlabError:
        return {}  # said when it is judged
    found = {}
    for table, device in tables:
        config = ExecutionConfig(device, **table.way)
        found[table.file] = np.array(lower(profile, profile.fused(config.fusion), config), dtype=float)
        if table == H100:
            found["names"] = np.array([op.name for op in profile.ops])
    return found


def group(table: Table, device: Device, rows: Iterable[Row], kernels: Lowered) -> Samples:
    """Whole passes of the networks of a table."""
    samples = [
        Sample(name, kernels[name, table.file], row.batch, row.seconds)
        for row in rows
        if (name := str(row.network), table.file) in kernels
    ]
    kind = "neusight" if table.device in NEUSIGHT.values() else "timm"
    return Samples(device, samples, weight=weight(kind, len(samples)))


def weight(kind: str, samples: int) -> float:
    return WEIGHTS[kind] * (SAMPLES / max(samples, 1)) ** 0.5


def h100_operators(device: Device, rows: Iterable[Row], kernels: Lowered) -> Samples:
    """The operators of the H100's networks, each shape once; casts are operators of their own there."""
    samples = {}
    for row in rows:
        names, table = kernels[str(row.network), "names"], kernels[str(row.network), H100.file]
        for position in np.unique(table[:, 0]).astype(int):
            seconds = row.ops.get(str(names[position]), 0.0)
            own = without_casts(table[table[:, 0] == position])
            if seconds >= RESOLUTION["h100"]:
                samples[own[:, 1:].tobytes()] = Sample(f"{row.name}: {names[position]}", own, row.batch, seconds)
    return Samples(device, [*samples.values()], host=False, weight=weight("h100 operators", len(samples)))


def without_casts(kernels: np.ndarray) -> np.ndarray:
    """The kernels of an operator without the element-wise ones that come before its own."""
    others = np.flatnonzero(kernels[:, 1] != WORK["element_wise"])
    if not len(others):
        return kernels[-1:]
    fill = kernels[0, 1] == WORK["element_wise"] and kernels[0, Kernel._fields.index("read")] == 0
    return kernels if fill else kernels[others[0] :]


def neusight_operators(path: Path, title: str, device: Device) -> Samples:
    """The operators of NeuSight's labels of a card, each shape once."""
    samples = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for entry in csv.DictReader(lines):
            seconds = float(entry["forward_ms"]) / 1e3
            kernel = neusight_kernel(entry) if entry["device"] == title and entry["input_shapes"] else None
            if kernel and seconds >= RESOLUTION["neusight"]:
                samples[kernel] = Sample(entry["operator"], [kernel], 1.0, seconds)
    return Samples(device, [*samples.values()], host=False, weight=weight("neusight operators", len(samples)))


def neusight_kernel(entry: Mapping[str, str]) -> Kernel | None:
    """The kernel of a node of NeuSight's graphs, in float32; None for what its shapes do not tell."""
    try:
        inputs, output = ast.literal_eval(entry["input_shapes"]), ast.literal_eval(entry["output_shape"])
    except (ValueError, SyntaxError):
        return None
    name, elements = entry["operator"], float(prod(output))
    sizes = [float(prod(shape)) for shape in inputs if prod(shape) > 1]
    if elements < 1000 or not sizes:
        return None
    read, written = 4 * sum(sizes), 4 * elements
    kernel = Kernel(0, WORK["element_wise"], read=read, written=written, operations=elements)
    product = re.search(r"method (addmm|matmul|bmm)", name)
    if product:
        weighted = product[1] == "addmm"
        left, right = inputs[-2:]
        rows, columns, sums = left[-2], right[-1], left[-1]
        work = WORK["matmul" if weighted else "batched_matmul"]
        count = 1.0 if weighted else float(prod(left[:-2]))
        flops = 2 * elements * sums
        return kernel._replace(work=work, m=rows, n=columns, k=sums, products=count, flops=flops, operations=0)
    if any(word in name for word in EMBEDDINGS) and tuple(output[:-1]) == tuple(inputs[0]):
        return kernel._replace(work=WORK["gather"], read=written)
    if entry["node"] == "call_module":
        return neusight_module(name.lower(), kernel, inputs, output)
    if "softmax" in name:
        return kernel._replace(work=WORK["softmax"], operations=3 * elements, k=output[-1])
    if name == "contiguous":
        return kernel._replace(work=WORK["copy"], slow=True)
    if any(f"function {word}" in name or f"method {word}" in name for word in OPERATORS):
        slow = any(tuple(shape) != tuple(output) for shape in inputs if prod(shape) > 1)
        return kernel._replace(slow=slow)
    return None


def neusight_module(name: str, kernel: Kernel, inputs: Any, output: Any) -> Kernel | None:
    """The kernel of a module: a norm or a linear layer, by its name."""
    elements = prod(output)
    if "norm" in name or "ln_" in name:
        return kernel._replace(work=WORK["normalisation"], operations=5 * elements, k=output[-1])
    if any(word in name for word in ("drop", "act")) or len(inputs) != 1 or tuple(output[:-1]) == tuple(inputs[0]):
        return None
    sums, columns = inputs[0][-1], output[-1]
    rows = prod(inputs[0][:-1])
    flops = 2.0 * elements * sums
    return kernel._replace(work=WORK["matmul"], m=rows, n=columns, k=sums, flops=flops, operations=0)


class Fits:
    """The samples of all tables, by table, and what is fitted to them."""

    def __init__(self, tables: Tables, devices: Mapping[str, Device], kernels: Lowered, fits: Callable[[Row], bool],
        folder: Path):  # fmt: skip
        """`fits`: whether a row of timm's tables fits, or judges."""
        self.devices = devices
        chosen = {t: [row for row in rows if t.file[:4] in ("h100", "neus") or fits(row)] for t, rows in tables.items()}
        self.groups = {t: group(t, devices[t.device], rows, kernels) for t, rows in chosen.items()}
        self.operators = {}
        labels = folder / "neusight" / "operators.csv"
        for table, rows in chosen.items():
            title = table.file.partition(": ")[2]
            if table == H100:
                self.operators[table] = h100_operators(devices["h100"], rows, kernels)
            elif title and labels.exists():
                self.operators[table] = neusight_operators(labels, title, devices[table.device])

    def samples(self, mode: str, without: str = "") -> list[Samples]:
        """What a mode is fitted to, without a card. Whole passes of the H100 are left out: they depend on its host."""
        left_out = (without, *UNFITTED)
        tables = [t for t in self.groups if mode_of(t) == mode and t.card not in left_out]
        operators = [self.operators[t] for t in tables if t in self.operators]
        return [g for g in [*(self.groups[t] for t in tables if t != H100), *operators] if g.samples]

    def shared(self, mode: str, without: str = "", start: Mapping[str, float] | None = None) -> dict[str, float]:
        """The parameters of a mode, fitted to every card but one."""
        table = CPU if mode == "cpu" else GPU
        first = dict(start or {name: parameter.prior for name, parameter in table.items()})
        free = table.keys() - NEVER - FIXED_IN.get(mode, frozenset())
        return fit(self.samples(mode, without), first, free, EVALUATIONS[mode], PULL[mode], OUTLIERS.get(mode, OUTLIER))

    def own(self, shared: Mapping[str, float]) -> dict[str, float]:
        """The parameters of the H100's software and host."""
        groups = [g for g in (self.operators.get(H100), self.groups.get(H100)) if g]
        whole = [replace(g, weight=weight("timm", len(g.samples))) for g in groups]
        free = GPU.keys() - NEVER - UNTOLD_BY_H100
        return fit(whole, shared, free, EVALUATIONS["own"], PULL["own"])

    def unseen(self, progress: Callable[[str], None]) -> dict[str, Errors]:
        """Every card predicted by parameters that were fitted without it, by the title of its table."""
        found = {}
        for card in dict.fromkeys(t.card for t in self.groups if mode_of(t) == "eager" and t.card not in UNFITTED):
            progress(f"leaving out {card}")
            values = self.shared("eager", card)
            for table, samples in self.groups.items():
                if table.card == card and mode_of(table) == "eager" and samples.samples:
                    found[table.title] = errors(samples.predicted(values), samples.measured)
        return found


def write(folder: Path, devices: Mapping[str, Device], found: Mapping[str, Mapping[str, float]]) -> None:
    """Write fitted values to `parameters.py` and to the device file of the H100, both in a copy of costlab/latency."""
    text = Path(parameters.__file__).read_text(encoding="utf-8")
    head, gpu = text.split("\nGPU: ", 1)
    gpu, cpu = gpu.split("\nCPU: ", 1)
    gpu = with_values(gpu, found["eager"], found["compiled"])
    cpu = with_values(cpu, found["cpu"], found["cpu"])
    (folder / "parameters.py").write_text(f"{head}\nGPU: {gpu}\nCPU: {cpu}", encoding="utf-8")
    if "own" in found:
        device = devices["h100"]
        shared, before = found["eager"], efficiency_of(device, "eager")
        own = {
            key: rounded(value)
            for key, value in found["own"].items()
            if key not in NEVER and abs(log(value / shared[key])) > OWN_CHANGE
        }
        table = {**own, "half_norms": before["half_norms"]}
        written = replace(device, efficiency={**device.efficiency, "eager": table})
        write_device(written, folder / "data" / "h100.toml")


def with_values(text: str, eager: Mapping[str, float], compiled: Mapping[str, float]) -> str:
    """The literal of a table of parameters with other values."""

    def line(found: re.Match[str]) -> str:
        name, prior = found[1], found[2]
        if name in NEVER or name not in eager:
            return found[0]
        return f'    "{name}": P({prior}, {rounded(eager[name]):g}, {rounded(compiled[name]):g}, '

    return re.sub(r'    "(\w+)": P\(([^,]+), [^,]+, [^,]+, ', line, text)


def rounded(value: float) -> float:
    """Three digits."""
    return round(value, 2 - floor(log10(abs(value)))) if value else 0.0


def start_of_compiled(eager: Mapping[str, float]) -> dict[str, float]:
    """Where a fit to compiled code starts: generated kernels move data at full speed, and follow each other closely."""
    traffic = {name: 1.05 for name in GPU.keys() - LIBRARY if name.endswith("_traffic")}
    generated = {"normalisation": 40.0, "normalisation_row": 5.0, "kernel_seconds": 1e-6, "launch_seconds": 1e-5}
    return {**eager, **traffic, **generated, "overlap": 4.0}


def fitted(fits: Fits, chosen: Collection[str] = ("eager", "compiled", "cpu")) -> dict[str, dict[str, float]]:
    """The parameters of every mode, and those of the H100 as "own"."""
    found = {"eager": fits.shared("eager")}
    if "compiled" in chosen:
        found["compiled"] = fits.shared("compiled", start=start_of_compiled(found["eager"]))
    if "cpu" in chosen:
        found["cpu"] = fits.shared("cpu")
    if H100 in fits.operators:
        found["own"] = fits.own(found["eager"])
    return found
