"""Guidelines for networks that are fast and not only small: one a module, whose docstring is its page.

G1 to G4 are those of ShuffleNet V2 (Ma et al., arXiv 1807.11164); X1 and up are our own.
"""

from costlab.guidelines.engine import lint
from costlab.guidelines.model import Checked, Finding, Guideline, LintResult, Place, Verdict
from costlab.guidelines.registry import GUIDELINES

__all__ = ["GUIDELINES", "Checked", "Finding", "Guideline", "LintResult", "Place", "Verdict", "lint"]
