"""A trace under autocast: the table against torch's dispatcher, and what is cast once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import costlab
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.tracing.autocast import FLOAT32, FLOAT32_RESULT, LOWER, WIDEST

BANNED = {"binary_cross_entropy"}  # torch refuses it under autocast
BY_KERNEL = {"lstm", "gru", "rnn_tanh", "rnn_relu"}


def test_the_table_names_the_operators_that_have_an_autocast_kernel() -> None:
    have = set()
    for schema in torch._C._jit_get_all_schemas():
        name = schema.name + (f".{schema.overload_name}" if schema.overload_name else "")
        if schema.name.startswith("aten::") and known_to_dispatcher(name):
            have.add(schema.name.removeprefix("aten::"))
    assert have - BANNED == (LOWER | FLOAT32 | FLOAT32_RESULT | WIDEST) - BY_KERNEL


def known_to_dispatcher(name: str) -> bool:
    """Whether an operator has a kernel for autocast on CUDA."""
    try:
        return torch._C._dispatch_has_kernel_for_dispatch_key(name, "AutocastCUDA")
    except RuntimeError:
        return False


class Twice(nn.Module):
    """A layer that is used twice, between operators of float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.norm(self.layer(x))).softmax(-1)


@pytest.mark.parametrize(("amp", "dtype"), [(True, "float16"), ("bfloat16", "bfloat16")])
@pytest.mark.parametrize("mode", ["eval", "train", "step"])
def test_types_are_those_of_autocast(mode: str, amp: bool | str, dtype: str) -> None:
    profile = costlab.profile(Twice(), (2, 8), mode=mode, amp=amp)  # type: ignore[arg-type]
    forward = [op for op in profile.ops if op.phase == "forward"]
    made = {op.name: op.output.dtype for op in forward}
    assert made["layer/linear"] == made["layer/linear_1"] == dtype
    assert made["norm/layer_norm"] == made["softmax"] == "float32"
    assert [op.kind for op in forward if not op.free].count("to") == 5  # x, weight, bias, then to float32 and back
    assert profile.trace.autocast == dtype
    assert Profile.from_json(profile.to_json()) == profile


def test_gradients_of_weights_are_of_the_type_of_the_weights() -> None:
    profile = costlab.profile(Twice(), (2, 8), mode="step", amp=True)
    assert profile.total.gradient_bytes == profile.total.param_bytes
    grads = [t for op in profile.ops if op.phase == "optimizer" for t in op.each("grads")]
    assert {t.dtype for t in grads} == {"float32"}


class Backward(TorchDispatchMode):
    """Notes the operators of a backward pass, but for views, with the types of their results."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch._C._current_autograd_node() is not None and not any(r.alias_info for r in func._schema.returns):
            kind = {"_to_copy": "to"}.get(func._schema.name.removeprefix("aten::"), func._schema.name[6:])
            self.seen.append((kind, str(result.dtype).removeprefix("torch.")))
        return result


def test_autocast_ends_with_the_forward_pass() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), nn.Linear(16, 4))
    profile = costlab.profile(model, (2, 8), mode="step", amp="bfloat16")
    ours = [(op.kind, op.output.dtype) for op in profile.ops if op.phase == "backward"]
    with Backward() as theirs:
        with torch.autocast("cpu", torch.bfloat16):
            output = model(torch.randn(2, 8))
        output.backward(torch.ones_like(output))
    assert [op for op in ours if op[0] not in ("ones", "expand")] == theirs.seen


def test_a_prediction_casts_nothing_again() -> None:
    profile = costlab.profile(Twice(), (2, 8), amp=True)
    plain, twice = (costlab.predict(profile, "rtx3090", amp=amp) for amp in (False, True))
    assert plain.by_op == twice.by_op


def test_an_unknown_precision_is_one_line() -> None:
    with pytest.raises(CostlabError, match="unknown precision 'int8' for autocast; choose one of float16, bfloat16"):
        costlab.profile(Twice(), (2, 8), amp="int8")
