"""Formulas that are typed in, such as "sin(6*x)": parsed with a white list, never evaluated as Python."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nnarray.apps.playground.checking import Wrong
from nnarray.backends import namespace
from nnarray.kernels.compilation import quiet
from nnarray.names import shown
from nnarray.typing import Array

LONGEST, DEEPEST = 200, 30
"""The largest numbers of characters, and of operations in each other."""

CONSTANTS = {"pi": math.pi, "e": math.e}
FUNCTIONS: dict[str, tuple[str, Callable[[float], float]]] = {
    "sin": ("sin", math.sin),
    "cos": ("cos", math.cos),
    "tan": ("tan", math.tan),
    "atan": ("atan", math.atan),
    "sinh": ("sinh", math.sinh),
    "cosh": ("cosh", math.cosh),
    "tanh": ("tanh", math.tanh),
    "exp": ("exp", math.exp),
    "log": ("log", math.log),
    "sqrt": ("sqrt", math.sqrt),
    "abs": ("abs", math.fabs),
    "floor": ("floor", math.floor),
    "sign": ("sign", lambda x: float((x > 0) - (x < 0))),
}
"""Functions of one number: their names in the array API standard, and the same ones for Python's numbers."""

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
COMPARISONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
KNOWN = f"x, y, numbers, {', '.join(CONSTANTS)}, + - * / ^ %, < <= > >=, and {', '.join(FUNCTIONS)}"


@dataclass(frozen=True)
class Formula:
    """A checked formula.

    Attributes
    ----------
    text : str
        As it was typed.
    tree : ast.expr
        Numbers are folded, and functions are those of the array API standard.
    inputs : int
        1 if it is of x, 2 if it is of x and y.
    compares : bool
        Whether it is a comparison, and so has two classes.

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.apps.playground.formulas import parsed
    >>> formula = parsed("2 * pi * x^2")
    >>> formula.code
    '6.283185307179586 * x ** 2.0'
    >>> formula(x=nn.backend("numpy").asarray([0.0, 1.0], "float64"))
    array([0.        , 6.28318531])
    """

    text: str
    tree: ast.expr
    inputs: int
    compares: bool

    @property
    def code(self) -> str:
        """The formula in Python, of arrays x and y, with the functions of a namespace xp."""
        return ast.unparse(self.tree)

    @quiet
    def __call__(self, **arrays: Array) -> Any:
        """The value of each entry; a number if no array is in the formula."""
        return _value(self.tree, arrays)


def parsed(text: str) -> Formula:
    """The formula that a text has.

    Raises
    ------
    Wrong
        If it is not Python, too long, or holds anything but what is known.
    """
    if len(text) > LONGEST:
        raise Wrong(f"must have at most {LONGEST} characters; got {len(text)}.")
    try:
        tree = ast.parse(text.replace("^", "**").strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Wrong(f"is not a formula: {shown(text)}. Use for example sin(6*x).") from None
    compares = isinstance(tree, ast.Compare)
    checked = _comparison(tree) if isinstance(tree, ast.Compare) else _checked(tree, 0)
    names = {node.id for node in ast.walk(checked) if isinstance(node, ast.Name)} - {"xp"}
    return Formula(text, checked, 2 if "y" in names else 1, compares)


def _comparison(node: ast.Compare) -> ast.Compare:
    """A comparison of two terms."""
    if len(node.ops) != 1 or type(node.ops[0]) not in COMPARISONS:
        raise Wrong("may compare two terms only, by < <= > or >=; for example x^2 + y^2 < 0.5.")
    return ast.Compare(_checked(node.left, 1), node.ops, [_checked(node.comparators[0], 1)])


def _checked(node: ast.expr, depth: int) -> ast.expr:
    """The tree rebuilt from what is known; terms without a variable become numbers."""
    if depth > DEEPEST:
        raise Wrong(f"has more than {DEEPEST} operations in each other; write it shorter.")
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _number(lambda: value)
        case ast.Name(id=name) if name in CONSTANTS:
            return _number(lambda: CONSTANTS[name])
        case ast.Name(id="x" | "y" | "x1" | "x2" as name):
            return ast.Name({"x1": "x", "x2": "y"}.get(name, name))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            inner = _checked(operand, depth + 1)
            return _folded(ast.UnaryOp(op, inner), OPERATORS[type(op)], inner)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            terms = _checked(left, depth + 1), _checked(right, depth + 1)
            return _folded(ast.BinOp(terms[0], op, terms[1]), OPERATORS[type(op)], *terms)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            inner, (standard, of_number) = _checked(argument, depth + 1), FUNCTIONS[name]
            return _folded(ast.Call(ast.Attribute(ast.Name("xp"), standard), [inner], []), of_number, inner)
        case _:
            raise Wrong(f"has {shown(ast.unparse(node))}, which is not known here; use {KNOWN}.")


def _folded(node: ast.expr, function: Callable[..., Any], *terms: ast.expr) -> ast.expr:
    """The node, or its value if all terms are numbers."""
    numbers = [each.value for each in terms if isinstance(each, ast.Constant)]
    return _number(lambda: function(*numbers)) if len(numbers) == len(terms) else node


def _number(value: Callable[[], Any]) -> ast.Constant:
    try:
        found = float(value())
    except (ArithmeticError, ValueError, TypeError):
        found = math.nan
    if not math.isfinite(found):
        raise Wrong("has a term that is not a finite number; use smaller numbers.")
    return ast.Constant(found)


def _value(node: ast.expr, arrays: Mapping[str, Array]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return arrays[name]
        case ast.UnaryOp(op=op, operand=operand):
            return OPERATORS[type(op)](_value(operand, arrays))
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATORS[type(op)](_value(left, arrays), _value(right, arrays))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return COMPARISONS[type(op)](_value(left, arrays), _value(right, arrays))
        case ast.Call(func=ast.Attribute(attr=standard), args=[argument]):
            inner = _value(argument, arrays)
            return getattr(namespace(inner), standard)(inner)
        case _:
            raise AssertionError(ast.dump(node))
