"""The global state of torch and Python that the code of a model may change, restored afterwards."""

import gc
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch.utils import _python_dispatch as dispatch

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGPIPE", "SIGCHLD", "SIGUSR1", "SIGUSR2")
LOCK = threading.RLock()
ENVIRONMENT: Any = getattr(os, "environb", os.environ)  # bytes, where there are, need no decoding


@contextmanager
def global_state_restored() -> Iterator[None]:
    """Restore everything in `SETTINGS`, the random numbers and the warning filters after the body.

    One thread runs a body at a time: the state belongs to the whole process. A copy of the process that the body forked
    ends here, instead of doing the rest of the work a second time.
    """
    process = os.getpid()
    with LOCK, warnings.catch_warnings():
        generators = random_states()
        before = [get() for get, _ in SETTINGS]
        try:
            yield
        finally:
            if os.getpid() != process:
                os._exit(1)
            for (get, put), value in zip(SETTINGS, before, strict=True):
                if get() != value:
                    put(value)
            for put, state in generators:
                put(state)


def random_states() -> list[tuple[Callable[[Any], Any], Any]]:
    """How to restore every random number generator, with its state."""
    states: list[tuple[Callable[[Any], Any], Any]] = [
        (torch.set_rng_state, torch.get_rng_state()),
        (random.setstate, random.getstate()),
    ]
    if "numpy" in sys.modules:
        states.append((sys.modules["numpy"].random.set_state, sys.modules["numpy"].random.get_state()))
    if torch.cuda.is_initialized():
        states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return states


def autocast(device_type: str) -> tuple[bool, torch.dtype]:
    """Whether autocast is on for a type of device, and its dtype."""
    return torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type)


def set_autocast(device_type: str, value: tuple[bool, torch.dtype]) -> None:
    """Turn autocast on or off for a type of device."""
    torch.set_autocast_enabled(device_type, value[0])
    torch.set_autocast_dtype(device_type, value[1])


def default_device() -> torch.device | None:
    """The device of `torch.set_default_device`; None if it was never set."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return context.device if context is not None else None


def working_directory() -> str | None:
    """The current folder; None if it was deleted."""
    with suppress(OSError):
        return os.getcwd()
    return None


def set_working_directory(folder: str | None) -> None:
    """Change to a folder, if it still exists."""
    if folder is not None:
        with suppress(OSError):
            os.chdir(folder)


def set_environment(variables: dict[Any, Any]) -> None:
    """Restore the environment variables that were changed, added or removed."""
    for name in [name for name in ENVIRONMENT if name not in variables]:
        del ENVIRONMENT[name]
    ENVIRONMENT.update({name: value for name, value in variables.items() if ENVIRONMENT.get(name) != value})


def signal_handlers() -> dict[signal.Signals, Any]:
    """The handlers of the signals that programs handle."""
    numbers = (getattr(signal, name, None) for name in SIGNALS)
    return {number: signal.getsignal(number) for number in numbers if number is not None}


def set_signal_handlers(handlers: dict[signal.Signals, Any]) -> None:
    """Install handlers again; those installed outside Python, and all outside the main thread, stay as they are."""
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            with suppress(ValueError, OSError):
                signal.signal(number, handler)


def global_hooks() -> list[tuple[dict[Any, Any], dict[Any, Any]]]:
    """The hooks of all modules of the process: every table, with a copy."""
    tables = (table for name, table in vars(torch.nn.modules.module).items() if name.startswith("_global_"))
    return [(table, dict(table)) for table in tables if isinstance(table, dict)]


def set_global_hooks(tables: list[tuple[dict[Any, Any], dict[Any, Any]]]) -> None:
    """Restore the hooks of all modules."""
    for table, content in tables:
        table.clear()
        table.update(content)


def modes() -> tuple[int, int]:
    """How many torch-function and torch-dispatch modes are active."""
    return torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()


def leave_modes(depths: tuple[int, int]) -> None:
    """Leave the modes that were entered since."""
    while torch._C._len_torch_function_stack() > depths[0]:
        torch._C._pop_torch_function_stack()
    while torch._C._len_torch_dispatch_stack() > depths[1]:
        dispatch._pop_mode()


def numpy_errors() -> dict[str, Any] | None:
    """How numpy treats floating-point errors; None if it is not loaded."""
    return dict(sys.modules["numpy"].geterr()) if "numpy" in sys.modules else None


def set_numpy_errors(errors: dict[str, Any] | None) -> None:
    """Restore how numpy treats floating-point errors."""
    if errors is not None:
        sys.modules["numpy"].seterr(**errors)


def streams() -> tuple[Any, Any, Any]:
    """Standard input, output and error."""
    return sys.stdin, sys.stdout, sys.stderr


def set_streams(files: tuple[Any, Any, Any]) -> None:
    """Restore standard input, output and error."""
    sys.stdin, sys.stdout, sys.stderr = files


def backends() -> list[Any]:
    """The settings of torch's backends."""
    return [getattr(getattr(torch.backends, name), setting) for name, setting in BACKENDS]


def set_backends(values: list[Any]) -> None:
    """Restore the settings of torch's backends that have changed."""
    for (name, setting), value in zip(BACKENDS, values, strict=True):
        backend: Any = getattr(torch.backends, name)
        if getattr(backend, setting) != value:
            setattr(backend, setting, value)


BACKENDS = (
    ("cudnn", "benchmark"),
    ("cudnn", "deterministic"),
    ("cudnn", "enabled"),
    ("mkldnn", "enabled"),
    ("opt_einsum", "enabled"),
    ("opt_einsum", "strategy"),
    ("quantized", "engine"),
)

# State that is read before and, if it has changed, restored after, in this order.
SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (modes, leave_modes),
    (torch.get_default_dtype, torch.set_default_dtype),
    (default_device, torch.set_default_device),
    (torch.is_grad_enabled, torch._C._set_grad_enabled),
    (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    (lambda: autocast("cpu"), lambda value: set_autocast("cpu", value)),
    (lambda: autocast("cuda"), lambda value: set_autocast("cuda", value)),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
    (backends, set_backends),
    (numpy_errors, set_numpy_errors),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
    (gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()),
    (streams, set_streams),
    (lambda: logging.root.manager.disable, logging.disable),
    (global_hooks, set_global_hooks),
    (working_directory, set_working_directory),
    (lambda: dict(ENVIRONMENT), set_environment),
    (signal_handlers, set_signal_handlers),
)
