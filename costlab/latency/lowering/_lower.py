"""The walk over the operators of a network, each lowered to kernels."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from costlab.core.cost import Cost
from costlab.core.graph import ITEM_BYTES, PHASES, Op, Tensor
from costlab.core.profile import Profile
from costlab.latency.execution import ExecutionConfig
from costlab.latency.layouts import Layout, layouts
from costlab.latency.lowering.backward import lowering_of
from costlab.latency.lowering.contractions import attention, convolution, is_fused, matmul, recurrent, score_bytes
from costlab.latency.lowering.kernels import WORK, Kernel
from costlab.latency.lowering.site import Operand, Site
from costlab.latency.lowering.traffic import (
    bias_kernel,
    cast,
    contiguous_copy,
    data_movement,
    has_bias_kernel,
    is_no_op,
    must_copy,
)
from costlab.latency.precision import FLOATS, dtypes, family, type_read

LOWERINGS = {"convolution": convolution, "matmul": matmul, "attention": attention, "recurrent": recurrent}

GENERATED = ("element_wise", "normalisation", "softmax", "reduction", "copy")  # families that TorchInductor writes


def lower(profile: Profile, view: Profile, config: ExecutionConfig) -> list[Kernel]:
    """The kernels of `view`, which is `profile`, a fusion or an edit of it, in the order they run."""
    if config.compiled:
        config = replace(config, channels_last=config.channels_last or converts_images(view, config.gpu))
    walk = Walk(profile, view, config)
    kernels: list[Kernel] = []
    layouts_of = layouts(view.ops, config.channels_last, several=config.gpu)
    for position, (op, cost, inputs) in enumerate(zip(view.ops, view.costs, layouts_of, strict=True)):
        batched = walk.spread_batch(op)
        if op.free or cost is None or not op.outputs or not cost.bytes_accessed:
            continue
        if is_no_op(op, inputs):
            walk.alias(op)
            continue
        lowered = lower_op(walk.site(position, op, cost, inputs, batched))
        walk.advance(op, lowered)
        phase = PHASES.index(op.phase)
        kernels += [kernel._replace(phase=phase) for kernel in lowered.kernels] if phase else lowered.kernels
    return kernels


def converts_images(view: Profile, gpu: bool) -> bool:
    """Whether TorchInductor converts images to channels-last: always on a CPU, on a GPU if it expects a gain.

    `GraphLowering.decide_layout_opt` (torch/_inductor/graph.py) weighs the FLOP of convolutions by kind.
    """
    flops: dict[float, int] = {}
    for op, cost in zip(view.ops, view.costs, strict=True):
        if cost is not None and not op.free and family(op) == "convolution":
            weight = layout_weight(op)
            flops[weight] = flops.get(weight, 0) + cost.mult_adds
    total = sum(flops.values())
    return total > 0 and (not gpu or sum(weight * amount for weight, amount in flops.items()) <= total)


def layout_weight(op: Op) -> float:
    """Time of a convolution in channels-last over that in contiguous layout, as TorchInductor expects it."""
    outputs, inputs, *taps = op["weight"].shape
    if op.attrs.get("groups", 1) > 1 and inputs > 1:
        return 1.358
    if outputs <= 64 and inputs <= 64:
        return 0.783
    return 0.725 if 2 * outputs <= inputs and taps[0] > 1 else 0.823


def are_joined(writer: Op, reader: Op) -> bool:
    """Whether a compiler runs two operators in one kernel: element by element before or after sums over rows."""
    kinds = family(writer), family(reader)
    return (
        all(kind in GENERATED for kind in kinds)
        and kinds != ("element_wise", "element_wise")
        and any(t.storage == writer.output.storage and t.numel == writer.output.numel for t in reader.inputs)
    )


def lengths(tensor: Tensor) -> tuple[int, ...]:
    """The lengths of the dimensions, sorted, without those of 1."""
    return tuple(sorted(length for length in tensor.shape if length != 1))


class Lowered(NamedTuple):
    """An operator as kernels."""

    kernels: list[Kernel]
    moved: float  # bytes of activations that it reads and writes
    scratch: float  # bytes of intermediate values that it moves before it touches its inputs for the last time


def lower_op(site: Site) -> Lowered:
    """The kernels of one operator, with the casts, copies and bias additions that it brings."""
    op, config = site.op, site.config
    wanted = type_read(op, config.autocast_dtype, config.half_norms)
    kernels: list[Kernel] = []
    read = constant = weighted = 0.0
    copied = False
    for operand in site.inputs:
        size = operand.item_bytes
        if wanted and operand.tensor.dtype in FLOATS and size != ITEM_BYTES[wanted]:
            kernels += cast(site, operand, wanted)
            size = min(size, ITEM_BYTES[wanted]) if config.compiled else ITEM_BYTES[wanted]
        elif must_copy(site, operand):
            kernels.append(contiguous_copy(site, operand))
            copied = True
        amount = 0 if operand.fused else operand.tensor.elements * size
        if operand.batched:
            read += amount
            weighted += amount * (operand.distance + amount)
        else:
            constant += amount
    window = weighted / read if read else 0.0
    if family(op) == "indexing":
        touched = site.cost.read_bytes
        if site.batched or constant > touched:  # rows of a table, spread over all of it
            read, constant, window = touched, 0.0, max(window, constant)
        read = min(read, touched)
    kernel = Kernel(
        site.position,
        WORK["element_wise"],
        dtype=arithmetic_type(site, wanted),
        flops=2.0 * site.cost.mult_adds,
        read=read,
        written=site.written,
        window=window,
        constant=constant + site.fixed,
        batched=site.batched,
        in_place=op.output.storage in {t.storage for t in op.inputs},
    )
    computes = site.cost.mult_adds and op.output.numel  # a product over nothing only fills its output
    lowering = lowering_of(op) or (LOWERINGS.get(family(op), data_movement) if computes else data_movement)
    kernels += lowering(kernel, site)
    if has_bias_kernel(site, copied):
        kernels.append(bias_kernel(kernel))
    unfused = lowering is attention and not is_fused(site)
    return Lowered(kernels, read + site.written, 6 * score_bytes(kernel, site) if unfused else 0.0)


def arithmetic_type(site: Site, wanted: str | None) -> int:
    """The type that an operator computes in, as its position in FLOATS."""
    name = wanted or next((o.dtype for o in site.inputs if o.tensor.dtype in FLOATS), "float32")
    return FLOATS.index(name) if name in FLOATS else 0


class Walk:
    """What has happened before the current operator: which values grow with the batch, and how much data has moved."""

    def __init__(self, profile: Profile, view: Profile, config: ExecutionConfig):
        self.config = config
        self.types = dtypes(profile.ops, config.autocast_dtype, config.half_norms)
        self.traced = {op.name: op for op in profile.ops} if view is not profile else {}
        self.readers: dict[int, list[Op]] = {}  # by storage
        self.generated: dict[int, Op] = {}  # by storage: the generated kernel that wrote it and nothing has joined yet
        self.returned = set(view.trace.outputs)
        if config.compiled:
            for op in view.ops:
                for tensor in op.inputs if not op.free else ():
                    self.readers.setdefault(tensor.storage, []).append(op)
        self.batched = {t.storage for op in profile.ops for t in op.inputs if t.role == "input"}
        self.parameters: dict[str, set[tuple[int, ...]]] = {}  # sorted lengths of the parameters of a module
        for op in profile.ops if profile.trace.step else ():
            self.parameters.setdefault(op.module, set()).update(lengths(t) for t in op.inputs if t.role == "parameter")
        self.moved = 0.0  # bytes of activations so far
        self.touched: dict[int, float] = {}  # by storage: `moved` when it was last read or written

    def spread_batch(self, op: Op) -> bool:
        """Whether an operator grows with the batch; if so, its outputs do."""
        batched = any(t.storage in self.batched for t in op.inputs)
        if batched:
            self.batched.update(t.storage for t in op.outputs if not self.is_parameter_gradient(op, t))
        return batched

    def is_parameter_gradient(self, op: Op, tensor: Tensor) -> bool:
        """Whether an output sums over the batch: it has the shape of a parameter of the module, perhaps transposed."""
        return op.phase == "backward" and lengths(tensor) in self.parameters.get(op.module, ())

    def site(self, position: int, op: Op, cost: Cost, layouts: Sequence[Layout], batched: bool) -> Site:
        """An operator as it would find its inputs now."""
        readers = self.readers.get(op.output.storage, ())
        amounts = [(t, float(t.elements * ITEM_BYTES[self.type_of(t)])) for t in op.outputs]
        fixed = sum(size for t, size in amounts if batched and t.storage not in self.batched)
        joined = len(readers) == 1 and are_joined(op, readers[0]) and op.output.storage not in self.returned
        return Site(
            position=position,
            op=op,
            cost=cost,
            config=self.config,
            inputs=tuple(self.operand(op, t, layout) for t, layout in zip(op.inputs, layouts, strict=True)),
            written=0.0 if joined else sum(size for _, size in amounts) - fixed,
            fixed=fixed,
            batched=batched,
            reduces=batched and op.output.storage not in self.batched,
            members=[self.traced[name] for name in op.attrs.get("fused", ()) if name in self.traced] or [op],
            readers=readers,
        )

    def operand(self, op: Op, tensor: Tensor, layout: Layout) -> Operand:
        """An input of an operator as it lies in memory now."""
        distance = self.moved - self.touched.get(tensor.storage, self.moved)
        writer = self.generated.get(tensor.storage)
        fused = writer is not None and are_joined(writer, op)
        return Operand(tensor, layout, self.type_of(tensor), distance, tensor.storage in self.batched, fused)

    def type_of(self, tensor: Tensor) -> str:
        """The type in which a value is stored."""
        own = self.config.dtype if self.config.dtype and tensor.dtype in FLOATS else tensor.dtype
        return self.types.get(tensor.storage, own)

    def alias(self, op: Op) -> None:
        """The outputs of an operator that copies nothing are its input."""
        last = self.touched.get(op.inputs[0].storage, self.moved)
        self.touched.update((t.storage, last) for t in op.outputs)

    def advance(self, op: Op, lowered: Lowered) -> None:
        """The operator has run."""
        for tensor in op.inputs:
            self.generated.pop(tensor.storage, None)
        if self.config.compiled:
            self.generated.update((t.storage, op) for t in op.outputs)
        self.moved += lowered.scratch
        self.touched.update((t.storage, self.moved) for t in op.inputs)
        self.moved += lowered.moved
        self.touched.update((t.storage, self.moved) for t in op.outputs)
