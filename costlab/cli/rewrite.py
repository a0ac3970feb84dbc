"""`costlab rewrite MODEL --with RULE`: a cheaper network, its cost before and after, and what it loses."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from costlab.cli.exits import INTERRUPTED
from costlab.cli.netadapt import AdaptOptions, adapted
from costlab.cli.options import ExecutionOptions, Format, ModelOptions, argument, flag, option, reject_saved_profile
from costlab.cli.screen import put, report_in, working
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.models import Loaded
    from costlab.rewrite.result import RewriteComparison


@dataclass(frozen=True)
class RewriteOptions:
    """Which layers are rewritten, and how far."""

    rank: Annotated[
        list[str] | None,
        option(
            "dac: set the kernels per input channel, of all layers or by path (repeatable; last match wins).",
            "N|GLOB=N",
        ),
    ] = None
    max_error: Annotated[
        float | None, option("dac: use the smallest ranks within this relative weight error.", "E")
    ] = None
    target_mult_adds: Annotated[str | None, option("dac, netadapt: keep this part of the mult-adds: 0.5x.", "PART")] = (
        None
    )
    skip: Annotated[list[str] | None, option("Do not rewrite modules with this path (repeatable).", "GLOB")] = None
    only: Annotated[list[str] | None, option("Rewrite only modules with this path (repeatable).", "GLOB")] = None
    force: Annotated[bool, flag("--force", "Rewrite layers even if they become more expensive.")] = False
    data: Annotated[Path | None, option("Compare outputs on these tensors, not on random ones.", "FILE.pt")] = None
    seed: Annotated[int, option("Set the seed of random weights and inputs.", "S")] = 0

    @property
    def layers(self) -> dict[str, Any]:
        """Which layers, as the rewrites take it."""
        return {"skip": self.skip or (), "only": self.only or (), "force": self.force}

    @property
    def dac(self) -> dict[str, Any]:
        """How far to decompose, as `dac` takes it. Raises CostlabError."""
        ranks = parse_ranks(self.rank)
        return {"rank": ranks, "max_error": self.max_error, "target_mult_adds": self.target_mult_adds}


def rewrite(
    model: Annotated[str, argument("A model as `costlab report` takes it, except a saved profile or a .pt2.", "MODEL")],
    rule: Annotated[
        Literal["dac", "depthwise-separable", "netadapt"],
        option(
            "dac decomposes the weights of convolutions; depthwise-separable replaces them; netadapt removes channels.",
            None,
            "--with",
            show_default=False,
        ),
    ],
    options: RewriteOptions,
    adapt: AdaptOptions,
    network: ModelOptions,
    execution: ExecutionOptions,
    form: Format = "text",
    output: Annotated[
        Path | None, option("Save the network: FILE.pt2, or FILE.pt for its weights.", "FILE", "-o", "--output")
    ] = None,
) -> int:
    """Make MODEL cheaper, and report what that saves and loses.

    Networks from a library get random weights; your own code keeps its weights.
    """
    reject_saved_profile(model, "rewritten")
    if model.endswith(".pt2"):
        raise CostlabError(f"{model} is an exported program, its operators are fixed: rewrite the network it came from")
    check_options(rule, options, adapt, execution)
    from costlab.reports import adaptation, rewriting

    with working(f"rewriting {model}") if rule != "netadapt" else contextlib.nullcontext():
        import torch

        from costlab.models import load_model
        from costlab.rewrite.files import check_destination

        if output is not None:
            check_destination(output)
        torch.manual_seed(options.seed)
        loaded = load_model(network.spec(model), weights=rule != "depthwise-separable" or output is not None)
        report: Any = rewriting
        change: Any
        if rule == "netadapt":
            report, layers = adaptation, {"skip": options.skip or (), "only": options.only or ()}
            change = adapted(loaded, adapt, execution, options.target_mult_adds, layers, output, options.seed)
            if change is None:
                return INTERRUPTED
        else:
            change = rewritten(loaded, rule, options, output)
    put(report_in(form, None, report, change))
    return 0


def check_options(rule: str, options: RewriteOptions, adapt: AdaptOptions, execution: ExecutionOptions) -> None:
    """Raise CostlabError for options of another rule."""
    decomposing = {"--rank": options.rank, "--max-error": options.max_error, "--data": options.data}
    wrong = [name for name, value in decomposing.items() if value is not None and rule != "dac"]
    if wrong:
        why = "which keeps no weights" if rule == "depthwise-separable" else "which removes channels"
        raise CostlabError(f"{wrong[0]} needs dac, not {rule}, {why}")
    if options.target_mult_adds is not None and rule == "depthwise-separable":
        raise CostlabError("--target-mult-adds needs dac or netadapt: depthwise-separable has no target")
    if rule == "netadapt":
        if options.force:
            raise CostlabError("--force needs dac or depthwise-separable: netadapt never makes a layer more expensive")
        if adapt.target_latency is not None and execution.device is None:
            raise CostlabError("--target-latency needs --device, to predict it for: `costlab devices` lists them")
        return
    others = [*adapt.given, *(["device"] if execution.device else [])]
    if others:
        raise CostlabError(f"--{others[0].replace('_', '-')} needs netadapt, not {rule}")


def rewritten(loaded: Loaded, rule: str, options: RewriteOptions, output: Path | None) -> RewriteComparison:
    """Rewrite a network, and save it to a file if there is one."""
    from costlab import rewrite as rewrites
    from costlab.rewrite._output_error import random_inputs
    from costlab.rewrite.files import load_tensors, save
    from costlab.rewrite.result import RewriteComparison
    from costlab.tracing._profile import profile

    given = load_tensors(options.data) if options.data else None
    args, kwargs = random_inputs((loaded.inputs.args, loaded.inputs.kwargs), options.seed)
    error, compared_on = None, ""
    if rule != "dac":
        result = rewrites.depthwise_separable(loaded.model, **options.layers)
    else:
        result = rewrites.dac(loaded.model, inputs=loaded.inputs, **options.dac, **options.layers)
        try:
            compared_on = f"inputs of {options.data}" if given else f"random inputs, seed {options.seed}"
            error = rewrites.output_error(loaded.model, result.model, *((given,) if given else (args, kwargs)))
        except CostlabError as failure:
            if given:
                raise
            compared_on = str(failure)  # some networks cannot run on random numbers
    if output is not None:
        save(result.model, output, args, kwargs)
    base, head = (profile(model, loaded.inputs, **loaded.origin) for model in (loaded.model, result.model))
    return RewriteComparison(
        rule, result.layers, result.left, base=base, head=head, output_error=error, compared_on=compared_on
    )


def parse_ranks(texts: Sequence[str] | None) -> int | dict[str, int] | None:
    """`5`, or numbers by glob: `features.*=5`. Raises CostlabError."""
    ranks: dict[str, int] = {}
    for text in texts or ():
        glob, _, number = text.rpartition("=")
        try:
            ranks[glob or "*"] = int(number)
        except ValueError:
            raise CostlabError(f"--rank {text!r}: write --rank 5, or --rank 'features.*=5'") from None
    return ranks["*"] if list(ranks) == ["*"] else ranks or None
