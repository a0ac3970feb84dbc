"""Laws of every network that `random_networks` draws; each law is a function that asserts.

`broken(drawn, folder)` holds a network against all of them; the tests and `make soak` share it.
"""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from helpers.random_networks import Drawn, tensors_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from costlab.cli import run
from costlab.core.cost import FAMILY_OF, RULES, Cost
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.tracing import calls, inference
from costlab.tracing._profile import profile
from costlab.tracing.operators import operator_of

KEYS = [f.name for f in fields(Cost)]
Look = tuple[tuple[int, ...], str, int]  # shape, dtype, distinct elements


# Costs.


def parts_sum_to_the_total(drawn: Drawn, result: Profile) -> None:
    assert not result.uncounted, result.uncounted
    assert result.params == sum(p.numel() for p in drawn.network.parameters())
    for rows in (result.by_module(), result.by_module(1), result.by_module(0)):
        for key in KEYS:
            assert sum(getattr(row, key) for row in rows.values()) == getattr(result.total, key), key
    kinds = result.by_kind().values()
    unread = result.total.unused_params
    for key in KEYS:
        left_out = {"params": unread, "param_bytes": sum(m.unused_param_bytes for m in result.trace.modules)}.get(
            key, 0
        )
        assert sum(getattr(row, key) for row in kinds) + left_out == getattr(result.total, key), key
        known = [cost for cost in result.costs if cost is not None]
        assert sum(getattr(cost, key) for cost in known) + left_out == getattr(result.total, key), key
        assert all(getattr(cost, key) >= 0 for cost in known), key


# torch counts no products with a vector, nor some that it takes apart into something else.
UNCOUNTED_BY_TORCH = {"mv", "dot", "vdot", "addmv", "addbmm", "bilinear", "affine_grid_generator"}


def mult_adds_are_those_that_torch_counts(drawn: Drawn, result: Profile) -> None:
    if drawn.dynamic:
        return
    on_meta = [torch.empty_like(t, device="meta") for t in drawn.inputs]
    network = copy.deepcopy(drawn.network).to("meta")
    try:
        with torch.no_grad(), quiet(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            network(*on_meta)
    except (NotImplementedError, RuntimeError):  # no meta kernel, or a tensor that stayed on the CPU
        return
    ours = sum(c.flops for op, c in zip(result.ops, result.costs, strict=True) if c and not uncounted_by_torch(op))
    assert ours == counter.get_total_flops(), (ours, counter.get_flop_counts())


def uncounted_by_torch(op: Op) -> bool:
    return op.kind in UNCOUNTED_BY_TORCH or (op.kind in ("matmul", "linear") and len(op.inputs[1].shape) == 1)


def mult_adds_are_those_of_naive_loops(drawn: Drawn, result: Profile) -> None:
    for op, cost in zip(result.ops, result.costs, strict=True):
        count = naive_count(op)
        assert count is None or cost.mult_adds == count, (op.name, cost, count)


class Counted:
    """A number that counts how often numbers are multiplied."""

    times = 0

    def __mul__(self, other: Any) -> Counted:
        Counted.times += 1
        return self

    def __add__(self, other: Any) -> Counted:
        return self

    __radd__ = __add__


def counted(shape: tuple[int, ...]) -> Any:
    return np.full(shape, Counted(), dtype=object)


def naive_count(op: Op) -> int | None:
    """Multiplications in loops over scalars; None where there are none for that kind, or too many to go through."""
    tensors = {t.name: t.shape for t in op.inputs}
    if op.kind.startswith("conv") and op.kind in RULES:
        return loops(op)
    pairs = {
        "linear": ("input", "weight"),
        "matmul": ("self", "other"),
        "mm": ("self", "mat2"),
        "bmm": ("self", "mat2"),
    }
    pairs |= {"addmm": ("mat1", "mat2"), "baddbmm": ("batch1", "batch2"), "mv": ("self", "vec")}
    if op.kind not in pairs or not all(name in tensors for name in pairs[op.kind]):
        return None
    left, right = (tensors[name] for name in pairs[op.kind])
    Counted.times = 0
    np.matmul(counted(left), counted(right).T if op.kind == "linear" else counted(right))
    return Counted.times


def loops(op: Op) -> int | None:
    """A convolution, or a transposed one, scalar by scalar; padding is multiplied like any other value."""
    image, weight, groups = op["input"].shape, op["weight"].shape, op.attrs.get("groups", 1)
    transposed = op.attrs.get("transposed") or "transpose" in op.kind
    around = image if transposed else op.output.shape
    batch = 1 if len(image) < len(weight) else image[0]
    sizes = around[-(len(weight) - 2) :]
    first, second, *kernel = weight
    if batch * first * second * np.prod(sizes) * np.prod(kernel) > 20_000:
        return None
    count = 0
    for _, a, _ in itertools.product(range(batch), range(first), np.ndindex(*sizes)):
        for b in range(second * groups):  # of all channels on the other side, those of the same group
            if b // second == a // (first // groups):
                count += sum(1 for _ in np.ndindex(*kernel))
    return count


# A plain run beside the profile.


@dataclass(frozen=True)
class Called:
    """An operator of a plain run."""

    name: str
    kind: str
    inputs: list[Look]
    outputs: list[Look]
    shares: bool  # every result lies in memory of an argument
    writes: bool


class Watch(TorchDispatchMode):
    """Looks on while operators run as they are; takes apart what the recorder takes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Called] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operator = operator_of(func)
        if operator.ignored or operator.marker:
            return func(*args, **kwargs)
        with self:
            if operator.rewrite is not None:
                return operator.rewrite(*args, **kwargs)
            if operator.composite and operator.kind not in RULES:
                return func.decompose(*args, **kwargs)
        given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        read = list(tensors_of([v for name, v in given.items() if name not in operator.overwritten]))
        inputs, places = [look(t) for t in read], {t.untyped_storage()._cdata for t in read}
        result = func(*args, **kwargs)
        made = list(tensors_of(result)) or [given[name] for name in operator.written]
        shares = bool(made) and all(t.untyped_storage()._cdata in places for t in made)
        outputs = [look(t) for t in made]
        self.calls.append(Called(func.name(), operator.kind, inputs, outputs, shares, bool(operator.written)))
        return result


def look(tensor: torch.Tensor) -> Look:
    distinct = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        distinct *= size if stride or not size else 1
    return tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), distinct


def plain_run(drawn: Drawn) -> list[Called]:
    """Every operator of a run on the CPU."""
    state = {name: value.clone() for name, value in drawn.network.state_dict().items()}
    inputs = [t.clone() for t in drawn.inputs]
    fast = torch.backends.mha.get_fastpath_enabled()  # not taken on the meta device
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.random.fork_rng(), torch.inference_mode(), quiet():
        torch.manual_seed(0)
        with Watch() as watch:
            drawn.network(*inputs)
    torch.backends.mha.set_fastpath_enabled(fast)
    drawn.network.load_state_dict(state)
    return watch.calls


SAME_TENSOR = {"alias", "detach", "lift_fresh"}  # free, and torch makes more or fewer of them as it likes
BY_DEVICE = {"scalar_tensor"}  # of `x[i] = 1`, which only a CPU does without


def side_by_side(drawn: Drawn, result: Profile) -> list[tuple[Called, Op, Cost | None]]:
    """The operators of a plain run and those of the profile."""
    left_out = SAME_TENSOR | BY_DEVICE
    calls = [c for c in plain_run(drawn) if c.kind not in left_out]
    recorded = list(zip(result.ops, result.costs, strict=True))
    assert all(op.free for op in result.ops if op.kind in SAME_TENSOR)
    recorded = [(op, cost) for op, cost in recorded if op.kind not in left_out]
    pairs = itertools.zip_longest(calls, recorded)
    different = [(c, r and r[0].name) for c, r in pairs if not (c and r and c.kind == operator_kind(r[0]))]
    assert not different, different[0]
    return [(called, op, cost) for called, (op, cost) in zip(calls, recorded, strict=True)]


OTHERWISE = {"channel_shuffle", "fake_quantize", "embedding_bag"}  # a CPU has a kernel of its own for them


def operators_are_those_of_a_plain_run(drawn: Drawn, result: Profile) -> None:
    if drawn.dynamic or is_complex(result):
        return
    layouts_vary = any(FAMILY_OF.get(op.kind) in ("attention", "fourier") for op in result.ops)  # with the device
    for called, op, _ in side_by_side(drawn, result):
        if op.kind in OTHERWISE:
            continue
        assert [(t.shape, t.dtype, t.elements) for t in op.inputs] == called.inputs, (op.name, called)
        assert [(t.shape, t.dtype, t.elements) for t in op.outputs] == called.outputs, (op.name, called)
        if not called.writes and not (layouts_vary and op.kind in ("reshape", "contiguous")):
            assert op.free == called.shares, (op.name, called)


def is_complex(result: Profile) -> bool:
    """Whether numbers are complex somewhere: kernels of a CPU copy such tensors on the way."""
    return any(t.dtype.startswith("complex") for op in result.ops for t in (*op.inputs, *op.outputs))


def operator_kind(op: Op) -> str:
    """The kind before attributes make it more specific."""
    return {"relu6": "hardtanh"}.get(op.kind, op.kind)


TOUCH_PARTS = {"indexing", "creation"}  # of their operands; tests/core/test_cost_memory.py has their figures


def memory_access_is_what_a_plain_run_reads_and_writes(drawn: Drawn, result: Profile) -> None:
    if drawn.dynamic or is_complex(result):
        return
    for called, op, cost in side_by_side(drawn, result):
        if FAMILY_OF.get(op.kind) in TOUCH_PARTS or op.kind in OTHERWISE or cost is None:
            continue
        touched = 0 if op.free else sum(look[2] for look in (*called.inputs, *called.outputs))
        assert cost.memory_access == touched, (op.name, called, cost)


# The trace.


def tracing_again_gives_the_same(drawn: Drawn, result: Profile) -> None:
    calls.SIGNATURES.clear()
    assert profile(drawn.network, list(drawn.inputs)) == result


def own_shape_rules_say_what_meta_kernels_say(drawn: Drawn, result: Profile) -> None:
    """Shapes, strides and dtypes of every answer."""

    def answers() -> dict[Any, Any]:
        calls.SIGNATURES.clear()
        profile(drawn.network, list(drawn.inputs))
        return {key: signature.outputs for key, signature in calls.SIGNATURES.items()}

    with_rules, rules = answers(), dict(inference.SHAPES)
    kept = {name: rules[name] for name in rules if name.endswith(("_grouped_mm", ".data"))}  # no kernel answers these
    try:
        inference.SHAPES.clear()
        inference.SHAPES.update(kept)
        from_kernels = answers()
    finally:
        inference.SHAPES.update(rules)
        calls.SIGNATURES.clear()
    assert with_rules.keys() == from_kernels.keys()
    for key, answer in from_kernels.items():
        assert with_rules[key] == answer, (key, with_rules[key], answer)


def the_network_is_left_as_it_was(drawn: Drawn, result: Profile) -> None:
    before = state_of(drawn)
    for train in (False, True):
        with contextlib.suppress(CostlabError):  # batch norm of one value has no statistics in train mode
            profile(drawn.network, list(drawn.inputs), mode="train" if train else "eval")
        for old, new in zip(before, state_of(drawn), strict=True):
            assert old == new


def state_of(drawn: Drawn) -> list[Any]:
    tensors = [*drawn.network.state_dict(keep_vars=True).items(), *enumerate(drawn.inputs)]
    modules = [
        (m.training, sorted(map(str, vars(m))), [len(v) for v in vars(m).values() if isinstance(v, dict)])
        for m in drawn.network.modules()
    ]
    values = [(name, id(t), t.data_ptr(), t.detach().numpy().tobytes()) for name, t in tensors]
    depth = torch._C._len_torch_dispatch_stack(), torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    return [values, modules, depth, torch.get_rng_state().tolist(), random.getstate(), torch.get_num_threads()]


# What is made of a profile.


def json_gives_it_back(drawn: Drawn, result: Profile) -> None:
    text = result.to_json()
    read = Profile.from_json(text)
    assert read == result
    assert read.total == result.total
    assert read.to_json() == text


FUSIONS = ("none", "bn", "pointwise")
REPORT_FORMATS = ("text", "json", "csv", "markdown", "html")
LINT_FORMATS = ("text", "json", "github", "gitlab", "junit", "sarif", "markdown")
DEVICES = ("rtx3090", "i9-10940x")


def fused_views_keep_what_fusion_does_not_change(drawn: Drawn, result: Profile) -> None:
    for fusion in FUSIONS:
        view = result.fused(fusion)
        assert view.params <= result.params or fusion == "none"
        assert view.total.memory_access <= result.total.memory_access, fusion
        assert Profile.from_json(view.to_json()).total == view.total


def commands() -> list[list[str]]:
    """Everything that a saved profile can be made into."""
    reports = [["report", "SAVED", "--format", f] for f in REPORT_FORMATS]
    rows = [["report", "SAVED", "--by", by, "--device", d] for by in ("kind", "op", "module") for d in DEVICES]
    lints = [["lint", "SAVED", "--isolated", "--format", f, "--device", DEVICES[0]] for f in LINT_FORMATS]
    views = [["lint", "SAVED", "--isolated", "--fusion", f, "--device", DEVICES[1]] for f in FUSIONS]
    fused = [["report", "SAVED", "--fusion", f, "--device", d] for f in FUSIONS for d in DEVICES]
    beside = [["compare", "SAVED", "SAVED"], ["compare", "SAVED", "SAVED", "--format", "markdown"]]
    return [*reports, *rows, *lints, *views, *fused, *beside]


def every_report_can_be_made(drawn: Drawn, result: Profile, folder: Path, most: int = 4) -> None:
    """Some of them for each network, all of them over many."""
    saved = folder / "profile.json"
    saved.write_text(result.to_json())
    chosen = random.Random(repr(drawn.steps)).sample(commands(), most)
    for command in chosen:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([str(saved) if word == "SAVED" else word for word in command])
        assert code in (0, 1), (command, err.getvalue())
        assert out.getvalue()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


LAWS: tuple[Callable[[Drawn, Profile], None], ...] = (
    parts_sum_to_the_total,
    mult_adds_are_those_that_torch_counts,
    mult_adds_are_those_of_naive_loops,
    operators_are_those_of_a_plain_run,
    memory_access_is_what_a_plain_run_reads_and_writes,
    tracing_again_gives_the_same,
    own_shape_rules_say_what_meta_kernels_say,
    the_network_is_left_as_it_was,
    json_gives_it_back,
    fused_views_keep_what_fusion_does_not_change,
)


def broken(drawn: Drawn, folder: Path) -> list[str]:
    """The laws that a network breaks, each with what was seen; a profile that cannot be made breaks the first."""
    try:
        result = profile(drawn.network, list(drawn.inputs))
    except Exception as error:
        return [f"it can be profiled: {error}"]
    found = []
    for law in (*LAWS, partial(every_report_can_be_made, folder=folder)):
        try:
            law(drawn, result)
        except Exception as error:
            name = getattr(law, "__name__", every_report_can_be_made.__name__)
            found.append(f"{name}: {type(error).__name__}: {error}")
    return found
