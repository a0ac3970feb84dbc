"""Findings that differ only in the repetition of a block that they are in, as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from costlab.formatting.module_paths import merge_paths, path_pattern
from costlab.guidelines.model import Finding, sort_key


class FindingGroup(NamedTuple):
    """Findings that differ only in the repetition of a block that they are in."""

    path: str  # of all of them: layer{1-3}.0.conv
    findings: tuple[Finding, ...]

    @property
    def first(self) -> Finding:
        """The first of them, which has the message and the price of all."""
        return self.findings[0]


def group_findings(findings: Iterable[Finding]) -> list[FindingGroup]:
    """Findings with those in repeated blocks together, most expensive group first."""
    alike: dict[tuple[Any, ...], list[Finding]] = {}
    for f in findings:
        prices = f.excess_memory_access, f.excess_bytes, f.excess_launches, f.kept_bytes
        key = f.model, f.rule, f.severity, f.message, f.advice, prices, path_pattern(f.module)
        alike.setdefault(key, []).append(f)
    groups = [FindingGroup(merge_paths([f.module for f in group]), tuple(group)) for group in alike.values()]
    return sorted(groups, key=lambda group: sort_key(*group.findings), reverse=True)
