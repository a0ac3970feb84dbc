"""Time of whole processes from start to exit, relative to one that only imports torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

COSTLAB = str(Path(sys.executable).with_name("costlab"))
IMPORT_TORCH = "python -c 'import torch'"
CACHED = "costlab report mobilenet_v2"
COMMANDS = {
    IMPORT_TORCH: [sys.executable, "-c", "import torch"],
    "costlab --help": [COSTLAB, "--help"],
    CACHED: [COSTLAB, "report", "mobilenet_v2"],
    "costlab report zoo:mobilenet_v2 --no-cache": [COSTLAB, "report", "zoo:mobilenet_v2", "--no-cache"],
    "costlab report torchvision:mobilenet_v2 --no-cache": [COSTLAB, "report", "torchvision:mobilenet_v2", "--no-cache"],
}
HEAVY = ("torch", "torchvision", "timm", "transformers", "fvcore", "matplotlib", "pandas", "scipy", "numpy", "networkx")


def process_times(tools: Iterable[str], rounds: int, tool_rounds: int) -> dict[str, Any]:
    """`commands`: median seconds of each, or its `failure`; `imported`: heavy packages that the cached report imports.

    Every round runs all commands in turn; those that count with another tool join the first `tool_rounds`. All find
    the same new cache, into which one report was written before.
    """
    counting = {tool: [sys.executable, __file__, tool] for tool in tools}
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache}
        run(COMMANDS[CACHED], environment)
        times: dict[str, list[float | str]] = {}
        for turn in range(rounds):
            for name, command in {**COMMANDS, **(counting if turn < tool_rounds else {})}.items():
                times.setdefault(name, []).append(run(command, environment))
        return {
            "commands": [summary(name, results) for name, results in times.items()],
            "imported": imported(COMMANDS[CACHED], environment),
        }


def run(command: Sequence[str], environment: dict[str, str]) -> float | str:
    """Its seconds; the last line of what it says where it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=os.sep, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    return seconds if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def summary(name: str, results: Sequence[float | str]) -> dict[str, Any]:
    failure = next((result for result in results if isinstance(result, str)), None)
    return {"name": name, "failure": failure} if failure else {"name": name, "seconds": median(results)}


def imported(command: Sequence[str], environment: dict[str, str]) -> list[str]:
    """The packages of `HEAVY` that a Python script imports."""
    timed = [sys.executable, "-X", "importtime", *command]
    said = subprocess.run(timed, env=environment, cwd=os.sep, capture_output=True, text=True).stderr
    packages = set(re.findall(r"^import time:[ \d|]+\| +(\w+)", said, re.M))
    return [package for package in HEAVY if package in packages]


def main() -> None:
    """Count torchvision's mobilenet_v2 with the tool that is named, and print what it says."""
    sys.path.insert(0, str(Path(__file__).parent))
    import torch
    from tools import TOOLS, quiet

    from costlab.models.providers.torchvision import import_torchvision

    tool = next(tool for tool in TOOLS if tool.name == sys.argv[1])
    with quiet():
        with torch.device(tool.device):
            model, image = import_torchvision().models.mobilenet_v2().eval(), torch.rand(1, 3, 224, 224)
        count = tool.count(model, (image,))
    print(count)


if __name__ == "__main__":
    main()
