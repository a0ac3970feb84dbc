"""`costlab llm hf:CONFIG`: memory, time to first token and time for each further token of a language model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from costlab.cli.options import Output, argument, option, parse_arguments
from costlab.cli.screen import check_picture, counting, put, report_in, working
from costlab.core.parsing import whole_numbers
from costlab.errors import CostlabError

AXES = ("batch", "context")
LARGEST_GRID = 400  # generations


@dataclass(frozen=True)
class SizeOptions:
    """Sequences and tokens."""

    batch: Annotated[int, option("Set the number of sequences.", "N")] = 1
    prompt: Annotated[int, option("Set the tokens of each prompt.", "N")] = 2048
    generate: Annotated[int, option("Set the tokens generated for each sequence.", "N")] = 256
    over: Annotated[
        list[str] | None, option("Show a table: batch=1,8,32 or context=1024,4096 (repeatable).", "NAME=VALUES")
    ] = None

    def pairs(self) -> list[tuple[int, int]]:
        """Batch and prompt of every generation that is asked for. Raises CostlabError."""
        axes = parse_axes(self.over or ())
        pairs = list(product(axes.get("batch", [self.batch]), axes.get("context", [self.prompt])))
        if len(pairs) > LARGEST_GRID:
            raise CostlabError(f"--over asks for {len(pairs):,} generations; at most {LARGEST_GRID} fit a table")
        return pairs


@dataclass(frozen=True)
class ServingOptions:
    """Where and how the network runs."""

    device: Annotated[str | None, option("Predict for this device (`costlab devices` lists them).", "NAME")] = None
    weights: Annotated[
        str | None,
        option("Store matrices as bf16, fp16, fp8, int8, int4 or mxfp4.", "TYPE", show_default="the configuration's"),
    ] = None
    cache: Annotated[str, option("Store the cache as bf16, fp16 or fp8.", "TYPE")] = "bf16"
    tp: Annotated[int, option("Split the network over N devices (tensor parallelism).", "N")] = 1
    engine: Annotated[
        str, option("Predict for eager (transformers), graphs (compiled, CUDA graphs), vllm or tensorrt-llm.", "NAME")
    ] = "eager"
    checkpoint: Annotated[
        Path | None, option("Take the size of the weights from a .safetensors or .gguf file or an index.", "FILE")
    ] = None


def llm(
    config: Annotated[str, argument("hf:CONFIG: a transformers configuration, its folder or a hub id.", "hf:CONFIG")],
    sizes: SizeOptions,
    serving: ServingOptions,
    arguments: Annotated[
        list[str] | None, option("Override an entry of the configuration.", "KEY=VALUE", "-a", "--argument")
    ] = None,
    form: Annotated[
        Literal["text", "json", "csv", "markdown"], option("Set the output format.", None, "--format")
    ] = "text",
    output: Output = None,
    plot: Annotated[
        Path | None, option("Also plot throughput over the time of a token: .png, .svg or .pdf.", "FILE")
    ] = None,
) -> None:
    """Report what generating text takes: weights, cache, time to first token, time for each further token.

    Prefill and decode are traced from the transformers model itself, without its weights.
    """
    from costlab.generations._generation import setting_of
    from costlab.reports import generation as report

    check_picture(plot)
    pairs = sizes.pairs()
    with working(f"tracing {config}"):
        setting = setting_of(config, **vars(serving), arguments=parse_arguments(arguments))
    results = []
    with counting("batches and contexts") as show:
        for done, (batch, prompt) in enumerate(pairs):
            show(done, len(pairs))
            results.append(setting.generation(batch, prompt, sizes.generate).without_profiles())
    put(report_in(form, output, report, results), output)
    if plot is not None:
        from costlab import plots
        from costlab.cli.plot import save

        save(lambda: plots.generations(results), plot)


def parse_axes(texts: Sequence[str]) -> dict[str, list[int]]:
    """`batch=1,8,32` by name. Raises CostlabError."""
    axes: dict[str, list[int]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        numbers = whole_numbers(values)
        if name not in AXES or not equals or numbers is None:
            raise CostlabError(f"--over {text!r} is not a range: write --over batch=1,8,32 or --over context=1024,4096")
        if name in axes:
            raise CostlabError(f"--over {name} is given twice: name all values in one")
        axes[name] = numbers
    return axes
