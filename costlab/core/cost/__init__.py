"""What operators cost: the algebra of costs, formulas by family, and the table of rules."""

from costlab.core.cost.algebra import COST_KEYS, Cost, Rule, total, traffic
from costlab.core.cost.contractions import einsum_terms
from costlab.core.cost.registry import FAMILIES, FAMILY_OF, RULES, cost_of

__all__ = ["COST_KEYS", "FAMILIES", "FAMILY_OF", "RULES", "Cost", "Rule", "cost_of", "einsum_terms", "total", "traffic"]
