"""Conditions on rows, such as `mult_adds<=150M and not (G1==broken or params>4M)`: parsed, never run.

    condition  = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation   = "not" negation | "(" condition ")" | column operator value
    operator   = "<=" | ">=" | "<" | ">" | "==" | "!="
    value      = a number with a prefix or unit (150M, 8 MB, 5 ms), a word, or a 'text' in quotes

What a row does not know is neither so nor otherwise: a comparison with it is unknown, as in SQL, and so is what hangs
on it; a row is kept where the whole is true.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from costlab.ci.budgets import amount
from costlab.errors import CostlabError

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
TOKEN = re.compile(
    r"""\s*(?:
        (?P<mark><=|>=|==|!=|<|>|\(|\))
      | '(?P<single>[^']*)' | "(?P<double>[^"]*)"
      | (?P<number>[+-]?\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d{1,3})?(?:\s*(?:[mun]?s|[kKMGBTP]i?B?|B)(?!\w))?)(?![\w.])
      | (?P<word>[A-Za-z_][\w.-]*)
    )""",
    re.VERBOSE,
)
DEEPEST = 100  # brackets and negations inside one another

Test = Callable[[Mapping[str, Any]], bool | None]


@dataclass(frozen=True)
class Token:
    """A word of a condition, and where it stands."""

    kind: str  # "mark", "text", "number", "word" or "end"
    text: str
    at: int


def parsed(text: str, columns: Collection[str]) -> Test:
    """The condition as a function from a row to true, false or None, unknown.

    Raises:
        CostlabError: it is no condition on these columns: what is wrong, and at which character.
    """
    return Parser(text, columns).whole()


class Parser:
    """Reads a condition from left to right."""

    def __init__(self, text: str, columns: Collection[str]) -> None:
        self.text = text
        self.columns = columns
        self.tokens = self.tokens_of(text)
        self.next = 0
        self.depth = 0

    def tokens_of(self, text: str) -> list[Token]:
        found, at = [], 0
        while text[at:].strip():
            match = TOKEN.match(text, at)
            if not match:
                start = at + len(text[at:]) - len(text[at:].lstrip())
                raise self.wrong("a column, a comparison or a bracket", Token("", text[start : start + 10], start))
            kind = str(match.lastgroup)
            found.append(Token("text" if kind in ("single", "double") else kind, match[kind], match.start(kind)))
            at = match.end()
        return [*found, Token("end", "its end", len(text))]

    def whole(self) -> Test:
        test = self.condition()
        if self.token.kind != "end":
            raise self.wrong("and, or, or the end", self.token)
        return test

    @property
    def token(self) -> Token:
        return self.tokens[self.next]

    def took(self, *texts: str) -> Token | None:
        """The next token, taken, if it is one of these."""
        token = self.token
        if token.kind not in ("word", "mark") or token.text.lower() not in texts:
            return None
        self.next += 1
        return token

    def condition(self) -> Test:
        tests = [self.conjunction()]
        while self.took("or"):
            tests.append(self.conjunction())
        return either(tests)

    def conjunction(self) -> Test:
        tests = [self.negation()]
        while self.took("and"):
            tests.append(self.negation())
        return both(tests)

    def negation(self) -> Test:
        self.depth += 1
        if self.depth > DEEPEST:
            raise CostlabError(f"--where nests deeper than {DEEPEST} brackets")
        if self.took("not"):
            test = opposite(self.negation())
        elif self.took("("):
            test = self.condition()
            if not self.took(")"):
                raise self.wrong("a closing bracket", self.token)
        else:
            test = self.comparison()
        self.depth -= 1
        return test

    def comparison(self) -> Test:
        column = self.token
        if column.kind != "word":
            raise self.wrong("a column", column)
        if column.text not in self.columns:
            close = difflib.get_close_matches(column.text, self.columns, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(self.columns)}"
            raise CostlabError(f"--where: no column {column.text!r} at character {column.at + 1}; {hint}")
        self.next += 1
        comparison = self.took(*OPERATORS)
        if not comparison:
            raise self.wrong(f"one of {' '.join(OPERATORS)}", self.token)
        value = self.token
        if value.kind not in ("number", "word", "text"):
            raise self.wrong("a number, a word or a 'text'", value)
        self.next += 1
        wanted = self.number(value, column.text) if value.kind == "number" else word(value)
        return compared(column.text, OPERATORS[comparison.text], wanted)

    def number(self, token: Token, column: str) -> float:
        metric = "predicted_seconds" if column.startswith("predicted_seconds") else column
        try:
            return float(amount(token.text, metric).value)
        except CostlabError as error:
            raise CostlabError(f"--where: {error}, at character {token.at + 1}") from None

    def wrong(self, wanted: str, token: Token) -> CostlabError:
        found = repr(token.text) if token.kind != "end" else token.text
        return CostlabError(
            f"--where {self.text!r}: {wanted} should stand at character {token.at + 1}, not {found};"
            ' write "mult_adds<=150M and params<4M"'
        )


def word(token: Token) -> Any:
    """A text, or the truth value that it names."""
    return {"true": True, "false": False}.get(token.text.lower(), token.text) if token.kind == "word" else token.text


def compared(column: str, compare: Callable[[Any, Any], bool], wanted: Any) -> Test:
    def test(row: Mapping[str, Any]) -> bool | None:
        value = row.get(column)
        return compare(value, wanted) if kind_of(value) is kind_of(wanted) is not None else None

    return test


def kind_of(value: Any) -> type | None:
    """What a value can be compared as; None where it cannot."""
    return next((kind for kind in (bool, str, Real) if isinstance(value, kind)), None)


def both(tests: list[Test]) -> Test:
    def test(row: Mapping[str, Any]) -> bool | None:
        results = [each(row) for each in tests]
        return False if False in results else None if None in results else True

    return test


def either(tests: list[Test]) -> Test:
    def test(row: Mapping[str, Any]) -> bool | None:
        results = [each(row) for each in tests]
        return True if True in results else None if None in results else False

    return test


def opposite(test: Test) -> Test:
    def result(row: Mapping[str, Any]) -> bool | None:
        value = test(row)
        return None if value is None else not value

    return result
