"""Predictions of Dask collections: computed later, where the blocks are, to the bits of one array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.conftest import WHY_NOT

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

RNG = np.random.default_rng(5)
NETWORKS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "dense": (lambda: nn.Network(nn.Dense(64, "relu"), nn.Dense(7)), (54,)),
    "images": (lambda: nn.Network(nn.Conv2D(4, 3, activation="relu"), nn.Flatten(), nn.Dense(3)), (6, 5, 2)),
    "image to image": (lambda: nn.Network(nn.Conv2D(3, 3, padding="same")), (6, 5, 2)),
}
BLOCKS = [(1, 1, 400, 2, 1, 595), (1000,), (333, 333, 334), (0, 999, 1), tuple([7] * 142 + [6])]


def model_and_rows(name: str, flag: str = "numpy", dtype: str = "float32") -> tuple[nn.Model, np.ndarray]:
    network, shape = NETWORKS[name]
    model = network().init(shape, seed=0, backend=flag, dtype=dtype)
    return model, RNG.normal(size=(1000, *shape)).astype(dtype)


@pytest.mark.parametrize("blocks", BLOCKS, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("engine", ["layers", "numpy", "auto"])
def test_any_blocks_give_the_bits_of_one_array(name: str, blocks: tuple[int, ...], engine: str) -> None:
    model, X = model_and_rows(name)
    lazy = model.predict(da.from_array(X, chunks=(blocks, *X.shape[1:])), batch_size=256, engine=engine)
    want = model.predict(X, batch_size=256, engine=engine)
    assert lazy.chunks[0] == blocks
    assert (lazy.shape, lazy.dtype) == (want.shape, want.dtype)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), want)


def test_usual_batches_have_1024_rows() -> None:
    model, _ = model_and_rows("dense")
    X = RNG.normal(size=(3001, 54)).astype("float32")
    lazy = model.predict(da.from_array(X, chunks=(17, 10)))  # blocks of columns are joined
    np.testing.assert_array_equal(lazy.compute(), model.predict(X, batch_size=1024))


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    model, X = model_and_rows("dense")
    want = model.predict(X, batch_size=1024)
    read: list[int] = []

    def block(x: Any) -> Any:
        read.append(len(x))
        return x

    lazy = model.predict(da.from_array(X, chunks=(250, 54)).map_blocks(block, meta=np.empty((0, 0), X.dtype)))
    assert not read
    model.theta = model.theta * 0  # it is the model as it was that predicts
    np.testing.assert_array_equal(lazy[:10].compute(), want[:10])
    assert read == [250]


def test_the_same_model_is_sent_once() -> None:
    model, X = model_and_rows("dense")
    graphs = [dict(each.predict(da.from_array(X, chunks=(250, 54))).dask) for each in (model, model.copy())]
    sent = [{key for key in graph if str(key).startswith("nnarray-model-")} for graph in graphs]
    assert sent[0] == sent[1]
    assert len(sent[0]) == 1


def test_a_dataframe_without_known_lengths() -> None:
    frames, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    model, X = model_and_rows("dense")
    frame = frames.from_pandas(pandas.DataFrame(X), npartitions=3)
    lazy = model.predict(frame)
    assert all(np.isnan(length) for length in lazy.chunks[0])
    np.testing.assert_allclose(lazy.compute(), model.predict(X), rtol=1e-4, atol=1e-6)
    known = model.predict(frame.to_dask_array(lengths=True))
    np.testing.assert_array_equal(known.compute(), model.predict(X, batch_size=1024))


@pytest.mark.skipif(bool(WHY_NOT["cupy"]), reason="CuPy cannot be used here")
def test_blocks_on_a_gpu_stay_there() -> None:
    import cupy

    model, X = model_and_rows("dense", "cupy")
    there = da.from_array(X, chunks=(300, 54)).map_blocks(cupy.asarray, meta=cupy.empty((0, 0), dtype="float32"))
    outputs = model.predict(there).compute(scheduler="synchronous")
    assert isinstance(outputs, cupy.ndarray)
    np.testing.assert_array_equal(cupy.asnumpy(outputs), cupy.asnumpy(model.predict(cupy.asarray(X), batch_size=1024)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_processes_of_a_cluster_predict(tmp_path: Any) -> None:
    distributed = pytest.importorskip("distributed")
    model, X = model_and_rows("dense")
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "local_directory": str(tmp_path)}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster):
        outputs = model.predict(da.from_array(X, chunks=(300, 54))).compute()
    np.testing.assert_allclose(outputs, model.predict(X, batch_size=1024), rtol=1e-5, atol=1e-6)


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "shape": (lambda: da.zeros((10, 53)), ValueError, r"expects \(batch, 54\).*got X of shape \(10, 53\)"),
    "axes": (lambda: da.zeros(10), ValueError, r"got X of shape \(10,\)"),
    "text": (lambda: da.from_array(np.full((10, 54), "a")), TypeError, "X must have real numbers; got dtype <U1"),
    "bag": (lambda: dask.delayed([1.0]), TypeError, "X must be a Dask array or dataframe"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_before_it_is_computed(name: str) -> None:
    X, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        model_and_rows("dense")[0].predict(X())


def test_nan_is_refused_where_it_is() -> None:
    model, X = model_and_rows("dense")
    X[420, 3] = np.nan
    lazy = model.predict(da.from_array(X, chunks=(300, 54)))
    with pytest.raises(ValueError, match=r"X\[300:600\] contains NaN or infinity: row 120, column 3"):
        lazy.compute()
    plain = model.predict(da.from_array(X, chunks=(300, 54)), check_finite=False)
    assert np.isnan(plain.compute()[420]).all()


def test_masks_of_a_collection_are_looked_at_in_an_evaluation() -> None:
    model = nn.Network(nn.Embedding(5, 3, padding_index=0), nn.Dense(5)).init((4,), seed=0)
    X = np.asarray([[3, 1, 0, 0], [2, 2, 4, 0], [1, 4, 3, 2]])
    lazy, y, loss = da.from_array(X, chunks=(2, 4)), np.where(X == 0, -1, X), nn.losses.CrossEntropy(ignore_index=-1)
    assert dict(model.evaluate(lazy, y, loss=loss)) == dict(model.evaluate(X, y, loss=loss))
    with pytest.raises(ValueError, match="y has labels at masked positions"):
        model.evaluate(lazy, lazy, loss=loss)
