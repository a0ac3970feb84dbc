"""Conditions such as `mult_adds<=150M and not (G1==broken or params>4M)`: parsed by a grammar, never evaluated as code.

A comparison with an unknown value is unknown, as in SQL, and so is every condition that depends on it.
"""

from __future__ import annotations

import difflib
import functools
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from costlab.core.amounts import Amount, parse_amount
from costlab.core.metrics import PREDICTED, metric_named
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from lark import Lark

LONGEST = 4000  # characters
DEEPEST = 50  # levels of `not`, `and` and `or` inside one another
QUOTED = 60  # characters of a condition in a message
GRAMMAR = r"""
    ?condition: conjunction ("or"i conjunction)*   -> either
    ?conjunction: negation ("and"i negation)*      -> both
    ?negation: "not"i negation                     -> opposite
        | "(" condition ")"
        | comparison
    comparison: name OPERATOR value
    name: NAME+
    value: NUMBER UNIT?                            -> amount
        | NAME                                     -> word
        | STRING                                   -> string

    OPERATOR: "<=" | ">=" | "==" | "!=" | "<" | ">"
    NUMBER: /[+-]?\d[\d_]*(\.\d+)?(e[+-]?\d+)?/i
    UNIT: /%|[a-z]{1,5}(?![\w.-])/i
    NAME: /[a-z_][\w.-]*/i
    STRING: /'[^']*'|"[^"]*"/
    %ignore /\s+/
"""
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}


EXPECTED = {  # what to type in the place of these terminals, the first that the parser accepts
    "NUMBER": "a number, a word or a 'text'",
    "OPERATOR": f"one of {' '.join(OPERATORS)}",
    "LPAR": "a column",
    "UNIT": "and, or, or the end",
    "AND": "and, or, or the end",
    "RPAR": "a closing parenthesis",
}


@dataclass(frozen=True)
class Criterion:
    """`key operator value`. Calling it with a row gives true, false or None, for unknown."""

    key: str  # a metric, or the column of a table
    operator: str
    value: Amount | str | bool
    text: str

    def holds(self, value: float | None, base: float | None = None) -> bool:
        """Whether the criterion is met by a number, compared exactly; a change such as `+1%` counts from `base`.

        Raises CostlabError if the number is not known, or the amount is a change and has no base.
        """
        if value is None:
            raise CostlabError(f"{self.text}: {self.key} is not known for this network")
        assert isinstance(self.value, Amount)
        return OPERATORS[self.operator](Fraction(value), self.value.applied_to(base))

    def __call__(self, row: Mapping[str, Any]) -> bool | None:
        value = row.get(self.key)
        wanted: Any = self.value
        if isinstance(wanted, Amount):
            wanted = wanted.value if isinstance(value, int) else float(wanted.value)
        same_type = comparable_type(value) is comparable_type(wanted) is not None
        return OPERATORS[self.operator](value, wanted) if same_type else None


@dataclass(frozen=True)
class Combination:
    """Conditions joined by "and" or "or", or one after "not". Calling it with a row works as for a criterion."""

    operator: str
    parts: tuple[Condition, ...]

    def __call__(self, row: Mapping[str, Any]) -> bool | None:
        results = [part(row) for part in self.parts]
        if self.operator == "not":
            return None if results[0] is None else not results[0]
        decisive = self.operator == "or"
        return decisive if decisive in results else None if None in results else not decisive


Condition = Criterion | Combination


def comparable_type(value: object) -> type | None:
    """The type that a value is compared as; None if it cannot be compared."""
    return next((kind for kind in (bool, str, Real) if isinstance(value, kind)), None)


def parse_criterion(text: str) -> Criterion:
    """Read one comparison with a metric, such as `mult_adds>+1%` or `params<=3.5M`.

    Raises CostlabError if the text is not a comparison, the metric is unknown, or the amount does not fit it.
    """
    term = parse(text)
    if isinstance(term, Branch):
        raise CostlabError(f"{abbreviated(text)}: write one comparison, such as params<=3.5M")
    key = metric_named(term.name).key
    if term.kind != "amount":
        raise CostlabError(f"{abbreviated(text)}: {key} is compared with a number, not with {term.value!r}")
    return Criterion(key, term.operator, parse_amount(term.value, key), text.strip())


def parse_condition(text: str, columns: Collection[str]) -> Condition:
    """Read a condition on the rows of a table.

    Args:
        text: comparisons of columns with numbers, words and 'strings', joined by and, or, not and parentheses.
        columns: the columns of the table; those that are metrics take the units of their metric.

    Raises:
        CostlabError: the text is not a condition on these columns; the message says what is wrong, and where.
    """

    def resolve(tree: Term | Branch) -> Condition:
        if isinstance(tree, Branch):
            return Combination(tree.operator, tuple(map(resolve, tree.parts)))
        name, comparison, kind, value, position, _ = tree
        if name not in columns:
            close = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"the columns are {', '.join(columns)}"
            raise CostlabError(f"unknown column {name!r} at character {position}; {hint}")
        if kind != "amount":
            truth = {"true": True, "false": False} if kind == "word" else {}
            return Criterion(name, comparison, truth.get(value.lower(), value), value)
        amount = parse_amount(value, PREDICTED if name.startswith(PREDICTED) else name)
        if amount.share:
            raise CostlabError(f"{name}{comparison}{value}: a change needs a base, which a table does not have")
        return Criterion(name, comparison, amount, value)

    return resolve(parse(text))


# Parsing.


class Term(NamedTuple):
    """A comparison as it is written."""

    name: str
    operator: str
    kind: str  # of the value: "amount", "word" or "string"
    value: str
    position: int  # of the name, from 1
    depth: int = 0


class Branch(NamedTuple):
    """Terms and branches that are combined."""

    operator: str  # "and", "or" or "not"
    parts: tuple[Term | Branch, ...]
    depth: int  # of the deepest part, plus 1


def parse(text: str) -> Term | Branch:
    """The syntax tree of a condition."""
    from lark.exceptions import UnexpectedInput

    if len(text) > LONGEST:
        raise CostlabError(f"a condition has at most {LONGEST} characters, got {len(text)}")
    try:
        tree = cast("Term | Branch", parser().parse(text))
    except UnexpectedInput as error:
        accepted = getattr(error, "accepts", None) or getattr(error, "allowed", None) or ()
        expected = next((words for terminal, words in EXPECTED.items() if terminal in accepted), "the end")
        position = error.pos_in_stream or 0
        token = getattr(error, "token", None)
        at_end = token is not None and token.type == "$END"
        place = "at the end" if at_end else f"at character {position + 1}, got {text[position]!r}"
        example = "mult_adds<=150M and params<4M"
        raise CostlabError(f'{abbreviated(text)}: expected {expected} {place}; write "{example}"') from None
    if tree.depth > DEEPEST:
        raise CostlabError(f"{abbreviated(text)}: at most {DEEPEST} levels of not, and, or may nest")
    return tree


@functools.cache
def parser() -> Lark:
    """The parser of `GRAMMAR`; its time is linear in the text."""
    from lark import Lark, Token, Transformer

    def branch(operator: str, parts: list[Term | Branch]) -> Term | Branch:
        single = len(parts) == 1 and operator != "not"
        return parts[0] if single else Branch(operator, tuple(parts), 1 + max(part.depth for part in parts))

    class Builder(Transformer[Token, "Term | Branch"]):
        """Builds the tree during parsing, without recursion."""

        either = staticmethod(functools.partial(branch, "or"))
        both = staticmethod(functools.partial(branch, "and"))
        opposite = staticmethod(functools.partial(branch, "not"))
        name = staticmethod(list[Token])

        def comparison(self, parts: list[Any]) -> Term:
            name, comparison, (kind, value) = parts
            return Term(" ".join(name), str(comparison), kind, value, (name[0].start_pos or 0) + 1)

        def amount(self, parts: list[Token]) -> tuple[str, str]:
            return "amount", "".join(parts)

        def word(self, parts: list[Token]) -> tuple[str, str]:
            return "word", str(parts[0])

        def string(self, parts: list[Token]) -> tuple[str, str]:
            return "string", parts[0][1:-1]

    return Lark(GRAMMAR, parser="lalr", start="condition", transformer=Builder())


def abbreviated(text: str) -> str:
    """A condition in a message, cut short."""
    return repr(text if len(text) <= QUOTED else text[:QUOTED] + "...")
