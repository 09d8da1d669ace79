"""The rules that let one source serve every backend, read off the source itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import nnarray as nn
from tests.processes import run_python

ROOT = Path(nn.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# The rooms, floor by floor: each imports only from the floors above its own in this list, inside of functions too.
LEVELS = [
    ["typing", "names", "version", "caller", "files", "late"],
    ["arguments"],
    ["backends"],
    ["checks", "kernels"],
    ["recording"],
    ["random", "losses", "metrics", "schedules", "text"],
    ["datasets", "layers"],
    ["functional", "drawing"],
    ["onnx"],
    ["optimizers"],
    ["engines", "persistence", "testing"],
    ["tables", "training"],
    ["distributed", "generation"],
    ["model"],
    ["gradients", "network", "plotting", "explanations"],
    ["models"],
    ["estimators", "apps", "notebooks"],
    ["cli"],
]
FLOOR = {name: i for i, names in enumerate(LEVELS) for name in names}

LIBRARIES = {"numpy", "cupy", "cupyx", "torch", "jax", "jaxlib", "dask", "array_api_strict", "array_api_compat"}
FLAG = re.compile(rf"({'|'.join(sorted(LIBRARIES))}|strict)(:[\w:]+)?")
CONVERSIONS = {"numpy", "get", "cpu", "to_numpy", "tolist", "item", "__array__"}

# What may know an array library, and the borders, where data leave for files, figures or other programs.
KNOWS_LIBRARIES = {"backends", "kernels"}
BORDERS = {"drawing", "plotting", "cli", "testing.py", "training/lbfgs.py"}
BORDERS |= {"datasets/images.py", "datasets/decoding.py", "datasets/published.py", "tables"}  # files of data
BORDERS |= {
    "datasets/sources.py",
    "datasets/file_rows.py",
    "datasets/npz.py",
    "datasets/pixels.py",
    "datasets/tokens.py",
    "training/ahead.py",
}  # mapped files
BORDERS |= {"distributed"}  # collections of Dask's, and what its workers are sent
BORDERS |= {"persistence", "training/checkpoints.py", "training/loading.py"}  # files of models
BORDERS |= {"apps/demos", "apps/pets.py", "apps/workflow", "apps/service"}  # from files to numbers that people read
BORDERS |= {"apps/playground/tables.py"}  # files that are dropped on its page
BORDERS |= {"onnx/reading", "onnx/writing"}  # files of graphs
BORDERS |= {"notebooks"}
CONVERTS = {"model/model.py": "to"}  # the method in which the user asks for another backend


# --- What is read off the source -------------------------------------------------------------------------------------


@cache
def code_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT).as_posix()}, line {getattr(node, 'lineno', 0)}"


def is_in(path: Path, rooms: set[str]) -> bool:
    """Whether the file, or a folder it is in, is one of these."""
    inside = path.relative_to(ROOT)
    return not rooms.isdisjoint(each.as_posix() for each in (inside, *inside.parents))


def imports(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """The modules that a file imports, inside of functions too."""
    for node in ast.walk(code_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            assert not node.level, f"{where(path, node)}: an import by dots; write the whole name"
            yield from ((f"nnarray.{a.name}" if module == "nnarray" else module, node) for a in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            yield from ((str(name.value), node) for name in node.args[:1] if isinstance(name, ast.Constant))


def strings(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """The texts of a file that are not there to be read: no docstrings."""
    said = {id(node.value) for node in ast.walk(code_of(path)) if isinstance(node, ast.Expr)}
    for node in ast.walk(code_of(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value, node


def conversions(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Where arrays leave their library or their device."""
    free = CONVERTS.get(path.relative_to(ROOT).as_posix())
    functions = [node for node in ast.walk(code_of(path)) if isinstance(node, ast.FunctionDef) and node.name == free]
    allowed = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(code_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and id(node) not in allowed:
            called = node.func.attr
            if called in CONVERSIONS and not (called == "get" and node.args):  # dict.get has an argument
                yield f".{called}()", node
        elif isinstance(node, ast.Name) and node.id in LIBRARIES | {"np", "cp"}:
            yield node.id, node


def classes_asked_for(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """The classes in `isinstance(x, ...)` and `type(x) is ...`."""
    for node in ast.walk(code_of(path)):
        asked: list[ast.expr] = []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            asked = node.args[1:]
        elif isinstance(node, ast.Compare) and isinstance(node.left, ast.Call):
            asked = node.comparators if getattr(node.left.func, "id", "") == "type" else []
        yield from ((each.id, node) for tree in asked for each in ast.walk(tree) if isinstance(each, ast.Name))


def below(kind: type) -> Iterator[type]:
    """The classes of this package that are derived from `kind`."""
    for each in kind.__subclasses__():
        if each.__module__.startswith("nnarray."):
            yield each
        yield from below(each)


for _name in nn.layers.NAMES:
    getattr(nn.layers, _name)  # imported late
KINDS = {
    each.__name__: ROOT.parent / f"{each.__module__.replace('.', '/')}.py"
    for kind in (nn.Layer, nn.Loss, nn.optimizers.Optimizer)
    for each in below(kind)
    if each is not nn.Network  # what users pass is checked to be one
}
"""Layers, losses and optimizers by name, with the files that define them."""


# --- The rules -------------------------------------------------------------------------------------------------------


def test_imports_point_one_way() -> None:
    wrong = []
    for path in FILES:
        here = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if here in ("__init__", "__main__"):
            continue
        assert here in FLOOR, f"{here} has no place in the order of the rooms; give it one in LEVELS"
        for name, node in imports(path):
            top, _, rest = name.partition(".")
            there = rest.partition(".")[0]
            if top != "nnarray" or there == here or (not there and here == "cli"):  # who is above the whole package
                continue
            if there not in FLOOR or FLOOR[there] >= FLOOR[here]:
                wrong.append(f"{where(path, node)}: {here} may not import {there or 'the whole'}")
    assert not wrong, "\n".join(wrong)
    assert set(FLOOR) == {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES} - {
        "__init__",
        "__main__",
    }


def test_only_kernels_and_backends_know_array_libraries() -> None:
    outside = [path for path in FILES if not is_in(path, KNOWS_LIBRARIES)]
    wrong = [
        f"{where(path, node)}: imports {name}"
        for path in outside
        if not is_in(path, BORDERS)
        for name, node in imports(path)
        if name.split(".")[0] in LIBRARIES
    ]
    wrong += [
        f"{where(path, node)}: {text!r} names a library; ask a flag of its class in backends, or `host_backend()`"
        for path in outside
        for text, node in strings(path)
        if FLAG.fullmatch(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_converts_to_numpy_on_the_way() -> None:
    wrong = [
        f"{where(path, node)}: {what} leaves the device or names a library"
        for path in FILES
        if not is_in(path, KNOWS_LIBRARIES | BORDERS)
        for what, node in conversions(path)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_definitions_never_write() -> None:
    wrong = [
        f"{where(path, node)}: a definition writes in place"
        for path in FILES
        if is_in(path, {"kernels/standard"})
        for node in ast.walk(code_of(path))
        if isinstance(node, ast.AugAssign)
        or (isinstance(node, ast.Assign) and any(isinstance(target, ast.Subscript) for target in node.targets))
    ]
    assert not wrong, "\n".join(wrong)


def test_nobody_asks_for_the_class_of_a_layer_a_loss_or_an_optimizer() -> None:
    """The object says what others want to know of it, so that a new class needs no edit elsewhere."""
    wrong = [
        f"{where(path, node)}: asks whether something is a {name}; let its class say what is wanted"
        for path in FILES
        for name, node in classes_asked_for(path)
        if KINDS.get(name) not in (None, path)
    ]
    assert not wrong, "\n".join(wrong)


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
        "starlette",
        "uvicorn",
        "onnx",
    ]
    code = f"import sys; from nnarray import *; print([m for m in {sorted(optional)} if m in sys.modules])"
    done = run_python(code)
    assert done.stdout.strip() == "[]"


def for_type_checkers(package: Path) -> dict[str, str]:
    """The names that a package has for type checkers and editors, and the module of each."""
    (block,) = (
        node
        for node in code_of(package / "__init__.py").body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    itself = ".".join(package.relative_to(ROOT.parent).parts)
    return {
        alias.name: f"{itself}.{alias.name}" if each.module == itself else str(each.module)
        for each in block.body
        if isinstance(each, ast.ImportFrom)
        for alias in each.names
    }


def test_what_is_imported_late_is_what_type_checkers_see() -> None:
    named = for_type_checkers(ROOT)
    assert sorted(named) == sorted(nn.__all__)
    late = nn._MODULE_OF | {name: module.rpartition(".")[0] for name, module in nn._MODULES.items()}
    assert {name: module for name, module in named.items() if module != f"nnarray.{name}"} == {
        name: f"nnarray.{module}" for name, module in late.items()
    }


@pytest.mark.parametrize(("package", "names"), [(nn.layers, nn.layers.NAMES), (nn.datasets, nn.datasets.__all__)])
def test_what_a_package_imports_late_is_what_type_checkers_see(package: Any, names: Sequence[str]) -> None:
    named = for_type_checkers(Path(package.__file__).parent)
    assert named == {name: f"{package.__name__}.{package._modules[name]}" for name in names}


def test_a_function_is_found_whoever_imported_the_module_of_its_name() -> None:
    done = run_python(
        """
        from nnarray.datasets.images import ImageFolder
        import nnarray.datasets.pets
        import nnarray as nn
        print(nn.datasets.images.__name__, nn.datasets.pets.__name__, nn.datasets.synthetic.moons is nn.datasets.moons)
        """
    )
    assert done.stdout == "images pets True\n"


def test_only_the_package_itself_imports_late() -> None:
    """A module whose attributes import others would hide the direction of its imports; `late` imports its own only."""
    late = [
        path.relative_to(ROOT).as_posix()
        for path in FILES
        for node in ast.walk(code_of(path))
        if isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
        if node.args.args[0].arg not in ("self", "cls")
    ]
    assert late == ["__init__.py"]
