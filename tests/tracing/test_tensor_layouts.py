"""Tensors that are not plain and strided, and devices that are not there."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import Call, only, profile_of
from torch import Tensor, nn

from costlab.tracing._profile import profile

# One device.


class SameDevice(nn.Module):
    """Refuses an input on another device than its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 8)
        self.register_buffer("table", torch.arange(16.0))

    def forward(self, x: Tensor) -> Tensor:
        devices = {x.device, self.layer.weight.device, self.table.device, (x * 2).device, torch.zeros_like(x).device}
        if len(devices) > 1 or x.is_meta or not x.is_cpu or x.get_device() != -1:
            raise ValueError(f"tensors on {devices}")
        with torch.autocast(x.device.type, enabled=False):
            return self.layer(x + self.table)


@pytest.mark.parametrize("weightless", [False, True])
def test_everything_reports_one_device(weightless: bool) -> None:
    model = SameDevice()
    if weightless:
        model.layer = model.layer.to("meta")
    assert profile(model, (2, 16)).mult_adds == 2 * 16 * 8
    assert torch.zeros(1, device="meta").device.type == "meta"  # as before


def test_tensors_go_to_cuda_on_a_machine_without() -> None:
    layer = nn.Linear(16, 16)

    def network(x: Tensor) -> Tensor:
        y = x.cuda()
        assert y.is_cuda
        assert (y * 2).device.type == "cuda"
        mask = torch.ones(2, 16, device="cuda") + torch.tensor([[1.0], [2.0]], device="cuda")
        assert mask.device == torch.device("cuda")
        return layer((y + mask).to("cpu"))

    assert profile_of(network, (2, 16)).mult_adds == 2 * 16 * 16
    if not torch.cuda.is_available():
        with pytest.raises((AssertionError, RuntimeError)):
            torch.zeros(1).cuda()


# Sparse.


INDICES = torch.stack([torch.arange(500) % 100, torch.arange(500) // 100])


def adjacency(layout: str) -> Tensor:
    coo = torch.sparse_coo_tensor(INDICES, torch.ones(500), (100, 100)).coalesce()
    return {"coo": coo, "csr": coo.to_sparse_csr(), "bsr": coo.to_dense().to_sparse_bsr((20, 20))}[layout]


PRODUCTS = {
    "mm": lambda a, x: torch.mm(a, x),
    "matmul": lambda a, x: a @ x,
    "sparse.mm": lambda a, x: torch.sparse.mm(a, x),
    "addmm": lambda a, x: torch.addmm(torch.zeros(100, 8), a, x),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_a_sparse_matrix_multiplies_what_it_stores(layout: str, product: Any) -> None:
    layer = nn.Linear(16, 8, bias=False)
    result = profile_of(lambda x, a: product(a, layer(x)), (100, 16), adjacency(layout))
    assert result.mult_adds == 100 * 16 * 8 + 500 * 8
    assert not result.uncounted
    assert not result.estimated


def test_a_sparse_vector_product_and_blocks() -> None:
    assert profile_of(lambda x, a: torch.mv(a, x), (100,), adjacency("coo")).mult_adds == 500
    blocks = adjacency("bsr")
    assert profile_of(lambda x, a: a @ x, (100, 8), blocks).mult_adds == blocks.values().numel() * 8


def test_a_sparse_matrix_made_in_forward_keeps_its_places() -> None:
    layer = nn.Linear(16, 1)

    def network(x: Tensor) -> Tensor:
        scores = layer(x).squeeze(1)[INDICES[0]]
        return torch.sparse.mm(torch.sparse_coo_tensor(INDICES, scores, (100, 100)), x)

    result = profile_of(network, (100, 16))
    assert result.mult_adds == 100 * 16 + 500 * 16
    assert not result.estimated


def test_a_dense_matrix_made_sparse_may_store_everything() -> None:
    result = profile_of(lambda x: torch.sparse.mm(x.to_sparse(), x), (6, 6))
    assert result.mult_adds == 6 * 6 * 6
    assert result.estimated


# Jagged.


def test_a_jagged_tensor_costs_its_rows() -> None:
    layer = nn.Linear(16, 8)

    def nested(a: Tensor, b: Tensor) -> Tensor:
        return layer(torch.nested.as_nested_tensor([a, b], layout=torch.jagged))

    assert profile_of(nested, (5, 16), (9, 16)).mult_adds == (5 + 9) * 16 * 8
    strided = profile_of(lambda a, b: layer(torch.nested.as_nested_tensor([a, b])), (5, 16), (9, 16))
    assert strided.mult_adds == (5 + 9) * 16 * 8
    for layout in (torch.jagged, torch.strided):
        given = torch.nested.nested_tensor([torch.randn(5, 16), torch.randn(9, 16)], layout=layout)
        result = profile(layer, [given])
        assert result.mult_adds == (5 + 9) * 16 * 8
        assert result.total.unused_params == 0


@pytest.mark.parametrize(("start", "estimated"), [(torch.tensor([0, 3, 10]), False), (None, True)])
def test_attention_over_sequences_of_different_lengths(start: Tensor | None, estimated: bool) -> None:
    def network(q: Tensor, starts: Tensor) -> Tensor:
        return torch.ops.aten._flash_attention_forward(q, q, q, starts, starts, 7, 7, 0.0, True, False)[0]

    starts = torch.empty(3, dtype=torch.int32, device="meta") if start is None else start.int()
    result = profile_of(network, torch.empty(10, 4, 16, dtype=torch.float16, device="meta"), starts)
    op, cost = only(result, "_flash_attention_forward")
    if not estimated:
        assert cost.mult_adds == 4 * (3 * 3 + 7 * 7) * (16 + 16)
        assert op.attrs["computed_share"] == (6 + 28) / (9 + 49)
    assert bool(result.estimated) == estimated


@pytest.mark.parametrize("causal", [False, True])
def test_attention_over_jagged_tensors(causal: bool) -> None:
    def network(a: Tensor, b: Tensor) -> Tensor:
        x = torch.nested.as_nested_tensor([a, b], layout=torch.jagged).unflatten(-1, [2, 20]).transpose(1, 2)
        return F.scaled_dot_product_attention(x, x, x, is_causal=causal).transpose(1, 2).flatten(-2)

    result = profile_of(network, (3, 40), (7, 40))
    assert result.mult_adds == 2 * (3 * 3 + 7 * 7) * (20 + 20)
    assert not result.uncounted
    assert not result.estimated


# Quantised.


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_quantised_modules_have_parameters_and_mult_adds() -> None:
    quantisation = torch.ao.quantization
    network = nn.Sequential(quantisation.QuantStub(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    network.eval().qconfig = quantisation.get_default_qconfig("fbgemm")
    prepared = quantisation.prepare(network)
    prepared(torch.randn(1, 3, 8, 8))
    result = profile(quantisation.convert(prepared), (1, 3, 8, 8))
    assert not result.uncounted
    assert result.mult_adds == 36 * 4 * 27 + 144 * 5
    assert result.params == 4 * 27 + 4 + 144 * 5 + 5
    assert result.total.param_bytes == 4 * 27 + 144 * 5 + 4 * (4 + 5)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_dynamically_quantised_layers_have_parameters_and_mult_adds() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.LSTM(6, 5))
    result = profile(torch.ao.quantization.quantize_dynamic(network, {nn.Linear, nn.LSTM}), (3, 2, 4))
    assert not result.uncounted
    assert result.mult_adds == 6 * 4 * 6 + 6 * (20 * 6 + 20 * 5)
    assert result.params == sum(p.numel() for p in network.parameters())


class Scaled(Tensor):
    """A weight in 8 bits with a scale: a wrapper subclass like those of torchao."""

    inner: Tensor
    scale: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor, scale: Tensor) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=scale.dtype)  # type: ignore[attr-defined]

    def __init__(self, inner: Tensor, scale: Tensor) -> None:
        self.inner, self.scale = inner, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner", "scale"], None

    @classmethod
    def __tensor_unflatten__(cls, tensors: dict[str, Tensor], context: None, size: Any, stride: Any) -> Any:
        return cls(tensors["inner"], tensors["scale"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].inner, args[0].scale)
        plain = [a.inner * a.scale if isinstance(a, Scaled) else a for a in args]
        return func(*plain, **(kwargs or {}))


def test_a_weight_in_a_wrapper_has_its_true_bytes_and_is_used() -> None:
    layer = nn.Linear(64, 32, bias=False)
    layer.weight = nn.Parameter(Scaled(torch.ones(32, 64, dtype=torch.int8), torch.ones(32, 1)), requires_grad=False)
    result = profile(layer, (2, 64))
    assert result.mult_adds == 2 * 64 * 32
    assert (result.params, result.total.unused_params) == (32 * 64, 0)
    assert result.total.param_bytes == 32 * 64 + 4 * 32
    assert [t.dtype for t in only(result, "mul")[0].inputs] == ["int8", "float32"]


# Masked attention.


def test_a_causal_mask_counts_in_full_with_the_computed_share_beside() -> None:
    full = profile_of(lambda q: F.scaled_dot_product_attention(q, q, q), (2, 4, 8, 16))
    causal = profile_of(lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), (2, 4, 8, 16))
    assert causal.mult_adds == full.mult_adds == 2 * 4 * 8 * 8 * (16 + 16)
    assert only(causal, "scaled_dot_product_attention")[0].attrs["computed_share"] == (8 * 9 / 2) / 64
    assert "computed_share" not in only(full, "scaled_dot_product_attention")[0].attrs


def test_scalars_and_tuples_are_arguments() -> None:
    call = Call(lambda x, times, sizes, name: F.pad(x, sizes, name) * times)
    result = profile(call, [torch.zeros(2, 4), 3, [1, 1], "constant"])
    assert result.by_module()[""].output_shape == (2, 6)


def test_a_sparse_buffer_in_rows_stays_as_it_was() -> None:
    class Smoothing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("adjacency", torch.eye(6).to_sparse_csr())

        def forward(self, x: Tensor) -> Tensor:
            return self.adjacency @ x

    model = Smoothing()
    assert profile(model, (6, 3)).mult_adds == 6 * 3
    assert torch.equal(model.adjacency.to_dense(), torch.eye(6))


@pytest.mark.slow
def test_the_first_nested_tensor_of_a_process_costs_what_the_second_does() -> None:
    script = (
        "import torch, costlab\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, a, b): return torch.nested.nested_tensor([a, b]) * 2\n"
        "first, second = (costlab.profile(Net(), [(5, 4), (3, 4)]) for _ in range(2))\n"
        "assert first == second, (len(first.ops), len(second.ops))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)
