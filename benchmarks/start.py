"""Fresh processes: how long each library takes from the start of a process to a first result.

Run as a script, this file is such a process: `python start.py RUNTIME METHOD FOLDER` calls one of the methods below and
prints numbers of the result. So nothing that costs time is imported at the top.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

EPOCH, BATCH = 1280, 128  # rows


class Process:
    """What a fresh process does, with the network 784-512-256-10, and `save`, which is done once before."""

    environment: Mapping[str, str] = {}

    def save(self, folder: str, params: list[Any]) -> None:
        """Leave a model of these parameters in the folder, in the form that `predict` loads."""

    def load(self) -> None:
        """Import the library."""
        raise NotImplementedError

    def predict(self, folder: str) -> Any:
        """The outputs for one row of ones."""
        raise NotImplementedError

    def fit(self) -> None:
        """Train for an epoch."""
        raise NotImplementedError


def epoch() -> tuple[Any, Any]:
    """What an epoch is trained on."""
    import numpy as np

    return np.ones((EPOCH, 784), "float32"), np.arange(EPOCH) % 10


class NumPy(Process):
    def save(self, folder: str, params: list[Any]) -> None:
        import numpy as np

        np.savez(f"{folder}/model.npz", *params)

    def load(self) -> None:
        import numpy  # noqa: F401

    def predict(self, folder: str) -> Any:
        import numpy as np

        (w1, b1, w2, b2, w3, b3), x = np.load(f"{folder}/model.npz").values(), np.ones((1, 784), "float32")
        return np.maximum(np.maximum(x @ w1 + b1, 0) @ w2 + b2, 0) @ w3 + b3


class Nnarray(Process):
    engine = "auto"

    def model(self) -> Any:
        import nnarray as nn

        net = nn.Network(nn.Dense(512, "relu"), nn.Dense(256, "relu"), nn.Dense(10))
        return net.init((784,), dtype="float32", engine=self.engine)

    def save(self, folder: str, params: list[Any]) -> None:
        model = self.model()
        model.set_params(dict(zip(model.params, params, strict=True))).save(f"{folder}/model.safetensors")

    def load(self) -> None:
        from nnarray import Network  # noqa: F401  (the package alone imports nothing)

    def predict(self, folder: str) -> Any:
        import numpy as np

        import nnarray as nn

        model = nn.load(f"{folder}/model.safetensors")
        return model.predict(np.ones((1, 784), "float32"), engine=self.engine)

    def fit(self) -> None:
        self.model().fit(*epoch(), epochs=1, batch_size=BATCH)


class NnarrayPlain(Nnarray):
    engine = "numpy"


class NnarrayFast(Nnarray):
    engine = "numba"

    def save(self, folder: str, params: list[Any]) -> None:
        import numba  # noqa: F401  (so that a missing one is reported)

        super().save(folder, params)


class Torch(Process):
    def network(self) -> Any:
        from torch import nn

        dense = nn.Linear(784, 512), nn.Linear(512, 256), nn.Linear(256, 10)
        return nn.Sequential(dense[0], nn.ReLU(), dense[1], nn.ReLU(), dense[2])

    def save(self, folder: str, params: list[Any]) -> None:
        import torch

        values = (torch.from_numpy(p.T.copy()) for p in params)
        torch.save(dict(zip(self.network().state_dict(), values, strict=True)), f"{folder}/model.pt")

    def load(self) -> None:
        import torch  # noqa: F401

    def predict(self, folder: str) -> Any:
        import torch

        network = self.network()
        network.load_state_dict(torch.load(f"{folder}/model.pt"))
        with torch.inference_mode():
            return network(torch.ones(1, 784))

    def fit(self) -> None:
        import torch

        network = self.network()
        rule = torch.optim.Adam(network.parameters())
        for x, y in zip(*(torch.from_numpy(part).split(BATCH) for part in epoch()), strict=True):
            rule.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            rule.step()


class OnnxRuntime(Process):
    def save(self, folder: str, params: list[Any]) -> None:
        from pathlib import Path

        from onnx_graphs import dense_graph

        Path(folder, "model.onnx").write_bytes(dense_graph(params))

    def load(self) -> None:
        import onnxruntime  # noqa: F401

    def predict(self, folder: str) -> Any:
        import numpy as np
        import onnxruntime

        session = onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])
        return session.run(None, {"x": np.ones((1, 784), "float32")})[0]


class Jax(NumPy):
    def load(self) -> None:
        import jax.numpy  # noqa: F401

    def predict(self, folder: str) -> Any:
        import jax
        import numpy as np

        @jax.jit
        def outputs(params: Any, x: Any) -> Any:
            w1, b1, w2, b2, w3, b3 = params
            return jax.nn.relu(jax.nn.relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3

        return outputs(list(np.load(f"{folder}/model.npz").values()), np.ones((1, 784), "float32"))


class Keras(Process):
    environment = {"KERAS_BACKEND": "jax"}  # noqa: RUF012

    def network(self) -> Any:
        import keras

        dense = (keras.layers.Dense(n, f) for n, f in ((512, "relu"), (256, "relu"), (10, None)))
        return keras.Sequential([keras.Input((784,)), *dense])

    def save(self, folder: str, params: list[Any]) -> None:
        network = self.network()
        network.set_weights(params)
        network.save(f"{folder}/model.keras")

    def load(self) -> None:
        import keras  # noqa: F401

    def predict(self, folder: str) -> Any:
        import keras
        import numpy as np

        return keras.models.load_model(f"{folder}/model.keras").predict_on_batch(np.ones((1, 784), "float32"))

    def fit(self) -> None:
        import keras

        network = self.network()
        network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        network.fit(*epoch(), batch_size=BATCH, epochs=1, verbose=0)


class ScikitLearn(Process):
    def load(self) -> None:
        import sklearn.neural_network  # noqa: F401

    def fit(self) -> None:
        import warnings

        from sklearn.neural_network import MLPClassifier

        warnings.simplefilter("ignore")  # that it has not converged
        MLPClassifier((512, 256), batch_size=BATCH, max_iter=1).fit(*epoch())


PROCESSES: dict[str, type[Process]] = {
    "NumPy alone": NumPy,
    "nnarray, NumPy": NnarrayPlain,
    "nnarray, NumPy + Numba": NnarrayFast,
    "PyTorch eager": Torch,
    "ONNX Runtime": OnnxRuntime,
    "JAX jit": Jax,
    "Keras (JAX)": Keras,
    "scikit-learn": ScikitLearn,
}


def main() -> None:
    name, method, folder = sys.argv[1:]
    process = PROCESSES[name]()
    os.environ.update(process.environment)
    result = process.predict(folder) if method == "predict" else getattr(process, method)()
    print([] if result is None else [float(x) for x in result[0]], flush=True)


if __name__ == "__main__":
    main()
