"""Examples: made, from a formula, drawn, or from a table; and the lines of Python that make the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnarray import random
from nnarray.apps.playground.catalog import CLASSES, DATA, IMAGES, SIDES, VALUES
from nnarray.apps.playground.checking import Wrong, at, whole
from nnarray.apps.playground.formulas import Formula, parsed
from nnarray.apps.playground.settings import DataSettings
from nnarray.apps.playground.tables import CLASS, Table
from nnarray.backends import Backend, namespace
from nnarray.datasets import Standardizer, train_test_split
from nnarray.random import Key
from nnarray.typing import Array

MARGIN = 0.1
"""How far the plane that is drawn extends beyond the examples, relative to their range."""
FEWEST = 4
SHEET = 24
"""How many images are shown."""


@dataclass(frozen=True)
class Given:
    """Examples as rows of Python numbers, from a table or from the user's arrays.

    Attributes
    ----------
    rows : list of list of float
        One or two inputs of each example.
    targets : list of int or float
        Labels from 0, or values.
    classes : tuple of str
        The names of the classes; none if the targets are values.
    axes : tuple of str
    target : str
    """

    rows: list[list[float]]
    targets: list[Any]
    classes: tuple[str, ...]
    axes: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class Examples:
    """The examples of a training and of its test.

    Attributes
    ----------
    task : str
        "classes" or "values".
    classes, axes : tuple of str
        Names of the classes (none for values) and of the inputs.
    target : str
        The name of what is predicted.
    X, y : array, shape (N, 1), (N, 2) or (N, size, size, 3), and (N,) for labels or (N, 1) for values
        Those to train with.
    X_test, y_test : array or None
    ranges : tuple of pairs
        The part of each axis that is drawn; none for images.
    truth : Formula or None
        The curve without noise, if it is known.
    code : tuple of str
        The lines of Python that make the same arrays.
    """

    task: str
    classes: tuple[str, ...]
    axes: tuple[str, ...]
    target: str
    X: Array
    y: Array
    X_test: Array | None
    y_test: Array | None
    ranges: tuple[tuple[float, float], ...]
    truth: Formula | None
    code: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.X.shape[1:])

    @property
    def inputs(self) -> int:
        """The number of inputs, 1 or 2; of the channels of an image, 3."""
        return len(self.axes)

    @property
    def are_images(self) -> bool:
        """Whether an example is an image."""
        return self.X.ndim == 4

    @property
    def sheet(self) -> tuple[Array, Array]:
        """The images that are shown, and their labels: some of the test, if there are any."""
        X, y = (self.X, self.y) if self.X_test is None or self.y_test is None else (self.X_test, self.y_test)
        count = min(X.shape[0], SHEET)
        return X[:count, ...], y[:count]

    @property
    def values(self) -> tuple[float, float] | None:
        """The range of the targets, if they are values."""
        return None if self.task == CLASSES else _range([self.y] if self.y_test is None else [self.y, self.y_test])


@dataclass(frozen=True)
class _Whole:
    """Examples before they are split."""

    X: Array
    y: Array
    classes: tuple[str, ...]
    code: tuple[str, ...]
    axes: tuple[str, ...] = ("x",)
    target: str = "y"
    truth: Formula | None = None
    scaled: bool = False


def examples(
    settings: DataSettings, be: Backend, precision: str, table: Table | None = None, given: Given | None = None
) -> Examples:
    """The examples that the settings describe, on a backend.

    Parameters
    ----------
    settings : DataSettings
    be : Backend
    precision : str
        The dtype of X.
    table : Table, optional
        The file that was sent last, for the kind "table".
    given : Given, optional
        The user's own arrays, for the kind "arrays".

    Raises
    ------
    Wrong
        If there are no such examples; `at` is the setting to change.
    """
    dtype = be.floating(precision)
    match settings.kind:
        case "formula":
            made = _of_formula(_formula(settings.formula), settings, be, dtype)
        case "step":
            made = _of_formula(parsed("sign(x)"), settings, be, dtype)
        case "drawn":
            made = _of_numbers(_drawn(settings), be, dtype)
        case "table":
            made = replace(_of_numbers(_in_table(settings, table), be, dtype), scaled=True)
        case "arrays":
            if given is None:
                raise Wrong("needs the arrays, from Python: nn.playground((X, y)).", "kind")
            made = replace(_of_numbers(given, be, dtype), scaled=True)
        case "pets":
            made = _images(settings, be, dtype)
        case _:
            made = _made(settings, be, dtype)
    return _split(made, settings)


def _formula(text: str) -> Formula:
    try:
        return parsed(text)
    except Wrong as wrong:
        raise wrong.below("formula") from None


# --- Where they come from --------------------------------------------------------------------------------------------


def _made(settings: DataSettings, be: Backend, dtype: Any) -> _Whole:
    """A synthetic dataset of the library."""
    kind = DATA[settings.kind]
    X, y, options, code = _called(settings, be, dtype, {"noise": settings.noise, "seed": settings.seed})
    if kind.task == CLASSES:
        names = tuple(map(str, range(options.get("classes", kind.options.get("classes", 2)))))
        return _Whole(X, y, names, (code,), ("x1", "x2"), "class")
    known = kind.options | options
    curves = {"line": "{slope!r} * x + {intercept!r}", "sine": "sin(2 * pi * {periods!r} * x)"}
    return _Whole(X, y, (), (code,), truth=parsed(curves[settings.kind].format(**known)))


def _images(settings: DataSettings, be: Backend, dtype: Any) -> _Whole:
    """Images of the library; few and small ones, so that each epoch is seen."""
    usual = DATA[settings.kind].options
    at("n", whole(FEWEST, IMAGES), settings.n)
    at("options", lambda options: at("size", whole(*SIDES), options["size"]), usual | dict(settings.options))
    X, y, _, code = _called(settings, be, dtype, {"seed": settings.seed} | usual)
    return _Whole(X, y, ("cat", "dog"), (code,), ("red", "green", "blue"), "animal")


def _called(settings: DataSettings, be: Backend, dtype: Any, usual: dict[str, Any]) -> tuple[Any, ...]:
    """What a dataset of the library returns, its options, and the line of Python."""
    kind = DATA[settings.kind]
    assert kind.make is not None
    options = {name: _like(kind.options.get(name), value) for name, value in (usual | dict(settings.options)).items()}
    try:
        X, y = kind.make(settings.n, dtype=dtype, backend=be, **options)
    except (ValueError, TypeError) as error:
        raise Wrong(str(error), "options") from None
    arguments = "".join(f", {name}={value!r}" for name, value in options.items())
    return X, y, options, f"X, y = nn.datasets.{settings.kind}({settings.n}{arguments}, dtype=dtype, backend=be)"


def _like(usual: Any, value: Any) -> Any:
    """An option in the type of its default value: JSON has one kind of numbers."""
    is_whole = isinstance(usual, int) and not isinstance(usual, bool)
    return int(value) if is_whole and isinstance(value, float) and value.is_integer() else value


def _of_formula(formula: Formula, settings: DataSettings, be: Backend, dtype: Any) -> _Whole:
    """Points in a range, and what a formula gives for them: values with noise, or classes of moved points."""
    xp, key, n, inputs = be.xp, Key(settings.seed), settings.n, formula.inputs
    how: dict[str, Any] = {"xp": xp, "device": be.device, "dtype": dtype}
    if inputs == 1:
        X = xp.linspace(settings.low, settings.high, n, dtype=dtype, device=be.device)[:, None]
        code = [f"X = xp.linspace({settings.low!r}, {settings.high!r}, {n}, dtype=dtype, device=be.device)[:, None]"]
        code += ["x = X[:, 0]"]
    else:
        X = settings.low + (settings.high - settings.low) * random.uniform(key.fold("points"), (n, 2), **how)
        code = [f"drawn = nn.random.uniform(nn.Key({settings.seed}).fold('points'), ({n}, 2), **how)"]
        code += [f"X = {settings.low!r} + ({settings.high!r} - {settings.low!r}) * drawn", "x, y = X[:, 0], X[:, 1]"]
    values = formula(x=X[:, 0], y=X[:, -1])
    shape = (n, inputs) if formula.compares else (n, 1)
    noise = settings.noise * random.normal(key.fold("noise"), shape, **how)
    drawn = f"noise = {settings.noise!r} * nn.random.normal(nn.Key({settings.seed}).fold('noise'), {shape}, **how)"
    code = ["how = {'xp': xp, 'device': be.device, 'dtype': dtype}", *code, drawn]
    axes = ("x", "y")[:inputs]
    if formula.compares:
        if isinstance(values, bool):
            raise Wrong("compares two numbers; it needs x, such as x > 0.", "formula")
        y = xp.astype(values, xp.int32)
        _refuse_one_class(y, be)
        code += [f"y = xp.astype({formula.code}, xp.int32)", "X = X + noise"]
        return _Whole(X + noise, y, ("false", "true"), tuple(code), axes, formula.text)
    y = 0.0 * X[:, 0] + values
    if not bool(xp.all(xp.isfinite(y))):
        worst = X[int(xp.argmax(xp.astype(~xp.isfinite(y), xp.int32))), :]
        where = ", ".join(f"{name} = {float(worst[i]):.4g}" for i, name in enumerate(axes))
        raise Wrong(f"gives no finite number at {where}; change it, or low and high.", "formula")
    code += [f"y = 0.0 * X[:, 0] + ({formula.code})", "y = y[:, None] + noise"]
    return _Whole(X, y[:, None] + noise, (), tuple(code), axes, formula.text, formula if inputs == 1 else None)


def _refuse_one_class(y: Array, be: Backend) -> None:
    count = int(be.xp.sum(y))
    if not 0 < count < y.shape[0]:
        raise Wrong(f"is {'true' if count else 'false'} for all points; change it, or low and high.", "formula")


def is_enough(points: Sequence[tuple[float, float, int]]) -> bool:
    """Whether drawn points can be learned: four or more, of two classes or more."""
    return len(points) >= FEWEST and len({label for *_, label in points}) > 1


def _drawn(settings: DataSettings) -> Given:
    rows = [[x1, x2] for x1, x2, _ in settings.points]
    labels = [label for *_, label in settings.points]
    if not is_enough(settings.points):
        raise Wrong(f"must be at least {FEWEST}, of two classes or more; draw some.", "points")
    return Given(rows, labels, tuple(map(str, range(max(labels) + 1))), ("x1", "x2"), "class")


def _in_table(settings: DataSettings, table: Table | None) -> Given:
    """The rows of a table that have all of the chosen entries."""
    if table is None:
        raise Wrong("needs a file: drop a CSV or NPY file on the page.", "kind")
    inputs = [table.column(name, "columns") for name in settings.columns]
    target = table.column(settings.target, "target")
    if not inputs or any(column.kind == CLASS for column in inputs):
        raise Wrong(f"must be one or two columns of numbers: {', '.join(table.numbers)}.", "columns")
    entries = zip(target.entries, *(column.entries for column in inputs), strict=True)
    complete = [row for row in entries if all(row)]
    if len(complete) < FEWEST:
        raise Wrong(f"have {len(complete)} complete rows; the playground needs {FEWEST} at least.", "columns")
    labels = {name: i for i, name in enumerate(target.classes)}
    targets = [labels[each] if labels else float(each) for each, *_ in complete]
    rows = [[float(cell) for cell in cells] for _, *cells in complete]
    return Given(rows, targets, target.classes, settings.columns, settings.target)


def _of_numbers(given: Given, be: Backend, dtype: Any) -> _Whole:
    """Examples from Python's numbers, which stand in the code."""
    targets = given.targets if given.classes else [[value] for value in given.targets]
    X = be.asarray(given.rows, dtype=dtype)
    y = be.asarray(targets, dtype=be.xp.int32 if given.classes else dtype)
    code = (
        f"X = be.asarray({given.rows!r}, dtype=dtype)",
        f"y = be.asarray({targets!r}, dtype={'xp.int32' if given.classes else 'dtype'})",
    )
    return _Whole(X, y, given.classes, code, given.axes, given.target)


# --- Training and test -----------------------------------------------------------------------------------------------


def _split(made: _Whole, settings: DataSettings) -> Examples:
    """A part for the test, and inputs of unknown units standardised."""
    X, y, code = made.X, made.y, [*made.code]
    X_test: Array | None = None
    y_test: Array | None = None
    if settings.test:
        try:
            X, X_test, y, y_test = train_test_split(X, y, test_size=settings.test, seed=settings.seed)
        except ValueError as error:
            raise Wrong(str(error), "test") from None
        parts = "X, X_test, y, y_test"
        code += [f"{parts} = nn.datasets.train_test_split(X, y, test_size={settings.test!r}, seed={settings.seed})"]
    if made.scaled:
        X, X_test, lines = _standardised("X", X, X_test)
        code += lines
        if not made.classes:
            y, y_test, lines = _standardised("y", y, y_test)
            code += lines
    return Examples(
        task=CLASSES if made.classes else VALUES,
        classes=made.classes,
        axes=made.axes,
        target=made.target,
        X=X,
        y=y,
        X_test=X_test,
        y_test=y_test,
        ranges=() if X.ndim == 4 else _ranges(X, X_test),
        truth=made.truth,
        code=tuple(code),
    )


def _standardised(name: str, train: Array, test: Array | None) -> tuple[Array, Array | None, list[str]]:
    scaler = Standardizer.fit(train)
    code = [f"scaler = nn.datasets.Standardizer.fit({name})"]
    code += [f"{each} = scaler.transform({each})" for each in (name, f"{name}_test")[: 1 if test is None else 2]]
    return scaler.transform(train), None if test is None else scaler.transform(test), code


def _ranges(X: Array, X_test: Array | None) -> tuple[tuple[float, float], ...]:
    """The part of each axis that is drawn."""
    both = [X] if X_test is None else [X, X_test]
    return tuple(_range([each[:, i] for each in both]) for i in range(X.shape[1]))


def _range(arrays: Sequence[Array]) -> tuple[float, float]:
    """The smallest and the largest number, with a margin."""
    ends = [(float(namespace(x).min(x)), float(namespace(x).max(x))) for x in arrays]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    margin = MARGIN * (high - low) or 1.0
    return low - margin, high + margin
