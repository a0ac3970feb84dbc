"""Symbolic sizes of an exported program: `2*s0 + 1`, or `Add(Mul(Integer(2), Symbol('s0')), Integer(1))`.

Both spellings are parsed by the grammar below; nothing is evaluated as Python.

    expression = term (("+" | "-" | "*" | "/" | "//" | "%" | "**") term)*        with the usual precedence
    term       = "-" term | number | name | name "(" arguments ")" | "(" expression ")"
    arguments  = (expression | string | name "=" (expression | "True" | "False")) ("," ...)*
"""

import math
import operator
import re
from collections.abc import Callable, Mapping

from costlab.errors import CostlabError

LENGTH_LIMIT = 10_000  # characters
DEPTH_LIMIT = 100
BITS = 63  # of a size

TOKEN = re.compile(r"\s*(?:(\d+\.\d+|\d+)|([A-Za-z_]\w*)|'([\w.+-]+)'|(\*\*|//|[-+*/%(),=]))")
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2, "**": 4}
NEGATION = 3

Number = int | float
Expression = int | float | str | tuple["str | Expression", ...]  # a number, a symbol, or a function with arguments


def power(base: Number, exponent: Number) -> Number:
    """A power whose size is known to be small before it is computed."""
    if isinstance(base, int) and abs(exponent) * base.bit_length() > BITS:
        raise OverflowError
    return base**exponent


FUNCTIONS: dict[str, Callable[..., Number]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": power,
    "neg": operator.neg,
    "Add": lambda *terms: sum(terms),
    "Mul": lambda *factors: math.prod(factors),
    "Pow": power,
    "PowByNatural": power,
    "Rational": operator.truediv,
    "Float": lambda value, precision=53: float(value),
    "Max": max,
    "Min": min,
    "Mod": operator.mod,
    "PythonMod": operator.mod,
    "FloorDiv": operator.floordiv,
    "CleanDiv": operator.floordiv,
    "CeilDiv": lambda a, b: -(-a // b),
    "ModularIndexing": lambda a, b, c: a // b % c,
    "IntTrueDiv": operator.truediv,
    "FloatTrueDiv": operator.truediv,
    "ToFloat": float,
    "FloorToInt": math.floor,
    "CeilToInt": math.ceil,
    "TruncToInt": math.trunc,
    "RoundToInt": round,
    "floor": math.floor,
    "ceiling": math.ceil,
    "Abs": abs,
    "OpaqueUnaryFn_sqrt": math.sqrt,
    "Identity": lambda value: value,
}


class Parser:
    """One pass over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > LENGTH_LIMIT:
            raise self.error()
        self.tokens: list[tuple[str, str]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = TOKEN.match(text, position)
            if match is None:
                raise self.error()
            kind = ("number", "name", "string", "sign")[(match.lastindex or 1) - 1]
            self.tokens.append((kind, match[match.lastindex or 1]))
            position = match.end()
        self.tokens.append(("end", ""))
        self.position = 0
        self.depth = 0

    def error(self) -> CostlabError:
        return CostlabError(f"the symbolic size {self.text[:80]!r} is not arithmetic")

    def next(self) -> tuple[str, str]:
        token = self.tokens[self.position]
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    def accept(self, sign: str) -> bool:
        if self.tokens[self.position] != ("sign", sign):
            return False
        self.position += 1
        return True

    def whole(self) -> Expression:
        result = self.expression(0)
        if self.tokens[self.position][0] != "end":
            raise self.error()
        return result

    def expression(self, above: int) -> Expression:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise self.error()
        left = self.term()
        while True:
            kind, sign = self.tokens[self.position]
            strength = PRECEDENCE.get(sign, 0) if kind == "sign" else 0
            if strength <= above:
                self.depth -= 1
                return left
            self.position += 1
            left = (sign, left, self.expression(strength - 1 if sign == "**" else strength))

    def term(self) -> Expression:
        kind, text = self.next()
        if kind == "number":
            if len(text) > 40:
                raise self.error()
            return float(text) if "." in text else int(text)
        if kind == "name":
            return self.call(text) if self.accept("(") else text
        if (kind, text) == ("sign", "-"):
            return ("neg", self.expression(NEGATION))
        if (kind, text) == ("sign", "("):
            inner = self.expression(0)
            if self.accept(")"):
                return inner
        raise self.error()

    def call(self, function: str) -> Expression:
        arguments: list[Expression] = []
        if not self.accept(")"):
            while True:
                kind, text = self.tokens[self.position]
                if kind == "string":
                    self.position += 1
                    arguments.append(float(text) if function == "Float" else text)
                elif kind == "name" and self.tokens[self.position + 1] == ("sign", "="):
                    self.position += 2
                    self.expression(0)  # an assumption such as `positive=True`
                else:
                    arguments.append(self.expression(0))
                if self.accept(")"):
                    break
                if not self.accept(","):
                    raise self.error()
        if function in ("Symbol", "Dummy"):
            if len(arguments) != 1 or not isinstance(arguments[0], str):
                raise self.error()
            return arguments[0]
        if function == "Integer" and len(arguments) == 1:
            return arguments[0]
        if function not in FUNCTIONS or not arguments:
            raise CostlabError(f"the symbolic size {self.text[:80]!r} uses {function[:40]!r}, which is not known")
        return (function, *arguments)


def parse(text: str) -> Expression:
    """An expression as nested tuples. Raises CostlabError unless it is arithmetic on numbers and symbols."""
    return Parser(text).whole()


def symbols_of(expression: Expression) -> set[str]:
    """The symbols in an expression."""
    if isinstance(expression, tuple):
        return set().union(*(symbols_of(argument) for argument in expression[1:]))
    return {expression} if isinstance(expression, str) else set()


def evaluate(expression: Expression, values: Mapping[str, int]) -> int:
    """The whole number that an expression comes to.

    Raises:
        KeyError: a symbol has no value.
        ArithmeticError: division by zero, or a result beyond 63 bits.
    """
    result = _evaluate(expression, values)
    if result != result or result in (math.inf, -math.inf):
        raise OverflowError
    return int(result)


def _evaluate(expression: Expression, values: Mapping[str, int]) -> Number:
    """The value of an expression; a symbol without a value is a KeyError."""
    if isinstance(expression, str):
        return values[expression]
    if not isinstance(expression, tuple):
        return expression
    name, *arguments = expression
    try:
        result = FUNCTIONS[str(name)](*(_evaluate(argument, values) for argument in arguments))
    except (TypeError, ValueError) as error:
        raise ArithmeticError(str(error)) from None
    if isinstance(result, int) and result.bit_length() > BITS:
        raise OverflowError
    if isinstance(result, complex):
        raise ArithmeticError
    return result


def solve(expression: Expression, size: int, values: Mapping[str, int]) -> dict[str, int]:
    """`values` with the one unknown symbol of an expression set so that the expression equals `size`.

    Export derives sizes linearly (`2*s0 + 1`); another relation, or one that no whole number meets, adds nothing.
    """
    unknown = symbols_of(expression) - set(values)
    if len(unknown) != 1:
        return dict(values)
    symbol = unknown.pop()
    try:
        at_zero = evaluate(expression, {**values, symbol: 0})
        slope = evaluate(expression, {**values, symbol: 1}) - at_zero
        solution = (size - at_zero) // slope
        if evaluate(expression, {**values, symbol: solution}) == size:
            return {**values, symbol: solution}
    except ArithmeticError:
        pass
    return dict(values)
