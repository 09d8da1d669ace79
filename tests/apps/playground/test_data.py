"""The examples of the playground: every kind of data, files that are dropped, and what is refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.apps.playground.catalog import DATA
from nnarray.apps.playground.checking import Wrong
from nnarray.apps.playground.points import Examples, Given, examples
from nnarray.apps.playground.settings import Settings
from nnarray.apps.playground.tables import MOST_BYTES, table_of

CSV = b"length,width,species\n1.5,2,red\n2.5,1,blue\n,3,red\n3.5,0,blue\n4.5,1,red\n0.5,1,blue\n"


def made(be: nn.Backend, change: dict[str, Any], **given: Any) -> Examples:
    return examples(Settings().changed({"data": change}).data, be, "float32", **given)


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("kind", [name for name, kind in DATA.items() if kind.make or name == "step"])
def test_made_data_on_every_backend(be: nn.Backend, kind: str) -> None:
    found = made(be, {"kind": kind, "n": 40})
    area = (24, 24) if DATA[kind].images else ()
    assert found.X.shape == (30, *area, found.inputs)
    assert found.X_test is not None
    assert found.X_test.shape == (10, *area, found.inputs)
    assert found.task == DATA[kind].task
    assert nn.namespace(found.X) is be.xp
    for low, high in found.ranges:
        assert low < high


def test_made_data_are_those_of_the_library(be: nn.Backend) -> None:
    found = made(be, {"kind": "spirals", "n": 50, "noise": 0.01, "seed": 3, "options": {"turns": 2.0}, "test": 0})
    X, y = nn.datasets.spirals(50, noise=0.01, seed=3, turns=2.0, dtype="float32", backend=be)
    assert bool(be.xp.all(found.X == X))
    assert bool(be.xp.all(found.y == y))
    assert found.X_test is None


def test_a_formula_gives_values_or_classes(be: nn.Backend) -> None:
    curve = made(be, {"kind": "formula", "formula": "2*x + 1", "noise": 0, "n": 8, "test": 0})
    assert (curve.task, curve.inputs) == ("values", 1)
    assert bool(be.xp.all(be.xp.abs(curve.y - 2.0 * curve.X - 1.0) < 1e-5))
    plane = made(be, {"kind": "formula", "formula": "x*y", "n": 8})
    assert (plane.task, plane.inputs, plane.truth) == ("values", 2, None)
    classes = made(be, {"kind": "formula", "formula": "x^2 + y^2 < 0.5", "noise": 0, "n": 60, "test": 0})
    inside = be.xp.sum(classes.X**2, axis=1) < 0.5
    assert bool(be.xp.all((classes.y == 1) == inside))


@pytest.mark.parametrize(
    ("change", "where", "reason"),
    [
        ({"kind": "formula", "formula": "log(x)"}, "formula", "gives no finite number at x = -1"),
        ({"kind": "formula", "formula": "x < 5"}, "formula", "is true for all points"),
        ({"kind": "formula", "formula": "1 < 2"}, "formula", "compares two numbers; it needs x"),
        ({"kind": "formula", "formula": "open(x)"}, "formula", "is not known here"),
        ({"kind": "moons", "n": 4, "test": 0.9}, "test", "each part needs at least one"),
        ({"kind": "blobs", "options": {"classes": 1}}, "options", "classes must be an integer of at least 2"),
        ({"kind": "drawn", "points": [[0, 0, 0]] * 9}, "points", "two classes or more"),
        ({"kind": "table"}, "kind", "drop a CSV or NPY file"),
        ({"kind": "arrays"}, "kind", r"nn.playground\(\(X, y\)\)"),
    ],
)
def test_data_that_do_not_fit_are_refused(change: dict[str, Any], where: str, reason: str) -> None:
    with pytest.raises(Wrong, match=reason) as refused:
        made(nn.backend("numpy"), change)
    assert refused.value.at == where


# --- Files -----------------------------------------------------------------------------------------------------------


def test_a_table_of_classes_is_standardised_without_its_incomplete_rows(be: nn.Backend) -> None:
    table = table_of("flowers.csv", CSV)
    assert [(column.name, column.kind) for column in table.columns.values()] == [
        ("length", "number"),
        ("width", "number"),
        ("species", "class"),
    ]
    assert table.choice() == {"columns": ["length", "width"], "target": "species"}
    found = made(be, {"kind": "table", "test": 0, **(table.choice() or {})}, table=table)
    assert (found.X.shape, found.classes, found.axes) == ((5, 2), ("blue", "red"), ("length", "width"))
    assert [int(label) for label in found.y] == [1, 0, 0, 1, 0]
    assert bool(be.xp.all(be.xp.abs(be.xp.mean(found.X, axis=0)) < 1e-6))


def test_a_table_of_numbers_predicts_one_column(be: nn.Backend) -> None:
    table = table_of("grid.npy", _npy(np.arange(30.0).reshape(10, 3)))
    choice = {"columns": ["column 1"], "target": "column 3"}
    found = made(be, {"kind": "table", "test": 0.2, **choice}, table=table)
    assert (found.task, found.X.shape, found.y.shape) == ("values", (8, 1), (8, 1))


def test_other_delimiters_and_tables_without_names() -> None:
    assert [*table_of("a.csv", b"a;b\n1;2\n").columns] == ["a", "b"]
    assert [*table_of("a.tsv", b"a\tb\n1\t2\n").columns] == ["a", "b"]
    table = table_of("a.csv", "\ufeff1,2\r\n3,4\r\n".encode())
    assert ([*table.columns], table.rows) == (["column 1", "column 2"], 2)
    assert table_of("a.npy", _npy(np.asfortranarray(np.ones((4, 2), ">i2")))).rows == 4


HUGE = _npy(np.ones((2, 2)))[:-32].replace(b"(2, 2)", b"(2, 9999999999)").replace(b"9), }        ", b"9), }")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("名前,身長\n太郎,170\n", "cp932"),
        ("名前,身長\nさくら,170\n", "euc_jp"),
        ("имя,цвет\nИван,красный\n", "cp1251"),
        ("größe,b\n1,x\n", "cp1252"),
        ("a,b\n1,2\n価格,3\n", "utf-8"),
        ("a,b\n1,2\n価格,3\n", "utf-16"),
    ],
)
def test_a_file_in_another_encoding_is_read(text: str, encoding: str) -> None:
    table = table_of("a.csv", text.encode(encoding))
    assert [*table.columns] == text.partition("\n")[0].split(",")
    assert table.event.get("encoding", "utf-8") == encoding


def test_an_encoding_is_decided_by_the_lines_that_are_not_ascii() -> None:
    late = "a,b\n" + "1,2\n" * 4000 + "価格,3\n"
    assert table_of("a.csv", late.encode("cp932")).encoding == "cp932"
    with pytest.raises(Wrong, match="is not UTF-8, and no other encoding fits"):
        table_of("a.csv", b"a,b\n1,\x98\xff\n")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"x" * (MOST_BYTES + 1), "the playground takes 8.0 MiB at most"),
        ("../a.csv", CSV, "without folders"),
        ("a/b.csv", CSV, "without folders"),
        ("C:\\a.csv", CSV, "without folders"),
        (".csv", CSV, "without folders"),
        ("", CSV, "without folders"),
        ("a\n.csv", CSV, "without folders"),
        ("a.exe", CSV, "must end in .csv"),
        ("a.csv", b"", "has no rows"),
        ("a.csv", b"a,b\n", "has no rows"),
        ("a.csv", b"a,b\n1,2\n3\n", "has 1 entries in row 3, but 2 in the first"),
        ("a.csv", b"a,a\n1,2\n", "different names"),
        ("a.csv", b"\xff\xfea", "is not UTF-8"),
        ("a.csv", b'a,b\n"' + b"x" * 140_000 + b'",2\n', "is not CSV"),
        ("a.npy", b"\x93NUMPY", "is damaged"),
        ("a.npy", _npy(np.ones(3)), "must have two axes"),
        ("a.npy", _npy(np.asarray([["a"]])), "no NPY file of real numbers"),
        ("a.npy", _npy(np.asarray([[object()]])), "no NPY file of real numbers"),
        ("a.npy", _npy(np.ones((2, 2)))[:-1], "is damaged"),
        ("a.npy", HUGE, "is damaged"),
        ("a.npy", _npy(np.empty((0, 10**8))), "must have 1 to 100 columns"),
        ("a.npy", _npy(np.empty((10**8, 0))), "must have 1 to 100 columns"),
        ("a.csv", b"a," * 1000 + b"\n1,2\n", "must have 1 to 100 columns"),
    ],
)
def test_files_that_are_refused(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(Wrong, match=reason):
        table_of(name, content)


def test_a_column_that_is_not_there_is_refused() -> None:
    table = table_of("flowers.csv", CSV)
    for change, where in (({"columns": ["x"], "target": "species"}, "columns"), ({"columns": ["width"]}, "target")):
        with pytest.raises(Wrong, match="must be a column of numbers or classes, one of length, width, species") as no:
            made(nn.backend("numpy"), {"kind": "table", **change}, table=table)
        assert no.value.at == where


def test_given_arrays() -> None:
    given = Given([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1], ("a", "b"), ("x",), "class")
    found = made(nn.backend("numpy"), {"kind": "arrays", "test": 0}, given=given)
    assert (found.task, found.classes, found.X.shape) == ("classes", ("a", "b"), (4, 1))
