"""`costlab explain RULE`: what a guideline means, why, and what to write instead."""

from typing import Annotated

from costlab.cli.options import Output, TextOrJson, argument, flag
from costlab.cli.screen import put
from costlab.errors import CostlabError


def explain(
    rules: Annotated[list[str] | None, argument("Guidelines by code or name.", "[RULE]...")] = None,
    everything: Annotated[bool, flag("--all", "Explain every guideline in full.")] = False,
    form: TextOrJson = "text",
    output: Output = None,
) -> None:
    """Explain guidelines: what they check, why, what it costs, and what to write instead. Without RULE list them."""
    from costlab.guidelines import GUIDELINES
    from costlab.guidelines.registry import find_guideline
    from costlab.reports import guideline_pages

    if rules and everything:
        raise CostlabError("--all explains every guideline: leave out the names")
    chosen = [find_guideline(name) for name in rules or ()] or list(GUIDELINES.values())
    if form == "json":
        put(guideline_pages.document(chosen), output)
    elif rules or everything:
        put(guideline_pages.text(chosen), output)
    else:
        put("".join(f"{g.code} {g.name}: {g.summary}\n" for g in chosen), output)
