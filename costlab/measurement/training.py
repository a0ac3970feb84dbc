"""A training step to run repeatedly: forward, backward, and an optimizer that changes nothing.

The learning rate is 0: an optimizer does the same work, and the weights stay, so that every step is like the first.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from costlab.core.optimizers import optimizer_named
from costlab.errors import CostlabError
from costlab.tracing.modules import tensors_in
from costlab.tracing.step.whole_step import differentiable

OPTIMIZERS: dict[str, Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": partial(torch.optim.SGD, lr=0.0),
    "momentum": partial(torch.optim.SGD, lr=0.0, momentum=0.9),
    "adam": partial(torch.optim.Adam, lr=0.0),
    "adamw": partial(torch.optim.AdamW, lr=0.0),
    "adafactor": partial(torch.optim.Adafactor, lr=0.0),
}


class TrainingStep:
    """A callable that makes one step on fixed inputs.

    Raises:
        CostlabError: the optimizer is unknown, torch does not have it, or there is nothing to train.
    """

    def __init__(self, model: torch.nn.Module, forward: Callable[[], Any], optimizer: str) -> None:
        optimizer_named(optimizer)
        if optimizer not in OPTIMIZERS:
            raise CostlabError(f"{optimizer} cannot be measured: torch does not have it; use {', '.join(OPTIMIZERS)}")
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not parameters:
            raise CostlabError(f"{type(model).__name__} has no trainable parameters; measure it with mode='eval'")
        self._forward = forward
        self._optimizer = OPTIMIZERS[optimizer](parameters)

    def __call__(self) -> None:
        self.release_gradients()
        outputs = differentiable(self._forward())
        torch.autograd.backward(outputs, [torch.ones((), dtype=y.dtype, device=y.device).expand_as(y) for y in outputs])
        self._optimizer.step()

    def release_gradients(self) -> None:
        """Free the gradients of the last step, as the next step does first."""
        self._optimizer.zero_grad(set_to_none=True)

    @property
    def state_bytes(self) -> int:
        """Bytes of the optimizer's state."""
        states = tensors_in(list(self._optimizer.state.values()))
        return sum(tensor.numel() * tensor.element_size() for tensor in states)
