"""Whether operators pass torch's autograd on their way to the recorder."""

import functools
import operator
from typing import Any

import torch

AUTOGRAD = (
    torch._C.DispatchKey.AutogradFunctionality,
    torch._C.DispatchKey.AutogradOther,
    torch._C.DispatchKey.AutogradNestedTensor,
    torch._C.DispatchKey.ADInplaceOrView,
)
AUTOGRAD_SET = functools.reduce(operator.or_, map(torch._C.DispatchKeySet, AUTOGRAD))
grad_mode = torch._C._set_grad_enabled


def exclude_autograd(excluded: bool) -> None:
    """Whether operators reach the recorder without passing autograd."""
    for key in AUTOGRAD:
        torch._C._dispatch_tls_set_dispatch_key_excluded(key, excluded)


def passing_autograd() -> Any:
    """A context in whose body operators pass autograd."""
    excluded = torch._C._dispatch_tls_local_exclude_set() - AUTOGRAD_SET
    return torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded)
