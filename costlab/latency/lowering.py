"""What a device runs for each operator of a profile: kernels, as columns of numbers that grow with the batch.

An operator is one kernel, and more where PyTorch does more than its graph says: casts of autocast, copies of tensors
that do not lie as a kernel wants them, a bias that is added afterwards, attention that no fused kernel takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

import numpy as np

from costlab.core.cost import Cost
from costlab.core.fusion import GROUP
from costlab.core.graph import ITEM_BYTES, Op, Tensor
from costlab.core.profile import Profile
from costlab.latency.layouts import Layout, innermost, is_channels_last, is_contiguous, layouts, significant
from costlab.latency.precision import FLOATS, dtypes, family, type_read

WORKS = (
    "matmul",  # with a constant matrix
    "batched_matmul",  # of two activations, one product for each member of the batch
    "convolution",
    "grouped_convolution",
    "depthwise_convolution",
    "attention",
    "recurrent",
    "element_wise",
    "batch_norm",
    "normalisation",
    "softmax",
    "pooling",
    "reduction",
    "copy",
    "gather",
    "interpolation",
    "fourier",
)
WORK = {name: number for number, name in enumerate(WORKS)}
TRAFFIC = {  # families of cost rules whose operators are one kernel that moves data
    "normalisation": "normalisation",
    "softmax": "softmax",
    "pooling": "pooling",
    "reduction": "reduction",
    "copy": "copy",
    "indexing": "gather",
    "interpolation": "interpolation",
    "fourier": "fourier",
}
GENERATED = frozenset(("element_wise", "normalisation", "softmax", "reduction", "copy", "pooling", "interpolation"))
TRANSCENDENTAL = frozenset("gelu silu sigmoid tanh softmax exp mish softplus erf elu pow log sin cos".split())
CONSTANT = ("parameter", "buffer", "constant")
MULTIPLE = 8  # channels that matrix units take without padding


class Kernel(NamedTuple):
    """One kernel at the traced batch. Bytes, FLOP and elements are those of its operator in a fused profile."""

    op: int  # position of its operator
    work: int  # position in WORKS
    dtype: int = 0  # of its arithmetic: position in FLOATS
    m: float = 0  # rows [of one product]; grows with the batch
    n: float = 0  # columns
    k: float = 0  # summands
    products: float = 1  # independent ones: groups, heads
    flops: float = 0
    operations: float = 0  # arithmetic outside contractions, without transcendental functions
    transcendental: float = 0  # elements that a transcendental function is taken of
    read: float = 0  # bytes of activations
    written: float = 0
    window: float = 0  # bytes that moved since what it reads was touched last
    constant: float = 0  # bytes of weights, which the batch leaves alone
    taps: float = 0  # of a convolution's kernel; pixels of an interpolated image
    batched: bool = True  # grows with the batch
    slow: bool = False  # NCHW convolution; copy across dimensions; masked attention; norm over a strided dimension
    misaligned: bool = False  # channels that are no multiple of 8
    in_place: bool = False  # writes over what it reads


@dataclass(frozen=True)
class Running:
    """How a network is run."""

    dtype: str | None = None  # of the network and its inputs; None: as traced
    lower: str | None = None  # the lower precision of autocast
    half_norms: bool = False
    channels_last: bool = False
    compiled: bool = False  # element-wise operators are joined, casts cost nothing, layouts are chosen
    gpu: bool = True


class Kernels:
    """The columns of all kernels of a network: `kernels.flops[i]` belongs to kernel i."""

    def __init__(self, rows: Sequence[Kernel], ops: int):
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(Kernel._fields))
        self.ops = ops
        self.op, self.work, self.dtype = table[:, :3].T.astype(int)
        (self.m, self.n, self.k, self.products, self.flops, self.operations, self.transcendental) = table[:, 3:10].T
        (self.read, self.written, self.window, self.constant, self.taps) = table[:, 10:15].T
        self.batched, self.slow, self.misaligned, self.in_place = table[:, 15:].T.astype(bool)

    def __len__(self) -> int:
        return len(self.op)


def kernels_of(profile: Profile, view: Profile, running: Running) -> list[Kernel]:
    """The kernels of `view`, which is `profile` or a fusion of it."""
    if running.compiled and running.gpu:
        running = replace(running, channels_last=lies_channels_last(view))
    return list(Lowering(profile, view, running).kernels())


def lies_channels_last(view: Profile) -> bool:
    """Whether TorchInductor lays images out channels-last: not with grouped convolutions, which would be slow."""
    return not any(
        family(op) == "convolution" and op.attrs.get("groups", 1) > 1 and op["weight"].shape[1] > 1
        for op in view.ops
        if not op.free
    )


class Lowering:
    """One walk over the operators of a network."""

    def __init__(self, profile: Profile, view: Profile, running: Running):
        self.view, self.running = view, running
        self.types = dtypes(profile.ops, running.lower, running.half_norms)
        self.layouts = layouts(view.ops, running.channels_last)
        self.batched = {t.storage for op in profile.ops for t in op.inputs if t.role == "input"}
        self.moved = 0.0  # bytes of activations so far
        self.touched: dict[int, float] = {}  # by storage, what had moved then
        self.kinds = {op.name: op for op in profile.ops} if view is not profile else {}
        self.readers: dict[int, list[Op]] = {}  # by storage
        if running.compiled and running.gpu:
            for op in view.ops:
                if not op.free:
                    for tensor in op.inputs:
                        self.readers.setdefault(tensor.storage, []).append(op)

    def kernels(self) -> Iterator[Kernel]:
        for position, (op, cost) in enumerate(zip(self.view.ops, self.view.costs, strict=True)):
            grows = any(t.storage in self.batched for t in op.inputs)
            if grows:
                self.batched.update(t.storage for t in op.outputs)
            if op.free or cost is None or not op.outputs or not cost.bytes_accessed:
                continue
            if self.nothing_to_copy(op, self.layouts[position]):
                last = self.touched.get(op.inputs[0].storage, self.moved)
                self.touched.update((t.storage, last) for t in op.outputs)
                continue
            yield from self.kernels_of_op(position, op, cost, grows)

    def nothing_to_copy(self, op: Op, inputs: tuple[Layout, ...]) -> bool:
        """Whether a copy of the trace finds its input in place already, as after attention."""
        return op.kind in ("reshape", "contiguous", "flatten") and is_contiguous(inputs[0], op.inputs[0].shape)

    def kernels_of_op(self, position: int, op: Op, cost: Cost, grows: bool) -> Iterator[Kernel]:
        inputs = self.layouts[position]
        wanted = type_read(op, self.running.lower, self.running.half_norms)
        read = constant = weighted = 0.0
        copied = False
        for tensor, layout in zip(op.inputs, inputs, strict=True):
            size = self.item(tensor)
            if wanted and tensor.dtype in FLOATS and size != ITEM_BYTES[wanted]:
                yield from self.cast(position, tensor, wanted)
                size = min(size, ITEM_BYTES[wanted]) if self.running.compiled else ITEM_BYTES[wanted]
            elif tensor.role == "activation" and self.must_copy(op, tensor, layout):
                yield self.copy(position, tensor, layout, size)
                copied = True
            amount = tensor.elements * size
            if tensor.storage in self.batched:
                read += amount
                weighted += amount * (self.moved - self.touched.get(tensor.storage, self.moved) + amount)
            else:
                constant += amount
        if family(op) == "indexing":
            read = min(read, cost.read_bytes)
        written = float(sum(t.elements * self.item(t) for t in op.outputs))
        kernel = Kernel(
            position,
            WORK["element_wise"],
            dtype=self.arithmetic(op, wanted),
            flops=2.0 * cost.mult_adds,
            read=read,
            written=written,
            window=weighted / read if read else 0.0,
            constant=constant,
            batched=grows,
            in_place=op.output.storage in {t.storage for t in op.inputs},
        )
        yield from self.shaped(kernel, op, cost, inputs)
        if self.adds_bias_apart(op, copied):
            yield self.another_pass(kernel)
        self.touched.update((t.storage, self.moved) for t in op.inputs)
        self.moved += read + written
        self.touched.update((t.storage, self.moved) for t in op.outputs)

    def shaped(self, kernel: Kernel, op: Op, cost: Cost, inputs: tuple[Layout, ...]) -> Iterator[Kernel]:
        """The kernel with the sizes that its kind of work depends on."""
        kin = family(op) if cost.mult_adds and op.output.numel else ""  # over nothing, a product only fills its output
        if kin == "convolution":
            yield convolution(kernel, op, inputs, self.running.channels_last)
        elif kin == "matmul":
            yield matmul(kernel, op)
        elif kin == "attention":
            if len(op["query"].shape) == 4 or self.running.compiled:
                yield attention(kernel, op)
            else:
                yield from self.written_out_attention(kernel, op)
        elif kin == "recurrent":
            yield kernel._replace(work=WORK["recurrent"])
        else:
            yield self.data_movement(kernel, op, cost, inputs)

    def data_movement(self, kernel: Kernel, op: Op, cost: Cost, inputs: tuple[Layout, ...]) -> Kernel:
        work = "batch_norm" if op.kind == "batch_norm" else TRAFFIC.get(family(op), "element_wise")
        if op.kind.startswith("adaptive_avg_pool") and prod(op.output.shape[2:]) == 1:
            work = "reduction"  # computed as a mean
        members = [self.kinds[name] for name in op.attrs.get("fused", ()) if name in self.kinds] or [op]
        heavy = sum(m.output.numel for m in members if m.outputs and m.kind in TRANSCENDENTAL)
        operations = op.output.numel if work in ("copy", "gather") else cost.element_wise_ops
        taps, slow = 0.0, False
        if work == "interpolation" and not is_channels_last(inputs[0], op.inputs[0].shape):
            serial = op.kind.startswith(("upsample_bilinear", "upsample_bicubic")) and not self.running.compiled
            taps = float(prod(op.output.shape[2:])) if serial else 0.0
        elif work == "copy" and op.kind in ("reshape", "contiguous", "flatten"):
            slow = across(inputs[0], op.inputs[0])
        elif work == "normalisation":
            slow = op.kind == "group_norm" or not is_contiguous(inputs[0], op.inputs[0].shape)
        return kernel._replace(
            work=WORK[work], operations=max(operations - heavy, 0), transcendental=heavy, taps=taps, slow=slow
        )

    def written_out_attention(self, kernel: Kernel, op: Op) -> Iterator[Kernel]:
        """Attention over more than four dimensions, which fused kernels refuse: scores go through memory.

        PyTorch scales queries and keys, multiplies, takes the softmax and multiplies with a copy of the values.
        """
        query, key, value = op["query"], op["key"], op["value"]
        size = kernel.written / op.output.elements
        rows, columns, depth = query.shape[-2], key.shape[-2], query.shape[-1]
        scores = op.output.numel // value.shape[-1] * columns
        heads, score_bytes, bytes_ = scores / (rows * columns), scores * size, query.numel * size

        def step(work: str, read: float, written: float, k: float = 0, n: float = 0) -> Kernel:
            flops = 2.0 * scores * (k if n == columns else n) if k else 0.0
            window = read + written
            moved = kernel._replace(
                work=WORK[work], flops=flops, read=read, written=written, window=window, constant=0.0
            )
            return moved._replace(m=rows, n=n, k=k, products=heads) if k else moved

        yield step("element_wise", bytes_, bytes_)
        yield step("element_wise", key.numel * size, key.numel * size)
        yield step("copy", value.numel * size, value.numel * size)
        yield step("batched_matmul", 2 * bytes_, score_bytes, k=depth, n=columns)
        yield step("softmax", score_bytes, score_bytes)
        yield step("batched_matmul", score_bytes + bytes_, kernel.written, k=columns, n=value.shape[-1])
        self.moved += 6 * score_bytes

    def item(self, tensor: Tensor) -> int:
        """Bytes of one element."""
        return ITEM_BYTES[self.type_of(tensor)]

    def type_of(self, tensor: Tensor) -> str:
        given = self.running.dtype if self.running.dtype and tensor.dtype in FLOATS else tensor.dtype
        return self.types.get(tensor.storage, given)

    def arithmetic(self, op: Op, wanted: str | None) -> int:
        """In which type an operator computes."""
        given = next((t for t in op.inputs if t.dtype in FLOATS), None)
        name = wanted or (self.type_of(given) if given else "float32")
        return FLOATS.index(name) if name in FLOATS else 0

    def cast(self, position: int, tensor: Tensor, wanted: str) -> Iterator[Kernel]:
        """A copy in another type. Compiled code converts activations where it makes them."""
        before, after = tensor.elements * self.item(tensor), tensor.elements * ITEM_BYTES[wanted]
        if tensor.role in CONSTANT:
            yield Kernel(position, WORK["element_wise"], constant=before + after, batched=False)
        elif not self.running.compiled:
            window = self.moved - self.touched.get(tensor.storage, self.moved) + before
            yield Kernel(
                position,
                WORK["element_wise"],
                operations=tensor.elements,
                read=before,
                written=after,
                window=window,
                batched=tensor.storage in self.batched,
            )

    def must_copy(self, op: Op, tensor: Tensor, layout: Layout) -> bool:
        """Whether PyTorch first makes a contiguous copy of an input."""
        if tensor.elements != tensor.numel:
            return False
        by_rows = ("layer_norm", "group_norm", "softmax") if not self.running.compiled else ()
        if (op.kind == "linear" and len(tensor.shape) > 2) or op.kind in by_rows:
            return not is_contiguous(layout, tensor.shape)
        if op.kind in ("matmul", "einsum") and len(tensor.shape) > 3:
            return not joins(layout, tensor.shape)
        return False

    def copy(self, position: int, tensor: Tensor, layout: Layout, size: int) -> Kernel:
        amount = float(tensor.elements * size)
        return Kernel(
            position,
            WORK["copy"],
            operations=tensor.elements,
            read=amount,
            written=amount,
            window=self.moved - self.touched.get(tensor.storage, self.moved) + amount,
            batched=tensor.storage in self.batched,
            slow=across(layout, tensor),
        )

    def adds_bias_apart(self, op: Op, copied: bool) -> bool:
        """Whether a bias takes a kernel of its own: cuDNN adds none, nor does a product of a copied matrix."""
        if op.find("bias") is None or not self.running.gpu:
            return False
        if self.running.compiled:
            readers = self.readers.get(op.output.storage, ())
            return family(op) == "convolution" and not any(
                r.kind == GROUP or family(r) == "element_wise" for r in readers
            )
        return (family(op) == "convolution" and "fused" not in op.attrs) or (op.kind == "linear" and copied)

    def another_pass(self, kernel: Kernel) -> Kernel:
        """An element-wise kernel over what `kernel` wrote."""
        written = kernel.written
        return Kernel(
            kernel.op, WORK["element_wise"], read=written, written=written, window=written, batched=kernel.batched
        )


def convolution(kernel: Kernel, op: Op, inputs: tuple[Layout, ...], channels_last: bool) -> Kernel:
    """[n, i, p] or [i, p] with weight [o, i/g, k...]: n p rows, o/g columns and k i/g summands for each of g groups."""
    weight, groups = op["weight"].shape, op.attrs.get("groups", 1)
    channels = 1 - len(weight)  # the dimension of the channels, from the end: there may be no batch
    outputs, taps = op.output.shape[channels], prod(weight[2:])
    columns, summands = outputs / groups, float(weight[1] * taps)
    if "transpose" in op.kind:
        columns, summands = weight[1], op["input"].shape[channels] / groups
    if groups == 1:
        work = "convolution"
    else:
        work = "depthwise_convolution" if weight[1] == 1 and columns <= 2 else "grouped_convolution"
    last = channels_last or is_channels_last(inputs[0], op.inputs[0].shape)
    return kernel._replace(
        work=WORK[work],
        m=op.output.numel / outputs,
        n=columns,
        k=summands,
        products=groups,
        taps=taps,
        slow=not last,
        misaligned=weight[1] % MULTIPLE != 0 or columns % MULTIPLE != 0,
    )


def matmul(kernel: Kernel, op: Op) -> Kernel:
    """[.., m, k] x [.., k, n]; with a constant matrix every row is one of a single product."""
    if op.kind == "linear" and len(op["weight"].shape) == 2:
        columns, summands = op["weight"].shape
        rows, products, work = op["input"].numel / summands, 1.0, "matmul"
    else:
        shape = op.output.shape or (1,)
        summands = max(1, round(kernel.flops / 2 / max(1, op.output.numel)))
        columns, rows = shape[-1], float(shape[-2] if len(shape) > 1 else 1)
        products, work = op.output.numel / max(1, rows * columns), "batched_matmul"
        if len(op.inputs) > 1 and op.inputs[1].role == "parameter" and op.kind != "einsum":
            rows, products, work = rows * products, 1.0, "matmul"
    return kernel._replace(
        work=WORK[work],
        m=rows,
        n=columns,
        k=summands,
        products=products,
        misaligned=columns % MULTIPLE != 0 or summands % MULTIPLE != 0,
    )


def attention(kernel: Kernel, op: Op) -> Kernel:
    """q [n, h, l, e] and k [n, h, s, e]: l rows and s columns for each of n h heads."""
    query, key, value = op["query"], op["key"], op["value"]
    return kernel._replace(
        work=WORK["attention"],
        m=query.shape[-2],
        n=key.shape[-2],
        k=query.shape[-1],
        products=op.output.numel / (query.shape[-2] * value.shape[-1]),
        slow=op.find("attn_mask") is not None,
    )


def across(layout: Layout, tensor: Tensor) -> bool:
    """Whether a contiguous copy puts other elements side by side."""
    shape = tensor.shape
    last = max((d for d in range(len(shape)) if shape[d] != 1), default=None)
    return innermost(layout, shape) != last


def joins(layout: Layout, shape: Sequence[int]) -> bool:
    """Whether all dimensions but the last two can be seen as one, the batch of a product."""
    batch = [d for d in significant(layout, shape) if d < len(shape) - 2]
    place = {d: position for position, d in enumerate(layout.order)}
    inner = min(place[len(shape) - 1], place[len(shape) - 2])
    return batch == sorted(batch) and all(place[d] < inner for d in batch)
