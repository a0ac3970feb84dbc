"""Whether operators pass torch's autograd on their way to the recorder."""

from __future__ import annotations

import torch

AUTOGRAD = (
    torch._C.DispatchKey.AutogradFunctionality,
    torch._C.DispatchKey.AutogradOther,
    torch._C.DispatchKey.AutogradNestedTensor,
    torch._C.DispatchKey.ADInplaceOrView,
)
grad_mode = torch._C._set_grad_enabled


def exclude_autograd(excluded: bool) -> None:
    """Whether operators reach the recorder without passing autograd."""
    for key in AUTOGRAD:
        torch._C._dispatch_tls_set_dispatch_key_excluded(key, excluded)
