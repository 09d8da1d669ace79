"""The namespace of traced arrays: a library's own, around which each function that has a derivative is recorded.

It is made from tables: functions with a rule, functions composed of others, functions without a gradient, functions
that create arrays, and queries. What is in no table is refused, because its gradient would be lost without a message.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from nnarray.backends import library_of, namespace, place
from nnarray.recording import rules
from nnarray.recording.tape import Source, Tape
from nnarray.recording.traced import Traced, set_operators, stripped, unwrapped
from nnarray.recording.trees import in_the_form_of
from nnarray.typing import Namespace

Tables = tuple[Mapping[str, Any], Mapping[str, Any]]


class Plain:
    """What rules compute plain arrays with: a library's namespace, and functions that only recordings have."""

    linalg: Plain

    def __init__(self, plain: Namespace, recorded: Mapping[str, Any], root: Plain | None = None) -> None:
        self.plain = plain
        for name in recorded.keys() & set(rules.OWN):
            setattr(self, name, rules.PLAIN.get(name) or functools.partial(_value, recorded[name], root or self))
        if root is None:
            vars(self).update(rules.PLAIN)

    def __getattr__(self, name: str) -> Any:
        thing = getattr(self.plain, name)
        setattr(self, name, thing)
        return thing


def _value(rule: Callable[..., Any], xp: Plain, *arguments: Any, **settings: Any) -> Any:
    return rule(xp, *arguments, **settings)[0]


class Space:
    """The namespace of the traced arrays of one library, or the part of it that is named `linalg`.

    New arrays are traced too, so that `y[i] = x` on them can be recorded.
    """

    linalg: Space
    fft: Space

    def __init__(self, direct: Plain, traced: type[Traced], root: Space | None, tables: Tables) -> None:
        plain = direct.plain
        self.direct, self.plain, self.root = direct, plain, root or self
        self.traced = traced  # the class of its arrays
        self.are_real: dict[Any, bool] = {}  # by dtype
        self.known: set[type] = set()  # the classes of arguments that may be computed with
        recorded, composed = tables
        for name, rule in recorded.items():
            setattr(self, name, _recorded(self, rule, name))
        for name, definition in composed.items():
            setattr(self, name, _composed(self, definition, getattr(plain, name, None)))
        for name in rules.WITHOUT_GRADIENT:
            if hasattr(plain, name):
                setattr(self, name, _without_gradient(self, getattr(plain, name)))

    def as_constant(self, y: Any) -> Any:
        """Plain results, those of real floating numbers as traced arrays that depend on nothing."""
        if isinstance(y, Traced):
            return y
        if isinstance(y, tuple):
            return in_the_form_of(y, [self.as_constant(part) for part in y])
        return self.traced(y) if hasattr(y, "shape") and self.is_real(getattr(y, "dtype", None)) else y

    def is_real(self, dtype: Any) -> bool:
        """Whether there are gradients with respect to arrays of this dtype; remembered, as it is asked often."""
        known = self.are_real.get(dtype)
        if known is None:
            known = self.are_real[dtype] = dtype is not None and self.root.plain.isdtype(dtype, "real floating")
        return known

    def is_floating(self, y: Any) -> bool:
        """Whether a result is recorded: real floating numbers, and complex ones, whose gradient is refused later."""
        return self.is_real(y.dtype) or self.root.plain.isdtype(y.dtype, "complex floating")

    def refuse_other(self, x: Any) -> None:
        """Raise TypeError if `x` is an array of another library; otherwise remember its type."""
        bare = stripped(x)
        if _is_array(bare) and namespace(bare) is not self.plain:
            raise TypeError(
                f"an array that is recorded by {self!r} meets one of {place(bare)}: nothing is moved silently. "
                f"Move one of them before, with nn.backend(...).asarray(...)."
            )
        self.known.add(type(x))

    def __getattr__(self, name: str) -> Any:
        thing = getattr(self.plain, name)
        if callable(thing) and not isinstance(thing, type) and not name.startswith("_"):
            return _unknown(self, name, thing)
        return thing

    def __dir__(self) -> Iterable[str]:
        return {*dir(self.plain), *({"fft", "linalg"} & vars(self).keys())}  # some libraries do not list these

    def __repr__(self) -> str:
        return f"<recording of {getattr(self.plain, '__name__', self.plain)}>"


@cache
def _traced_class(plain: Namespace) -> type[Traced]:
    """The class of the traced arrays of a library, so that functions can be chosen by type as for other arrays."""
    traced = type("TracedArray", (Traced,), {"__slots__": ()})
    direct = Plain(plain, rules.RULES)
    space = Space(direct, traced, None, (rules.RULES, rules.COMPOSED))
    parts = {"fft": (rules.FFT_RULES, rules.FFT_COMPOSED), "linalg": (rules.LINALG_RULES, rules.LINALG_COMPOSED)}
    traced.functions = {}
    for name, tables in parts.items():
        if hasattr(plain, name):
            setattr(direct, name, Plain(getattr(plain, name), tables[0], direct))
            setattr(space, name, Space(getattr(direct, name), traced, space, tables))
            traced.functions |= vars(getattr(space, name))
    traced.functions |= vars(space)
    set_operators(traced, space)
    return traced


def traced_class(x: Any) -> type[Traced]:
    """The class of a traced array with the value `x`."""
    return type(x) if isinstance(x, Traced) else _traced_class(namespace(x))


def newest(arguments: Iterable[Any]) -> Tape | None:
    """The tape of the innermost gradient among these arguments."""
    tape = None
    for each in arguments:
        if isinstance(each, Traced) and each.tape is not None and (tape is None or each.tape.order > tape.order):
            tape = each.tape
    return tape


def record(space: Space, tape: Tape, rule: Callable[..., Any], arguments: tuple[Any, ...], settings: Any) -> Any:
    """Compute a function by its rule, and write down how its arguments' gradients come from that of its result."""
    root, traced = space.root, space.traced
    values, places, is_nested = [], [], False
    for x in arguments:
        if type(x) is traced:
            if x.tape is tape:
                places.append((len(values), x.slot))
                x = x.value
            elif x.tape is None:
                x = x.value
            if type(x) is traced:
                is_nested = True
        elif type(x) not in root.known:
            root.refuse_other(x)
        values.append(x)
    if is_nested:
        xp, values = root, alike(root, values)
    else:
        xp = root.direct
    y, back = rule(xp, *values, **settings)
    if tape.is_closed:
        tape.refuse()
    sources: list[Source] = []
    together, pullbacks = (back, range(len(values))) if callable(back) else (None, back)
    for i, slot in places:
        pullback = pullbacks[i]
        if pullback is not None:
            x = values[i]
            sources.append((slot, x.shape, x.dtype, pullback))
    first = tape.slots
    if isinstance(y, tuple):
        tape.slots += len(y)
        tape.entries.append((xp, sources, first, [(part.shape, part.dtype) for part in y], together))
        return in_the_form_of(
            y, [traced(part, tape, first + i) if root.is_floating(part) else part for i, part in enumerate(y)]
        )
    if not (root.are_real.get(y.dtype) or root.is_floating(y)):
        return y  # it has no gradient, as a sum in whole numbers
    tape.slots += 1
    tape.entries.append((xp, sources, first, None, together))
    return traced(y, tape, first)


def alike(space: Space, arguments: Iterable[Any]) -> list[Any]:
    """The arguments, plain arrays as constants: not every library leaves operators to traced arrays on the right."""
    return [space.as_constant(x) if _is_array(x) else x for x in arguments]


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and library_of(x) is not None


def _plain_version(space: Space, name: str) -> Callable[..., Any]:
    """The library's own function, or one that only recordings have."""
    plain = getattr(space.direct if name in rules.OWN else space.plain, name)
    if name in rules.OF_SEQUENCES:
        return lambda *arrays, **settings: plain(list(arrays), **settings)
    return plain


def _recorded(space: Space, rule: Callable[..., Any], name: str) -> Callable[..., Any]:
    plain = _plain_version(space, name)

    traced = space.traced

    @_like(plain)
    def function(*arguments: Any, **settings: Any) -> Any:
        if settings:
            for each in settings.values():
                if isinstance(each, Traced):
                    arguments, settings = _positional(rule, arguments, settings)
                    break
        tape, is_traced = None, False
        for x in arguments:
            if type(x) is traced:
                is_traced, own = True, x.tape
                if own is not tape and own is not None and (tape is None or own.order > tape.order):
                    tape = own
        if tape is not None:
            return record(space, tape, rule, arguments, settings)
        if is_traced:
            return space.as_constant(plain(*map(unwrapped, arguments), **settings))
        return plain(*arguments, **settings)

    if name in rules.OF_SEQUENCES:
        return functools.wraps(getattr(space.plain, name))(lambda arrays, /, **settings: function(*arrays, **settings))
    return function


def _positional(rule: Callable[..., Any], arguments: Any, settings: Any) -> tuple[Any, Any]:
    """Arrays that were given by name, in their positions; those that set a tolerance are constants."""
    bound = inspect.signature(rule).bind(None, *arguments, **settings)
    bound.apply_defaults()
    return bound.args[1:], {name: stripped(each) for name, each in bound.kwargs.items()}


def _composed(space: Space, definition: Callable[..., Any], plain: Callable[..., Any] | None) -> Callable[..., Any]:
    @_like(plain)
    def function(*arguments: Any, **settings: Any) -> Any:
        if plain is None or _has_traced((*arguments, *settings.values())):
            return definition(space.root, *alike(space.root, arguments), **settings)
        return space.as_constant(plain(*arguments, **settings))

    return function


def _has_traced(parts: Iterable[Any]) -> bool:
    """Whether there is a traced array among them, also within lists and tuples."""
    return any(_has_traced(part) if type(part) in (list, tuple) else isinstance(part, Traced) for part in parts)


def _without_gradient(space: Space, plain: Callable[..., Any]) -> Callable[..., Any]:
    @_like(plain)
    def function(*arguments: Any, **settings: Any) -> Any:
        settings = {name: stripped(each) for name, each in settings.items()}
        return space.as_constant(plain(*map(_bare, arguments), **settings))

    return function


def _like(plain: Callable[..., Any] | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The name, the signature and the documentation of the library's own function, where there is one."""
    return functools.wraps(plain) if plain is not None else lambda function: function


def _bare(x: Any) -> Any:
    return type(x)(map(stripped, x)) if type(x) in (list, tuple) else stripped(x)


def _unknown(space: Space, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """A function without a rule: for arrays that are not traced."""
    of_constants = _without_gradient(space, plain)

    @functools.wraps(plain)
    def function(*arguments: Any, **settings: Any) -> Any:
        if newest((*arguments, *settings.values())) is not None:
            rules.unknown.refuse(name)
        return of_constants(*arguments, **settings)

    return function
