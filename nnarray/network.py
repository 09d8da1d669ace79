"""Network: layers in a row, from which models are made; and models from files."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from nnarray.arguments import METHODS, Explained, explained
from nnarray.backends import Backend, backend, host_backend
from nnarray.functional.propagation import Wiring
from nnarray.layers.base import NO_NUMBERS, Layer
from nnarray.layers.containers import Row
from nnarray.layers.kinds import specs
from nnarray.layers.sliding import naming_order_of_channels
from nnarray.model import Model
from nnarray.names import shown
from nnarray.persistence.settings import register
from nnarray.random import Key
from nnarray.training import loading
from nnarray.typing import Shape


@register
@dataclass(frozen=True, init=False)
class Network(Row, metaclass=Explained):
    """Layers in a row, y = f_n(... f_2(f_1(x))): the architecture, without parameters.

    Parameters
    ----------
    *layers : Layer
        At least one. A network is itself a layer, so networks can be nested.
    name : str, optional
    recompute : bool
        Whether training keeps only the inputs, and repeats the forward propagation for the pullbacks. This needs less
        memory and one more forward propagation, and gives the same gradient [1]_. Useful for parts of a deep network.

    References
    ----------
    .. [1] Chen, Xu, Zhang & Guestrin (2016), Training deep nets with sublinear memory cost. arXiv:1604.06174.

    Examples
    --------
    >>> import nnarray as nn
    >>> net = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2))
    >>> model = net.init((2,), seed=0, dtype="float32")
    >>> model.theta.shape
    (27,)
    """

    @explained
    def init(
        self,
        shape: Shape | Mapping[str, Any] | int,
        *,
        seed: int = 0,
        backend: str | Backend | None = None,
        dtype: object = None,
        engine: str = "auto",
    ) -> Model:
        """A model of this network with freshly drawn parameters.

        Parameters
        ----------
        shape : tuple of int, or mapping of str to such
            The shape of one example, without the batch axis. All other sizes follow from it. With several inputs, a
            mapping by name.
        seed : int
            The same seed gives the same parameters on every backend, up to rounding to the dtype.
        backend : str or Backend, optional
            Where the model computes.
        dtype : str, optional
            "float32", "float64", ...; the library's default if None.
        engine : str
            What computes: "layers" is each layer itself. On NumPy also "numpy", steps that are prepared
            once, and "numba", compiled loops. "auto" is the fastest engine that is installed.

        Raises
        ------
        ValueError
            If a layer does not accept the shape of its inputs (the message names the layer), or there is no
            such engine.
        ImportError
            If the engine is not installed.
        """
        specs(self.takes, shape)  # refuses names that differ
        sizes = _checked(shape)
        with naming_order_of_channels(self, sizes):
            self.out_shape(sizes)
        return _drawn(self, sizes, seed, _backend(backend), dtype, engine)

    def __getattr__(self, name: str) -> Any:
        advice = " ".join(filter(None, (METHODS.get(name), NO_NUMBERS if name != "add" else "")))
        raise AttributeError(f"Network has no {name!r}: {advice}", name=name, obj=self)


def _drawn(network: Layer, shape: Any, seed: int, be: Backend, dtype: object, engine: str) -> Model:
    """A model with values drawn from the seed. They are drawn once, on the host, and moved as one vector."""
    host, chosen = host_backend(), be.floating(dtype)
    wiring, key = Wiring.of(network, shape), Key(seed)
    theta, still = (
        be.asarray(layout.draw(key.fold(name), host.xp, host.device), dtype=chosen)
        for layout, name in ((wiring.params, "params"), (wiring.state, "state"))
    )
    return Model(network, shape, theta, still, wiring=wiring, engine=engine)


@explained
def load(path: str | os.PathLike[str], *, backend: str | Backend | None = None, dtype: object = None) -> Model:
    """Load a model from a file that `Model.save` or `Model.fit(checkpoint=...)` wrote.

    Nothing in the file is executed. The checksum and every name, shape and number are checked before anything is used.
    The size of the file bounds the time and the memory needed.

    Parameters
    ----------
    path : path
        The .safetensors file.
    backend : str or Backend, optional
        Where the model computes.
    dtype : str, optional
        The dtype in the file if None.

    Returns
    -------
    Model
        With its `history` and `metadata`.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist or cannot be read.
    ValueError
        If the file is damaged, holds no model, was written by a newer version, or names an unknown layer; the message
        names the file and the fault. Register layers of your own first (`nn.register`).

    Examples
    --------
    >>> import nnarray as nn, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "moons.safetensors")
    ...     nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), dtype="float32").save(path)
    ...     nn.load(path)
    Model(Dense(5, activation='tanh'), Dense(2); 27 parameters, float32 on numpy (cpu))
    """
    loaded = loading.load(path, _backend(backend), dtype)
    model = Model(loaded.wiring.network, loaded.input_shape, loaded.theta, loaded.state, wiring=loaded.wiring)
    model.frozen, model.history, model.metadata = loaded.frozen, loaded.history, loaded.metadata
    model.loss = loaded.loss
    if loaded.missing is not None:
        loading.warn_of_missing(path, loaded.missing)
    return model


@explained
def load_onnx(
    path: str | os.PathLike[str],
    *,
    backend: str | Backend | None = None,
    dtype: object = None,
    shape: Any = None,
    output: str | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Model:
    """Load the graph of an ONNX file as a model: it predicts, and it can be trained, frozen and saved.

    Nothing in the file is executed. Every name and size in it is checked before memory is allocated. Constants of real
    numbers that are weights become the parameters of the model, with their names in the file.

    Parameters
    ----------
    path : path
        The .onnx file. Constants in other files must be in its folder.
    backend : str or Backend, optional
        Where the model computes.
    dtype : str, optional
        The dtype of most real numbers in the file if None.
    shape : tuple of int, or mapping of str to such, optional
        The shape of one example, without the batch axis, if the file leaves it open. With several inputs, by name.
    output : str, optional
        The output that the model computes; the first one if None. `nn.onnx.read` computes all of them.
    fixed : mapping of str to array or number, optional
        Inputs that have the same value in each call.

    Returns
    -------
    Model
        Its network is one layer, which is the graph; its `metadata["onnx"]` are the notes in the file, and
        `metadata["classes"]` the names of the classes, if the notes have them as `to_onnx` writes them.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist or cannot be read.
    ImportError
        If the package `onnx` is not installed.
    ValueError
        If the file is damaged, has operators that are not known (all are named), or leaves open what must be known.

    Examples
    --------
    >>> import nnarray as nn
    >>> model = nn.load_onnx("model.onnx", backend="torch")  # doctest: +SKIP
    >>> model.fit(X, y, epochs=5)  # doctest: +SKIP
    """
    reading = import_module("nnarray.onnx.reading.file")
    loading = import_module("nnarray.onnx.reading.loading")
    content = reading.read_file(path)
    try:
        found = loading.imported(content, shape, output, fixed or {})
        wiring = Wiring.of(found.layer, found.shape)
        host = host_backend()
        zeros = host.xp.zeros(0, dtype=host.dtype(found.layer.main), device=host.device)
        theta, be = wiring.params.pack(found.params, zeros), _backend(backend)
        chosen = be.floating(dtype or found.layer.main)
        vectors = (be.asarray(each, dtype=chosen) for each in (theta, zeros))
        model = Model(found.layer, found.shape, *vectors, wiring=wiring)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} cannot be loaded: {str(error).rstrip('.')}.") from error
    if content.notes:
        model.metadata["onnx"] = dict(content.notes)
    if output in (None, content.graph.outputs[0].name) and (classes := loading.classes_of(content.notes)):
        model.metadata["classes"] = classes
    return model


_backend = backend


def _checked(shape: Any, of: str = "shape", example: str = "init(X.shape[1:])") -> Any:
    """A shape, or several by name, with Python's integers; `of` and `example` are for errors."""
    if isinstance(shape, Mapping):
        return {
            name: _checked(each, f"{of}[{name!r}]", f"{name!r}: X[{name!r}].shape[1:]") for name, each in shape.items()
        }
    if isinstance(getattr(shape, "shape", None), tuple) and shape.shape:
        raise TypeError(
            f"{of} must be a tuple, the shape of one example; got {type(shape).__name__} of shape "
            f"{tuple(shape.shape)}. Write {example}."
        )
    if hasattr(shape, "__index__"):
        raise TypeError(
            f"{of} must be a tuple, the shape of one example; got {shape}. If X is an array, write {example}. Else "
            f"write ({shape},), if an example has {shape} features."
        )
    try:
        sizes = tuple(map(operator.index, shape))
    except TypeError:
        sizes = (0,)
    if min(sizes, default=1) < 1 or isinstance(shape, str):
        raise ValueError(f"{of} must be a tuple of integers above 0, the shape of one example; got {shown(shape)}.")
    return sizes
