"""The count of every tool for a network, its time relative to costlab, and what it leaves on the model."""

from __future__ import annotations

import time
from collections.abc import Iterable
from statistics import median
from typing import Any

import torch
from apart import BrokenError, apart, one_line
from subjects import SUBJECTS, Built, Subject
from tools import COSTLAB, TOOLS, Tool, quiet
from torch import nn


def accuracy(names: Iterable[str], tools: Iterable[str], rounds: int) -> dict[str, Any]:
    """The `tools` with their versions, None where one is not installed, and for every network the `answers` of each."""
    chosen = [subject for subject in SUBJECTS if subject.name in set(names)]
    asked = [tool for tool in TOOLS if tool.name in set(tools)]
    versions = {tool.name: apart(version, tool) for tool in asked}
    return {
        "tools": [{"name": t.name, "claims": t.claims, "version": versions[t.name]} for t in asked],
        "subjects": [
            {
                "name": subject.name,
                "single": subject.single,
                "mult_adds": apart(exact, subject),
                "published": subject.published,
                "by_hand": subject.by_hand,
                "answers": {
                    tool.name: answer(subject, tool, 0 if subject.single else rounds)
                    for tool in asked
                    if versions[tool.name]
                },
            }
            for subject in chosen
        ],
    }


def version(tool: Tool) -> str | None:
    with quiet():
        return tool.version


def exact(subject: Subject) -> int:
    """What costlab counts."""
    with quiet():
        return COSTLAB.count(*subject.build())


def answer(subject: Subject, tool: Tool, rounds: int) -> dict[str, Any]:
    """`mult_adds`, what was `left` behind, `seconds` beside `costlab_seconds`; or the `failure` in one line."""
    try:
        return apart(ask, subject, tool, rounds)
    except BrokenError as error:
        return {"failure": str(error), "left": []}


def ask(subject: Subject, tool: Tool, rounds: int) -> dict[str, Any]:
    """Times are medians of `rounds` calls of the tool and of costlab in turn, after one of each."""
    with quiet():
        model, inputs = built(subject, tool.device)
        before, functions = state_of(model), functions_of_torch()
        try:
            count = tool.count(model, inputs)
            found = {"mult_adds": count} if count is not None else {"failure": "returns None"}
        except Exception as error:
            found = {"failure": one_line(error)}
        left = {kind for kind, _ in before.symmetric_difference(state_of(model))}
        if any(getattr(owner, name) != function for (owner, name), function in functions.items()):
            left.add("functions of torch")
        found["left"] = sorted(left)
        if rounds and "failure" not in found:
            model, inputs = built(subject, tool.device)
            COSTLAB.count(model, inputs)
            turns = [(seconds(tool, model, inputs), seconds(COSTLAB, model, inputs)) for _ in range(rounds)]
            found["seconds"], found["costlab_seconds"] = map(median, zip(*turns, strict=True))
    return found


def built(subject: Subject, device: str) -> Built:
    with torch.device(device):  # not where it counts: DeepSpeed counts `@` twice under it
        return subject.build()


def seconds(tool: Tool, model: nn.Module, inputs: tuple[Any, ...]) -> float:
    start = time.perf_counter()
    tool.count(model, inputs)
    return time.perf_counter() - start


def state_of(model: nn.Module) -> set[tuple[str, str]]:
    """What a counter should leave as it found it in the network: kind and name."""
    state = set()
    for path, module in model.named_modules():
        state.add(("train mode", f"{path}: {module.training}"))
        state.update(("buffers", f"{path}.{name}") for name in module._buffers)
        state.update(("attributes", f"{path}.{name}") for name in module.__dict__)
        state.update(("hooks", f"{path}.{key}") for key in (*module._forward_hooks, *module._forward_pre_hooks))
    return state


def functions_of_torch() -> dict[tuple[Any, str], Any]:
    owners = torch, torch.nn.functional, torch.Tensor
    found = {(owner, name): getattr(owner, name) for owner in owners for name in dir(owner)}
    return {key: value for key, value in found.items() if callable(value)}
