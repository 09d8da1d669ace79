"""What comes in by `Backend.asarray` keeps its value, or is refused: numbers, sparse arrays, frames and series."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

import nnarray as nn
from nnarray import backends, estimators
from tests.packages import need, package
from tests.processes import run_python

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pl = package("polars")

# --- Numbers that a dtype cannot hold ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind", "wanted", "said"),
    [
        ([2**32 + 7, 1], "uint64", "int32", "int32 cannot hold 4294967303, of dtype uint64 at index (0,)"),
        ([1, 2**63], "uint64", "int64", "int64 cannot hold 9223372036854775808, of dtype uint64 at index (1,)"),
        ([1, -1], "int64", "uint8", "uint8 cannot hold -1, of dtype int64"),
        ([1.0, np.nan], "float32", "int32", "int32 cannot hold nan, of dtype float32"),
        ([1.0, np.inf], "float32", "int32", "int32 cannot hold inf, of dtype float32"),
        ([1.0, 1.5], "float32", "int32", "int32 cannot hold 1.5, of dtype float32"),
        ([1.0, 2.0**63], "float32", "int64", "int64 cannot hold 9.22337"),
        ([0, 2], "int64", "bool", "bool cannot hold 2, of dtype int64"),
        (
            [[0.0, 0.0], [0.0, 1e39]],
            "float64",
            "float32",
            "float32 cannot hold 1e+39, of dtype float64 at index (1, 1)",
        ),
        ([7e4, 0.0], "float32", "float16", "float16 cannot hold 70000.0, of dtype float32"),
        ([70000, 0], "int32", "float16", "float16 cannot hold 70000, of dtype int32"),
    ],
)
def test_a_number_that_the_dtype_cannot_hold_is_refused(
    be: nn.Backend, given: Any, kind: str, wanted: str, said: str
) -> None:
    remedy = "Pass another dtype=, or change such numbers"
    if wanted == "float16" and wanted not in be.dtypes:
        said, remedy = f"backend {be.name!r} has no dtype 'float16'", "it has float32"
    host = np.asarray(given, dtype=kind)
    ways = [host, torch.from_numpy(host), jax.numpy.asarray(host)]
    if kind != "float64" or kind in be.dtypes:
        ways.append(be.xp.asarray(host.tolist(), dtype=getattr(be.xp, kind), device=be.device))
    for each in ways:
        if kind == "uint64" and isinstance(each, torch.Tensor):
            continue  # PyTorch hardly computes with it: the test below
        with pytest.raises(ValueError, match=remedy) as error:
            be.asarray(each, dtype=wanted)
        assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("given", "kind", "wanted"),
    [
        ([0, 255], "int64", "uint8"),
        ([-(2**31), 2**31 - 1], "int64", "int32"),
        ([0.0, -3.0], "float32", "int8"),
        ([0, 1], "int64", "bool"),
        ([np.inf, np.nan, 3e38], "float32", "float32"),
        ([np.inf, -np.inf, 0.1], "float64", "float32"),
        ([2**53 + 1, 2**62], "int64", "float32"),
        ([1e-300], "float64", "float32"),
    ],
)
def test_what_the_dtype_holds_or_rounds_comes_in(be: nn.Backend, given: Any, kind: str, wanted: str) -> None:
    host = np.asarray(given, dtype=kind)
    x = be.asarray(host, dtype=wanted)
    np.testing.assert_array_equal(be.to_numpy(x), host.astype(wanted))
    again = be.asarray(be.asarray(host), dtype=wanted)
    np.testing.assert_allclose(be.to_numpy(again).astype(float), host.astype(wanted).astype(float), rtol=1e-6)


def test_parameters_and_files_too(be: nn.Backend, tmp_path: Any) -> None:
    model = nn.Network(nn.Dense(2)).init((2,), backend=be, dtype="float32")
    before = be.to_numpy(model.theta).copy()
    for call in (
        lambda: model.set_params({"0.bias": np.asarray([0.0, 1e39])}),
        lambda: model.load_state_dict({"0.weight": np.full((2, 2), 1e39), "0.bias": np.zeros(2)}),
        lambda: model.load_torch({"0.weight": np.full((2, 2), 1e39), "0.bias": np.zeros(2)}),
    ):
        with pytest.raises(ValueError, match="float32 cannot hold 1e\\+39, of dtype float64"):
            call()
    np.testing.assert_array_equal(be.to_numpy(model.theta), before)
    model.set_params({"0.bias": [0.0, 1e6]}).save(tmp_path / "m.safetensors")
    if "float16" in be.dtypes:
        with pytest.raises(ValueError, match=r"float16 cannot hold 1e\+06"):
            model.to(be, dtype="float16")
        with pytest.raises(ValueError, match=r"float16 cannot hold 1e\+06"):
            nn.load(tmp_path / "m.safetensors", backend=be, dtype="float16")


def test_weights_that_the_model_cannot_hold_are_refused(be: nn.Backend) -> None:
    if "float64" not in be.dtypes:  # then there are no such weights
        with pytest.raises(ValueError, match=r"float32 cannot hold 1e\+39"):
            be.asarray(np.asarray([1.0, 1e39]))
        return
    model = nn.Network(nn.Dense(2)).init((2,), backend=be, dtype="float32")
    X, y = be.asarray(np.zeros((2, 2))), be.asarray(np.asarray([0, 1]))
    with pytest.raises(
        ValueError, match="sample_weight has numbers that float32, the model's dtype, cannot hold: row 1"
    ):
        model.fit(X, y, sample_weight=be.asarray(np.asarray([1.0, 1e39])))


def test_jax_without_x64_says_so() -> None:
    code = """
import numpy as np, torch, nnarray as nn
be = nn.backend("jax")
for x in (np.asarray([2**32 + 7], "uint64"), np.asarray([2**40]), [2**40], 1e39, np.asarray([1e39]),
          torch.tensor([2**40]), torch.tensor([1e39], dtype=torch.float64)):
    try:
        print("gave", be.asarray(x))
    except ValueError as error:
        assert "JAX_ENABLE_X64=1" in str(error) and "jax_enable_x64" in str(error), error
        print(str(error).split(",")[0])
try:
    be.asarray(np.asarray([300]), dtype="uint8")
except ValueError as error:
    assert "x64" not in str(error), error  # which would not help
print(be.asarray(np.asarray([7], "uint64")), be.asarray(np.asarray([2**32 + 7], "uint64"), dtype="float32"))
"""
    environment = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0", "PATH": ""}
    done = run_python(code, "-W", "error", env=environment)
    assert done.stdout.splitlines() == [
        "int32 cannot hold 4294967303",
        "int32 cannot hold 1099511627776",
        "int32 cannot hold 1099511627776",
        "float32 cannot hold 1e+39",
        "float32 cannot hold 1e+39",
        "int32 cannot hold 1099511627776",
        "float32 cannot hold 1e+39",
        "[7] [4.2949673e+09]",
    ], done.stderr


# --- dtypes that not every library has ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_dtypes_of_others_keep_their_values(be: nn.Backend, kind: Any) -> None:
    host = np.asarray([[1.5, -0.25]], dtype=kind)
    for given in (host, jax.numpy.asarray(host)):
        x = be.asarray(given)
        assert backends.namespace(x) is be.xp
        assert be.xp.isdtype(x.dtype, "real floating")
        assert be.to_numpy(be.asarray(x, dtype="float32")).tolist() == [[1.5, -0.25]]


FEW_BITS = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "int4", "uint4"]
OF_PYTORCH = FEW_BITS[:3]  # it cannot fill an array of the others


@pytest.mark.parametrize(("owner", "kind"), [*product(("numpy", "jax"), FEW_BITS), *product(("torch",), OF_PYTORCH)])
def test_numbers_of_few_bits_arrive_as_they_are(be: nn.Backend, owner: str, kind: str) -> None:
    """As integers if they are some; and no library keeps what another one cannot fetch."""
    values = [1.0, 2.0] if "int" in kind else [1.5, 2.0]
    if owner == "torch":
        given: Any = torch.tensor(values).to(getattr(torch, kind))
    else:
        given = np.asarray(values, dtype=getattr(ml_dtypes, kind))
        given = jax.numpy.asarray(given) if owner == "jax" else given
    x = be.asarray(given)
    assert be.to_numpy(x).tolist() == values
    assert be.xp.isdtype(be.asarray(be.to_numpy(x)).dtype, "integral" if "int" in kind else "real floating")
    assert be.to_numpy(be.asarray(given, dtype="float32")).tolist() == values
    if "int" not in kind:
        with pytest.raises(ValueError, match=r"int32 cannot hold 1\.5"):
            be.asarray(given, dtype="int32")


NO_REAL_NUMBERS = {
    "complex": np.asarray([1.5j]),
    "complex halves": lambda: torch.tensor([1.5j]).to(torch.complex32),  # which PyTorch warns of
    "complex of JAX": jax.numpy.asarray([1.5j]),
    "dates": np.asarray(["2024-01-01"], dtype="datetime64[D]"),
    "durations": np.asarray([3], dtype="timedelta64[s]"),
    "texts": np.asarray(["1.5"]),
    "texts of any length": np.asarray(["1.5"], dtype=np.dtypes.StringDType()),
    "bytes": np.asarray([b"1.5"]),
    "objects": np.asarray([1.5], dtype=object),
    "records": np.zeros(2, dtype=[("a", float)]),
}


@pytest.mark.parametrize("name", NO_REAL_NUMBERS)
@pytest.mark.parametrize("dtype", [None, "float32"])
@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_what_is_of_no_real_numbers_is_refused(be: nn.Backend, name: str, dtype: str | None) -> None:
    given: Any = NO_REAL_NUMBERS[name]
    with pytest.raises(TypeError, match=r"an array of real numbers is needed; got .*dtype .*Convert it"):
        be.asarray(given() if callable(given) else given, dtype=dtype)


@pytest.mark.parametrize("dtype", ["complex64", "float8_e5m2", "int4", "datetime64", "str", "sum"])
def test_a_dtype_that_cannot_be_computed_with_cannot_be_asked_for(be: nn.Backend, dtype: str) -> None:
    with pytest.raises(ValueError, match=f"has no dtype '{dtype}'; it has .*float32"):
        be.asarray([1.0], dtype=dtype)


@pytest.mark.parametrize("kind", ["uint16", "uint32", "uint64"])
def test_unsigned_integers_of_torch_are_computed_with(kind: str) -> None:
    be = nn.backend("torch")
    X, labels = nn.datasets.moons(40, noise=0.1, seed=0, backend=be, dtype="float32")
    y = labels.to(getattr(torch, kind))
    assert be.asarray(y).dtype == torch.int64
    assert be.asarray(be.to_numpy(labels).astype(kind)).dtype == torch.int64
    nets = [nn.Network(nn.Dense(2)).init((2,), backend=be, dtype="float32") for _ in range(2)]
    rows = [
        net.fit(X, each, epochs=2, validation=0.2, metrics=["accuracy"])
        for net, each in zip(nets, (y, labels), strict=True)
    ]
    assert rows[0]["val_accuracy"] == rows[1]["val_accuracy"]
    with pytest.warns(ConvergenceWarning):
        fitted = estimators.MLPClassifier((3,), max_iter=2, early_stopping=True).fit(X, y)
    assert fitted.score(X, y) == fitted.score(X, labels)
    with pytest.raises(ValueError, match="int64 cannot hold 18446744073709551615, of dtype uint64"):
        be.asarray(np.asarray([2**64 - 1], dtype="uint64"))


# --- What holds its numbers in another way ------------------------------------------------------------------------

EYE = torch.eye(4)
TENSORS = {
    "COO": (EYE.to_sparse(), "to_dense"),
    "CSR": (lambda: EYE.to_sparse_csr(), "to_dense"),
    "CSC": (lambda: EYE.to_sparse_csc(), "to_dense"),
    "BSR": (lambda: EYE.to_sparse_bsr((2, 2)), "to_dense"),
    "BSC": (lambda: EYE.to_sparse_bsc((2, 2)), "to_dense"),
    "mkldnn": (lambda: EYE.to_mkldnn(), "to_dense"),
    "nested": (lambda: torch.nested.nested_tensor(list(EYE)), "to_padded_tensor"),
    "jagged": (lambda: torch.nested.nested_tensor(list(EYE), layout=torch.jagged), "to_padded_tensor"),
    "quantized": (lambda: torch.quantize_per_tensor(EYE, 1.0, 0, torch.quint8), "dequantize"),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.filterwarnings("ignore")  # PyTorch's own, of what is in beta or deprecated
def test_tensors_of_another_layout_are_sent_back_with_the_remedy(name: str) -> None:
    given, remedy = TENSORS[name]
    given = given() if callable(given) else given
    be = nn.backend("torch")
    model, y = nn.Network(nn.Dense(2)).init((4,), backend=be, dtype="float32"), torch.arange(4) % 2
    sides = nn.Network(nn.Dense(4)).init((4,), backend=be, dtype="float32")
    for call in (
        lambda: model(given),
        lambda: model.predict(given),
        lambda: model.fit(given, y),
        lambda: sides.fit(EYE, given, loss="mse"),
        lambda: sides.fit(EYE, EYE, loss="mse", sample_weight=given),
        lambda: nn.value_and_grad(model, given, y),
        lambda: be.asarray(given),
        lambda: nn.backend("numpy").asarray(given),
        lambda: nn.backend("jax").asarray(given),
    ):
        with pytest.raises(TypeError, match=rf"cannot be computed with here.*x\.{remedy}"):
            call()
    dense = getattr(given, remedy)(*([0.0] if remedy == "to_padded_tensor" else []))
    assert model(dense).shape == (4, 2)


def test_a_tensor_without_numbers_is_refused() -> None:
    with pytest.raises(TypeError, match="a tensor on the device 'meta' has no numbers"):
        nn.backend("numpy").asarray(torch.ones(2, device="meta"))


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr"])
def test_sparse_arrays_are_sent_back_with_the_remedy(be: nn.Backend, kind: str) -> None:
    given = getattr(sparse, f"{kind}_array")(np.eye(4))
    model = nn.Network(nn.Dense(2)).init((4,), backend=be, dtype="float32")
    for call in (lambda: model(given), lambda: be.asarray(given)):
        with pytest.raises(
            TypeError, match=r"sparse array cannot be computed with here; make it dense with \w\.toarray"
        ):
            call()
    assert be.asarray(given.toarray()).shape == (4, 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_sparse_arrays_of_jax_are_sent_back_with_the_remedy(be: nn.Backend) -> None:
    experimental = pytest.importorskip("jax.experimental.sparse")
    given = experimental.BCOO.fromdense(jax.numpy.eye(3))
    with pytest.raises(TypeError, match=r"make it dense with x\.todense\(\)"):
        be.asarray(given)
    assert be.asarray(given.todense()).shape == (3, 3)


# --- Frames, tables and series --------------------------------------------------------------------------------------

HALF = [Decimal("0.5"), None]
NULLS: dict[str, tuple[Any, list[Any]]] = {
    "pandas, boolean": (pd.Series([True, pd.NA], dtype="boolean"), [1.0, None]),
    "pandas, integers": (pd.Series([1, pd.NA], dtype="Int64"), [1.0, None]),
    "pandas, Arrow's decimals": (pd.Series(HALF, dtype=pd.ArrowDtype(pa.decimal128(5, 2))), [0.5, None]),
    "pandas, objects": (pd.Series([1, None, 2.5], dtype=object), [1.0, None, 2.5]),
    "Polars, boolean": (pl.Series([True, None]), [1.0, None]),
    "Polars, integers": (pl.Series([1, None]), [1.0, None]),
    "Polars, decimals": (pl.Series(HALF), [0.5, None]),
    "Arrow, boolean": (pa.chunked_array([[True, None]]), [1.0, None]),
    "Arrow, decimals": (pa.array(HALF), [0.5, None]),
}


@pytest.mark.parametrize("name", NULLS)
def test_missing_entries_and_decimals_become_numbers(be: nn.Backend, name: str) -> None:
    given, want = NULLS[name]
    need(given)
    numbers = np.asarray([np.nan if each is None else each for each in want])
    np.testing.assert_array_equal(be.to_numpy(be.asarray(given)), numbers)
    if name.startswith("pandas"):
        frame = pd.DataFrame({"a": given, "b": 1.0})
    else:
        frame = pl.DataFrame({"a": given}) if name.startswith("Polars") else pa.table({"a": given})
    np.testing.assert_array_equal(be.to_numpy(be.asarray(frame))[:, 0], numbers)


def test_tables_of_arrow_come_in(be: nn.Backend) -> None:
    table = pa.table({"a": [1, 2], "b": [0.5, 1.5]})
    for given in (table, table.to_batches()[0]):
        assert be.to_numpy(be.asarray(given)).tolist() == [[1.0, 0.5], [2.0, 1.5]]
    with pytest.raises(TypeError, match=r"columns \['b'\] do not have numbers"):
        be.asarray(pa.table({"a": [1], "b": ["x"]}))


def test_columns_of_one_text_stay_apart(be: nn.Backend) -> None:
    frame = pd.DataFrame({1: [1.0, 2.0], "1": [3.0, 4.0]})
    assert be.to_numpy(be.asarray(frame)).tolist() == [[1.0, 3.0], [2.0, 4.0]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (pl.DataFrame({"a": [[1, 2], [3]]}), r"columns \['a'\] do not have numbers"),
        (pl.Series([[1, 2], [3]]), "real numbers"),
        (pd.Series(["1.5", None], dtype=object), "real numbers"),
        (pl.LazyFrame({"a": [1]}), r"a LazyFrame is a query that is not computed yet; pass x\.collect\(\)"),
    ],
)
def test_what_holds_no_numbers_is_refused(be: nn.Backend, given: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        be.asarray(given)


def test_a_query_for_x_is_reported_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"query that is not computed yet; pass X\.collect\(\)"):
        nn.Network(nn.Dense(2)).init((1,))(pl.LazyFrame({"a": [1.0]}))  # type: ignore[arg-type]


def test_what_no_dtype_can_hold_is_named(be: nn.Backend) -> None:
    for value in (2**64, 10**400, -(2**63) - 1):
        for given in ([value], [[0, value]], pd.Series([10**400, value], dtype=object)):
            with pytest.raises(ValueError, match=r"no integer dtype can hold -?\d+.* at index \([01, ]*\): int64 ends"):
                be.asarray(given)
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max and be.library.name != "numpy":
        with pytest.raises(ValueError, match=r"float64 cannot hold 1e\+400"):
            be.asarray(np.asarray([np.longdouble("1e400")]))
    if "float64" in be.dtypes:
        wide = pl.Series([2**70, None], dtype=pl.Int128)
        assert be.to_numpy(be.asarray(wide))[0] == 2.0**70
        assert be.to_numpy(be.asarray(pl.DataFrame({"a": wide})))[0, 0] == 2.0**70


def test_large_unsigned_integers_of_torch_stay_exact(be: nn.Backend) -> None:
    torch = pytest.importorskip("torch")
    given = torch.asarray(np.asarray([2**63 + 5, 1], dtype="uint64"))
    if "uint64" not in be.dtypes or be.library.name in ("torch", "jax"):
        return
    for dtype in ("uint64", None):
        found = be.asarray(given, dtype=dtype)
        assert be.to_numpy(found).tolist() == [2**63 + 5, 1]


def test_messages_name_the_backend_of_the_model(be: nn.Backend) -> None:
    """What they say to write gives an array that the model takes."""
    model = nn.Network(nn.Dense(2)).init((1,), backend=be, dtype="float32")
    for given, says in (
        ([[0.5]], r"Make one with (nn\.backend\('[^']+'\)\.asarray\(X\))"),
        (0.5, r"write (nn\..*)\.$"),
    ):
        with pytest.raises(TypeError, match=says) as caught:
            model.predict(given)
        code = re.search(says, str(caught.value))
        assert code is not None
        assert model.predict(eval(code[1], {"nn": nn, "X": given})).shape == (1, 2)


@pytest.mark.parametrize("count", [10, 2**21])
def test_a_copy_is_equal_and_of_its_own_whatever_its_size(be, count):
    x = be.asarray(np.arange(count, dtype=np.float32))
    y = backends.copy(x)
    assert nn.namespace(y) is nn.namespace(x)
    assert y is not x
    assert np.array_equal(be.to_numpy(y), be.to_numpy(x))


@pytest.mark.parametrize("count", [10, 2**21])
def test_a_copy_of_a_tensor_is_not_changed_with_it_and_records_nothing(count):
    x = torch.arange(count, dtype=torch.float32).requires_grad_()
    y = backends.copy(x)
    assert not y.requires_grad
    x.data[0] = 7.0
    assert y[0] == 0.0
    assert not y.is_inference()
