"""Every model type of transformers from its default configuration, written as transformers writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from costlab.errors import CostlabError
from costlab.models import ModelSpec, profile_of
from costlab.models.providers.transformers import import_transformers

NEVER_READ = 0.02  # of the parameters: above it the state says so


@dataclass(frozen=True)
class TypeOutcome:
    """What came of one type."""

    type: str
    network: str = ""
    mult_adds: int = 0
    params: int = 0
    never_read: float = 0.0  # share of the parameters
    uncounted: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    error: str = ""

    @property
    def state(self) -> str:
        """One line for the table."""
        if self.error:
            return self.error
        remarks = [f"uncounted: {', '.join(self.uncounted)}"] if self.uncounted else []
        remarks += [f"estimate: {', '.join(self.guesses)}"] if self.guesses else []
        remarks += [f"{self.never_read:.0%} of the parameters not read"] if self.never_read > NEVER_READ else []
        return "; ".join(["profiled", *remarks])


def save_default_config(model_type: str, folder: Path) -> str:
    """Have transformers write the default configuration of a type; gives the MODEL that `costlab` takes."""
    import_transformers().AutoConfig.for_model(model_type).save_pretrained(folder / model_type)
    return f"hf:{folder / model_type}"


def attempt_type(model_type: str, folder: Path) -> TypeOutcome:
    """Profile a type from its default configuration alone."""
    try:
        target = save_default_config(model_type, folder)
    except Exception as error:
        return TypeOutcome(model_type, error=f"no default configuration: {first_line(error)}")
    try:
        profile = profile_of(ModelSpec(target))
    except CostlabError as error:
        return TypeOutcome(model_type, error=first_line(error))
    return TypeOutcome(
        model_type,
        profile.name.partition(" ")[0],
        profile.mult_adds,
        profile.params,
        profile.total.unused_params / max(profile.params, 1),
        tuple(profile.uncounted),
        tuple(profile.guesses),
    )


def first_line(error: BaseException) -> str:
    """The type and first line of an error, without the advice at its end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].partition("; set the inputs with --input")[0] if lines else type(error).__name__
    return text[:240]


def types_section(outcomes: list[TypeOutcome], heading: str) -> str:
    """The part of docs/coverage.md about transformers' types."""
    done = [o for o in outcomes if not o.error]
    exact = [o for o in done if not o.uncounted and not o.guesses]
    whole = [o for o in exact if o.never_read <= NEVER_READ]
    lines = [
        heading,
        "",
        f"{len(outcomes)} types, each from the configuration that its `save_pretrained` writes by default, with default"
        f" inputs: {len(done)} are profiled, {len(exact)} of them exactly, {len(whole)} with at least"
        f" {1 - NEVER_READ:.0%} of their parameters read. A default configuration often describes no network that"
        " transformers itself can build or run: the error is then transformers' own.",
        "",
        "| type | network | mult-adds | parameters | state |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for o in outcomes:
        sizes = (f"{o.mult_adds:,}", f"{o.params:,}") if not o.error else ("", "")
        state = o.state.replace("|", "\\|")
        lines.append(f"| `{o.type}` | {o.network} | {sizes[0]} | {sizes[1]} | {state} |")
    return "\n".join([*lines, ""])
