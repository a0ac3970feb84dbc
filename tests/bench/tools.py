"""The other counters, each called as documented, and their numbers as mult-adds."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class Tool:
    """A counter of operations."""

    name: str
    distribution: str  # that holds it
    package: str  # to import
    claims: str  # what it says that its number is
    count: Callable[[nn.Module, Inputs], int | None]  # its number as mult-adds
    device: str = "cpu"  # where the network has to lie

    @property
    def version(self) -> str | None:
        """None where it is not installed."""
        try:
            importlib.import_module(self.package)
            return importlib.metadata.version(self.distribution)
        except (ImportError, importlib.metadata.PackageNotFoundError):
            return None


def costlab(model: nn.Module, inputs: Inputs) -> int:
    import costlab

    return costlab.profile(model, inputs).mult_adds


def flop_counter_mode(model: nn.Module, inputs: Inputs) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():  # in inference mode it fails on some networks
        model(*inputs)
    return counter.get_total_flops() // 2


def fvcore(model: nn.Module, inputs: Inputs) -> int:
    from fvcore.nn import FlopCountAnalysis

    return FlopCountAnalysis(model, inputs).total()


def ptflops(backend: str) -> Callable[[nn.Module, Inputs], int | None]:
    def count(model: nn.Module, inputs: Inputs) -> int | None:
        from ptflops import get_model_complexity_info

        named = dict(zip(inspect.signature(model.forward).parameters, inputs, strict=False))
        return get_model_complexity_info(
            model,
            (1,),
            as_strings=False,
            print_per_layer_stat=False,
            input_constructor=lambda _: named,
            backend=backend,
        )[0]

    return count


def thop(model: nn.Module, inputs: Inputs) -> int:
    from thop import profile

    return int(profile(model, inputs, verbose=False)[0])


def torchinfo(model: nn.Module, inputs: Inputs) -> int:
    from torchinfo import summary

    return summary(model, input_data=list(inputs), verbose=0).total_mult_adds


def calflops(model: nn.Module, inputs: Inputs) -> int:
    from calflops import calculate_flops

    return calculate_flops(model, args=list(inputs), print_results=False, output_as_string=False)[1]


def deepspeed(model: nn.Module, inputs: Inputs) -> int:
    from deepspeed.profiling.flops_profiler import get_model_profile

    return get_model_profile(model, args=list(inputs), print_profile=False, as_string=False)[1]


COSTLAB = Tool("costlab", "costlab", "costlab", "mult-adds", costlab)
MODE = "torch.utils.flop_counter"
MODE_CLAIMS = "FLOPs, two a mult-add: halved here"
FVCORE = Tool("fvcore", "fvcore", "fvcore.nn", "FLOPs, one a mult-add", fvcore)
MODE_ON_META = Tool("FlopCounterMode, meta", "torch", MODE, MODE_CLAIMS, flop_counter_mode, device="meta")
TOOLS = (
    MODE_ON_META,
    Tool("FlopCounterMode, CPU", "torch", MODE, MODE_CLAIMS, flop_counter_mode),
    Tool("DeepSpeed", "deepspeed", "deepspeed.profiling.flops_profiler", "MACs", deepspeed),
    Tool("calflops", "calflops", "calflops", "MACs", calflops),
    FVCORE,
    Tool("ptflops, aten", "ptflops", "ptflops", "MACs", ptflops("aten")),
    Tool("ptflops, pytorch", "ptflops", "ptflops", "MACs", ptflops("pytorch")),
    Tool("thop", "thop", "thop", "MACs", thop),
    Tool("torchinfo", "torchinfo", "torchinfo", "mult-adds", torchinfo),
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What tools print, log and warn of in the body is dropped."""
    logging.disable(logging.CRITICAL)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
