"""What a network asks of its tensors past the dispatcher: devices, values, memory, copies."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from costlab.tracing.memory import data_of, give_memory
from costlab.tracing.recorder import Recorder
from costlab.tracing.restoration import replaced
from costlab.tracing.tensors import CPU, DATA, all_tensors, true_device

PLAIN = torch._C.TensorBase
Looking = Callable[[], bool]  # whether code of the network runs, and not torch's or costlab's own


@contextmanager
def members_replaced(recorder: Recorder, looking: Looking) -> Iterator[None]:
    """In the body, the recorder answers for the members of tensors."""
    members = devices(recorder, looking) | values(recorder, looking) | objects(recorder, looking)
    with ExitStack() as stack:
        for name, value in members.items():
            stack.enter_context(replaced(torch.Tensor, name, value))
        for owner, name in ((torch, "tensor"), (torch, "as_tensor"), (torch.Tensor, "new_tensor")):
            made = from_lists(recorder, looking, getattr(owner, name))
            stack.enter_context(replaced(owner, name, made))
        yield


def devices(recorder: Recorder, looking: Looking) -> dict[str, Any]:
    """Members that tell the device."""

    def device(tensor: torch.Tensor) -> torch.device:
        return recorder.device_of(tensor) if looking() else true_device(tensor)

    def get_device(tensor: torch.Tensor) -> int:
        return -1 if device(tensor).type == "cpu" else device(tensor).index or 0

    def kind(tensor: torch.Tensor, dtype: Any = None, *args: Any, **options: Any) -> Any:
        if not looking() or isinstance(dtype, torch.dtype):
            return PLAIN.type(tensor, *([] if dtype is None else [dtype]), *args, **options)
        if dtype is None:
            place = "" if device(tensor).type == "cpu" else f"{device(tensor).type}."
            return PLAIN.type(tensor).replace("meta.", place)
        name = dtype if isinstance(dtype, str) else f"{dtype.__module__}.{dtype.__name__}"  # "torch.cuda.HalfTensor"
        *_, place, name = name.split(".")
        return tensor.to(CPU if place == "torch" else place, getattr(torch, name).dtype)

    def is_on(type: str) -> property:
        return property(lambda tensor: device(tensor).type == type)

    on = {f"is_{type}": is_on(type) for type in ("cpu", "cuda", "meta")}
    return {"device": property(device), "get_device": get_device, "type": kind, **on}


def values(recorder: Recorder, looking: Looking) -> dict[str, Any]:
    """Members that give values."""

    def tolist(tensor: torch.Tensor) -> Any:
        return recorder.read(tensor, PLAIN.tolist) if looking() else PLAIN.tolist(tensor)

    def numpy(tensor: torch.Tensor, *, force: bool = False) -> Any:
        read = functools.partial(PLAIN.numpy, force=force)
        return recorder.read(tensor, read) if looking() else read(tensor)

    return {"tolist": tolist, "numpy": numpy}


def objects(recorder: Recorder, looking: Looking) -> dict[str, Any]:
    """Members that show or copy a tensor, or give it memory."""
    shown, deepcopied = torch.Tensor.__repr__, torch.Tensor.__deepcopy__

    def described(tensor: torch.Tensor, **options: Any) -> str:
        if not looking() or not recorder.is_abstract(tensor):
            return str(shown(tensor, **options))
        with recorder.working(), torch._C._DisableTorchDispatch():
            return f"tensor(..., size={tuple(tensor.shape)}, dtype={tensor.dtype})"

    def deep(tensor: torch.Tensor, memo: dict[int, Any]) -> torch.Tensor:
        if not looking() or not recorder.is_abstract(tensor):
            return deepcopied(tensor, memo)
        return memo.setdefault(id(tensor), tensor.clone())  # torch would copy the storage, which has no memory

    def data(tensor: torch.Tensor) -> torch.Tensor:
        return data_of(recorder.table, tensor) if looking() else DATA.__get__(tensor)

    def set_data(tensor: torch.Tensor, source: torch.Tensor) -> None:
        give_memory(recorder.table, tensor, source) if looking() else DATA.__set__(tensor, source)

    copies = {"__deepcopy__": deep, "__copy__": torch.Tensor.detach}
    return {"__repr__": described, "data": property(data, set_data), **copies}


def from_lists(recorder: Recorder, looking: Looking, make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`torch.tensor` and the like, also of lists that contain unknown numbers: they are put together instead."""

    def made(*args: Any, **options: Any) -> torch.Tensor:
        data = options["data"] if "data" in options else args[-1] if args else None
        tensors = all_tensors(data) if isinstance(data, (list, tuple)) and looking() else []
        if not any(map(recorder.is_abstract, tensors)):
            return make(*args, **options)
        like = next((arg for arg in args if isinstance(arg, torch.Tensor)), tensors[0])
        return stacked(data).to(options.get("device") or like.device, options.get("dtype")).detach()

    return made


def stacked(value: Any) -> torch.Tensor:
    """Nested lists of numbers and of tensors of one element, as a tensor."""
    if isinstance(value, (list, tuple)):
        return torch.stack([stacked(member) for member in value])
    return value.reshape(()) if isinstance(value, torch.Tensor) else torch.full((), value)
