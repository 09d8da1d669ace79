r"""Formulas of docstrings as LaTeX: `m' / (sqrt(v') + epsilon)` becomes `\frac{m'}{\sqrt{v'} + \varepsilon}`.

`help()` shows the plain text, so docstrings stay plain. A formula begins with a name and ` = ` or ` <- `, and ends
where it can no longer be read. If what follows could still belong to it, it is not converted: half a formula would be
wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable

GREEK = {name: f"\\{name}" for name in ("theta", "alpha", "beta", "delta", "mu", "pi", "Phi", "phi")}
GREEK["epsilon"] = r"\varepsilon"
QUANTITIES = {"lr", "mean", "variance", "state", "rate", "momentum", "weight_decay", "momentum_decay", "slope", "root"}
QUANTITIES |= {"hits", "predicted", "true", "precision", "recall", "Precision", "Recall", "F1"}
FUNCTIONS = {name: f"\\{name}" for name in ("exp", "ln", "tanh", "sin", "cos", "max", "min")}
FUNCTIONS |= {name: rf"\operatorname{{{name}}}" for name in ("softmax", "logistic", "softplus", "erfc", "sign")}
AROUND = {
    "sqrt": r"\sqrt{%s}",
    "abs": r"\lvert %s \rvert",
    "norm": r"\lVert %s \rVert",
    "floor": r"\lfloor %s \rfloor",
    "ceil": r"\lceil %s \rceil",
}
RELATIONS = {" = ": " = ", " <- ": r" \leftarrow ", " <= ": r" \le ", " >= ": r" \ge ", " < ": " < ", " > ": " > "}

BEGIN = re.compile(r"(?<![\w'`\[(.,|])(?<![-+/^=] )(?=\w+'*(\[[^]=]*\]|\([^()=]*\))? (=|<-) )")
NAME = re.compile(r"([A-Za-z]\w*)('*)(?!`)")
LETTER = re.compile(r"(d?[A-Za-z])(?:_?(\d+)|_([A-Za-z]{1,2}))?")
NUMBER = re.compile(r"\d+(\.\d+)?(?!\w)")
SUM = re.compile(
    r"sum_([a-z])(?!\w) ?|(sum|mean|max) over ((?:[a-z], )*[a-z]) of |(mean over the outputs|sum|mean) of "
)
ENDS = re.compile(r"[.,;:)]*$|[.,;:)]+\s|\s+[a-z]{2,}(?![\w(\[])")


class Unread(Exception):
    """The text at this place is no formula, or one of a kind that is not known here."""


class _Reader:
    """Reads one formula from the left to the right; each method returns the LaTeX of what it has read."""

    def __init__(self, text: str, at: int) -> None:
        self.text, self.at = text, at

    def formula(self) -> str:
        """`y = f(x) = g(x)`."""
        return self.chain(self.cases, (" = ", " <- "), at_least=1)

    def cases(self) -> str:
        """`a where c, else b`."""
        first = self.sum()
        begin = self.at
        if not self.take(" where "):
            return first
        try:
            where = self.chain(self.sum, tuple(RELATIONS), at_least=1)
            if not self.take(", else "):
                raise Unread
            other = self.cases()
        except Unread:
            self.at = begin
            return first
        return rf"\begin{{cases}} {first} & \text{{where }} {where} \\ {other} & \text{{else}} \end{{cases}}"

    def chain(self, part: Callable[[], str], signs: tuple[str, ...], at_least: int = 0) -> str:
        """Parts with relations between them."""
        read, count = part(), 0
        while sign := next((each for each in signs if self.text.startswith(each, self.at)), None):
            self.at += len(sign)
            read, count = read + RELATIONS[sign] + part(), count + 1
        if count < at_least:
            raise Unread
        return read

    def sum(self) -> str:
        """`-a + b - c`."""
        read = "-" if self.take("-") else ""
        read += self.product()
        while self.text.startswith((" + ", " - "), self.at):
            sign = self.text[self.at : self.at + 3]
            self.at += 3
            read += sign + self.product()
        return read

    def product(self) -> str:
        r"""`a b / c d`, which is \frac{a b}{c} d."""
        read = self.power()
        while True:
            begin = self.at
            if self.take(" / ") or self.take("/"):
                read = rf"\frac{{{_bare(read)}}}{{{_bare(self.power())}}}"
                continue
            try:
                if not self.take(" "):
                    return read
                read += rf" \, {self.power()}"
            except Unread:
                self.at = begin
                return read

    def power(self) -> str:
        """`a^b`."""
        base = self.atom()
        return rf"{base}^{{{_bare(self.atom())}}}" if self.take("^") else base

    def atom(self) -> str:
        """A number, a name, what stands in brackets, or a sum."""
        if found := SUM.match(self.text, self.at):
            return self.over(found)
        if self.take("..."):
            return r"\ldots"
        if found := NUMBER.match(self.text, self.at):
            self.at = found.end()
            return found[0]
        if self.take("("):
            return f"({self.listed(')')})"
        if self.take("|"):
            return rf"\lvert {self.listed('|')} \rvert"
        return self.name()

    def over(self, found: re.Match[str]) -> str:
        """A sum, a mean or a maximum, of all that comes up to the next sign."""
        self.at = found.end()
        index, what, several, _ = found.groups()
        if index or what in ("sum", "max"):
            head = rf"\{what or 'sum'}_{{{index or several}}}"
        else:
            head = rf"\text{{{found[0].strip()}}}"
        return rf"{head} \, {self.product()}"

    def name(self) -> str:
        """`x`, `b1`, `t_nk`, `theta`, `lr`, and functions of something."""
        found = NAME.match(self.text, self.at)
        if not found:
            raise Unread
        name, primes = found.groups()
        self.at = found.end()
        if name in AROUND or name in FUNCTIONS:
            return self.applied(name)
        word, _, index = name.partition("_")
        if word in GREEK:
            read = GREEK[word] + (f"_{{{index}}}" if index else "")
        elif name in QUANTITIES:
            read = rf"\text{{{name.replace('_', ' ')}}}"
        elif letter := LETTER.fullmatch(name):
            index = letter[2] or letter[3]
            read = letter[1] + (f"_{{{index}}}" if index else "")
        else:
            raise Unread
        read += primes
        while self.text.startswith(("(", "["), self.at):
            read += f"({self.listed(')')})" if self.take("(") else f"_{{{self.indices()}}}"
        return read

    def indices(self) -> str:
        """`[n, i]`."""
        self.at += 1
        return self.listed("]")

    def applied(self, name: str) -> str:
        """`sqrt(2)`, or `sqrt 2`."""
        if self.take("("):
            of = self.listed(")")
            return AROUND[name] % of if name in AROUND else f"{FUNCTIONS[name]}({of})"
        if not self.take(" "):
            raise Unread
        of = self.power()
        return AROUND[name] % of if name in AROUND else rf"{FUNCTIONS[name]} {of}"

    def listed(self, end: str) -> str:
        """`a, b)`."""
        read = self.sum()
        while self.take(", "):
            read += ", " + self.sum()
        if not self.take(end):
            raise Unread
        return read

    def take(self, text: str) -> bool:
        """Whether this comes next; then it is read."""
        found = self.text.startswith(text, self.at)
        self.at += len(text) * found
        return found


def _bare(read: str) -> str:
    """Without brackets around all of it: a line of a fraction or an exponent needs none."""
    depth = 0
    for place, sign in enumerate(read):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return read[1:-1] if sign == ")" and place == len(read) - 1 else read
    return read


def pieces(text: str) -> list[tuple[str, bool]]:
    """The text in pieces, in their order, each with whether it is LaTeX: a formula that goes on stays text."""
    found: list[tuple[str, bool]] = []
    done = 0
    for begin in BEGIN.finditer(text):
        reader = _Reader(text, begin.start())
        if begin.start() < done or text.count("`", 0, begin.start()) % 2:
            continue
        try:
            read = reader.formula()
        except Unread:
            continue
        if not ENDS.match(text, reader.at):
            continue
        found += [(text[done : begin.start()], False), (read, True)]
        done = reader.at
    return [*found, (text[done:], False)]


def converted(text: str, form: str) -> str:
    """The text with its formulas in this form, as `$%s$`."""
    return "".join(form % piece if latex else piece for piece, latex in pieces(text))


def as_role(text: str) -> str:
    """The text with its formulas as reStructuredText has them, as high as on a line of their own."""
    return converted(text, r":math:`\displaystyle %s`")


def escaped(line: str) -> str:
    """In reStructuredText |x|, *x and x_ are markup; in a plain formula they are themselves."""
    found = re.compile(r":math:`[^`]*`|(?<!^)[|*]|(?<=\w)_(?=\W|$)")
    return found.sub(lambda each: each[0] if each[0].startswith(":") else f"\\{each[0]}", line)
