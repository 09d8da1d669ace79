"""The tests that ONNX has for its operators, on NumPy, PyTorch and JAX.

All direct cases run whose dtypes NumPy has; those of which an operator is defined by others ("expanded") are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

import nnarray as nn
from nnarray.onnx.program import Program
from nnarray.onnx.reading.file import read_bytes

NEWEST_OF_NUMPY = 15
"""The number of the last dtype that NumPy has."""
TEXTS = "texts are not arrays of numbers"
RANDOM = "random numbers: NumPy's own generator is part of the case"
LEFT_OUT: dict[str, str] = {
    "image_decoder": "files of images: nn.datasets reads them",
    "label_encoder": TEXTS,
    "regex_full_match": TEXTS,
    "string": TEXTS,
    "strnormalizer": TEXTS,
    "tfidf": "features of texts",
    "tree_ensemble": "trees are no networks",
    "bernoulli": RANDOM,
    "training_dropout_default": RANDOM,
    "training_dropout_mask": RANDOM,
    "training_dropout_default_mask": RANDOM,
    "training_dropout": RANDOM,
}
"""The cases that do not run, by a part of their names, with the reason."""
AT_ZERO_RATIO = "zero_ratio"
EXCEPT = {
    "torch": {
        "bitwise_not_3d": "PyTorch has few functions for uint16; int32 stands for it, which has other bits",
    },
}
ON_JAX = [
    "test_add",
    "test_conv_with_strides_padding",
    "test_dynamicquantizelinear",
    "test_gather_0",
    "test_gru_defaults",
    "test_if",
    "test_layer_normalization_4d_axis1",
    "test_loop11",
    "test_lstm_defaults",
    "test_matmul_2d",
    "test_maxpool_2d_default",
    "test_quantizelinear",
    "test_reduce_sum_do_not_keepdims_example",
    "test_reshape_zero_dim",
    "test_resize_upsample_scales_linear",
    "test_scatternd_add",
    "test_softmax_axis_1",
    "test_top_k",
]
"""JAX compiles each operation: a case of each family, and all of them with `--every-case`."""


class Case(NamedTuple):
    """One test of an operator."""

    name: str
    model: Any
    data: Any
    rtol: float


def _numbers(model: Any) -> Iterator[int]:
    """The dtypes of inputs and outputs."""

    def inside(kind: Any) -> Iterator[int]:
        which = kind.WhichOneof("value")
        if which == "tensor_type":
            yield kind.tensor_type.elem_type
        elif which in ("sequence_type", "optional_type"):
            yield from inside(getattr(kind, which).elem_type)

    for value in (*model.graph.input, *model.graph.output):
        yield from inside(value.type)


@cache
def cases() -> dict[str, Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every = load_model_tests(kind="node")
    direct = [each for each in every if "_expanded" not in each.name]
    fits = [each for each in direct if all(0 < n <= NEWEST_OF_NUMPY for n in _numbers(each.model))]
    return {each.name: Case(each.name, each.model, each.data_sets, each.rtol) for each in fits}


def reason(name: str, flag: str) -> str:
    """Why a case does not run; "" if it does."""
    if AT_ZERO_RATIO in name:
        return ""
    short = name.removeprefix("test_")
    for part, why in (LEFT_OUT | EXCEPT.get(flag, {})).items():
        if part in short:
            return why
    return ""


def names(flag: str, *, every: bool = False) -> list[str]:
    return [name for name in cases() if not reason(name, flag) and (every or flag != "jax" or name in ON_JAX)]


def plain(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return [plain(each) for each in x]
    return numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x


def same(be: Any, got: Any, want: Any, rtol: float) -> None:
    if isinstance(want, list):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            same(be, one, other, rtol)
    elif want is None or (want.dtype == object and want.size == 1):
        assert got is None
    else:
        got = be.to_numpy(got)
        assert got.shape == want.shape
        if be.name == "numpy":
            assert got.dtype == want.dtype
        rounding = 2.0**-9 if want.dtype == np.float16 else rtol  # libraries round products in float16 differently
        np.testing.assert_allclose(got, want, rtol=max(rtol, rounding), atol=1e-6)


def run(case: Case, be: Any) -> None:
    for inputs, outputs in case.data:
        program = Program(read_bytes(case.model.SerializeToString(), Path(), case.name), be)
        given = dict(zip((value.name for value in program.inputs), plain(list(inputs)), strict=True))
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = program(given)
        for got, want in zip(found.values(), plain(list(outputs)), strict=True):
            same(be, got, want, case.rtol)


@pytest.mark.timeout(7200)  # of all cases on JAX, which compiles several operations for each
@pytest.mark.parametrize("flag", ["numpy", "torch", "jax"])
def test_operators_compute_as_defined(flag: str, pytestconfig: pytest.Config) -> None:
    """All in one test: there are more than a thousand, of a few milliseconds each."""
    be = nn.backend(flag)
    failed: list[str] = []
    for name in names(flag, every=pytestconfig.getoption("--every-case")):
        try:
            run(cases()[name], be)
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
    assert not failed, "\n".join(failed)


def test_almost_all_cases_run() -> None:
    every = cases()
    for flag in ("numpy", "torch"):
        assert len([name for name in every if not reason(name, flag)]) >= 0.95 * len(every)


def test_the_page_is_as_the_tests() -> None:
    from tests.onnx import page

    assert page.PAGE.read_text(encoding="utf-8") == page.text(), "run: python -m tests.onnx.page"
