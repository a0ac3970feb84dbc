"""What a network sees while it is traced: one device, and values only if they are known.

Activations and weightless parameters live on the meta device, masks and tables on the CPU. A network that compares
devices, or reads values past the dispatcher (`tolist`, `numpy`), must not notice: both go through the recorder here.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch._functorch import eager_transforms
from torch.autograd import forward_ad
from torch.nested._internal import nested_tensor, sdpa
from torch.nn.attention import SDPBackend
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from costlab.tracing.autograd import AUTOGRAD, exclude_autograd
from costlab.tracing.members import members_replaced
from costlab.tracing.recorder import Recorder
from costlab.tracing.restoration import replaced
from costlab.tracing.threads import threads_recorded


@contextmanager
def facade(recorder: Recorder) -> Iterator[None]:
    """In the body, and in its threads, tensors report the device that they would have, and `.cuda()` works anywhere."""
    ours = {threading.get_ident()}

    def looking() -> bool:
        return not recorder.busy and threading.get_ident() in ours

    with ExitStack() as stack:
        stack.enter_context(members_replaced(recorder, looking))
        stack.enter_context(replaced(torch, "compile", run_as_written))
        for name in ("nested_tensor", "as_nested_tensor"):
            stack.enter_context(replaced(torch.nested, name, jagged(getattr(torch.nested, name))))
        fused = SDPBackend.EFFICIENT_ATTENTION  # which takes jagged tensors as they are, on any device
        stack.enter_context(replaced(sdpa, "_select_sdp_backend", lambda *args, **options: fused))
        stack.enter_context(differentiation(recorder))
        stack.enter_context(threads_recorded(recorder, ours))
        lazy = vars(torch.nn.parameter)["UninitializedTensorMixin"]
        stack.enter_context(replaced(lazy, "materialize", materialising(recorder, lazy.materialize)))
        yield


@contextmanager
def differentiation(recorder: Recorder) -> Iterator[None]:
    """In the body, gradients in forward and transforms of functions go through the recorder."""
    with ExitStack() as stack:
        stack.enter_context(replaced(torch._C, "_set_grad_enabled", recorder.set_grad_enabled))
        apply = functions_recorded(recorder, vars(torch.autograd.Function)["apply"].__func__)
        stack.enter_context(replaced(torch.autograd.Function, "apply", classmethod(apply)))
        for name, opens in (("enter_dual_level", True), ("exit_dual_level", False)):
            level = dual_level(recorder, getattr(forward_ad, name), opens)
            stack.enter_context(replaced(forward_ad, name, level))
        for name in ("grad_increment_nesting", "jvp_increment_nesting"):
            noted = noting(recorder, getattr(eager_transforms, name))
            stack.enter_context(replaced(eager_transforms, name, noted))
        steps = {"make_fx": functools.partial(run_again, recorder), "split_const_subgraphs": lambda graph: graph}
        stack.enter_context(replaced(eager_transforms, "lazy_dynamo_disallow", lambda step: steps[step.__name__]))
        yield


def functions_recorded(recorder: Recorder, apply: Callable[..., Any]) -> Callable[..., Any]:
    """`autograd.Function.apply` that records one operator for each function that the user gave a rule for.

    torch turns gradients off and on around a function without a word to `set_grad_enabled`.
    """

    def applied(function: type[torch.autograd.Function], *args: Any, **kwargs: Any) -> Any:
        excluded = torch._C._dispatch_tls_is_dispatch_key_excluded(AUTOGRAD[0])
        try:
            if function.__name__ not in recorder.kinds:
                return apply(function, *args, **kwargs)
            whole = functools.partial(apply, function, *args, **kwargs)
            return recorder.operations.as_one(function.__name__, whole, (args, kwargs))
        finally:
            exclude_autograd(excluded)

    return applied


def materialising(recorder: Recorder, function: Callable[..., None]) -> Callable[..., None]:
    """`materialize` of a lazy parameter or buffer, whose operators are no part of the network."""

    def materialise(tensor: Any, *args: Any, **options: Any) -> None:
        with recorder.working(), _disable_current_modes():
            function(tensor, *args, **options)
        recorder.table.register(tensor, "parameter" if isinstance(tensor, torch.nn.Parameter) else "buffer")

    return materialise


def noting(recorder: Recorder, nesting: Callable[..., Any]) -> Callable[..., Any]:
    """A transform of `torch.func` that notes that the network differentiates."""

    @contextmanager
    def nested(*args: Any) -> Iterator[Any]:
        recorder.answers.differentiates = True
        with nesting(*args) as level:
            yield level

    return nested


def dual_level(recorder: Recorder, change: Callable[..., Any], opens: bool) -> Callable[..., Any]:
    """A start or end of forward-mode differentiation, for which operators must not skip autograd."""

    def changed(*args: Any, **options: Any) -> Any:
        recorder.answers.differentiates |= opens
        exclude_autograd(not opens and not torch.is_grad_enabled())
        return change(*args, **options)

    return changed


def run_again(recorder: Recorder, function: Callable[..., Any]) -> Callable[..., Any]:
    """`make_fx` for `torch.func.linearize`, whose result runs the function again instead of a graph of it.

    torch's first call also computes what does not depend on the tangents; later ones do not: they are estimates.
    """

    def made(tangents: tuple[torch.Tensor, ...]) -> Callable[..., list[Any]]:
        function(tangents)
        calls = 0

        def run(*flat: torch.Tensor) -> list[Any]:
            nonlocal calls
            results = tree_leaves(function(flat))
            calls += 1
            if calls > 1:
                recorder.operations.mark_as_estimate(results)
            return results

        return run

    return made


def jagged(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A maker of nested tensors that makes jagged ones, of which torch knows the parts."""

    def made(tensors: Any, *args: Any, **options: Any) -> torch.Tensor:
        with _disable_current_modes():
            nested_tensor._nt_view_dummy()  # which torch makes once in a process
        try:
            return make(tensors, *args, **{**options, "layout": torch.jagged})
        except RuntimeError:  # ragged in more than one dimension
            return make(tensors, *args, **options)

    return made


def run_as_written(model: Any = None, **options: Any) -> Any:
    """`torch.compile` that compiles nothing."""
    return (lambda function: function) if model is None else model
