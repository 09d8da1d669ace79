"""The rules that let one source serve every backend, read off the source itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nnarray
from tests.processes import run_python

ROOT = Path(nnarray.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

LIBRARIES = {"numpy", "cupy", "cupyx", "torch", "jax", "jaxlib", "dask", "array_api_strict", "array_api_compat"}
CONVERSIONS = {"numpy", "get", "cpu", "to_numpy", "tolist", "item", "__array__"}

# What may know an array library by name, and the borders, where data leave for files, pictures or other programs.
KNOWS_LIBRARIES = {"backends.py", "kernels"}
BORDERS = {"plotting", "cli", "demos.py", "demo_pets.py", "lbfgs.py", "testing.py"}
BORDERS |= {
    f"datasets/{name}.py" for name in ("images", "published", "tables", "entries", "columns", "tabular")
}  # readers of files
BORDERS |= {"persistence", "checkpoints.py", "loading.py"}  # files of models
BORDERS |= {"workflow"}  # from files to numbers that people read

# Each file may import only from the levels above its own.
LEVELS = [
    ["typing", "names"],
    ["backends"],
    ["checks"],
    ["kernels"],
    ["random"],
    ["initializers"],
    ["datasets"],
    ["layers"],
    ["layout", "folding", "probes"],
    ["persistence", "summary"],
    ["losses", "schedules"],
    ["optimizers", "metrics"],
    ["propagation", "callbacks"],
    ["examples", "plans", "inference"],
    ["loading"],
    ["checkpoints"],
    ["course"],
    ["descent", "lbfgs"],
    ["training"],
    ["model"],
    ["network"],
    ["models", "testing", "plotting"],
    ["diagram", "demos", "demo_pets", "estimators", "trackers", "bench", "explain"],
    ["workflow"],
    ["cli"],
]
LEVEL = {name: i for i, names in enumerate(LEVELS) for name in names}
# A method of a lower file that hands over to a higher one when it is called: history.plot, model.plot.
DEFERRED = {("callbacks", "plotting"), ("model", "diagram")}


def is_exempt(path: Path) -> bool:
    """Whether the file, or the top folder it is in, knows libraries or is a border."""
    inside = path.relative_to(ROOT)
    return not (KNOWS_LIBRARIES | BORDERS).isdisjoint({inside.parts[0], inside.as_posix()})


def top(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [
                (node.module if node.module != "nnarray" else f"nnarray.{a.name}", node.lineno) for a in node.names
            ]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module" and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant):
                found.append((str(name.value), node.lineno))
    return found


def code_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_kernels_and_backends_know_array_libraries(path: Path) -> None:
    if is_exempt(path):
        return
    wrong = [f"line {line}: {name}" for name, line in imports(code_of(path)) if name.split(".")[0] in LIBRARIES]
    assert not wrong, f"{path.name} imports an array library: {wrong}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_converts_to_numpy_on_the_way(path: Path) -> None:
    if is_exempt(path):
        return
    wrong = []
    for node in ast.walk(code_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = node.func.attr
            moves = called in CONVERSIONS and not (called == "get" and node.args)  # dict.get has an argument
            if moves and path.name != "model.py":
                wrong.append(f"line {node.lineno}: .{called}()")
        if isinstance(node, ast.Name) and node.id in LIBRARIES | {"np", "cp"}:
            wrong.append(f"line {node.lineno}: {node.id}")
    assert not wrong, f"{path.name} leaves the device or names a library: {wrong}"


def test_model_converts_only_where_the_user_asks_for_another_backend() -> None:
    tree = code_of(ROOT / "model.py")
    users = [
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        and any(isinstance(n, ast.Attribute) and n.attr == "to_numpy" for n in ast.walk(function))
    ]
    assert users == ["to"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    here = top(path)
    if here in ("__init__", "__main__"):
        return
    assert here in LEVEL, f"{path.name} has no place in the order of the files; give it one"
    for name, line in imports(code_of(path)):
        if not name.startswith("nnarray."):
            continue
        there = name.split(".")[1]
        if there == here or (here, there) in DEFERRED:
            continue
        assert LEVEL[there] < LEVEL[here], f"{path.name} line {line}: {here} may not import {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_definitions_never_write(path: Path) -> None:
    if "standard" not in path.parts:
        return
    for node in ast.walk(code_of(path)):
        assert not isinstance(node, ast.AugAssign), f"{path.name} line {node.lineno}: a definition writes in place"
        if isinstance(node, ast.Assign):
            assert not any(isinstance(t, ast.Subscript) for t in node.targets), f"{path.name} line {node.lineno}"


LOADED = {"numpy", "array_api_compat"}


def test_import_loads_no_optional_library() -> None:
    optional = [
        "torch",
        "jax",
        "cupy",
        "scipy",
        "matplotlib",
        "tqdm",
        "typer",
        "rich",
        "pandas",
        "polars",
        "array_api_strict",
        "sklearn",
        "pyarrow",
        "tensorboardX",
        "mlflow",
        "wandb",
    ]
    code = f"import sys, nnarray; print([m for m in {sorted(optional)} if m in sys.modules])"
    done = run_python(code)
    assert done.stdout.strip() == "[]"
