"""What follows the forward pass of a training step: the loss is differentiated, then the optimizer runs."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any

import torch

from costlab.core.graph import ITEM_BYTES, Op, StorageInfo, Tensor, TrainingStep
from costlab.core.optimizers import OPTIMIZERS
from costlab.errors import CostlabError
from costlab.tracing.autograd import grad_mode
from costlab.tracing.layouts import SPARSE
from costlab.tracing.modules import tensors_in
from costlab.tracing.step.checkpointing import checkpoint_modules
from costlab.tracing.step.options import StepOptions, check_globs, is_frozen, matches
from costlab.tracing.step.recorder import DifferentiatingRecorder
from costlab.tracing.tensor_table import Storage
from costlab.tracing.tensors import META, is_meta


class StepRecorder(DifferentiatingRecorder):
    """Records a whole training step."""

    def __init__(self, options: StepOptions, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.options = options
        self.seeds: list[torch.Tensor] = []
        self._sources = self.operations.source
        self.results: set[int] = set()  # storages that live to the end: of what the model returned
        self.parameters: list[tuple[torch.Tensor, str]] = []  # on the meta device, each with its module's path

    def prepare(self, modules: Mapping[torch.nn.Module, list[str]], parameters: list[tuple[torch.Tensor, str]]) -> None:
        """Make the parameters ready: those with data get a twin without, whose gradient takes no memory."""
        for parameter, path in parameters:
            twin = parameter
            if not is_meta(parameter) and type(parameter) is torch.nn.Parameter:
                twin = torch.nn.Parameter(
                    torch.empty_strided(parameter.shape, parameter.stride(), dtype=parameter.dtype, device=META),
                    requires_grad=parameter.requires_grad,
                )
                self.table.add_twin(twin, self.table.record(parameter))
                self.twins[id(parameter)] = twin
            self.paths[id(twin)] = path
            self.parameters.append((twin, path))
            twin.grad = None
        for module in modules:
            for name, value in module._parameters.items():
                if id(value) in self.twins:
                    module._parameters[name] = self.twins[id(value)]  # type: ignore[assignment]
        self._freeze(modules)
        checkpoint_modules(modules, self.options.checkpoint)
        grad_mode(True)

    def _freeze(self, modules: Mapping[torch.nn.Module, list[str]]) -> None:
        """Set which parameters require a gradient."""
        globs = self.options.freeze
        if not globs:
            return
        names: dict[str, torch.Tensor] = {}
        for module, paths in modules.items():
            for name, value in module._parameters.items():
                if value is not None:
                    names.update((f"{path}.{name}" if path else name, value) for path in paths)
        check_globs("freeze", globs, names)
        for name, parameter in names.items():
            if any(matches(name, glob.removeprefix("!")) for glob in globs) and parameter.is_floating_point():
                parameter.requires_grad_(not is_frozen(name, globs))

    def passes(self, call: Callable[[], Any]) -> Any:
        """Run forward and backward as often as gradients are accumulated, then step the optimizer."""
        for _ in range(self.options.accumulate):
            self.operations.phase = "forward"
            result = call()
            self._differentiate(result)
            self.operations.source = self._sources
        self.operations.phase = "optimizer"
        states = self._step_optimizer()
        self.results = {self.table.record(t).storage.number for t in (*tensors_in(result), *self.seeds)}
        self.step = self._step(states)
        return result

    def let_go(self) -> list[weakref.ref[torch.Tensor]]:
        """Forget all tensors; weak references to those that were made without data."""
        self.parameters.clear()
        self.seeds.clear()
        self.twins.clear()
        return super().let_go()

    def _differentiate(self, result: Any) -> None:
        """Run the backward pass from the loss."""
        outputs = differentiable(result) if self.options.loss is None else [own_loss(self.options.loss, result)]
        if self.autocast is not None:
            self.autocast.clear()
        self.operations.phase = "backward"
        self.operations.source = self.source
        self.operations.tracker.path = self.operations.tracker.call_path = ""
        self.seeds = [torch.ones((), dtype=output.dtype, device=META).expand(output.shape) for output in outputs]
        torch.autograd.backward(outputs, self.seeds)
        self.operations.tracker.path = self.operations.tracker.call_path = ""

    def _step_optimizer(self) -> set[int]:
        """Add one operator for each module with trained parameters; returns the storages of the optimizer's states."""
        trained: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for parameter, path in self.parameters:
            if parameter.grad is not None:
                trained.setdefault(path, []).append((parameter, parameter.grad))
        states: set[int] = set()
        for path, pairs in trained.items():
            op = self._optimizer_op(path, pairs)
            states.update(t.storage for t in op.each("states"))
            self.ops.append(op)
        return states

    def _optimizer_op(self, path: str, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> Op:
        """The step of the optimizer for the parameters of one module, each with its gradient."""
        kind = self.options.optimizer
        inputs, outputs, after = [], [], set()
        states: list[Tensor] = []
        for number, (parameter, grad) in enumerate(pairs):
            record, gradient = self.table.record(parameter), self.table.record(grad)
            trained = record.described(f"params.{number}", "parameter")
            inputs += [trained, gradient.described(f"grads.{number}", "activation")]
            outputs.append(trained)
            after.add(max(gradient.producer, gradient.storage.writer))
            for shape, dtype in OPTIMIZERS[kind].states(record.shape, record.spec.dtype_name):
                storage = self.table.add_lasting(prod(shape) * ITEM_BYTES[dtype], "constant")
                states.append(Tensor(f"states.{len(states)}", shape, dtype, "constant", prod(shape), storage.number))
        return Op(
            name=self.operations.unique(f"{path}/{kind}" if path else kind),
            kind=kind,
            module=path,
            inputs=(*inputs, *states),
            outputs=tuple(outputs),
            attrs={"shards": self.options.shards} if self.options.shards > 1 else {},
            source=None,
            after=tuple(sorted(after - {-1})),
            free=False,
            estimated=False,
            params=0,
            param_bytes=0,
            phase="optimizer",
        )

    def _step(self, states: set[int]) -> TrainingStep:
        """What the graph does not say of the step."""
        trained = [p for p, _ in self.parameters if p.requires_grad]
        gradients = {self.table.record(p.grad).storage.number for p in trained if p.grad is not None}
        return TrainingStep(
            optimizer=self.options.optimizer,
            trainable_params=sum(p.numel() for p in trained),
            gradient_bytes=sum(self._gradient_bytes(p) for p in trained),
            optimizer_bytes=sum(self.table.storages[number].bytes for number in states),
            shards=self.options.shards,
            storages=tuple(self._storages(gradients, states)),
        )

    def _gradient_bytes(self, parameter: torch.Tensor) -> int:
        """The bytes of a gradient: those of the parameter, unless it is sparse."""
        grad = parameter.grad
        if grad is not None and grad.layout in SPARSE:
            return self.table.record(grad).storage.bytes
        return parameter.numel() * parameter.element_size()

    def _storages(self, gradients: set[int], states: set[int]) -> Iterable[StorageInfo]:
        """The storages of the step, with their category and lifetime."""
        backward = next((i for i, op in enumerate(self.ops) if op.phase != "forward"), len(self.ops))
        self.table.collect_garbage({*gradients, *states, *self.results})
        end = len(self.ops) - 1
        for number, storage in enumerate(self.table.storages):
            last = storage.last
            if number in gradients:
                category = "gradient"
            elif number in states:
                category = "optimizer"
            else:
                category = category_of(storage, backward)
            if last is None:
                known = not storage.abstract and not storage.external  # held by the trace for its values
                last = self.table.last_uses.get(number, storage.first) if known else end
            if last < storage.first:  # between two operators: inferring a result allocated and dropped it
                continue
            yield StorageInfo(number, storage.bytes, category, storage.first, last, storage.saved_by)


def category_of(storage: Storage, backward: int) -> str:
    """What a storage is for, if it is neither a gradient of a parameter nor the optimizer's.

    Args:
        backward: position of the first operator of the backward pass.
    """
    if storage.external:
        return "buffer" if storage.role == "constant" else storage.role
    if storage.first >= backward:
        return "temporary"
    return "activation" if storage.saved_by < 0 else "saved"


def own_loss(loss: Callable[[Any], Any], result: Any) -> torch.Tensor:
    """What the user's loss is for the network's result.

    Raises CostlabError if it fails, is no scalar tensor, or has no gradient.
    """
    try:
        value = loss(result)
    except Exception as error:
        what = str(error).strip().splitlines() or ["no message"]
        raise CostlabError(f"the loss fails: {type(error).__name__}: {what[0][:300]}") from error
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise CostlabError(f"the loss must return a scalar tensor, got {shape}")
    if not value.requires_grad:
        raise CostlabError("the loss has no gradient: it does not depend on a trainable parameter")
    return value


def differentiable(result: Any) -> list[torch.Tensor]:
    """The tensors whose sum is differentiated: the loss of the network itself if there is one, else all outputs.

    Raises CostlabError if nothing has a gradient.
    """
    loss = getattr(result, "loss", None)
    if isinstance(loss, torch.Tensor) and loss.requires_grad:
        return [loss]
    outputs = [t for t in tensors_in(result) if t.requires_grad and (t.is_floating_point() or t.is_complex())]
    distinct = list({id(t): t for t in outputs}.values())
    if not distinct:
        raise CostlabError("the loss has no gradient: no floating-point output depends on a trainable parameter")
    return distinct
