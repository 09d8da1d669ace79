"""Who predicts with a dense network. Calls are given rows in the library's own arrays; a stream comes from NumPy."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import training
from base import Runtime, by_repetition, sample
from onnx_graphs import dense_graph, session
from training import jax_outputs, keras_network, need_numba, nnarray_model, tinygrad_outputs, torch_network
from workloads import STREAM, Forward

STREAM_SECONDS = 0.6  # of a turn; the time of a row follows from how many have gone by
POOL = 8  # batches that a stream comes back to: more than the caches hold


class Predictor(Runtime):
    """`function` gives the outputs; `in_library` and `on_host` change arrays from NumPy's to the library's and back."""

    work: Forward

    def function(self, batch: int) -> Callable[[Any], Any]:
        """The prepared function for batches of this size; what it returns has been computed."""
        raise NotImplementedError

    def in_library(self, X: np.ndarray) -> Any:
        return X

    def on_host(self, y: Any) -> np.ndarray:
        return np.asarray(y)

    @cache  # noqa: B019  (a runtime lives as long as its process)
    def prepared(self, batch: int) -> Callable[[Any], Any]:
        return self.function(batch)

    def check(self, case: str) -> list[list[float]]:
        batch = self.work.batch_of(case)
        y = self.on_host(self.prepared(batch)(self.in_library(self.work.rows(batch))))
        return sample(y - y[:, :1])  # of logits and of logarithms of probabilities the differences are the same

    def time(self, case: str) -> dict[str, float]:
        batch = self.work.batch_of(case)
        f = self.prepared(batch)
        if case == STREAM:
            return self.stream(f, batch)
        x = self.in_library(self.work.rows(batch))
        return by_repetition(lambda: f(x))

    def stream(self, f: Callable[[Any], Any], batch: int) -> dict[str, float]:
        """Seconds a row, from NumPy's arrays to NumPy's arrays."""
        pool = np.split(self.work.rows(POOL * batch), POOL)
        begun, done = time.perf_counter(), 0
        for X in itertools.cycle(pool):
            self.on_host(f(self.in_library(X)))
            done += batch
            if time.perf_counter() - begun > STREAM_SECONDS:
                break
        return {"seconds": (time.perf_counter() - begun) / done}


class Products(Predictor):
    """The matrix products alone, into memory that is there."""

    checked = False

    def function(self, batch: int) -> Callable[[Any], Any]:
        weights = [self.in_library(w) for w in self.work.params(self.dtype)[::2]]
        rows = [self.xp.zeros((batch, n), self.dtype) for n in self.work.sizes]

        def products(X: Any) -> Any:
            for x, w, out in zip((X, *rows[1:-1]), weights, rows[1:], strict=True):
                self.xp.dot(x, w, out)
            self.finish()
            return rows[-1]

        return products

    def in_library(self, X: np.ndarray) -> Any:
        return self.xp.asarray(X)

    def on_host(self, y: Any) -> np.ndarray:
        return np.zeros((1, 1))  # nobody compares it


class ByHand(Predictor):
    """As a person would write it in a notebook."""

    def function(self, batch: int) -> Callable[[Any], Any]:
        params = self.work.params(self.dtype)

        def outputs(x: np.ndarray) -> np.ndarray:
            for i in range(0, len(params) - 2, 2):
                x = np.maximum(x @ params[i] + params[i + 1], 0)
            return x @ params[-2] + params[-1]

        return outputs


class Nnarray(Predictor):
    """Through the public API: `model(X)`."""

    engine = "auto"

    def function(self, batch: int) -> Callable[[Any], Any]:
        return nnarray_model(self.work, "numpy", self.dtype, self.engine)


class NnarrayPlain(Nnarray):
    engine = "numpy"


class NnarrayFast(Nnarray):
    engine = "numba"

    def prepare(self) -> None:
        need_numba()


class OnnxRuntime(Predictor):
    """A graph made by hand."""

    def function(self, batch: int) -> Callable[[Any], Any]:
        run = session(dense_graph(self.work.params(self.dtype)), self.threads).run
        return lambda x: run(None, {"x": x})[0]


class Torch(Predictor):
    """Eager, in inference mode."""

    def prepare(self) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(self.threads)

    def function(self, batch: int) -> Callable[[Any], Any]:
        net = self.compiled(torch_network(self.work, self.dtype).eval())
        return self.torch.inference_mode()(lambda x: net(x))

    def compiled(self, net: Any) -> Any:
        return net

    def in_library(self, X: np.ndarray) -> Any:
        return self.torch.from_numpy(X)


class TorchCompile(Torch):
    """The same compiled, for each size of batch."""

    def compiled(self, net: Any) -> Any:
        return self.torch.compile(net, dynamic=False)


class Jax(Predictor):
    """The function compiled by `jit`."""

    def prepare(self) -> None:
        import jax

        self.jax = jax

    def function(self, batch: int) -> Callable[[Any], Any]:
        params = [self.jax.numpy.asarray(p) for p in self.work.params(self.dtype)]
        compiled = self.jax.jit(lambda params, x: jax_outputs(self.work, params, x))
        return lambda x: compiled(params, x).block_until_ready()

    def in_library(self, X: np.ndarray) -> Any:
        return self.jax.numpy.asarray(X)


class Keras(Predictor):
    """`predict_on_batch`, on JAX; it takes and gives NumPy's arrays."""

    environment = training.Keras.environment

    def function(self, batch: int) -> Callable[[Any], Any]:
        return keras_network(self.work, self.dtype).predict_on_batch


class Tinygrad(Predictor):
    """The function in `TinyJit`."""

    environment = training.Tinygrad.environment

    def prepare(self) -> None:
        import tinygrad

        self.tinygrad, self.device = tinygrad, tinygrad.Device[tinygrad.Device.DEFAULT]

    def function(self, batch: int) -> Callable[[Any], Any]:
        params = [self.in_library(p) for p in self.work.params(self.dtype)]
        jitted = self.tinygrad.TinyJit(lambda x: tinygrad_outputs(self.work, params, x).realize())

        def outputs(x: Any) -> Any:
            y = jitted(x)
            self.device.synchronize()
            return y

        for _ in range(3):  # the first calls record and compile
            outputs(self.in_library(self.work.rows(batch)))
        return outputs

    def in_library(self, X: np.ndarray) -> Any:
        return self.tinygrad.Tensor(X).realize()

    def on_host(self, y: Any) -> np.ndarray:
        return y.numpy()


class ScikitLearn(Predictor):
    """`MLPClassifier.predict_proba`; its results are compared as logarithms."""

    def function(self, batch: int) -> Callable[[Any], Any]:
        from sklearn.neural_network import MLPClassifier

        work, params = self.work, self.work.params(self.dtype)
        model = MLPClassifier(work.sizes[1:-1], activation=work.activation)
        rows = work.rows(work.sizes[-1])
        model.partial_fit(rows, np.arange(work.sizes[-1]), classes=np.arange(work.sizes[-1]))  # learns the sizes
        model.coefs_, model.intercepts_ = params[::2], params[1::2]
        return model.predict_proba

    def check(self, case: str) -> list[list[float]]:
        batch = self.work.batch_of(case)
        logs = np.log(self.prepared(batch)(self.work.rows(batch)))
        return sample(logs - logs[:, :1])


RUNTIMES: dict[str, type[Runtime]] = {
    "products alone": Products,
    "NumPy by hand": ByHand,
    "nnarray, NumPy": NnarrayPlain,
    "nnarray, NumPy + Numba": NnarrayFast,
    "ONNX Runtime": OnnxRuntime,
    "PyTorch eager": Torch,
    "torch.compile": TorchCompile,
    "JAX jit": Jax,
    "Keras (JAX)": Keras,
    "tinygrad TinyJit": Tinygrad,
    "scikit-learn": ScikitLearn,
}
