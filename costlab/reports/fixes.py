"""The changes of a lint run that leave outputs as they are, as Python that makes them."""

from costlab.ci.lint_run import LintRun

SCRIPT = '''"""Fold batch norms into the convolutions before them, for inference: `fold(model, NAME)`.

Written by `costlab lint --fix`. The model has to be in eval mode; its outputs stay the same up to rounding.
"""

import torch
from torch.nn.utils import fuse_conv_bn_eval

NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
PAIRS = {{  # by model: a convolution and the batch norm after it
{pairs}
}}


def fold(model: torch.nn.Module, name: str = {first}) -> torch.nn.Module:
    """Fold the batch norms of a model, which is changed and returned."""
    for convolution, norm in PAIRS[name]:
        found = model.get_submodule(norm)
        if type(found) in NORMS:  # a subclass may do more than normalise
            model.set_submodule(convolution, fuse_conv_bn_eval(model.get_submodule(convolution), found))
            model.set_submodule(norm, torch.nn.Identity())
    return model
'''


def fold_script(run: LintRun) -> str | None:
    """Python that follows the findings of X3, folding by module path; None if there is nothing to fold."""
    pairs: dict[str, dict[tuple[str, str], None]] = {}
    for finding in (f for f in run.findings if f.rule == "X3" and f.fix):
        for names in finding.fix.fused if finding.fix else ():
            paths = tuple(name.rpartition("/")[0] for name in names)
            if len(set(paths)) == len(paths) == 2:  # each operator is a module of its own
                pairs.setdefault(finding.model, {})[paths[0], paths[1]] = None
    if not pairs:
        return None
    lines = []
    for model, found in pairs.items():
        lines += [f"    {model!r}: [", *(f"        {pair!r}," for pair in sorted(found)), "    ],"]
    return SCRIPT.format(pairs="\n".join(lines), first=repr(next(iter(pairs))))
