"""The state of the process is restored, whatever a network's code does to it."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable

import numpy
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from costlab.errors import CostlabError
from costlab.models import ModelSpec, load_model
from costlab.tracing._profile import profile
from costlab.tracing.global_state import global_state_restored


def drawn() -> tuple[float, ...]:
    """The next random numbers of all generators, which are drawn."""
    return torch.rand(()).item(), random.random(), numpy.random.random()


CHANGES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "default dtype": (lambda: torch.set_default_dtype(torch.bfloat16), torch.get_default_dtype),
    "default device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "anomalies": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), lambda: torch.is_autocast_enabled("cpu")),
    "autocast's dtype": (
        lambda: torch.set_autocast_dtype("cpu", torch.float16),
        lambda: torch.get_autocast_dtype("cpu"),
    ),
    "deterministic": (lambda: torch.use_deterministic_algorithms(True), torch.get_deterministic_debug_mode),
    "precision": (lambda: torch.set_float32_matmul_precision("medium"), torch.get_float32_matmul_precision),
    "threads": (lambda: torch.set_num_threads(3), torch.get_num_threads),
    "fast path": (lambda: torch.backends.mha.set_fastpath_enabled(False), torch.backends.mha.get_fastpath_enabled),
    "einsum": (
        lambda: setattr(torch.backends.opt_einsum, "enabled", not torch.backends.opt_einsum.enabled),
        lambda: torch.backends.opt_einsum.enabled,
    ),
    "cudnn": (lambda: setattr(torch.backends.cudnn, "enabled", False), lambda: torch.backends.cudnn.enabled),
    "mkldnn": (lambda: setattr(torch.backends.mkldnn, "enabled", False), lambda: torch.backends.mkldnn.enabled),
    "quantized": (
        lambda: setattr(torch.backends.quantized, "engine", "onednn"),
        lambda: torch.backends.quantized.engine,
    ),
    "numpy": (lambda: numpy.seterr(divide="raise"), numpy.geterr),
    "recursion": (lambda: sys.setrecursionlimit(5000), sys.getrecursionlimit),
    "profiler": (lambda: sys.setprofile(lambda *_: None), sys.getprofile),
    "garbage": (lambda: (gc.disable if gc.isenabled() else gc.enable)(), gc.isenabled),
    "streams": (lambda: setattr(sys, "stdout", None), lambda: sys.stdout),
    "hooks": (
        lambda: nn.modules.module.register_module_forward_hook(lambda *_: None),
        lambda: len(nn.modules.module._global_forward_hooks),
    ),
    "torch-function modes": (lambda: TorchFunctionMode().__enter__(), torch._C._len_torch_function_stack),
    "dispatch modes": (lambda: TorchDispatchMode().__enter__(), torch._C._len_torch_dispatch_stack),
    "warnings": (lambda: warnings.simplefilter("error"), lambda: warnings.filters[:]),
    "log messages": (lambda: logging.disable(logging.ERROR), lambda: logging.root.manager.disable),
    "folder": (lambda: os.chdir("/"), os.getcwd),
    "environment": (lambda: os.environ.update(COSTLAB_TEST="1", PATH=""), lambda: dict(os.environ)),
    "signals": (lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN), lambda: signal.getsignal(signal.SIGTERM)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_is_restored(name):
    change, read = CHANGES[name]
    before = read()
    with global_state_restored():
        change()
        assert read() != before
    assert read() == before


def test_random_numbers_go_on_as_if_nothing_had_been_drawn():
    torch.manual_seed(0)
    random.seed(0)
    numpy.random.seed(0)
    expected = drawn()
    torch.manual_seed(0)
    random.seed(0)
    numpy.random.seed(0)
    with global_state_restored():
        drawn()
    assert drawn() == expected


def test_an_error_restores_as_well():
    with contextlib.suppress(ValueError), global_state_restored():
        torch.set_default_dtype(torch.float64)
        raise ValueError
    assert torch.get_default_dtype() == torch.float32


POISON = """
import os, torch
def poison():
    torch.set_default_dtype(torch.bfloat16)
    torch.set_grad_enabled(False)
    os.environ["COSTLAB_TEST"] = "1"
def build():
    poison()
    return torch.nn.Linear(3, 4)
class Net(torch.nn.Module):
    def forward(self, x):
        poison()
        return x * 2
"""


@pytest.mark.parametrize("name", ["build", "Net"])
def test_neither_a_factory_nor_a_forward_pass_changes_what_comes_after(name, tmp_path):
    path = tmp_path / "net.py"
    path.write_text(POISON)
    before = profile(nn.Linear(3, 4), (1, 3))
    loaded = load_model(ModelSpec(f"{path}:{name}", inputs=("1,3",)))
    assert not (name == "build" and loaded.model.weight.dtype != torch.bfloat16)
    profile(loaded.model, loaded.inputs)
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert "COSTLAB_TEST" not in os.environ
    assert profile(nn.Linear(3, 4), (1, 3)) == before


def test_a_model_cannot_end_the_process():
    class Leaving(nn.Module):
        def __init__(self, error: BaseException) -> None:
            super().__init__()
            self.error = error

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise self.error

    for error in (SystemExit(0), GeneratorExit()):
        with pytest.raises(CostlabError, match=f"forward fails in Leaving.*{type(error).__name__}"):
            profile(Leaving(error), (1, 3))
    with pytest.raises(KeyboardInterrupt):
        profile(Leaving(KeyboardInterrupt()), (1, 3))
