"""Every source of the CuPy versions, as CuPy itself completes it, through NVIDIA's own compiler, which needs no GPU."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnarray import kernels, losses
from nnarray.files import replace_by
from nnarray.kernels.entries import program_of
from nnarray.kernels.expressions import recorded
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.rules import Update
from tests import cupy_on_cpu
from tests.kept import KEPT
from tests.processes import run

NDARRAY, INDEXER, SCALAR = 1, 2, 3  # CuPy's own numbers for kinds of arguments
DIMENSIONS = {"contiguous": 1, "strided": 2}
MANY = 100  # results that are kept: those of a few versions of the sources
pytestmark = pytest.mark.skipif(
    not cupy_on_cpu.is_built() or importlib.util.find_spec("cupy") is None, reason="CuPy on the CPU is not in use"
)


def codes(dtype: np.dtype) -> Iterator[tuple[str, Any]]:
    """Every source by a name."""
    from nnarray.kernels.cupy import CODES, sources

    for name, function in FUNCTIONS.items():
        if function.elementwise and name != "identity":
            yield name, sources.source(recorded(function.value.definition, 1, dtype))
            yield f"{name}_pullback", sources.source(recorded(function.pullback.definition, 3, dtype))
    for name in ("relu", "gelu"):  # one that reads its outputs, and one that reads its inputs
        function = FUNCTIONS[name]
        value, pullback = recorded(function.value, 1, dtype), recorded(function.pullback, 3, dtype)
        yield f"{name}_biased", sources.source_of_biased(value, True, not function.from_output)
        yield f"{name}_summed", sources.source_of_gradient_and_sums(pullback)
    for name, entry in {"mse": losses.MeanSquaredError().entry, "huber": losses.Huber(0.7).entry}.items():
        yield name, sources.source_of_entries(program_of(entry, dtype))
    for name, kernel in kernels.TABLE.items():
        if isinstance(kernel, Update):
            arrays = kernel.definition.__code__.co_argcount
            settings = [each == "nesterov" or 0.9 for each in kernel.settings]
            yield name, sources.source_of_rule(kernel.rule(arrays, dtype, *settings))
    yield from CODES.items()


def types_in(name: str, dtype: np.dtype) -> dict[str, np.dtype]:
    """The types of entries: S is that of labels, and elsewhere that of sums; I is that of indices."""
    return {
        "T": dtype,
        "I": np.dtype("int64"),
        "S": np.dtype("int64") if "labels" in name else np.promote_types(dtype, "float32"),
    }


def argument(kind: str, types: dict[str, np.dtype], layout: str, *, is_array: bool) -> Any:
    """What CuPy knows of an argument: an array if its type is a letter or it must be one, else a number."""
    from cupy import ndarray
    from cupy._core._kernel import _ArgInfo

    if kind in types or is_array:
        dtype = types.get(kind) or np.dtype(kind)
        return _ArgInfo(NDARRAY, ndarray, dtype, DIMENSIONS[layout], layout == "contiguous", True)
    return _ArgInfo(SCALAR, object, np.dtype(kind), 0, True, True)


def completed(name: str, code: Any, dtype: np.dtype, layout: str) -> str:
    """The source as CuPy completes it for a call with such arrays, in a namespace of its own."""
    import cupy
    from cupy._core import _kernel

    types, arguments = types_in(name, dtype), []
    for parameters, written in ((code.inputs, False), (code.outputs, True)):
        for *raw, kind, _ in map(str.split, parameters.split(", ")):
            arguments.append(argument(kind, types, layout, is_array=written or bool(raw)))
    arguments.append(_kernel._ArgInfo(INDEXER, object, None, DIMENSIONS[layout], True, True))
    kernel = cupy.ElementwiseKernel(*code, f"of_{name}")
    letters = _kernel._TypeMap(tuple((letter, each.type) for letter, each in types.items()))
    text = _kernel._get_elementwise_kernel_code(
        tuple(arguments), letters, kernel.params, kernel.operation, kernel.name, kernel.preamble
    )
    return f"namespace space_of_{name} {{\n{text}\n}}\n"


def reductions(dtype: np.dtype) -> dict[str, str]:
    """The sources of the reductions, as CuPy has completed them for such an array."""
    import cupy

    from nnarray.kernels.cupy import vectors

    x, size = cupy.ones(3, dtype=dtype), cupy.ones((), dtype=dtype)
    arguments = {"_all_finite": (x,), "_size": (x,), "_length": (x, size)}
    assert set(arguments) == {name for name, each in vars(vectors).items() if isinstance(each, cupy.ReductionKernel)}
    if dtype.itemsize < 4:  # gradients are shortened in at least float32
        arguments = {"_all_finite": (x,)}
    texts = {}
    for name, given in arguments.items():
        kernel = getattr(vectors, name)
        kernel(*given)
        text = kernel.cached_codes[tuple(each.dtype.char for each in (*given, kernel(*given)))]
        macros = "".join(f"#undef {each}\n" for each in ("REDUCE", "POST_MAP", "_REDUCE"))
        texts[kernel.name] = f"{macros}namespace space_of{name} {{\n{text}\n}}\n"
    return texts


def compiled(text: str, architecture: int, folder: Path) -> tuple[bytes, str]:
    """The machine code, which is empty where the source is refused, and what the compiler says."""
    from cupy._core.core import _cupy_header_list, assemble_cupy_compiler_options

    headers = "".join(f"#include <{each}>\n" for each in (*_cupy_header_list, "cupy/float16.cuh"))
    source, result = folder / "kernels.cu", folder / "kernels.cubin"
    source.write_text(headers + text)
    quickly = "--ptxas-options=-O0"  # what is proved is that it compiles
    options = (*assemble_cupy_compiler_options(()), f"-arch=sm_{architecture}", quickly)
    done = run(sys.executable, "-m", "tests.cupy_on_cpu.nvrtc", str(source), str(result), *options)
    return result.read_bytes(), done.stdout


def kept(text: str, architecture: int, folder: Path) -> tuple[bytes, str]:
    """The same; compiled only if no session has compiled this text for this architecture with this compiler."""
    import cupy

    compiler = [(each.name, each.stat().st_mtime_ns) for each in sorted(cupy_on_cpu.NVRTC.iterdir())]
    key = hashlib.sha256(repr((text, architecture, compiler, cupy.__version__)).encode()).hexdigest()
    file = KEPT / "nvrtc" / key
    if file.exists():
        return zlib.decompress(file.read_bytes()), ""
    code, log = compiled(text, architecture, folder)
    if code:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_by(file, zlib.compress(code, 1))
        for old in sorted(file.parent.iterdir(), key=lambda each: each.stat().st_mtime)[:-MANY]:
            old.unlink(missing_ok=True)
    return code, log


@pytest.mark.parametrize("architecture", [75, 90, 120])
@pytest.mark.parametrize("layout", sorted(DIMENSIONS))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_source_compiles(dtype: str, layout: str, architecture: int, tmp_path: Path) -> None:
    sources = dict(codes(np.dtype(dtype)))
    text = "".join(completed(name, code, np.dtype(dtype), layout) for name, code in sources.items())
    summed = reductions(np.dtype(dtype))
    code, log = kept(text + "".join(summed.values()), architecture, tmp_path)
    assert code, log
    for name in (*(f"of_{each}" for each in sources), *summed):
        assert name.encode() in code


def test_no_source_is_left_out() -> None:
    """Each file of kernels lists in CODES what it writes by hand; no other file makes a kernel of such a source."""
    import cupy

    from nnarray.kernels import cupy as fast
    from nnarray.kernels.cupy import CODES
    from nnarray.kernels.cupy.sources import Code

    files = [each for each in vars(fast).values() if getattr(each, "__name__", "").startswith("nnarray.kernels.cupy.")]
    assert len(files) > 5
    for file in files:
        by_hand = [each for each in vars(file).values() if isinstance(each, Code)]
        assert all(code in CODES.values() for code in by_hand), file.__name__
        made = [each for each in vars(file).values() if isinstance(each, cupy.ElementwiseKernel)]
        launched = [*made, *getattr(file, "_LAUNCH", {}).values()]
        assert len(launched) <= len(getattr(file, "CODES", {})), file.__name__


def test_a_wrong_source_is_refused(tmp_path: Path) -> None:
    from nnarray.kernels.cupy.sources import Code

    text = completed("wrong", Code("T x", "T y", "y = x + nothing;"), np.dtype("float32"), "strided")
    code, log = compiled(text, 90, tmp_path)
    assert not code
    assert "nothing" in log
