"""A generation as a page, as CSV and as JSON, and a table of many over batch and context."""

import json
from collections.abc import Sequence

from costlab._version import __version__
from costlab.core.serialization import SCHEMA_VERSION
from costlab.formatting import units
from costlab.formatting.facts import Fact
from costlab.formatting.notebook import render
from costlab.formatting.page import Page
from costlab.formatting.table import Column, Table, csv_text
from costlab.generations.result import Generation
from costlab.latency.verified import mark


def page(results: Sequence[Generation]) -> Page:
    """One generation in full, several as a table."""
    first = results[0]
    if len(results) > 1:
        return Page(title(first), setting(first), [grid(results)])
    return Page(title(first), facts(first), [steps(first)])


@render.register
def html(result: Generation) -> str:
    """For notebooks."""
    return page([result]).html()


def csv(results: Sequence[Generation]) -> str:
    """A row for each batch and context, every digit."""
    keys = [key for key, value in results[0].data().items() if not isinstance(value, (dict, list))]
    rows = []
    for result in results:
        data = result.data()
        row = {key: data[key] for key in keys}
        for step in ("prefill", "decode"):
            row |= {f"{step}_{key}": value for key, value in data[step].items() if key != "parts"}
        rows.append(row)
    return csv_text([list(rows[0]), *([row[key] for key in rows[0]] for row in rows)])


def document(results: Sequence[Generation]) -> str:
    """Everything, exact; schema version 1 (docs/json.md). Several generations are a list under "generations"."""
    about = {"schema_version": SCHEMA_VERSION, "costlab": __version__}
    data = [result.data() for result in results]
    content = {**about, **data[0]} if len(data) == 1 else {**about, "generations": data}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def title(result: Generation) -> str:
    """`LlamaForCausalLM (llama), bf16 weights on h100`."""
    where = f" on {result.devices} x {result.device}" if result.devices > 1 else f" on {result.device}"
    return f"{result.model}, {result.weights} weights{where if result.device else ''}{mark(result.verified)}"


def setting(result: Generation) -> list[Fact]:
    """What all rows of a table have in common."""
    lines = [
        Fact("params", f"{units.both(result.params)}{active(result)}"),
        Fact("weights", f"{units.size(result.param_bytes)}{each(result)} ({result.weights}{products(result)})"),
        Fact("cache", f"{growth(result)}{each(result)} ({result.cache})"),
    ]
    if result.devices > 1:
        whole = f"{units.size(result.whole_param_bytes)} of the weights, which it does not split, on every device"
        lines.append(Fact("split", f"by transformers' plan for the model; {whole}"))
    if result.device:
        room = f", {units.size(result.memory)} of memory" if result.memory else ""
        lines.append(Fact("engine", f"{result.engine} on {result.device}{room}"))
    return lines


def active(result: Generation) -> str:
    """The parameters of a mixture of experts that one token uses."""
    if result.active_params == result.params:
        return ""
    words = f", {units.short(result.active_params)} active for a token"
    table = result.embedding_params
    return f"{words} ({units.short(result.active_params - table)} without the input embedding)" if table else words


def products(result: Generation) -> str:
    """The type of products, where the weights are stored in another."""
    return f", products in {result.products}" if result.products != result.weights else ""


def growth(result: Generation) -> str:
    """What a token adds to the cache of its sequence."""
    grown = round(result.cache_bytes_per_token)
    return f"{units.size(grown)} a token" if grown else "no growth with the context"


def each(result: Generation) -> str:
    """What bytes are of, where a network is split."""
    return " on each device" if result.devices > 1 else ""


def facts(result: Generation) -> list[Fact]:
    """One generation, line by line."""
    sequences = "1 sequence" if result.batch == 1 else f"{result.batch:,} sequences"
    prompt, generated = (
        f"{n:,} {what} token{'s' * (n != 1)}" for n, what in ((result.prompt, "prompt"), (result.generate, "generated"))
    )
    tokens = f"{sequences}, {prompt}, {generated}"
    lines = [Fact("generation", tokens), *setting(result)]
    cache = next(n for n, fact in enumerate(lines) if fact.label == "cache")
    lines[cache] = Fact("cache", f"{lines[cache].value}; {units.size(result.cache_bytes)} after the prompt")
    if result.experts_reached is not None:
        reached = f"{result.experts_reached:.1f} of {result.experts:,}"
        lines.append(Fact("experts", f"a decode step reads {reached} in each layer, if tokens choose at random"))
    lines += memory_facts(result)
    if result.predicted_seconds is not None:
        rate = units.rate(result.tokens_per_second)
        rounds = f" in {result.rounds} rounds" if result.rounds > 1 else ""
        lines.append(Fact("time", f"{units.seconds(result.predicted_seconds)} predicted{rounds}, {rate} tokens/s"))
    for what, batch in result.turning_points.items():
        meaning = "reads more cache than weights" if what == "cache" else "is bound by compute, not by weights,"
        lines.append(Fact("decode", f"{meaning} from batch {batch:,}"))
    return [*lines, *(Fact("warning", words, "estimate") for words in result.warnings)]


def memory_facts(result: Generation) -> list[Fact]:
    """What is needed at most, and what would fit."""
    of = f" of {units.size(result.memory)}" if result.memory else ""
    tone = "" if result.fits is not False else "alarm"
    lines = [Fact("peak memory", f"{units.size(result.peak_bytes)}{of}: weights, cache and activations", tone)]
    if result.largest_batch:
        lines.append(Fact("fits", f"up to batch {result.largest_batch:,} at this context"))
        if result.longest_context:
            limit = result.positions or result.longest_context
            beyond = f" (the model's limit is {limit:,})" if limit < result.longest_context else ""
            lines.append(Fact("fits", f"up to {result.longest_context:,} prompt tokens at this batch{beyond}"))
    return lines


def steps(result: Generation) -> Table:
    """Prefill and one decode step side by side."""
    both = result.prefill, result.decode
    tokens = result.batch * result.prompt, result.batch
    each_token = [units.short(step.mult_adds // count) for step, count in zip(both, tokens, strict=True)]
    columns = [
        Column("step", ["prefill (TTFT)", "decode (TPOT)"], left=True),
        Column("tokens", [units.exact(count) for count in tokens], drop=4),
        Column("mult-adds", [units.short(step.mult_adds) for step in both], drop=3),
        Column("mult-adds\na token", each_token, drop=2),
        Column("bytes", [units.size(step.bytes_accessed) for step in both], drop=1),
    ]
    if result.predicted_seconds is not None:
        columns.append(Column("predicted", [units.seconds(step.predicted_seconds) for step in both]))
        columns.append(Column("bound by", [str(step.bound) for step in both], left=True))
    return Table(columns)


def grid(results: Sequence[Generation]) -> Table:
    """A row for each batch and context."""
    columns = [
        Column("batch", [units.exact(r.batch) for r in results]),
        Column("prompt", [units.exact(r.prompt) for r in results]),
        Column("cache", [units.size(r.cache_bytes) for r in results], drop=1),
        Column("peak", [units.size(r.peak_bytes) for r in results], [fit_tone(r) for r in results], drop=3),
    ]
    if results[0].predicted_seconds is None:
        return Table([*columns, Column("mult-adds", [units.short(r.mult_adds) for r in results])])
    columns += [
        Column("fits", ["yes" if r.fits else "no" if r.fits is False else "-" for r in results], left=True, drop=4),
        Column("TTFT", [units.seconds(r.prefill.predicted_seconds) for r in results], drop=5),
        Column("TPOT", [units.seconds(r.decode.predicted_seconds) for r in results]),
        Column("tokens/s", [units.rate(r.tokens_per_second) for r in results]),
        Column("decode\nbound by", [str(r.decode.bound) for r in results], left=True, drop=2),
    ]
    return Table(columns)


def fit_tone(result: Generation) -> str:
    """Red where the memory does not suffice."""
    return "alarm" if result.fits is False else ""
