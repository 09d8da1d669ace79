"""Every row of docs/errors.md: the bad call raises that error, says that, and loses nothing of the user's.

And what no table can say: arrays in any memory, extreme numbers, threads, processes, global generators.
"""

from __future__ import annotations

import builtins
import fcntl
import gzip
import importlib
import json
import os
import random
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BufferedRandom, FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from safetensors.numpy import save_file
from scipy.sparse import csc_array
from sklearn.decomposition import PCA
from typer.testing import CliRunner

import nnarray as nn
from nnarray import backends
from nnarray.apps.workflow.inputs import Rows as TableRows
from nnarray.backends import choosing
from nnarray.cli import app
from nnarray.estimators import MLPClassifier, MLPRegressor, NetworkClassifier
from nnarray.tables.containers import table_of
from nnarray.tables.formats import FORMATS
from nnarray.tables.preparation import Preparation
from nnarray.tables.read import open_table
from nnarray.tables.targets import ClassTarget
from nnarray.tables.text_format import USUAL, TextFormat
from nnarray.tables.words import TextColumn
from tests.processes import LIMIT, run_python, started

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"


# --- The page --------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """What the page says of one bad call."""

    section: str
    what: str
    error: str
    says: tuple[str, ...]
    remedy: str


def rows() -> list[Row]:
    found: list[Row] = []
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        for line in text.splitlines():
            cells = [cell.strip() for cell in re.split(r" \|(?= |$)", line[1:])[:-1]] if line.startswith("| ") else []
            if len(cells) == 4 and cells[1].startswith("`"):
                what, error, says, remedy = cells
                found.append(Row(title, what, error.strip("`"), tuple(re.findall("`([^`]+)`", says)), remedy))
    return found


ROWS = {row.what: row for row in rows()}


def error_called(name: str) -> type[BaseException]:
    """`ValueError`, `nn.DivergenceError`, `nn.datasets.UnreadableImage`, ..."""
    if not name.startswith("nn."):
        return getattr(builtins, name)
    found: Any = nn
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def says_all(message: str, parts: tuple[str, ...]) -> bool:
    """Whether the message has all the parts, in their order."""
    return re.search(".*".join(map(re.escape, parts)), message, re.DOTALL) is not None


# --- Who makes the bad calls -----------------------------------------------------------------------------------------

SMALL = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2))


def tokenizer_with_other_padding() -> None:
    """Rows are padded with a token that the model reads."""
    model = nn.Network(nn.Embedding(2, 4, padding_index=0), nn.Dense(2)).init((4,))
    model.tokenizer = nn.text.WordPieceTokenizer(("[UNK]", "[PAD]"), ends=False)


def masking() -> nn.Model:
    """A model of four tokens, of which 0 is padding."""
    return nn.Network(nn.Embedding(4, 4, padding_index=0), nn.Dense(4)).init((4,), seed=0)


def trained_on_nothing(y: int = -1) -> None:
    """All labels of the training, or of the validation, are those that do not count."""
    model, X = nn.Network(nn.Embedding(4, 4), nn.Dense(4)).init((4,), seed=0), np.ones((2, 4), dtype=int)
    loss = nn.losses.CrossEntropy(ignore_index=-1)
    model.fit(X, np.full_like(X, y), loss=loss, validation=(X, np.full_like(X, -1)))


def on_padding(call: str) -> None:
    """A label for each position, also for those that are padding."""
    X = np.asarray([[1, 2, 3, 0]])
    getattr(masking(), call)(X, X, loss=nn.losses.CrossEntropy(ignore_index=-1))


def decoded_twice() -> None:
    """Two tokens after the same one."""
    model = nn.Network(nn.Embedding(9, 4), nn.Dense(9)).init((4,))
    token = np.ones((1, 1), dtype=int)
    _, cache = model.decode(token, model.new_cache())
    for _ in range(2):
        model.decode(token, cache)


def decoded_from(**state: Any) -> None:
    """A recurrent layer that begins with states of its caller."""
    model = nn.Network(nn.GRU(2), nn.Dense(1)).init((4, 3), seed=0)
    model.decode(np.ones((1, 1, 3)), model.new_cache()._replace(layers={"0": state}))


def decoded_too_far() -> None:
    """One token more than the cache has room for."""
    model = nn.Network(nn.Embedding(9, 4), nn.Dense(9)).init((4,))
    _, cache = model.decode(np.ones((1, 4), dtype=int), model.new_cache())
    model.decode(np.ones((1, 1), dtype=int), cache)


def files_here() -> list[str]:
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(".") for name in names)


def bytes_of(path: str) -> bytes:
    with open(path, "rb") as file:  # a case may have patched Path's own way
        return file.read()


@dataclass
class Bench:
    """Good data and a model, in an empty folder: a case changes one thing."""

    be: nn.Backend
    patch: pytest.MonkeyPatch

    @cached_property
    def model(self) -> nn.Model:
        return SMALL.init((2,), backend=self.be, dtype="float32")

    @cached_property
    def X(self) -> Any:
        return self.be.asarray(np.arange(16.0).reshape(8, 2) / 16, dtype="float32")

    @cached_property
    def y(self) -> Any:
        return self.be.asarray(np.arange(8) % 2)

    def array(self, values: Any, dtype: str = "float32") -> Any:
        return self.be.asarray(np.asarray(values), dtype=dtype)

    def changed(self, row: int, column: int, value: float) -> Any:
        X = np.arange(16.0).reshape(8, 2) / 16
        X[row, column] = value
        return self.array(X)

    def elsewhere(self, values: Any) -> Any:
        """An array of another library."""
        return nn.backend("numpy" if self.be.library.name != "numpy" else "strict").asarray(values, dtype="float32")

    def fit(self, network: nn.Network | None = None, **change: Any) -> None:
        model = self.model if network is None else network.init((2,), backend=self.be, dtype="float32")
        call = {"X": self.X, "y": self.y, "epochs": 2, "batch_size": 4, "progress": False} | change
        model.fit(call.pop("X"), call.pop("y"), **call)

    def state(self) -> dict[str, Any]:
        """All that a refused call must leave alone."""
        host = self.be.to_numpy
        arrays = {"theta": host(self.model.theta), "state": host(self.model.state), "X": host(self.X)}
        facts = {
            "history": (id(self.model.history), dict(self.model.history.columns), self.model.history.steps),
            "files": {path: bytes_of(path) for path in files_here()},
        }
        return {name: array.tobytes() for name, array in arrays.items()} | facts | {"y": host(self.y).tobytes()}


Call = Callable[[], object]
Case = Callable[[Bench], Call]


def trained(b: Bench) -> nn.Model:
    """A model with a history to lose."""
    b.fit(epochs=1)
    return b.model


ONE = nn.Network(nn.Dense(1))


class EachStep(nn.Callback):
    """Looks at each step."""

    def on_step_end(self, run: nn.Run) -> None:
        """Nothing."""


def of_values(b: Bench) -> Call:
    model = SMALL.init((2,), backend=b.be, dtype="float32")
    model.loss = "mse"
    return lambda: model.predict_proba(b.X)


def fit_on(b: Bench, shape: Any, X: Any, y: Any, *layers: nn.Layer) -> None:
    """Of a network for examples of this shape."""
    network = nn.Network(*layers or (nn.Dense(5, "tanh"), nn.Dense(2)))
    network.init(shape, backend=b.be, dtype="float32").fit(X, y, epochs=1, progress=False)


class Twice(nn.Layer):
    """A layer of one's own, with a fault in `given`."""

    def __init__(self, given: Callable[[Any, Any], Any], scale: bool = False) -> None:
        super().__init__()
        object.__setattr__(self, "given", given)
        object.__setattr__(self, "scale", scale)

    def params(self, shape: Any) -> dict[str, Any]:
        return {"scale": nn.Param(shape, "ones")} if self.scale else {}  # type: ignore[attr-defined]

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
        return self.given(params, x)  # type: ignore[attr-defined]


def own(given: Callable[[Any, Any], Any], scale: bool = False) -> Case:
    return lambda b: lambda: b.fit(nn.Network(nn.Dense(2), Twice(given, scale), nn.Dense(2)), batch_size=None)


BY_NAME = nn.Inputs({"a": nn.Dense(3)})


def masked(b: Bench, mask: Any, *layers: nn.Layer) -> None:
    """A network that takes a mask is given this one."""
    X = {"values": b.array(np.ones((8, 2, 3))), "mask": mask}
    shape = {"values": (2, 3), "mask": tuple(mask.shape[1:])}
    fit_on(b, shape, X, b.y, nn.Masked(*(layers or (nn.Dense(2), nn.GlobalAvgPool()))))


DATA: dict[str, Case] = {
    "`X` with another number of features": lambda b: lambda: b.fit(X=b.X[:, :1]),
    "a single example": lambda b: lambda: b.model(b.X[0, :]),
    "`X` with an axis too many": lambda b: lambda: b.fit(X=b.be.xp.reshape(b.X, (8, 2, 1))),
    "no axis of examples, with a validation fraction": lambda b: lambda: b.fit(X=b.array(1.0), validation=0.25),
    "batches where an array is needed": lambda b: lambda: b.model.predict([(b.X, b.y)]),
    "a list instead of an array": lambda b: lambda: b.fit(X=[[0.0, 1.0]] * 8),
    "nothing instead of labels": lambda b: lambda: b.fit(y=None),
    "complex numbers": lambda b: (
        lambda: b.fit(X=b.be.xp.zeros((8, 2), dtype=b.be.xp.complex64, device=backends.device_of(b.X)))
    ),
    "integers without a vector": lambda b: (
        lambda: fit_on(
            b,
            (3,),
            b.array([[1, 2, 3], [0, 4, 5]], "int32"),
            b.y[:2],
            nn.Embedding(5, 2),
            nn.GlobalAvgPool(),
            nn.Dense(2),
        )
    ),
    "numbers that are not integers, for an embedding": lambda b: (
        lambda: fit_on(b, (2,), b.X, b.y, nn.Embedding(5, 2), nn.GlobalAvgPool(), nn.Dense(2))
    ),
    "a mapping for one array": lambda b: lambda: b.fit(X={"a": b.X}),
    "an array for inputs by name": lambda b: lambda: fit_on(b, {"a": (2,)}, b.X, b.y, BY_NAME, nn.Dense(2)),
    "an input that is missing": lambda b: lambda: fit_on(b, {"a": (2,)}, {"b": b.X}, b.y, BY_NAME, nn.Dense(2)),
    "a mask that holds numbers": lambda b: lambda: masked(b, b.array(np.ones((8, 2)))),
    "a layer that would let padding count": lambda b: (
        lambda: fit_on(
            b,
            (2,),
            b.array(np.eye(8, 2), "int32"),
            b.y,
            nn.Embedding(5, 2, padding_index=0),
            nn.BatchNorm(),
            nn.GlobalAvgPool(),
        )
    ),
    "a row of numbers for a recurrent layer": lambda b: lambda: fit_on(b, (2,), b.X, b.y, nn.LSTM(3), nn.LastStep()),
    "a mask of features for a recurrent layer": lambda b: (
        lambda: masked(b, b.array(np.ones((8, 2, 3)), "bool"), nn.GRU(3), nn.LastStep())
    ),
    "a sequence continued by a layer that reads both directions": lambda b: (
        nn.Network(nn.GRU(3, bidirectional=True), nn.Dense(2)).init((4, 2), backend=b.be).new_cache
    ),
    "a series that is shorter than a window": lambda b: lambda: nn.datasets.windows(b.X, 48),
    "the path of a file": lambda b: lambda: b.fit(X="X.npy"),
    "NaN in `X`": lambda b: lambda: b.fit(X=b.changed(3, 1, np.nan)),
    "infinity in `X`, at prediction": lambda b: lambda: b.model.predict(b.changed(7, 0, -np.inf)),
    "no examples": lambda b: lambda: b.fit(X=b.X[:0, :], y=b.y[:0]),
    "`X` and `y` of different lengths": lambda b: lambda: b.fit(y=b.y[:7]),
    "the same, with a validation fraction": lambda b: lambda: b.fit(y=b.y[:7], validation=0.25),
    "`X` and the model in two libraries": lambda b: lambda: b.model.predict(b.elsewhere(np.zeros((8, 2)))),
    "`y` in another library than `X`": lambda b: lambda: b.fit(y=b.elsewhere(np.zeros((8, 2))), loss="mse"),
    "a label that is no class": lambda b: lambda: b.fit(y=b.array([0, 1, 2, 0, 0, 1, 1, 1], "int32")),
    "labels that begin at 1": lambda b: lambda: b.fit(y=b.array(np.arange(8) % 2 + 1, "int32")),
    "faults of `X` and of `y`": lambda b: lambda: b.fit(X=b.X[:, :1], y=b.array([0, 1, 3, 0, 0, 1, 1, 1], "int32")),
    "a negative label": lambda b: lambda: b.fit(y=b.array([0, 1, -1, 0, 0, 1, 1, 1], "int32")),
    "labels that are no integers": lambda b: lambda: b.fit(y=b.array(np.arange(8) % 2), loss="cross_entropy"),
    "a class weight by name": lambda b: lambda: b.fit(class_weight="even"),
    "a group of no parameters": lambda b: lambda: b.fit(optimizer=nn.SGD(0.1, groups={"tail.*": {"lr": 0.1}})),
    "probabilities of values": of_values,
    "an evaluation of a model that nobody trained": lambda b: lambda: SMALL.init((2,), backend=b.be).evaluate(b.X, b.y),
    "names for other classes": lambda b: lambda: b.model.evaluate(b.X, b.y, loss="cross_entropy", classes=("a",)),
    "a callback of each step, where steps are not seen": lambda b: (
        lambda: b.fit(optimizer="lbfgs", batch_size=None, callbacks=[EachStep()])
    ),
    "labels in a column": lambda b: lambda: b.fit(y=b.y[:, None]),
    "a single output for classes": lambda b: lambda: b.fit(ONE, loss="cross_entropy"),
    "integers for one output, and no loss named": lambda b: lambda: b.fit(ONE),
    "integers in the outputs' shape, and no loss named": lambda b: lambda: b.fit(y=b.array(np.zeros((8, 2)), "int32")),
    "0 and 1 as real numbers, and no loss named": lambda b: lambda: b.fit(ONE, y=b.array(np.arange(8.0)[:, None] % 2)),
    "probabilities, and no loss named": lambda b: lambda: b.fit(y=b.array([[0.25, 0.75]] * 8)),
    "real values for labels, and no loss named": lambda b: lambda: b.fit(y=b.X[:, 0]),
    "negative probabilities as the target": lambda b: lambda: b.fit(y=b.array([[-1.0, 2.0]] * 8), loss="cross_entropy"),
    "targets outside of 0 to 1": lambda b: (
        lambda: b.fit(ONE, y=b.array(np.arange(8.0)[:, None] % 3), loss="binary_cross_entropy")
    ),
    "a target that would broadcast": lambda b: lambda: b.fit(ONE, y=b.array(np.zeros(8)), loss="mse"),
    "labels for a loss of values": lambda b: lambda: b.fit(loss="mse"),
    "NaN in the target": lambda b: lambda: b.fit(y=b.changed(2, 0, np.nan), loss="mse"),
    "a weight too few": lambda b: lambda: b.fit(sample_weight=b.array(np.ones(7))),
    "a negative weight": lambda b: lambda: b.fit(sample_weight=b.array(-np.ones(8))),
    "NaN among the weights": lambda b: lambda: b.fit(sample_weight=b.array([1, np.nan, 1, 1, 1, 1, 1, 1])),
    "validation data of another shape": lambda b: lambda: b.fit(validation=(b.array(np.zeros((4, 3))), b.y[:4])),
    "a validation fraction that leaves nothing": lambda b: lambda: b.fit(validation=0.01),
    "validation that is something else": lambda b: lambda: b.fit(validation="some"),
    "outputs to look at that are none": lambda b: lambda: b.model.input_gradient(b.X, b.array([5] * 8, "int32")),
    "a network made by `init(X.shape)`": lambda b: lambda: fit_on(b, (8, 2), b.X, b.y),
    "one feature without an axis": lambda b: lambda: fit_on(b, (1,), b.X[:, 0], b.y),
    "images with channels first": lambda b: (
        lambda: fit_on(b, (8, 6, 3), b.be.xp.zeros((8, 3, 8, 6), device=backends.device_of(b.X)), b.y)
    ),
    "examples in columns": lambda b: lambda: b.model(b.X.T),
    "real values, and no loss named": lambda b: lambda: b.fit(ONE, y=b.X[:, 0]),
    "real values for labels": lambda b: lambda: b.fit(y=b.X[:, 0], loss="cross_entropy"),
    "targets that are no probabilities": lambda b: lambda: b.fit(y=b.array(np.ones((8, 2))), loss="cross_entropy"),
    "labels for outputs that have positions": lambda b: (
        lambda: fit_on(b, (8, 8, 1), b.array(np.zeros((8, 8, 8, 1))), b.y, nn.Conv2D(4, 3), nn.Dense(2))
    ),
    "softmax before the loss that has one": lambda b: lambda: b.fit(nn.Network(nn.Dense(2, "softmax"))),
    "an unknown loss": lambda b: lambda: b.fit(loss="crossentrpy"),
    "an unknown optimizer": lambda b: lambda: b.fit(optimizer="adma"),
    "an unknown metric": lambda b: lambda: b.fit(metrics=["acuracy"]),
    "a function for a loss": lambda b: lambda: b.fit(loss=print),
    "a function for an optimizer": lambda b: lambda: b.fit(optimizer=print),
    "early stopping of an estimator without weights": lambda b: (
        lambda: NetworkClassifier(early_stopping=True, validation_fraction=0.5, random_state=0).fit(
            b.X, b.y, sample_weight=b.array([0, 0, 1, 0, 0, 0, 0, 0])
        )
    ),
    "a metric that is no function": lambda b: lambda: b.fit(metrics=[3]),
    "sizes of layers in place of the loss": lambda b: lambda: MLPRegressor((32, 32)).fit(b.X, b.y),  # type: ignore
    "sizes of layers as text": lambda b: lambda: MLPClassifier("64,64").fit(b.X, b.y),  # type: ignore[arg-type]
    "ROC AUC of a single class": lambda b: lambda: nn.metrics.roc_auc(b.X[:, 0], b.array(np.zeros(8), "int32")),
    "an average over examples of one class each": lambda b: (
        lambda: nn.metrics.f1(b.X, b.array(np.arange(8) % 2, "int32"), average="samples")
    ),
    "weights of classes by label": lambda b: lambda: nn.losses.CrossEntropy(class_weights={1: 9.0, 2: 1.0}),  # type: ignore[arg-type]
    "a step without slots": lambda b: lambda: nn.Adam().step(b.model, b.model.theta, {}, 0),
}


def in_jit(b: Bench) -> Call:
    jax, there = pytest.importorskip("jax"), nn.backend("jax")
    model, y = SMALL.init((2,), backend=there, dtype="float32"), there.asarray(np.zeros(8, dtype="int32"))
    return lambda: jax.jit(lambda X: model.fit(X, y))(there.asarray(np.zeros((8, 2), dtype="float32")))


def of_torch(tensor: Callable[[Any], Any]) -> Case:
    """A model on PyTorch is given the tensor that the function makes."""

    def case(b: Bench) -> Call:
        torch = pytest.importorskip("torch")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own, of what is in beta or deprecated
            given = tensor(torch)
        return lambda: SMALL.init((2,), backend="torch")(given)

    return case


def recorded_target(b: Bench) -> Call:
    torch = pytest.importorskip("torch")
    return lambda: nn.losses.MeanSquaredError()(torch.ones(2, 1), torch.ones(2, 1, requires_grad=True))


def theta_of_jit(b: Bench) -> Call:
    jax, model = pytest.importorskip("jax"), SMALL.init((2,), backend="jax", dtype="float32")
    return lambda: jax.jit(lambda theta: setattr(model, "theta", theta))(model.theta)


def table_to_map(b: Bench) -> Call:
    Path("data.csv").write_text("a,b\n1,2\n")
    return lambda: nn.datasets.memory_mapped("data.csv")


def pairs(b: Bench, *others: Any) -> nn.datasets.Stream:
    return nn.datasets.stream([(b.X, b.y), *others])


def streamed(wrong: Callable[[Bench], Any] | None = None) -> Case:
    """Two batches, of which the second is wrong; or none."""
    return lambda b: lambda: b.model.copy().fit(nn.datasets.stream([]) if wrong is None else pairs(b, wrong(b)))


def used_up(b: Bench) -> Call:
    once = iter([(b.X, b.y)])
    return lambda: b.model.copy().fit(nn.datasets.stream(lambda: once))


def archive_to_map(save: Callable[..., None], name: str | None, **arrays: Any) -> Case:
    def case(b: Bench) -> Call:
        save("data.npz", **arrays)
        return lambda: nn.datasets.memory_mapped("data.npz", name)

    return case


DATA_OF_ONE: dict[str, Case] = {
    "text": lambda b: lambda: b.fit(X=np.full((8, 2), "a")),
    "dates": lambda b: lambda: b.fit(X=np.full((8, 2), np.datetime64("2020-01-01"))),
    "Python objects": lambda b: lambda: b.fit(X=np.full((8, 2), None)),
    "a masked array": lambda b: lambda: b.fit(X=np.ma.masked_array(np.ones((8, 2)), mask=np.eye(8, 2))),
    "numbers that the model's dtype cannot hold": lambda b: lambda: b.fit(X=np.arange(16.0).reshape(8, 2) * [1e300, 0]),
    "a target that the model's dtype cannot hold": lambda b: lambda: b.fit(y=np.full((8, 2), 1e300), loss="mse"),
    "weights that the model's dtype cannot hold": lambda b: (
        lambda: b.fit(sample_weight=np.asarray([1, 1, 1, 1, 1, 1, 1, 1e39]))
    ),
    "a number that the dtype asked for cannot hold": lambda b: lambda: b.be.asarray([1, 300], dtype="int8"),
    "a sparse tensor of PyTorch": of_torch(lambda torch: torch.eye(2).to_sparse_csc()),
    "a nested tensor of PyTorch": of_torch(lambda torch: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])),
    "a quantized tensor of PyTorch": of_torch(
        lambda torch: torch.quantize_per_tensor(torch.eye(2), 1.0, 0, torch.quint8)
    ),
    "a tensor without numbers": of_torch(lambda torch: torch.ones(2, 2, device="meta")),
    "a target with a gradient record": recorded_target,
    "a sparse array of SciPy or JAX": lambda b: lambda: b.fit(X=csc_array(np.eye(8, 2))),
    "a query of Polars": lambda b: lambda: b.be.asarray(polars().LazyFrame({"a": [1]})),
    "parameters that exist inside of `jax.jit` only": theta_of_jit,
    "numbers that an estimator's dtype cannot hold": lambda b: (
        lambda: (
            NetworkClassifier(epochs=1, dtype="float32")
            .fit(b.X, b.y)
            .predict(np.arange(16.0).reshape(8, 2) * [1e39, 0])
        )
    ),
    "two devices of one library": lambda b: (
        lambda: SMALL.init((2,), backend="strict")(nn.backend("strict:device1").asarray(np.zeros((8, 2))))
    ),
    "training inside `jax.jit`": in_jit,
    "an iterator for a stream": lambda b: lambda: nn.datasets.stream(iter([(b.X, b.y)])),
    "no batches for a stream": lambda b: lambda: nn.datasets.stream(3),  # type: ignore[arg-type]
    "a stream that is used up": used_up,
    "a stream without batches": streamed(),
    "a batch of a stream that is no pair": streamed(lambda b: b.X),
    "a batch of a stream of another shape": streamed(lambda b: (b.X[:, :1], b.y)),
    "a batch of a stream with weights, unlike others": streamed(lambda b: (b.X, b.y, np.ones(len(b.X)))),
    "y beside a stream": lambda b: lambda: b.model.fit(nn.datasets.stream([(b.X, b.y)]), b.y),
    "a part of a stream for validation": lambda b: lambda: b.model.fit(pairs(b), validation=0.2),
    "a stream for L-BFGS": lambda b: lambda: b.model.fit(pairs(b), optimizer="lbfgs"),
    "grains of a stream": lambda b: lambda: b.model.fit(pairs(b), grains=4),
    "a file to map that is no `.npy` file": table_to_map,
    "a compressed array to map": archive_to_map(np.savez_compressed, "X", X=np.ones((3, 2))),
    "several arrays to map": archive_to_map(np.savez, None, X=np.ones((3, 2)), y=np.ones(3)),
    "rows of different lengths": lambda b: lambda: b.be.asarray([[1, 2], [3]]),
    "a data frame with text": lambda b: lambda: b.be.asarray(pd.DataFrame({"n": [1], "city": ["Bern"]})),
}

SETTINGS: dict[str, Case] = {
    "a misspelt keyword": lambda b: lambda: b.fit(epoch=3),
    "the learning rate in `fit`": lambda b: lambda: b.fit(learning_rate=0.1),
    "Keras's name for validation": lambda b: lambda: b.fit(validation_data=(b.X, b.y)),
    "the layer of another library, channels first": lambda b: lambda: nn.Conv2D(1, 8, 3),  # type: ignore[misc]
    "settings of `fit` by position": lambda b: lambda: b.model.fit(b.X, b.y, 10),  # type: ignore[call-arg]
    "`fit` without anything": lambda b: lambda: b.model.fit(),  # type: ignore[call-arg]
    "PyTorch's two numbers of Adam": lambda b: lambda: nn.Adam(betas=(0.9, 0.99)),  # type: ignore[call-arg]
    "a method of Keras": lambda b: lambda: b.model.compile("adam"),  # type: ignore[attr-defined]
    "no epochs": lambda b: lambda: b.fit(epochs=0),
    "epochs that are no integer": lambda b: lambda: b.fit(epochs=1.5),
    "an empty batch": lambda b: lambda: b.fit(batch_size=0),
    "a negative seed": lambda b: lambda: b.fit(seed=-1),
    "no seed": lambda b: lambda: b.fit(seed=None),
    "a callback that is none": lambda b: lambda: b.fit(callbacks="stop"),
    "early stopping with a negative patience": lambda b: lambda: nn.EarlyStopping(patience=-1),
    "colours of standardised images": lambda b: (
        lambda: (
            nn.Network(nn.Flatten(), nn.Dense(2))
            .init((2, 2, 1), backend=b.be)
            .fit(b.be.asarray(np.linspace(-1, 1, 8 * 4).reshape(8, 2, 2, 1)), b.y, augment=nn.datasets.Augment())
        )
    ),
    "a learning rate of 0": lambda b: lambda: nn.Adam(0.0),
    "a learning rate that is text": lambda b: lambda: nn.SGD("fast"),  # type: ignore[arg-type]
    "momentum of 1": lambda b: lambda: nn.SGD(0.1, momentum=1.0),
    "L-BFGS in batches": lambda b: lambda: b.fit(optimizer="lbfgs"),
    "an unknown precision": lambda b: lambda: b.fit(precision="half"),
    "half precision of a model that is not float32": lambda b: (
        lambda: SMALL.init((2,), backend=b.be, dtype="float64").fit(b.X, b.y, precision="float16")
    ),
    "no batches for a step": lambda b: lambda: b.fit(accumulate=0),
    "grains that are no power of two": lambda b: lambda: b.fit(grains=6),
    "grains of several batches a step": lambda b: lambda: b.fit(grains=4, accumulate=2),
    "grains and prepared steps": lambda b: lambda: b.fit(grains=4, engine="numpy"),
    "a cluster that is none": lambda b: lambda: b.fit(cluster=3),
    "a scheduler that is not there": lambda b: (
        b.patch.setattr("nnarray.distributed.cluster.PATIENCE", 0.5),
        lambda: b.fit(cluster="tcp://127.0.0.1:9"),
    )[1],
    "an average that never moves": lambda b: lambda: b.fit(ema=1.0),
    "a rate that nothing improves at": lambda b: lambda: b.model.find_lr(b.X, b.y, lowest=1e6, highest=1e9).suggestion,
    "an unknown engine": lambda b: lambda: b.fit(engine="turbo"),
    "a shorter training into the file of a longer one": lambda b: (
        b.fit(epochs=3, checkpoint="run.safetensors"),
        lambda: b.fit(epochs=1, checkpoint="run.safetensors"),
    )[1],
    "to resume without a checkpoint": lambda b: lambda: b.fit(resume=True),
    "a layer without units": lambda b: lambda: nn.Dense(0),
    "units that are text": lambda b: lambda: nn.Dense("5"),  # type: ignore[arg-type]
    "an unknown activation": lambda b: lambda: nn.Dense(5, "tahn"),
    "an activation that is not there": lambda b: lambda: nn.Dense(5, "relu6"),
    "the data for a shape": lambda b: lambda: SMALL.init(b.X),
    "to train a network": lambda b: lambda: SMALL.fit(b.X, b.y),
    "to call a network": lambda b: lambda: SMALL(b.X),
    "all examples for a shape": lambda b: lambda: nn.Network(nn.Conv2D(4, 3)).init((20, 8, 8, 3)),
    "a layer of your own that returns no array": own(lambda params, x: None),
    "outputs of another shape than a layer says": own(lambda params, x: nn.Out(x[:, :1], lambda dy: (dy, {}))),
    "a parameter that a layer does not name": own(lambda params, x: nn.Out(x * params["scale"], lambda dy: (dy, {}))),
    "a pullback that returns dx alone": own(lambda params, x: nn.Out(2 * x, lambda dy: 2 * dy)),
    "a pullback without a gradient": own(lambda params, x: nn.Out(x * params["scale"], lambda dy: (dy, {})), True),
    "a misspelt setting of a layer": lambda b: lambda: nn.Dense(5, activaton="tanh"),  # type: ignore[call-arg]
    "the size of the inputs": lambda b: lambda: nn.Dense(5, input_dim=2),  # type: ignore[call-arg]
    "layers one by one": lambda b: lambda: nn.Network(nn.Dense(2)).add(nn.Dense(2)),
    "`init` without a shape": lambda b: lambda: nn.Network(nn.Dense(2)).init(),  # type: ignore[call-arg]
    "dropout of everything": lambda b: lambda: nn.Dropout(1.0),
    "no layers": lambda b: lambda: nn.Network(),
    "layers in a list": lambda b: lambda: nn.Network([nn.Dense(2)]),  # type: ignore[arg-type]
    "a number for a shape": lambda b: lambda: SMALL.init(2),
    "examples without features": lambda b: lambda: SMALL.init((0,)),
    "images without channels": lambda b: lambda: nn.Network(nn.Conv2D(4, 3)).init((8, 8)),
    "a window larger than the image": lambda b: lambda: nn.Network(nn.Conv2D(4, 5)).init((3, 3, 1)),
    "heads that do not divide the features": lambda b: lambda: nn.Network(nn.MultiHeadAttention(3)).init((5, 4)),
    "to continue a sequence that is read from both sides": lambda b: (
        lambda: nn.Network(nn.Embedding(9, 4), nn.MultiHeadAttention(2)).init((4,)).new_cache()
    ),
    "more positions than a cache has": lambda b: lambda: decoded_too_far(),
    "to continue a text with such a network": lambda b: (
        lambda: nn.Network(nn.Embedding(4, 4), nn.MultiHeadAttention(2)).init((4,), seed=0).generate([1])
    ),
    "a tokenizer with another padding": lambda b: lambda: tokenizer_with_other_padding(),
    "targets that are all left out": lambda b: lambda: trained_on_nothing(),
    "a validation whose targets are all left out": lambda b: lambda: trained_on_nothing(1),
    "labels of padding that count": lambda b: lambda: on_padding("fit"),
    "the same, in an evaluation": lambda b: lambda: on_padding("evaluate"),
    "a tokenizer without padding for a network that masks a token": lambda b: (
        lambda: setattr(masking(), "tokenizer", nn.text.CharacterTokenizer("abcd"))
    ),
    "states of other names in a cache, or the cache of another network": lambda b: (
        lambda: decoded_from(h=np.zeros((1, 1, 2)))
    ),
    "states of another shape in a cache": lambda b: lambda: decoded_from(hidden=np.zeros((1, 2))),
    "a cache that `decode` has consumed": lambda b: lambda: decoded_twice(),
    "more positions than were learned": lambda b: (
        lambda: nn.Network(nn.Embedding(9, 4), nn.LearnedPositions()).init((4,)).new_cache(length=5)
    ),
    "no published weights": lambda b: lambda: nn.models.load_published("nowhere"),
    "a published setting that changes the arithmetic": lambda b: published_with(rope_scaling={"type": "yarn"}),
    "a network that published settings cannot say": lambda b: (
        lambda: nn.models.save_published(nn.models.gpt(3, 4, 1, 1, separator=0).init((3,)), "model")
    ),
    "unknown padding": lambda b: lambda: nn.Network(nn.Conv2D(4, 3, padding="smae")).init((8, 8, 1)),
    "an unknown dtype": lambda b: lambda: SMALL.init((2,), dtype="float31"),
    "parameters that are integers": lambda b: lambda: b.model.to("numpy", dtype="int32"),
    "a vector of another length": lambda b: lambda: setattr(b.model, "theta", np.zeros(3)),
    "to write into the parameters": lambda b: lambda: b.model.theta.__setitem__(0, 1.0),
    "a state of another length": lambda b: lambda: setattr(b.model, "state", np.zeros(3)),
    "a step with a schedule and no rate": lambda b: (
        lambda: nn.SGD(nn.schedules.Exponential(0.1, 0.5)).step(b.model, b.model.theta, {}, 0)
    ),
    "a vector of integers": lambda b: lambda: setattr(b.model, "theta", np.zeros(27, dtype="int64")),
    "a vector of another dtype": lambda b: lambda: setattr(b.model, "theta", b.model.theta.astype("float64")),
    "a vector with NaN": lambda b: lambda: setattr(b.model, "theta", b.model.theta * np.float32(np.nan)),
    "an unknown parameter": lambda b: lambda: b.model.set_params({"0.bias": np.ones(5), "0.wieght": 1.0}),
    "a parameter of another shape": lambda b: (
        lambda: b.model.set_params({"0.bias": np.ones(5), "0.weight": np.zeros((3, 3))})
    ),
    "parameters that are missing": lambda b: lambda: b.model.load_state_dict({"0.bias": np.ones(5)}),
    "NaN for a parameter": lambda b: lambda: b.model.set_params({"0.bias": np.ones(5), "1.bias": [0.0, np.nan]}),
    "to freeze what is not there": lambda b: lambda: b.model.freeze("head"),
    "parts that hold nothing": lambda b: lambda: nn.datasets.train_test_split(b.X, test_size=1.0),
    "rows that do not belong together": lambda b: lambda: nn.datasets.train_test_split(b.X, b.y[:7]),
    "an estimator that goes on in another dtype": lambda b: (
        lambda: (
            NetworkClassifier(epochs=1, dtype="float32", warm_start=True)
            .fit(b.X, b.y)
            .set_params(dtype="float64")
            .fit(b.X, b.y)
        )
    ),
    "NaN where columns are standardised": lambda b: lambda: nn.datasets.standardize(b.changed(3, 1, np.nan)),
}


# --- While it trains -------------------------------------------------------------------------------------------------


def full_device(b: Bench) -> Call:
    def full(*_: object, **__: object) -> None:
        raise MemoryError("asked for 5 GiB")

    b.patch.setattr("nnarray.kernels.numpy.chain.Steps.run", full)
    b.patch.setattr(b.be.library, "free", lambda device: 10 * 2**20)
    return b.fit


def full_device_at_prediction(b: Bench) -> Call:
    def full(*_: object) -> None:
        raise MemoryError("asked for 5 GiB")

    b.patch.setattr(nn.Model, "_computed", full)
    return lambda: b.model.predict(b.X)


def interrupt(run: nn.Run) -> None:
    signal.raise_signal(signal.SIGINT)


def no_space(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def forbidden(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def full_disk_while_training(b: Bench) -> Call:
    b.fit(epochs=1, checkpoint="run.safetensors")

    def fill(run: nn.Run) -> None:
        if run.epoch == 2:
            b.patch.setattr("os.fsync", no_space)

    return lambda: b.fit(epochs=5, checkpoint="run.safetensors", callbacks=fill)


NORMED = nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Dense(2))

TRAINING: dict[str, Case] = {
    "the loss is no number any more": lambda b: (
        lambda: b.fit(y=b.array(np.ones((8, 2))), loss="mse", optimizer=nn.SGD(1e30))
    ),
    "the device is full": full_device,
    "the device is full at prediction": full_device_at_prediction,
    "one example is left for batch normalisation": lambda b: lambda: b.fit(NORMED, batch_size=7),
    "a single example for batch normalisation": lambda b: lambda: b.fit(NORMED, X=b.X[:1, ...], y=b.y[:1]),
    "a running variance that does not fit": lambda b: (
        lambda: b.fit(nn.Network(nn.BatchNorm(), nn.Dense(2)), X=b.X * 1e25)
    ),
    "a method of another library's callback": lambda b: (
        lambda: type("Mine", (nn.Callback,), {"on_batch_end": lambda self, run: None})
    ),
    "an optimizer of another library": lambda b: (
        lambda: b.fit(optimizer=type("Adam", (), {"zero_grad": lambda self: None})())
    ),
    "validation examples without y": lambda b: lambda: b.fit(validation=(b.X,)),
    "early stopping without its column": lambda b: lambda: b.fit(callbacks=nn.EarlyStopping()),
    "Ctrl-C": lambda b: lambda: b.fit(epochs=100, callbacks=interrupt),
    "the disk is full": full_disk_while_training,
}


# --- Files -----------------------------------------------------------------------------------------------------------


def saved(b: Bench, name: str = "model.safetensors") -> bytes:
    b.model.save(name)
    return Path(name).read_bytes()


def spoilt(change: Callable[[bytes], bytes]) -> Case:
    def case(b: Bench) -> Call:
        Path("model.safetensors").write_bytes(change(saved(b)))
        return lambda: nn.load("model.safetensors")

    return case


def after_saving(patched: str, by: Any, call: Callable[[Bench], object]) -> Case:
    """Another model is saved over a good file, or a good file read, while something is in the way."""

    def case(b: Bench) -> Call:
        saved(b)
        b.patch.setattr(patched, by)
        return lambda: call(b)

    return case


def save_another(b: Bench) -> None:
    SMALL.init((2,), seed=1).save("model.safetensors")


def of_others(b: Bench) -> Call:
    save_file({"weight": np.zeros(3)}, "model.safetensors")
    return lambda: nn.load("model.safetensors")


class Mine(nn.Layer):
    """Not registered."""

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> nn.Out:
        return nn.Out(x, lambda dy: (dy, {}))


def with_notes(b: Bench) -> Call:
    saved(b)
    other = SMALL.init((2,))
    other.metadata = {"scores": np.zeros(2)}
    return lambda: other.save("model.safetensors")


def nan_in_a_model(b: Bench) -> Call:
    saved(b)
    other = SMALL.init((2,), dtype="float32")
    broken = other.with_theta(other.theta * np.float32(np.nan))
    return lambda: broken.save("model.safetensors")


def two_of_a_name(b: Bench) -> Call:
    saved(b)
    other = SMALL.init((2,))
    other.metadata = {1: "a", "1": "b"}
    return lambda: other.save("model.safetensors")


def square(*names: str) -> nn.Model:
    return nn.Network(*(nn.Dense(2, bias=False, name=name) for name in names)).init((2,))


def pickled_module(b: Bench) -> Call:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 5), "module.pt")
    return lambda: b.model.load_torch("module.pt")


def weights_in_8_bits(b: Bench) -> Call:
    header = b'{"0.weight":{"dtype":"F8_E4M3","shape":[5,2],"data_offsets":[0,10]},'
    header += b'"0.bias":{"dtype":"F32","shape":[5],"data_offsets":[10,30]},'
    header += b'"1.weight":{"dtype":"F32","shape":[2,5],"data_offsets":[30,70]},'
    header += b'"1.bias":{"dtype":"F32","shape":[2],"data_offsets":[70,78]}}'
    Path("w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(78))
    return lambda: b.model.load_torch("w.safetensors")


def owned_by_another(b: Bench) -> Call:
    lock = open(".run.safetensors.lock", "w")  # noqa: SIM115  # held until the call has failed
    fcntl.flock(lock, fcntl.LOCK_EX)

    def call() -> None:
        with lock:
            b.fit(epochs=1, checkpoint="run.safetensors")

    return call


def trained_inside(b: Bench) -> Call:
    def again(run: nn.Run) -> None:
        b.fit(SMALL, checkpoint="run.safetensors")

    return lambda: b.fit(SMALL, checkpoint="run.safetensors", callbacks=again)


def resumed(**change: Any) -> Case:
    def case(b: Bench) -> Call:
        b.fit(epochs=1, checkpoint="run.safetensors")
        return lambda: b.fit(epochs=3, checkpoint="run.safetensors", resume=True, **change)

    return case


def resumed_from_a_model(b: Bench) -> Call:
    saved(b)
    return lambda: b.fit(resume="model.safetensors")


def folder(name: str) -> None:
    Path(name).mkdir()


def in_a_folder(name: str, call: Callable[[Bench], object]) -> Case:
    def case(b: Bench) -> Call:
        folder(name)
        return lambda: call(b)

    return case


def onnx_file(make: Callable[[Any, Any], Any]) -> Case:
    """The loading of a file, made with the functions of the tests of ONNX files."""

    def case(b: Bench) -> Call:
        pytest.importorskip("onnx")
        graphs, safety = (importlib.import_module(f"tests.onnx.{name}") for name in ("graphs", "test_safety"))
        graphs.saved(Path(), make(graphs, safety))
        return lambda: nn.load_onnx("m.onnx")

    return case


def small_onnx(b: Bench) -> str:
    pytest.importorskip("onnx")
    graphs = importlib.import_module("tests.onnx.graphs")
    return str(graphs.saved(Path(), graphs.perceptron()))


def no_onnx_file(b: Bench) -> Call:
    Path("m.onnx").write_bytes(b"not a model")
    return lambda: nn.load_onnx("m.onnx")


def input_left_out(b: Bench) -> Call:
    program = nn.onnx.read(small_onnx(b))
    return lambda: program({"X": np.ones((2, 3), dtype="float32")})


def not_in_onnx(b: Bench) -> Call:
    pytest.importorskip("onnx")
    model = nn.Network(nn.Lambda(lambda x: nn.namespace(x).nextafter(x, x))).init((2,))
    return lambda: model.to_onnx("model.onnx")


def depends_on_a_length(b: Bench) -> Call:
    pytest.importorskip("onnx")
    model = nn.Network(nn.Lambda(lambda x: x / float(x.shape[1]))).init((2,))
    return lambda: model.to_onnx("model.onnx", dynamic_axes={1: "length"})


def depends_on_values(b: Bench) -> Call:
    pytest.importorskip("onnx")
    graphs, written = (importlib.import_module(f"tests.onnx.{name}") for name in ("graphs", "test_written_again"))
    model = nn.load_onnx(graphs.saved(Path(), written.branches(*written.largest)))
    return lambda: model.to_onnx("model.onnx", check=False)


def no_scaler_before(b: Bench) -> Call:
    pytest.importorskip("onnx")
    X = np.eye(4)
    made = MLPClassifier((2,), max_iter=20, tol=1.0, random_state=0).fit(X, [0, 1, 0, 1])
    return lambda: made.to_onnx("m.onnx", before=PCA().fit(X))


def free_text_in_onnx(b: Bench) -> Call:
    pytest.importorskip("onnx")
    preparation = Preparation((TextColumn("note"),), ClassTarget("kind", ("a", "b")))
    pipeline = nn.Pipeline(nn.Network(nn.Dense(2)).init((256,)), TableRows(preparation))
    return lambda: pipeline.to_onnx("model.onnx")


TEXT_ENTRIES = np.asarray(["a", "b"], dtype=object)


def relu_of(g: Any, shape: Any, **more: Any) -> Any:
    return g.model([g.node("Relu", ["x"], ["y"])], [g.value("x", shape)], [g.value("y")], **more)


ONNX: dict[str, Case] = {
    "an ONNX file that is no such file": no_onnx_file,
    "an operator that is not known": onnx_file(
        lambda g, _: g.model(
            [g.node("Turn", ["x"], ["y"], domain="com.example")],
            [g.value("x", ["n", 2])],
            [g.value("y")],
            domains={"com.example": 1},
        )
    ),
    "a constant without its numbers": onnx_file(lambda _, s: s.declared([2**15, 2**14])),
    "a cycle in a graph": onnx_file(lambda g, s: s.of_nodes(g.node("Relu", ["y"], ["y"]))),
    "constants in a file elsewhere": onnx_file(lambda _, s: s.outside("../secret.bin")),
    "a newer version of the operators": onnx_file(lambda g, _: relu_of(g, ["n", 2], opset=99)),
    "a loop without an end": onnx_file(lambda *_: importlib.import_module("tests.onnx.test_hostile").loop(None)),
    "an array that is too large": onnx_file(
        lambda g, s: s.of_nodes(g.node("Expand", ["x", "s"], ["y"]), s=np.asarray([2**40, 1, 1]))
    ),
    "a window larger than its input": onnx_file(
        lambda g, _: g.model(
            [g.node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3])], [g.value("x", ["n", 1, 2, 2])], [g.value("y")]
        )
    ),
    "a graph whose shapes are open": onnx_file(lambda g, _: relu_of(g, ["n", "t", 3])),
    "an input without a batch axis": onnx_file(
        lambda g, _: g.model([g.node("Relu", ["s"], ["y"])], [g.value("s", [])], [g.value("y", [])])
    ),
    "an output that a file does not have": lambda b: (lambda path: lambda: nn.load_onnx(path, output="z"))(
        small_onnx(b)
    ),
    "an input of a program left out": input_left_out,
    "another ending, to write ONNX": lambda b: lambda: b.model.to_onnx("model.pb"),
    "a function that ONNX does not have": not_in_onnx,
    "an axis that is not one of the inputs": lambda b: lambda: b.model.to_onnx("m.onnx", dynamic_axes={2: "length"}),
    "a graph whose course depends on values, to write ONNX": depends_on_values,
    "a computation that depends on a length": depends_on_a_length,
    "texts in an ONNX file": onnx_file(
        lambda g, _: g.model(
            [g.node("Identity", ["c"], ["y"])], [g.value("x", [2])], [g.value("y")], {"c": TEXT_ENTRIES}
        )
    ),
    "free text in a table, to write ONNX": free_text_in_onnx,
    "a step before an estimator, to write ONNX": no_scaler_before,
}

FILES: dict[str, Case] = {
    "no such file": lambda b: lambda: nn.load("none.safetensors"),
    "a folder": in_a_folder("folder.safetensors", lambda b: nn.load("folder.safetensors")),
    "no permission to read": after_saving("pathlib.Path.open", forbidden, lambda b: nn.load("model.safetensors")),
    "another ending": lambda b: lambda: nn.load("model.pt"),
    "another ending, to save": lambda b: lambda: b.model.save("model.pt"),
    "no path at all": lambda b: lambda: nn.load(None),  # type: ignore[arg-type]
    "a file that is cut short": spoilt(lambda raw: raw[: len(raw) // 4]),
    "a file with a changed byte": spoilt(lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
    "a file of a newer version": spoilt(lambda raw: raw.replace(b'"nnarray_format":"1"', b'"nnarray_format":"2"')),
    "a safetensors file of others": of_others,
    "a layer of your own that is not registered": lambda b: lambda: nn.Network(Mine()).init((2,)).save("m.safetensors"),
    "a function as a setting": lambda b: (
        lambda: nn.Network(nn.Dense(2, nn.Activation(np.sin, np.cos))).init((2,)).save("m.safetensors")
    ),
    "a function of your own in a file": lambda b: (
        lambda: nn.Network(nn.Lambda(lambda x: x)).init((2,)).save("m.safetensors")
    ),
    "notes that JSON cannot say": with_notes,
    "to save where no folder is": lambda b: lambda: b.model.save("none/model.safetensors"),
    "to save onto a folder": in_a_folder("folder.safetensors", lambda b: b.model.save("folder.safetensors")),
    "no permission to write": after_saving("tempfile.mkstemp", forbidden, save_another),
    "no space left": after_saving("os.fsync", no_space, save_another),
    "to train into a file of another training": owned_by_another,
    "to train inside of a training into its file": trained_inside,
    "to resume with other settings": resumed(batch_size=8),
    "to resume what was no training": resumed_from_a_model,
    "a model with NaN in it, saved": nan_in_a_model,
    "two metadata of one name": two_of_a_name,
    "layers that nothing distinguishes": lambda b: (
        lambda: square("0", "1").load_torch({f"{name}.weight": np.eye(2) for name in ("decoder", "encoder")})
    ),
    "several state_dicts in one checkpoint": lambda b: (
        lambda: b.model.load_torch({name: {"0.weight": np.zeros((5, 2))} for name in ("generator", "judge")})
    ),
    "NaN in PyTorch's weights": lambda b: (
        lambda: b.model.load_torch(b.model.to_torch() | {"1.bias": np.asarray([0.0, np.nan])})
    ),
    "weights in 8 bits": weights_in_8_bits,
    "quantised weights": lambda b: (
        lambda: b.model.load_torch(b.model.to_torch() | {"0.weight": np.ones((5, 2), dtype="int8")})
    ),
    "a checkpoint without a state_dict": lambda b: (
        lambda: b.model.load_torch({"epoch": 3, "optimizer": {"state": {}, "param_groups": []}})
    ),
    "only some layers of PyTorch's": lambda b: lambda: b.model.load_torch({"0.weight": np.zeros((5, 2))}),
    "a model instead of its state_dict": lambda b: lambda: b.model.load_torch(b.model),
    "a file that is no state_dict": pickled_module,
    "PyTorch's numbers for another network": lambda b: lambda: b.model.load_torch({"head.weight": np.zeros((2, 5))}),
}


# --- Tables and images -----------------------------------------------------------------------------------------------

N = 40
COLUMNS = {"size": list(range(N)), "colour": ["red", "blue"] * (N // 2), "kind": ["u", "v"] * (N // 2)}


def opened(content: str | bytes, name: str = "data.csv", text: TextFormat = USUAL) -> Case:
    def case(b: Bench) -> Call:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
        return lambda: open_table(name, text).read()

    return case


def polars() -> Any:
    return pytest.importorskip("polars")


def fitted(target: str = "kind", **change: Any) -> Case:
    return lambda b: lambda: Preparation.fit(pa.table(COLUMNS | change), target)


def only_an_index(b: Bench) -> Call:
    table = pa.Table.from_pandas(pd.DataFrame({"a": COLUMNS["colour"], "kind": COLUMNS["kind"]}).set_index("a"))
    return lambda: Preparation.fit(table, "kind")


def later(what: str, **columns: Any) -> Case:
    prepared = Preparation.fit(pa.table(COLUMNS), "kind")
    return lambda b: lambda: getattr(prepared, what)(pa.table(columns))


def dated(entry: str) -> Case:
    prepared = Preparation.fit(pa.table({"day": ["2026-01-01", "2026-01-02"] * 20, "kind": COLUMNS["kind"]}), "kind")
    return lambda b: lambda: prepared.features(pa.table({"day": [entry]}))


def rows_given(data: Any) -> Case:
    return lambda b: lambda: table_of(data, ["size", "colour"])


def objects(b: Bench) -> Call:
    np.save("data.npy", np.asarray([{}]), allow_pickle=True)
    return lambda: open_table("data.npy")


def full_memory(b: Bench) -> Call:
    def full(*_: object) -> None:
        raise pa.ArrowMemoryError("realloc of size 211124224 failed")

    b.patch.setitem(FORMATS, "csv", FORMATS["csv"]._replace(parts=full))
    return opened("a,b\n1,2\n")(b)


def forbidden_table(b: Bench) -> Call:
    Path("data.csv").write_text("a\n1\n")
    b.patch.setattr("pathlib.Path.open", forbidden)
    return lambda: open_table("data.csv")


TABLES: dict[str, Case] = {
    "no such table": lambda b: lambda: open_table("none.csv"),
    "a folder instead of a table": in_a_folder("folder.csv", lambda b: open_table("folder.csv")),
    "no permission to read the table": forbidden_table,
    "a spreadsheet": opened("PK", "data.xlsx"),
    "an empty file": opened(""),
    "names and no rows": opened("a,b\n"),
    "a row that is too short": opened("a,b\n1,2\n3\n"),
    "another encoding": opened("a,b\n1,ö\n".encode("latin-1")),
    "UTF-16": opened("a,b\n1,2\n".encode("utf-16")),
    "two columns of one name": opened("a,b,a\n1,2,3\n"),
    "a row of data for the names": opened("p,x,s,p\ne,x,y,t\n"),
    "a name too few": opened("size,kind\n1,5,u\n2,6,v\n"),
    "a title above the names": opened("Flowers\nsize,kind\n1,u\n"),
    "Parquet by the name of CSV": opened(b"PAR1\x15\x04\x15\x10"),
    "plain text by the name of a compressed one": opened("a,b\n1,2\n", "data.csv.gz"),
    "an archive": opened("", "data.csv.xz"),
    "semicolons between entries": opened("a;b\n1,5;2\n"),
    "no names of columns": opened("5.1,u\n4.9,v\n"),
    "a compressed file that is cut short": opened(gzip.compress(b"a,b\n1,2\n")[:-9], "data.csv.gz"),
    "a point in a file with decimal commas": opened("a;b\n1.234;1\n", text=TextFormat(delimiter=";", decimal=",")),
    "a damaged Parquet file": opened("PAR1 and no more", "data.parquet"),
    "an archive with Python objects": objects,
    "a number beyond every float": fitted(size=["1"] * (N - 1) + ["1e400"]),
    "an unknown target": fitted("Kind"),
    "one class only": fitted(kind=["u"] * N),
    "a missing target": fitted(kind=["u", None] * (N // 2)),
    "a column that is empty throughout": fitted(size=[None] * N),
    "a column that names the rows": fitted(colour=[f"c{i}" for i in range(N)]),
    "dates in another form": fitted(day=[f"0{1 + i % 9}.02.{1980 + i}" for i in range(N)]),
    "an unknown form of dates": lambda b: lambda: TextFormat(dates="DD.MM.YYYY"),
    "several problems in one table": fitted(kind=["u"] * N, size=[*map(str, range(N - 1)), "#REF!"], colour=[None] * N),
    "units beside numbers": fitted(size=[f"{i} kg" for i in range(N)]),
    "a word that is common among numbers": fitted(
        size=["unknown" if i % 3 == 0 else f"{i}.5" for i in range(N - 1)] + ["0"]
    ),
    "a minus sign that no keyboard has": fitted(size=[f"\u2212{i}.5" for i in range(N)]),
    "an index of pandas alone": only_an_index,
    "numbers and a few words": fitted(size=[*map(str, range(N - 1)), "#REF!"]),
    "decimal commas": fitted(size=[f"{i},5" for i in range(N)]),
    "commas between thousands": fitted(size=[f"{i % 9 + 1},{i:03}.5" for i in range(N)]),
    "a column too few at prediction": later("features", size=[1]),
    "an unknown category at prediction": later("features", size=[1], colour=["pink"]),
    "a word for a missing entry as a category": later("features", size=[1], colour=["NA"]),
    "text where numbers were": later("features", size=["large"], colour=["red"]),
    "no date where dates were": dated("tomorrow"),
    "times with a zone where dates had none": dated("2026-01-01T10:00Z"),
    "a class that was not met in training": later("targets", kind=["w"]),
    "a lazy frame of Polars for a table": lambda b: lambda: Preparation.fit(polars().LazyFrame(COLUMNS), "kind"),
    "a table that fills the memory": full_memory,
    "a data frame for a table": lambda b: lambda: Preparation.fit(pd.DataFrame(COLUMNS), "kind"),  # type: ignore
    "no rows for a pipeline": rows_given(np.zeros((3, 2))),
    "a row of a dataframe for a pipeline": rows_given(pd.DataFrame(COLUMNS)[["size", "colour"]].iloc[0]),
    "a row that lacks a column": rows_given([{"size": 1, "colour": "red"}, {"size": 2}]),
    "text and numbers in one column of rows": rows_given(
        [{"size": 1, "colour": "red"}, {"size": "5", "colour": "red"}]
    ),
}


def photos(content: bytes | None, name: str = "1.png", **options: Any) -> Case:
    """A folder with one class and one file."""

    def case(b: Bench) -> Call:
        Path("photos/cats").mkdir(parents=True)
        if content is not None:
            Path("photos/cats", name).write_bytes(content)
        return lambda: nn.datasets.images("photos", **options).load()

    return case


def image(b: Bench) -> bytes:
    Path("photos/cats").mkdir(parents=True)
    Image.new("RGB", (40, 30), "red").save("photos/cats/1.png")
    return Path("photos/cats/1.png").read_bytes()


def among(*folders: str) -> Case:
    def case(b: Bench) -> Call:
        for name in folders:
            Path(name).mkdir(parents=True)
        return lambda: nn.datasets.images("photos")

    return case


def linked(b: Bench) -> Call:
    call = among("photos/cats/old", "photos/dogs")(b)
    Path("photos/dogs/old").symlink_to(Path("photos/cats/old").absolute())
    return call


def cut_short(b: Bench) -> Call:
    whole = image(b)
    Path("photos/cats/1.png").write_bytes(whole[: len(whole) // 2])
    return lambda: nn.datasets.images("photos").load()


def full_disk_for_images(b: Bench) -> Call:
    image(b)
    b.patch.setattr("tempfile.TemporaryFile", lambda dir: BufferedRandom(FileIO("/dev/full", "r+")))
    return lambda: nn.datasets.images("photos").on_disk(".")


def no_folder_for_images(b: Bench) -> Call:
    image(b)
    return lambda: nn.datasets.images("photos").on_disk("none")


def too_many_pixels(b: Bench) -> Call:
    image(b)
    b.patch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    return lambda: nn.datasets.images("photos").load()


def a_file(b: Bench) -> Call:
    Path("cat.png").touch()
    return lambda: nn.datasets.images("cat.png")


IMAGES: dict[str, Case] = {
    "no such folder": lambda b: lambda: nn.datasets.images("none"),
    "a file for a folder": a_file,
    "no subfolders": in_a_folder("photos", lambda b: nn.datasets.images("photos")),
    "a class without images": photos(b"", "notes.txt"),
    "parts of a data set for classes": among("photos/train/cats", "photos/test/cats"),
    "classes that hold the same folders": among(*(f"photos/{a}/{b}" for a in "ab" for b in ("cats", "dogs"))),
    "a folder in two classes": linked,
    "an image that cannot be decoded": photos(b"no image"),
    "a full disk for images that the memory does not hold": full_disk_for_images,
    "no folder for images that the memory does not hold": no_folder_for_images,
    "an image that is cut short": cut_short,
    "far too many pixels": too_many_pixels,
    "only broken images": photos(b"no image", errors="skip"),
    "a size of 0": photos(b"", size=0),
}


# --- Backends --------------------------------------------------------------------------------------------------------


def by_the_environment(b: Bench) -> Call:
    b.patch.setenv("NNARRAY_BACKEND", "nmupy")
    return lambda: nn.backend()


def not_installed(b: Bench) -> Call:
    b.patch.setitem(sys.modules, "cupy", None)
    choosing._proved.cache_clear()
    return lambda: nn.backend("cupy")


def needs(library: str, call: Call) -> Case:
    def case(b: Bench) -> Call:
        pytest.importorskip(library)
        return call

    return case


BACKENDS: dict[str, Case] = {
    "an unknown backend": lambda b: lambda: nn.backend("nmupy"),
    "an unknown backend in `NNARRAY_BACKEND`": by_the_environment,
    "a module for a backend": lambda b: lambda: nn.backend(np),  # type: ignore[arg-type]
    "a GPU for NumPy": lambda b: lambda: nn.backend("numpy:cuda"),
    "a device that does not exist": lambda b: lambda: nn.backend("strict:7"),
    "a library that is not installed": not_installed,
    "a device that PyTorch does not have": needs("torch", lambda: nn.backend("torch:xyz")),
    "a platform that JAX does not have": needs("jax", lambda: nn.backend("jax:tpu")),
    "a dtype that the device does not have": lambda b: (
        lambda: SMALL.init((2,), backend="strict:no_float64", dtype="float64")
    ),
}


# --- Text ----------------------------------------------------------------------------------------------------------


def of_text(size: int = 3, outputs: int = 3) -> nn.Model:
    return nn.Network(nn.Embedding(size, 2), nn.Dense(outputs)).init((4,))


def with_tokenizer() -> nn.Model:
    model = of_text()
    model.tokenizer = nn.text.CharacterTokenizer("abc")
    return model


def text_file(data: bytes, encoding: str = "utf-8") -> Case:
    """What a text file has, read in this encoding."""

    def case(b: Bench) -> Call:
        Path("t.txt").write_bytes(data)
        return lambda: nn.datasets.tokenized("t.txt", nn.text.ByteTokenizer(), "t.npy", encoding=encoding)

    return case


class Endless(nn.text.ByteTokenizer):
    """Stands for a text of more tokens than the memory can hold."""

    def encode(self, text: str) -> list[int]:
        raise MemoryError


def too_many_tokens(b: Bench) -> Call:
    Path("t.txt").write_text("text")
    return lambda: nn.datasets.tokenized("t.txt", Endless())


def of_files(vocabulary: str, merges: str) -> Case:
    def case(b: Bench) -> Call:
        Path("vocab.json").write_text(vocabulary)
        Path("merges.txt").write_text(merges)
        return lambda: nn.text.BytePairTokenizer.from_files("vocab.json", "merges.txt")

    return case


def another_json(b: Bench) -> Call:
    Path("t.json").write_text('{"weights": {}}')
    return lambda: nn.text.load("t.json")


def published_json(**model: Any) -> Case:
    """A published tokenizer.json with such a model."""

    def case(b: Bench) -> Call:
        Path("tokenizer.json").write_text(json.dumps({"model": model, "pre_tokenizer": BYTEWISE}))
        return lambda: nn.text.load("tokenizer.json")

    return case


BYTEWISE = {"type": "ByteLevel", "add_prefix_space": False}


def published_model(vocabulary: str = "") -> nn.Model:
    """A model of 5 tokens in the folder "model", perhaps with a vocabulary beside it."""
    model = nn.models.bert(5, 4, 1, 1).init((3,))
    nn.models.save_published(model, "model")
    if vocabulary:
        Path("model", "vocab.txt").write_text(vocabulary)
    return model


def published_with(**settings: Any) -> Call:
    """The call that reads a model like Llama with such settings."""
    network = nn.models.gpt(3, 4, 1, 1, norm="rms", bias=False, activation="swiglu", rotary=1e4)
    nn.models.save_published(network.init((3,)), "model")
    config = json.loads(Path("model", "config.json").read_text())
    return lambda: nn.models.load_published("model", config=config | settings)


def no_tokenizer(b: Bench) -> Call:
    published_model()
    return lambda: nn.text.load("model")


def of_other_weights(b: Bench) -> Call:
    published_model("[UNK]\n[CLS]\n[SEP]\n")
    return lambda: nn.models.load_published("model")


def beside_another_without(b: Bench) -> Call:
    model = published_model("[UNK]\n[CLS]\n[SEP]\n")
    return lambda: nn.models.save_published(model, "model")


def beside_another(b: Bench) -> Call:
    model = published_model("[UNK]\n[CLS]\n[SEP]\n")
    model.tokenizer = nn.text.CharacterTokenizer("\0bcde")
    return lambda: nn.models.save_published(model, "model")


TEXTS: dict[str, Case] = {
    "a text file that is empty": text_file(b""),
    "a text file in another encoding": text_file(b"caf\xc3\xa9\nca\xe9\n"),
    "a text file in UTF-16": text_file("text".encode("utf-16")),
    "an encoding that does not exist": text_file(b"text", "utf-9"),
    "a text of more tokens than the memory can hold": too_many_tokens,
    "a text at which to stop that is empty": lambda b: lambda: with_tokenizer().generate("ab", stop=""),
    "no such text file": lambda b: lambda: nn.datasets.tokenized("t.txt", nn.text.ByteTokenizer()),
    "a character that is not in the vocabulary": lambda b: lambda: nn.text.CharacterTokenizer("ab\n").encode("aba\nZ"),
    "half a character in a vocabulary": lambda b: lambda: nn.text.CharacterTokenizer("a\ud800"),
    "half a character": lambda b: lambda: nn.text.ByteTokenizer().encode("a\ud800"),
    "bytes instead of text": lambda b: lambda: nn.text.ByteTokenizer().encode(b"ab"),  # type: ignore[arg-type]
    "texts of different lengths, and no token to pad with": lambda b: (
        lambda: nn.text.CharacterTokenizer("abc").batch(["a", "bc"])
    ),
    "padding in a text": lambda b: lambda: nn.text.ByteTokenizer().batch(["a", "a\0"]),
    "a token that is not in the vocabulary": lambda b: lambda: nn.text.ByteTokenizer().decode([1, 256]),
    "a token twice in a vocabulary": lambda b: lambda: nn.text.WordPieceTokenizer(("a", "b", "a")),
    "files of two tokenizers": of_files('{"a": 0, "b": 1}', "a b\n"),
    "a vocabulary file that is cut short": of_files('{"a": 0, "b": 2}', ""),
    "another file for a tokenizer": another_json,
    "a published tokenizer of another kind": published_json(type="Unigram"),
    "a setting of a published tokenizer that changes the tokens": published_json(type="BPE", byte_fallback=True),
    "a folder without a tokenizer": no_tokenizer,
    "a tokenizer beside weights of another model": of_other_weights,
    "a folder with another tokenizer, for a model": beside_another,
    "a folder with a tokenizer, for a model without one": beside_another_without,
    "a tokenizer that does not match the weights": lambda b: (
        lambda: setattr(of_text(), "tokenizer", nn.text.ByteTokenizer())
    ),
    "several texts in a row for a layer that would mix them": lambda b: (
        lambda: nn.Network(nn.Embedding(3, 2, separator=0), nn.GRU(2)).init((2,))(np.asarray([[1, 0]]))
    ),
    "a text that is shorter than a window": lambda b: lambda: nn.datasets.token_windows([1, 2, 3, 4, 5], 8),
    "text in place of tokens": lambda b: lambda: nn.datasets.token_windows("abc", 2),
    "text for a model that has no tokenizer": lambda b: lambda: of_text().generate("ab"),
    "a prompt without a token": lambda b: lambda: with_tokenizer().generate(""),
    "a prompt with another character": lambda b: lambda: with_tokenizer().generate("Z"),
    "padding in a prompt": lambda b: lambda: masking().generate([[1, 2, 3], [1, 2, 0]]),
    "a prompt with another token": lambda b: lambda: of_text().generate([1, 7]),
    "a model that predicts no tokens": lambda b: lambda: b.model.generate([1]),
    "outputs that are not logits of the next token": lambda b: lambda: of_text(3, 2).generate([1]),
    "a negative temperature": lambda b: lambda: of_text().generate([1], temperature=-1),
    "a part of the probability that is none": lambda b: lambda: of_text().generate([1], top_p=1.5),
}


# --- The command line ------------------------------------------------------------------------------------------------

TRAIN = ("train", "data.csv", "--backend", "numpy")
COMMANDS: dict[str, tuple[str, ...]] = {
    "an unknown command": ("trian",),
    "an unknown option": (*TRAIN, "--epoch", "3"),
    "an option out of its range": (*TRAIN, "--target", "kind", "--epochs", "0"),
    "no target": TRAIN,
    "a column that is not there": (*TRAIN, "--target", "knid"),
    "a table that is not there": ("train", "none.csv", "--target", "kind", "--backend", "numpy"),
    "nothing on standard input": ("train", "-", "--target", "kind", "--backend", "numpy"),
    "a service of several processes": ("serve", "model.safetensors", "--workers", "4"),
    "a model that is not there": ("predict", "none.safetensors", "data.csv", "--backend", "numpy"),
    "a folder that is not there, for the model": (*TRAIN, "--target", "kind", "--out", "none/model.safetensors"),
    "a training that diverges": (*TRAIN, "--target", "size", "--lr", "1e30", "--optimizer", "sgd"),
    "a backend that cannot be used": ("train", "data.csv", "--target", "kind", "--backend", "torch:xyz"),
    "an option of tables for a text": ("train", "text.txt", "--hidden", "5", "--backend", "numpy"),
    "an option of texts for a table": (*TRAIN, "--target", "kind", "--context", "5"),
    "a text that is too short": ("train", "text.txt", "--backend", "numpy"),
    "a text of one character": ("train", "zeros.txt", "--backend", "numpy"),
    "no model for a prompt": ("generate", "none.safetensors", "--backend", "numpy"),
    "a port that does not exist": ("playground", "--port", "70000", "--no-browser"),
}

EVERYWHERE = {**DATA}


def play(*what: Any) -> Case:
    return lambda b: lambda: nn.playground(*what, browser=False)


PLAYGROUND: dict[str, Case] = {
    "anything else than two arrays for the playground": play(3),
    "more than two inputs for the playground": play((np.zeros((8, 3)), np.arange(8) % 2)),
    "very few examples for the playground": play((np.zeros((3, 2)), np.arange(3) % 2)),
    "a model that the playground cannot show": lambda b: (
        lambda: nn.playground(nn.Network(nn.Dense(2, "tanh")).init((2,)), browser=False)
    ),
    "a model with other outputs than the data of the playground": lambda b: (
        lambda: nn.playground(nn.Network(nn.Dense(3)).init((2,)), (np.eye(4, 2), np.arange(4) % 2), browser=False)
    ),
}

ONCE = {**DATA_OF_ONE, **SETTINGS, **FILES, **ONNX, **TABLES, **IMAGES, **TEXTS, **BACKENDS, **PLAYGROUND}


# --- The tests of the page -------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    choosing._proved.cache_clear()


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    """What a case puts in the way; undone before anybody looks at what is left."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_every_row_has_a_case_and_every_case_a_row() -> None:
    assert len(ROWS) == len(rows()), "two rows are about the same"
    cases = [EVERYWHERE, ONCE, TRAINING, COMMANDS]
    assert sorted(ROWS) == sorted(name for each in cases for name in each)
    assert len(ROWS) > 100
    assert not [row.what for row in ROWS.values() if not row.remedy]


def check(row: Row, call: Call, b: Bench) -> None:
    """The error is of that very type and says that; nothing else has happened."""
    before = b.state()
    with pytest.raises(error_called(row.error)) as raised:
        call()
    assert raised.type is error_called(row.error)
    assert says_all(str(raised.value), row.says), str(raised.value)
    b.patch.undo()
    assert b.state() == before


@pytest.mark.parametrize("what", EVERYWHERE)
def test_bad_data(be: nn.Backend, what: str, patch: pytest.MonkeyPatch) -> None:
    b = Bench(be, patch)
    check(ROWS[what], EVERYWHERE[what](b), b)


@pytest.mark.parametrize("what", ONCE)
def test_bad_settings_and_files(host: nn.Backend, what: str, patch: pytest.MonkeyPatch) -> None:
    b = Bench(host, patch)
    trained(b)
    call = ONCE[what](b)
    check(ROWS[what], call, b)


@pytest.mark.parametrize("what", TRAINING)
def test_what_ends_a_training_leaves_the_last_good_step(host: nn.Backend, what: str, patch: pytest.MonkeyPatch) -> None:
    b, row = Bench(host, patch), ROWS[what]
    call = TRAINING[what](b)
    files = {name: Path(name).read_bytes() for name in os.listdir()}
    with pytest.raises(error_called(row.error)) as raised:
        call()
    patch.undo()
    assert raised.type is error_called(row.error)
    assert says_all(str(raised.value), row.says), str(raised.value)
    assert np.isfinite(b.model.theta).all()
    again = SMALL.init((2,), dtype="float32")
    if epochs := len(b.model.history.columns.get("loss", [])):
        if what == "the disk is full":  # there was a training before it; the first epoch of this one is saved
            again.fit(b.X, b.y, epochs=1, batch_size=4)
            twin = again.copy()
            twin.fit(b.X, b.y, epochs=1, batch_size=4)
            np.testing.assert_array_equal(nn.load("run.safetensors").theta, twin.theta)
            assert nn.load("run.safetensors").history["loss"] == twin.history["loss"]
            assert os.listdir() == ["run.safetensors"]
        again.fit(b.X, b.y, epochs=epochs, batch_size=4)
        assert b.model.history["loss"] == again.history["loss"]
        assert b.model.history.steps == 2 * epochs
        np.testing.assert_array_equal(b.model.theta, again.theta)
    else:
        np.testing.assert_array_equal(b.model.theta, again.theta)
        assert {name: Path(name).read_bytes() for name in os.listdir()} == files
    b.fit(epochs=1)  # it is still a model


@pytest.mark.parametrize("what", COMMANDS)
def test_bad_commands(what: str) -> None:
    pd.DataFrame(COLUMNS).to_csv("data.csv", index=False)
    Path("text.txt").write_text("a text of few words")
    Path("zeros.txt").write_text("0" * 1000)
    row = ROWS[what]
    done = CliRunner().invoke(app, list(COMMANDS[what]), prog_name="nnarray")
    assert done.exit_code == int(row.error), done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("nnarray: ")
    assert "Traceback" not in done.output
    assert says_all(line, row.says), line


def test_debug_shows_the_traceback() -> None:
    done = CliRunner().invoke(app, ["--debug", "train", "none.csv", "--target", "x", "--backend", "numpy"])
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    assert "there is no file 'none.csv'" in done.stderr


def test_the_page_is_read_as_it_is_written() -> None:
    assert ROWS["no seed"].error == "TypeError"
    assert ROWS["no seed"].says == ("seed must be an integer; got None",)
    assert ROWS["Ctrl-C"].says == ()
    assert says_all("b, then a", ("b", "a"))
    assert not says_all("b, then a", ("a", "b"))


# --- What you keep ---------------------------------------------------------------------------------------------------


def test_an_error_before_the_first_step_leaves_the_history_of_the_training_before(
    host: nn.Backend, patch: pytest.MonkeyPatch
) -> None:
    class Broken(nn.Callback):
        def on_fit_start(self, run: nn.Run) -> None:
            raise RuntimeError("not ready")

    b = Bench(host, patch)
    before = trained(b).history
    for change in ({"callbacks": [Broken()]}, {"optimizer": "lbfgs"}):
        with pytest.raises((RuntimeError, ValueError)):
            b.fit(**change)
        assert b.model.history is before


def test_an_error_of_a_callback_leaves_the_epoch_that_it_was_called_for(
    host: nn.Backend, patch: pytest.MonkeyPatch
) -> None:
    def fail(run: nn.Run) -> None:
        if run.epoch == 2:
            raise RuntimeError("mine")

    b, twin = Bench(host, patch), Bench(host, patch)
    with pytest.raises(RuntimeError, match="mine"):
        b.fit(epochs=5, callbacks=fail, checkpoint="run.safetensors")
    assert len(b.model.history["loss"]) == 2
    assert len(nn.load("run.safetensors").history["loss"]) == 1
    twin.fit(epochs=2)
    np.testing.assert_array_equal(b.model.theta, twin.model.theta)


# --- What is no error ------------------------------------------------------------------------------------------------


def test_remainders_constant_columns_and_single_classes_are_no_errors(be: nn.Backend) -> None:
    X = be.asarray(np.ones((32, 2)), dtype="float32")
    y = be.asarray(np.zeros(32, dtype="int32"))
    model = nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Dense(2)).init((2,), backend=be, dtype="float32")
    history = model.fit(X, y, epochs=2, batch_size=30)  # two are left
    assert history.steps == 4
    assert history["loss"][1] < history["loss"][0]
    assert bool(be.xp.all(be.xp.isfinite(model.theta)))
    assert float(be.xp.max(be.xp.abs(nn.datasets.standardize(X)))) == 0.0


# --- Arrays in any memory --------------------------------------------------------------------------------------------


def _mapped(x: np.ndarray) -> np.ndarray:
    path = f"{x.ndim}{x.dtype.kind}.npy"
    np.save(path, x)
    return np.load(path, mmap_mode="r")


def _read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def _unaligned(x: np.ndarray) -> np.ndarray:
    room = np.zeros(x.nbytes + 1, dtype=np.uint8)
    out = room[1:].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out


def _as_matrix(x: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix(x) if x.ndim == 2 else x


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=0)[::2],
    "negative strides": lambda x: x[::-1].copy()[::-1],
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "read-only": _read_only,
    "memory-mapped": _mapped,
    "unaligned": _unaligned,
    "matrix": _as_matrix,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rule", [nn.Adam(0.1), nn.Adam(0.1, clip_norm=1.0)], ids=["prepared", "layers"])
def test_memory_does_not_matter_and_is_only_read(layout: str, rule: nn.Optimizer) -> None:
    X, y = nn.datasets.moons(40, noise=0.2, seed=0)
    weights = np.linspace(0.5, 1.5, 40)
    given = [LAYOUTS[layout](x) for x in (X, y, weights)]
    copies = [np.array(x) for x in given]
    plain, other = SMALL.init((2,)), SMALL.init((2,))
    plain.fit(X, y, epochs=2, batch_size=7, sample_weight=weights, validation=0.2, optimizer=rule)
    other.fit(given[0], given[1], epochs=2, batch_size=7, sample_weight=given[2], validation=0.2, optimizer=rule)
    assert plain.theta.tobytes() == other.theta.tobytes()
    assert type(other(given[0])) is np.ndarray
    np.testing.assert_allclose(other(given[0]), plain(X), rtol=1e-14)
    np.testing.assert_allclose(other.predict(given[0]), plain.predict(X), rtol=1e-14)
    for x, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(x, copy)


def test_tensors_in_any_memory_and_with_a_record() -> None:
    torch = pytest.importorskip("torch")
    X = torch.arange(24.0).reshape(12, 2) / 24
    y = torch.arange(12) % 2
    record = X.clone().requires_grad_()
    plain = SMALL.init((2,), backend="torch", dtype="float32")
    plain.fit(X, y, epochs=2, batch_size=5)
    for given in (X.T.contiguous().T, torch.stack([X, X], dim=1)[:, 0, :], record, (record * 1.0)):
        other = SMALL.init((2,), backend="torch", dtype="float32")
        before = given.detach().clone()
        other.fit(given, y, epochs=2, batch_size=5)
        np.testing.assert_array_equal(other.theta.numpy(), plain.theta.numpy())
        assert torch.equal(given.detach(), before)
    assert record.grad is None
    leaf = torch.zeros(27, requires_grad=True)
    plain.theta = leaf
    plain.fit(X, y, epochs=1)
    assert leaf.grad is None
    assert not leaf.any(), "training has written into the vector that it was given"


def test_arrays_that_only_other_libraries_know_are_sent_to_asarray(host: nn.Backend) -> None:
    """As Dask's: chunks of unknown size have no length, and computing them is the user's decision."""

    class Chunked:
        shape, ndim, dtype = (float("nan"), 2), 2, np.dtype(float)

        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return np.ones((8, 2))

    model = SMALL.init((2,))
    for call in (lambda: model(Chunked()), lambda: model.fit(Chunked(), np.zeros(8, dtype=int))):  # type: ignore
        with pytest.raises(TypeError, match=r"X must be an array; got tests\.Chunked\. Make one with nn\.backend"):
            call()
    assert model(host.asarray(Chunked())).shape == (8, 2)


def test_dask_arrays_are_computed_where_the_user_says(host: nn.Backend) -> None:
    array = importlib.import_module("dask.array")
    X = array.from_array(np.arange(16.0).reshape(8, 2), chunks=4)
    for given, count in ((X, 8), (X[X[:, 0] > 4], 5)):
        with pytest.raises(
            TypeError,
            match=r"X must be an array; got dask\.Array\. If .*; predict, and fit with cluster=, take it\.",
        ):
            SMALL.init((2,))(given)
        assert host.asarray(given).shape == (count, 2)


# --- Numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e4, 1e38])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_extreme_logits_train_to_finite_numbers(host: nn.Backend, size: float, kind: str) -> None:
    """Without a warning, which would be an error here."""
    logits = host.asarray([[size, -size], [-size, size]], dtype=kind)
    labels = np.asarray([1, 1])
    loss, gradient = nn.losses.CrossEntropy().value_and_gradient(logits, labels)
    assert float(loss) == pytest.approx(size, rel=1e-6)
    np.testing.assert_allclose(gradient, [[0.5, -0.5], [0, 0]])
    binary, gradient = nn.losses.BinaryCrossEntropy().value_and_gradient(logits, host.asarray([[0, 1], [0, 1]], kind))
    assert float(binary) == pytest.approx(size / 2, rel=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("flag", ["numpy", "torch", "jax"])
def test_float16_does_not_overflow_where_it_need_not(flag: str) -> None:
    if not any(info.name == flag and info.usable for info in nn.list_backends()):
        pytest.skip(f"{flag} cannot be used here")
    be = nn.backend(flag)
    X = be.asarray(np.linspace(-6e4, 6e4, 64).reshape(32, 2), dtype="float16")
    for name in ("softmax", "log_softmax", "logistic", "softplus"):
        y = nn.Activation(name).resolved.value(X)
        assert backends.dtype_name(y.dtype) == "float16"
        assert np.isfinite(be.to_numpy(y)).all()
    row = be.asarray(np.full((2, 70_000), 1.0), dtype="float16")
    assert float(be.xp.sum(be.xp.astype(nn.Activation("softmax").resolved.value(row)[0, :], be.xp.float32))) > 0.5
    loss, gradient = nn.losses.CrossEntropy().value_and_gradient(X, be.asarray(np.zeros(32, dtype="int32")))
    assert np.isfinite(float(loss))
    assert np.isfinite(be.to_numpy(gradient)).all()


@pytest.mark.parametrize("kinds", [("float64", "float32"), ("float32", "float64"), ("float16", "float32")])
def test_the_dtype_of_the_model_wins(kinds: tuple[str, str]) -> None:
    given, own = kinds
    X, y = nn.datasets.moons(40, noise=0.2, seed=0)
    model, twin = SMALL.init((2,), dtype=own), SMALL.init((2,), dtype=own)
    weights = np.linspace(0.5, 1.5, 40)
    model.fit(X.astype(given), y, epochs=2, sample_weight=weights)
    twin.fit(X.astype(given).astype(own), y, epochs=2, sample_weight=weights)
    assert model(X.astype(given)).dtype == model.theta.dtype == np.dtype(own)
    np.testing.assert_array_equal(model.theta, twin.theta)


# --- Global state, threads, processes --------------------------------------------------------------------------------


def test_global_generators_are_neither_seeded_nor_read(host: nn.Backend) -> None:
    torch = pytest.importorskip("torch")
    np.random.seed(7)  # noqa: NPY002  (the global one is what this is about)
    before = (np.random.get_state()[1].tobytes(), random.getstate(), torch.get_rng_state().numpy().tobytes())  # noqa: NPY002
    for flag in ("numpy", "torch"):
        be = nn.backend(flag)
        X, y = nn.datasets.moons(40, noise=0.1, seed=0, backend=be, dtype="float32")
        net = nn.Network(nn.Dense(5, "relu"), nn.Dropout(0.5), nn.Dense(2))
        net.init((2,), seed=3, backend=be, dtype="float32").fit(X, y, epochs=2, validation=0.2, seed=4)
        nn.datasets.train_test_split(X, y, seed=5)
    after = (np.random.get_state()[1].tobytes(), random.getstate(), torch.get_rng_state().numpy().tobytes())  # noqa: NPY002
    assert after == before


def test_layers_keep_nothing_of_what_they_compute(be: nn.Backend, patch: pytest.MonkeyPatch) -> None:
    b = Bench(be, patch)
    net = nn.Network(nn.Dense(5, "tanh"), nn.BatchNorm(), nn.Dropout(0.2), nn.Dense(2))
    layers = [dict(vars(layer)) for layer in net.layers]
    model = net.init((2,), backend=be, dtype="float32")
    state = be.to_numpy(model.state).copy()
    first, again = model(b.X), model(b.X)
    np.testing.assert_array_equal(be.to_numpy(first), be.to_numpy(again))
    np.testing.assert_array_equal(be.to_numpy(model.state), state)
    for layer, before in zip(net.layers, layers, strict=True):
        kept = {name: value for name, value in vars(layer).items() if name not in before}
        assert not [name for name, value in kept.items() if hasattr(value, "shape")]


def test_a_model_may_be_called_from_several_threads(be: nn.Backend, patch: pytest.MonkeyPatch) -> None:
    b = Bench(be, patch)
    want, got, errors = be.to_numpy(b.model.predict(b.X, batch_size=3)), [], []
    b.model._planned = None  # so that the threads meet in preparing it

    def work() -> None:
        try:
            got.extend(be.to_numpy(b.model.predict(b.X, batch_size=3)) for _ in range(5))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(got) == 20
    assert all(np.array_equal(y, want) for y in got)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.parametrize("flag", ["numpy", "strict", "torch"])
def test_a_child_of_a_fork_goes_on(flag: str) -> None:
    """Threads that divide the work of convolutions, and PyTorch's own, are not there in the child."""
    if not any(info.name == flag and info.usable for info in nn.list_backends()):
        pytest.skip(f"{flag} cannot be used here")
    code = f"""
import os, signal, numpy as np, nnarray as nn
net = nn.Network(nn.Conv2D(8, 3, padding="same", activation="relu"), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(2))
be = nn.backend({flag!r})
model = net.init((8, 8, 3), seed=0, backend=be, dtype="float32")
X = be.asarray(np.random.default_rng(0).normal(size=(64, 8, 8, 3)), dtype="float32")
want = be.to_numpy(model(X))
child = os.fork()
if child == 0:
    signal.alarm(60)
    same = np.allclose(be.to_numpy(model(X)), want, rtol=1e-5, atol=1e-6)
    os._exit(0 if same else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = run_python(code)
    assert done.stdout.strip() == "0", done.stderr


@pytest.mark.parametrize(
    "error",
    [
        "cudaErrorInitializationError: initialization error",
        "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use 'spawn'",
    ],
)
def test_cuda_in_a_forked_process_is_reported_with_the_remedy(error: str) -> None:
    assert "start processes with multiprocessing's 'spawn'" in backends.explain_cuda(13020, 13020, RuntimeError(error))


def test_what_the_command_line_says_to_machines_is_not_mixed_with_errors() -> None:
    pd.DataFrame(COLUMNS).to_csv("data.csv", index=False)
    words = [*TRAIN, "--target", "kind", "--epochs", "1", "--json"]
    done = CliRunner().invoke(app, words, prog_name="nnarray")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["epochs"] == 1
    assert not done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_in_a_training_leaves_a_checkpoint_that_loads() -> None:
    code = """
import nnarray as nn
X, y = nn.datasets.moons(64, noise=0.2, seed=0)
model = nn.Network(nn.Dense(8, "tanh"), nn.Dense(2)).init((2,), seed=0)
model.fit(X, y, epochs=1_000_000, callbacks=lambda run: print("epoch", flush=True), checkpoint="run.safetensors")
"""
    with started(sys.executable, "-c", code) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LIMIT)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert len(nn.load("run.safetensors").history["loss"]) > 0
