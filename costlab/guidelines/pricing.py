"""The seconds that advice saves: the predicted latency of the network, less that of the network that follows it.

Everything outside the fix stays as it is: a saving is that of one group of findings alone. On a GPU that waits for the
CPU to launch kernels, a faster operator saves little, and a removed one saves its launch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from costlab.core.profile import Profile
from costlab.guidelines.analysis.layers import LayerShape, is_head, layer_shape
from costlab.guidelines.edits import edited
from costlab.guidelines.model import Finding, Fix, group_findings
from costlab.latency._predict import predict_with
from costlab.latency.execution import ExecutionConfig


def seconds_saved(profile: Profile, fixes: Iterable[Sequence[Fix]], config: ExecutionConfig) -> list[float]:
    """Seconds of one forward pass that each group of fixes saves alone; negative if it costs time."""
    view = profile.fused(config.fusion)
    before = predict_with(profile, config).seconds
    return [before - predict_with(profile, config, edited(view, group)).seconds for group in fixes]


def with_seconds(findings: Sequence[Finding], profile: Profile, config: ExecutionConfig) -> list[Finding]:
    """The findings; those with a fix know the seconds that it saves.

    Findings that differ only in the repetition of a block are fixed together, and share what that saves.
    """
    heads = {op.name: layer for op in profile.ops if is_head(op, profile) and (layer := layer_shape(op))}
    findings = [with_outputs_kept(f, heads) for f in findings]
    groups = [group.findings for group in group_findings(f for f in findings if f.fix)]
    saved = seconds_saved(profile, [[f.fix for f in group if f.fix] for group in groups], config)
    each = {id(f): s / len(group) for group, s in zip(groups, saved, strict=True) for f in group}
    return [replace(f, predicted_seconds_saved=each[id(f)]) if f.fix else f for f in findings]


def with_outputs_kept(finding: Finding, heads: Mapping[str, LayerShape]) -> Finding:
    """The finding; a note without advice and price if its advice gives a head as many inputs and outputs.

    Args:
        finding: what a guideline found.
        heads: the linear layers that write what the network returns, classes or tokens, by operator.
    """
    for name, channels in finding.fix.resized.items() if finding.fix else ():
        layer = heads.get(name)
        if layer is not None and channels.inputs != layer.inputs and channels.outputs != layer.outputs:
            why = "its channels are the outputs of the network"
            return replace(finding, severity="note", advice=None, fix=None, unpriced=why)
    return finding
