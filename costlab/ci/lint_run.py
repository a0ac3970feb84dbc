"""Lint several models: findings and verdicts, with the lines of the repository they are about."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from costlab.ci.budgets import check_budgets
from costlab.ci.configuration import FILE_NAME, ConfigurationFile, ModelConfig
from costlab.ci.repository import find_repository, module_sources, source_in_repository
from costlab.core.files import read_profile
from costlab.core.graph import Source
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.guidelines import Finding, LintResult, lint
from costlab.guidelines._lint import CHECKED
from costlab.guidelines.model import FAILURE, sort_key, summarize
from costlab.latency.device import Device
from costlab.latency.devices import find_device

if TYPE_CHECKING:
    from costlab.ci.configuration import LintConfig, ModelConfig

SEVERITIES = ("note", "warning", "error")
NONE_GIVEN, NONE_THERE = ": add --against main", " at that revision"  # why a change has no base
NOWHERE = Source("pyproject.toml", 1)  # the line shown for a model that belongs to no file of the repository


@dataclass(frozen=True)
class LintJob:
    """A model to lint."""

    model: ModelConfig
    name: str | None  # in reports; None for the profile's own name
    folder: Path  # what the paths in `model` are relative to
    entry: Source  # the line that names the model, relative to the repository


@dataclass(frozen=True, order=True)
class BaselineEntry:
    """What a baseline accepts: all findings of one rule in one module, up to a price. Equal for the same place."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True}

    model: str
    rule: str
    module: str
    excess_memory_access: int | None = field(default=None, compare=False)  # elements, of all of them; None: any price


@dataclass(frozen=True)
class ModelLint:
    """One model of a run."""

    result: LintResult  # without the findings that the baseline accepts
    title: str
    entry: Source  # the line that names the model, relative to the repository
    sources: Mapping[str, Source] = field(default_factory=dict)  # of modules defined in the repository, by path
    accepted: int = 0  # findings that the baseline accepts

    def located_findings(self) -> Iterator[tuple[Finding, Source, str]]:
        """Every finding with its line and a fingerprint.

        Fingerprints do not change when lines move or other findings come or go.
        """
        seen: Counter[str] = Counter()
        for finding in self.result.findings:
            identity = "\0".join((finding.model, finding.rule, finding.module, finding.op))
            digest = hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()[:32]
            seen[digest] += 1
            yield finding, self.source(finding.module), f"{digest}:{seen[digest]}"

    def source(self, module: str) -> Source:
        """The line of a module, or of its nearest parent in the repository, or the entry of the model."""
        while module not in self.sources:
            if not module:
                return self.entry
            module = module.rpartition(".")[0]
        return self.sources[module]

    def place(self, module: str) -> Source | None:
        """The line of a module as `source` has it; None if it is in no file of the repository."""
        source = self.source(module)
        return None if source == NOWHERE else source

    def without(self, accepted: Collection[BaselineEntry]) -> ModelLint:
        """The model without the findings that a baseline accepts."""
        findings = self.result.findings
        kept = tuple(f for f in findings if not (f.from_guideline and entry_of(f) in accepted))
        result = replace(self.result, findings=kept)
        return replace(self, result=result, accepted=self.accepted + len(findings) - len(kept))


class RuleStatistics(NamedTuple):
    """The findings of one rule in all models."""

    findings: int
    excess_memory_access: int | None  # elements; None if no finding has a price
    predicted_seconds_saved: float | None


@dataclass(frozen=True)
class LintRun:
    """The results of linting several models: what every report format renders."""

    models: tuple[ModelLint, ...]
    fusion: str
    fail_level: str = "warning"
    device: str | None = None
    predicted_fusion: str = "none"  # how the network runs on the device
    verified: bool = True  # whether anything was measured on the device
    stale: tuple[BaselineEntry, ...] = ()  # entries of the baseline that no finding matches any more

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings on all models, most expensive first."""
        return tuple(sorted((f for m in self.models for f in m.result.findings), key=sort_key, reverse=True))

    def fails(self, finding: Finding) -> bool:
        """Whether a finding is severe enough to fail the run."""
        return SEVERITIES.index(finding.severity) >= SEVERITIES.index(self.fail_level)

    @property
    def summary(self) -> dict[str, int]:
        """Number of warnings and errors of each rule."""
        return summarize([m.result for m in self.models])

    @property
    def statistics(self) -> dict[str, RuleStatistics]:
        """The sums of each rule's findings, in the order of the rules."""
        by_rule: dict[str, list[Finding]] = {rule: [] for rule in self.summary}
        for finding in self.findings:
            by_rule[finding.rule].append(finding)
        return {rule: statistics_of(findings) for rule, findings in by_rule.items()}


def statistics_of(findings: Collection[Finding]) -> RuleStatistics:
    """Number and sums of findings; a sum is None if no finding has that number."""
    elements = [f.excess_memory_access for f in findings if f.excess_memory_access is not None]
    seconds = [f.predicted_seconds_saved for f in findings if f.predicted_seconds_saved is not None]
    return RuleStatistics(len(findings), sum(elements) if elements else None, sum(seconds) if seconds else None)


def entry_of(finding: Finding) -> BaselineEntry:
    """The baseline entry that accepts a finding at any price."""
    return BaselineEntry(finding.model, finding.rule, finding.module)


def run_lint(
    jobs: Iterable[LintJob],
    load: Callable[[ModelConfig], Profile],
    settings: LintConfig,
    *,
    title: Callable[[Profile], str],
    describe: Callable[[Exception], str] = str,
    bases: Mapping[str, Profile] | None = None,
) -> LintRun:
    """Lint models one by one: guidelines, then budgets.

    A model that cannot be loaded or linted becomes a finding with the rule "failure", so that the others are still
    reported.

    Args:
        jobs: the models.
        load: makes the profile of a model; called in the job's folder.
        settings: rules, thresholds, device and fail level; `select` holds every rule to check.
        title: what reports call a profile.
        describe: turns an exception into the message of a failure.
        bases: the profiles that changes such as "+1%" count from, by model. None: those that the configuration names.
            Budgets that are changes are not checked for a model without one.

    Raises:
        CostlabError: the device of the settings is unknown.
    """
    device = find_device(settings.device) if settings.device else None
    models = []
    for job in jobs:
        try:
            models.append(lint_model(job, load, settings, device, title, bases))
        except Exception as error:
            name = job.name or job.model.target
            failure = Finding(rule=FAILURE, severity="error", model=name, message=describe(error))
            models.append(ModelLint(LintResult(name, settings.fusion or CHECKED, (failure,), ()), name, job.entry))
    checked, runs = settings.fusion or CHECKED, settings.fusion or "none"
    on, verified = (device.name, device.verified) if device else (None, True)
    return LintRun(tuple(models), checked, settings.fail_level, on, runs, verified)


def lint_model(
    job: LintJob,
    load: Callable[[ModelConfig], Profile],
    settings: LintConfig,
    device: Device | None,
    title: Callable[[Profile], str],
    bases: Mapping[str, Profile] | None,
) -> ModelLint:
    """Load one model, check its guidelines and budgets, and find its lines in the repository."""
    with contextlib.chdir(job.folder):
        saved = read_profile(Path(job.model.base)) if bases is None and job.model.base else None
        profile = load(job.model)
        sources = module_sources(profile, find_repository(Path()))
    profile = replace(profile, name=job.name or profile.name)
    result = lint(
        profile,
        select=settings.select,
        fusion=settings.fusion,
        thresholds=settings.thresholds,
        per_module_ignores=settings.per_module_ignores,
        device=device,
    )
    base, no_base = (saved, NONE_GIVEN) if bases is None else (bases.get(job.model.name), NONE_THERE)
    budgets = job.model.parsed_budgets
    broken, verdicts = check_budgets(profile, budgets, base, device, result.predicted_fusion, no_base)
    findings = tuple(sorted((*broken, *result.findings), key=sort_key, reverse=True))
    result = replace(result, findings=findings, verdicts=(*result.verdicts, *verdicts))
    return ModelLint(result, title(profile), job.entry, sources)


def lint_jobs(targets: Sequence[str], file: ConfigurationFile | None, given: Mapping[str, Any]) -> list[LintJob]:
    """The models to lint: all of the configuration, or those of `targets`, which may be names in the configuration.

    `given` are inputs and arguments for targets that are not in the configuration. Raises CostlabError if no model is
    given, or inputs or arguments without a model that takes them.
    """
    configured = configured_jobs(file) if file else {}
    others = [target for target in dict.fromkeys(targets) if target not in configured]
    unused = [key for key, value in given.items() if value and not others]
    if unused:
        option = "-a" if unused[0] == "arguments" else f"--{unused[0]}"
        raise CostlabError(f"{option} goes with a MODEL on the command line; [[tool.costlab.model]] has its own keys")
    if not targets and not configured:
        raise CostlabError(f"no model to lint: name a MODEL, or list yours as [[tool.costlab.model]] in {FILE_NAME}")
    root = find_repository(Path())
    jobs = dict(configured) if not targets else {}
    for target in dict.fromkeys(targets):
        paths = [Path(text).resolve() for text in (target, target.rpartition(":")[0])]  # profile.json, net.py:Net
        entries = [entry for path in paths if (entry := source_in_repository(Source(str(path), 1), root))]
        model = ModelConfig.model_construct(name=target, target=target, **given)
        other = LintJob(model, target if len(targets) > 1 else None, Path(), (*entries, NOWHERE)[0])
        jobs[target] = configured.get(target, other)
    return list(jobs.values())


def configured_jobs(file: ConfigurationFile) -> dict[str, LintJob]:
    """Every model of the configuration by name."""
    root = find_repository(file.folder)
    entry = source_in_repository(Source(str(file.path.resolve()), 1), root) or NOWHERE
    return {
        model.name: LintJob(model, model.name, file.folder, Source(entry.file, line))
        for model, line in zip(file.settings.model, file.lines, strict=True)
    }
