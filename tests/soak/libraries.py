"""Networks of eight other libraries beside FlopCounterMode; writes docs/coverage-libraries.md.

The libraries are not dependencies of costlab: `pip install --no-deps` them, and what they import, into a folder on
PYTHONPATH. What is not installed is left out, with the reason.
"""

from __future__ import annotations

import copy
import importlib.metadata
import logging
import sys
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]

import torch  # noqa: E402
from helpers.library_networks import LibraryNetwork, build, networks  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import costlab  # noqa: E402
from costlab.tracing.tensors import moved  # noqa: E402

PAGE = ROOT / "docs" / "coverage-libraries.md"


@dataclass(frozen=True)
class Comparison:
    """One network, counted twice."""

    network: LibraryNetwork
    mult_adds: int | None
    seconds: float
    estimated: bool = False
    uncounted: tuple[str, ...] = ()
    counted: int | None = None  # by FlopCounterMode
    problem: str = ""

    @property
    def verdict(self) -> str:
        if self.problem:
            return self.problem
        if self.uncounted:
            return f"uncounted: {', '.join(self.uncounted)}"
        if self.mult_adds == self.counted:
            return "equal"
        if self.counted is None:
            return "FlopCounterMode fails"
        return "estimate" if self.estimated else "differs"


class NoTracking:
    """A module tracker for FlopCounterMode that sets no hooks: some networks fail with them."""

    parents = frozenset({"Global"})

    def __enter__(self) -> NoTracking:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def count(model: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    """What FlopCounterMode counts: on the meta device, or with values where the network needs them."""
    torch.backends.mha.set_fastpath_enabled(False)
    for device in ("meta", "cpu"):
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = NoTracking()
        seen = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()  # the fused one is not counted
        try:
            twin, inputs = copy.deepcopy(model).to(device), moved((args, kwargs), lambda t, d=device: t.to(d))
            with torch.inference_mode(), seen, counter:
                twin(*inputs[0], **inputs[1])
        except Exception:
            continue
        return int(counter.get_total_flops()) // 2
    return None


def compare(network: LibraryNetwork) -> Comparison:
    """costlab's count beside torch's."""
    start = time.perf_counter()
    try:
        model, args, kwargs = build(network)
    except Exception as error:
        return Comparison(network, None, 0.0, problem=f"not built: {one_line(error)}")
    start = time.perf_counter()
    try:
        result = costlab.profile(model, list(args), kwargs)
    except Exception as error:
        return Comparison(network, None, time.perf_counter() - start, problem=f"failed: {one_line(error)}")
    seconds = time.perf_counter() - start
    estimated, uncounted = bool(result.estimated), tuple(result.uncounted)
    return Comparison(network, result.mult_adds, seconds, estimated, uncounted, count(model, args, kwargs))


def one_line(error: Exception) -> str:
    """An exception as one short line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"[:120]


def version(library: str) -> str:
    """The version of an installed library."""
    names = {"open_clip": "open_clip_torch", "vit_pytorch": "vit-pytorch"}
    try:
        return importlib.metadata.version(names.get(library, library))
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def page(found: list[Comparison]) -> str:
    """docs/coverage-libraries.md."""
    equal = sum(c.verdict == "equal" for c in found)
    lines = [
        "# Networks of other libraries",
        "",
        f"Written by `tests/soak/libraries.py` on {datetime.now(UTC):%Y-%m-%d} with torch {torch.__version__}.",
        "",
        f"{len(found)} networks in small sizes, counted by costlab and by torch's FlopCounterMode: {equal} are equal."
        " FlopCounterMode runs on the meta device, or with values if a network needs them.",
        "",
        "| library | version | network | mult-adds | FlopCounterMode | | seconds |",
        "| --- | --- | --- | ---: | ---: | --- | ---: |",
    ]
    for c in found:
        ours, theirs = ("" if n is None else f"{n:,}" for n in (c.mult_adds, c.counted))
        row = (
            c.network.library,
            version(c.network.library),
            c.network.name,
            ours,
            theirs,
            c.verdict,
            f"{c.seconds:.1f}",
        )
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page; 1 if a total differs and is not marked."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    found = []
    for network in networks():
        comparison = compare(network)
        print(f"{network.library} {network.name}: {comparison.verdict} ({comparison.seconds:.1f} s)", flush=True)
        found.append(comparison)
    PAGE.write_text(page(found))
    return int(any(c.verdict == "differs" for c in found))


if __name__ == "__main__":
    sys.exit(main())
