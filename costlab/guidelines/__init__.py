"""Guidelines for networks that are fast, not just small: one a module, whose docstring is its documentation page.

G1 to G4 are those of ShuffleNet V2 (Ma et al., arXiv 1807.11164); X1 and up are our own.
"""

from costlab.guidelines._lint import lint
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline, LintResult, RuleVerdict
from costlab.guidelines.registry import GUIDELINES

__all__ = ["GUIDELINES", "CheckResult", "Finding", "Fix", "Guideline", "LintResult", "RuleVerdict", "lint"]
