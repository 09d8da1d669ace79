"""Model: a network with its parameters, the one object of this package that changes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, NoReturn

from nnarray.arguments import Explained, explain_settings, explained, refuse_attribute
from nnarray.backends import (
    Backend,
    as_data,
    backend,
    backend_of,
    copy,
    dtype_name,
    is_lazy,
    is_traced,
    library_of,
    namespace,
    owned,
    place,
    read_only,
    stands_in,
    without_record,
)
from nnarray.checks import integer
from nnarray.engines import Decoder, decoder_of
from nnarray.functional.decoding import (
    Cache,
    decode,
    new_cache,
    positions_of,
    refuse_other_cache,
    refuse_without_positions,
)
from nnarray.functional.layout import Parameters
from nnarray.functional.propagation import Wiring
from nnarray.kernels import engines
from nnarray.kernels.compilation import compiled
from nnarray.layers.base import Layer, described
from nnarray.layers.kinds import arrays_in, specs
from nnarray.model import files, prediction, vectors
from nnarray.names import shown
from nnarray.recording import Traced, stripped
from nnarray.training.history import History
from nnarray.training.inputs import check_inputs, check_positions
from nnarray.training.keys import key_of
from nnarray.typing import Array, Inputs, Tree

if TYPE_CHECKING:  # what only some methods need, they import: a prediction does not wait for the rest of the package
    from nnarray.datasets.sources import Source
    from nnarray.datasets.streams import Stream
    from nnarray.functional.summary import Summary
    from nnarray.losses import Loss
    from nnarray.text.tokenizer import Tokenizer
    from nnarray.training.evaluation import Evaluation
    from nnarray.training.rates import RateSearch


@explain_settings
class Model(metaclass=Explained):
    """A network and the vector of its parameters, made by `Network.init`.

    Attributes
    ----------
    network : Layer
        The settings.
    theta : array, shape (size,)
        All trainable parameters in one vector; its library, device and dtype are the model's.
    state : array
        Numbers that training updates without gradients, such as running statistics.
    inputs : Spec or dict of str to Spec
        The shape of an example and its kind, "real", "integer" or "boolean". With several inputs, a dict by name.
    params : dict of str to array
        The parts of theta by name, such as "0.weight". They are read-only; `set_params` changes them.
    history : History
        The history of the last `fit`, even if that was interrupted.
    loss : Loss or None
        The loss of the last `fit`. It decides whether outputs are logits of classes or values. Set it to a name if you
        train the model in a loop of your own.
    engine : str
        The engine that computes if a call does not name one: "auto", "layers", on NumPy and PyTorch's CPU "numpy" or
        "numba", on JAX "scan".
    metadata : dict
        Your notes about the model, saved with it: strings, finite numbers, lists and dicts. "classes" holds the names
        of its classes, in the order of the labels.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
    >>> model(X).shape
    (200, 2)
    """

    _tokenizer: tuple[Any, Tokenizer | None] = (None, None)
    """The description in the metadata, and what was made of it."""

    def __init__(
        self,
        network: Layer,
        input_shape: Any,
        theta: Array,
        state: Array,
        *,
        wiring: Wiring | None = None,
        engine: str = engines.AUTO,
    ) -> None:
        self.network = network
        self.wiring = wiring or Wiring.of(network, input_shape)
        self.input_shape = input_shape
        self.inputs = specs(network.takes, input_shape)
        self.output_shape = network.out_shape(input_shape)
        self.frozen: frozenset[str] = frozenset()
        self.history = History()
        self.metadata: dict[str, Any] = {}
        self._loss: Loss | None = None
        self._decode: Callable[..., Any] | None = None
        self._take(vectors.checked_theta(theta, state, self.wiring.params.size), state)
        self.engine = engine

    def __getstate__(self) -> dict[str, Any]:
        """The state for pickle and copy. Prepared predictors refer to this model's memory, so they are left out."""
        return self.__dict__ | {"_prepared": None, "_decode": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, and make the vectors read-only again: pickle does not keep that."""
        vars(self).update(state)
        self._take(self._theta, self._state)

    def __copy__(self) -> Model:
        """A copy with its own parameters. Other libraries than NumPy train in place, and would change shared ones."""
        return self.copy()

    if not TYPE_CHECKING:  # a type checker would accept every attribute

        def __getattr__(self, name: str) -> NoReturn:
            refuse_attribute(self, name)

    @property
    def engine(self) -> str:
        """The engine that computes if a call does not name one.

        Raises
        ------
        ValueError, ImportError
            When it is set, if there is no such engine for the model's library, or it is not installed.
        """
        return self._engine

    @engine.setter
    def engine(self, engine: str) -> None:
        self._engine = engines.checked_engine(engine, self._theta)

    @property
    def loss(self) -> Loss | None:
        """The loss of the last `fit`, saved with the model; None before. Set it to a loss or its name."""
        return self._loss

    @loss.setter
    def loss(self, loss: Any) -> None:
        if loss is not None:
            from nnarray.losses import loss_named

            loss = loss_named(loss).kept()
        self._loss = loss

    @property
    def tokenizer(self) -> Tokenizer | None:
        """What the model reads text with, saved with the model; None if it has none. Set it to one of `nn.text`.

        Raises
        ------
        ValueError
            If its vocabulary has another size than that of the model, or its padding is another token than the
            `padding_index` of the network.
        """
        noted = self.metadata.get("tokenizer")
        if self._tokenizer[0] is not noted:
            self._tokenizer = noted, None if noted is None else self._read_tokenizer(noted)
        return self._tokenizer[1]

    def _read_tokenizer(self, noted: Any) -> Tokenizer:
        from nnarray.generation.continuing import refuse_other_vocabulary
        from nnarray.text.kinds import tokenizer_from_json

        tokenizer = tokenizer_from_json(noted)
        refuse_other_vocabulary(self, tokenizer)
        return tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer | None) -> None:
        if tokenizer is None:
            self.metadata.pop("tokenizer", None)
            return
        from nnarray.generation.continuing import refuse_other_vocabulary

        refuse_other_vocabulary(self, tokenizer)
        self.metadata["tokenizer"] = noted = tokenizer.to_json()
        self._tokenizer = noted, tokenizer

    def engine_for(self, engine: str | None) -> str:
        """The engine of one call; the model's own if the call names none."""
        return self._engine if engine is None else engines.checked_engine(engine, self._theta)

    # --- Parameters --------------------------------------------------------------------------------------------

    @property
    def theta(self) -> Array:
        """All trainable parameters in one vector; its library, device and dtype are the model's.

        To change the parameters, set it to another vector of the same length and dtype, without NaN and infinity.
        This check waits for the device; a loop that should not wait steps with `nn.training_step`, and sets theta at
        its end. On NumPy the vector is read-only: write `model.theta = 0.5 * model.theta`, or change a copy. A PyTorch
        tensor keeps its gradient record, so that PyTorch can train `torch.nn.Parameter(model.theta)`.

        Raises
        ------
        TypeError, ValueError
            When it is set, if its shape, dtype, library or device is not the model's, or a number is NaN or infinite.
        """
        return self._theta

    @theta.setter
    def theta(self, theta: Array) -> None:
        if isinstance(theta, Traced):
            raise ValueError(vectors.ends("theta"))
        theta = vectors.checked_theta(owned(as_data(theta, "theta")), self._state, self.wiring.params.size)
        self._replace(theta, self._state, "theta")

    @property
    def state(self) -> Array:
        """The numbers that training updates without gradients, such as running statistics, in one vector.

        Set it to the state that `nn.training_step` returns. On NumPy the vector is read-only. As for `theta`, shape and
        dtype must stay, and NaN and infinity are refused.
        """
        return self._state

    @state.setter
    def state(self, state: Array) -> None:
        self._replace(self._theta, owned(vectors.checked_state(state, self._state)), "state")

    def _replace(self, theta: Array, state: Array, unchecked: str = "") -> None:
        """Set both vectors; the one whose name is `unchecked` comes from the user as a whole."""
        vectors.refuse_unfit({"theta": theta, "state": state}, self._theta, unchecked)
        self._take(theta, state)

    def _take(self, theta: Array, state: Array) -> None:
        """Set both vectors, read-only where the library can do that."""
        self._theta, self._state = read_only(theta), read_only(state)
        self._prepared = prediction.Prepared(self.wiring, self._theta, self._state, self.input_shape)

    @property
    def params(self) -> dict[str, Array]:
        """The parts of theta by name, such as "0.weight". They are read-only; `set_params` changes them.

        On NumPy they are read-only views. On PyTorch they have the gradient record of theta, and PyTorch cannot refuse
        in-place functions such as `zero_()`, which change the model; use a `clone()`.

        Raises
        ------
        TypeError
            If an entry is set: `model.params["0.bias"] = array` would not change the model.
        """
        return Parameters(self.wiring.params.views(self._theta))

    def set_params(self, params: Mapping[str, Any]) -> Model:
        """Set some or all parameters; all are checked before any is set. Returns the model.

        Parameters
        ----------
        params : mapping of str to array or nested list
            New values by name. Arrays of any library are converted to the library, device and dtype of the model.

        Raises
        ------
        ValueError
            If a name is unknown, a shape differs, or a number is NaN or infinite; or if they are a state_dict of
            PyTorch or of `to_torch`, whose layouts differ.
        """
        from nnarray.persistence.pytorch import refuse_torch

        refuse_torch(params)
        self._replace(self.wiring.params.replaced(self._plain, params), self._state)
        return self

    def freeze(self, *names: str) -> Model:
        """Exclude parameters from training, by name ("0.weight"), layer ("encoder") or pattern ("0.*"; "*" is all).

        A layer whose parameters are all frozen keeps its state too: `BatchNorm` then normalises in training by its
        stored statistics, as at inference. Patterns are those of parameter groups.

        Their entries of a gradient are 0: that of `nn.value_and_grad` and `nn.training_step`, and that which PyTorch
        or JAX computes with respect to theta. PyTorch's own `requires_grad` of an entry of `params` freezes nothing:
        the entries are views of theta, which has one gradient.

        Raises
        ------
        ValueError
            If no parameter or layer has that name.
        """
        self.frozen = self.frozen.union(*(vectors.matched(self.wiring.params, name) for name in names))
        return self

    def unfreeze(self) -> Model:
        """Train all parameters again."""
        self.frozen = frozenset()
        return self

    @explained
    def load_torch(self, source: Any, *, ignore: Sequence[str] = (), keep: Sequence[str] = ()) -> Model:
        """Load the parameters and the state of a PyTorch network; all are checked before any is set. Returns the model.

        Entries are matched by name if every layer has the same name in both networks, as in `nn.models`. A
        prefix that all names share, such as `module.`, is ignored. Otherwise entries are matched by position.
        For that their order must be known. It is known from a PyTorch state_dict or its .pt file, from a file
        of `to_torch`, from the numbers in the names, from the shapes if no two layers have the same, or from a
        dict in which each weight comes before its bias. Other safetensors files do not keep the order. Axes are
        moved from PyTorch's layouts to channels-last.

        Parameters
        ----------
        source : mapping of str to array, or path
            A state_dict with arrays of any library, a .safetensors file, or a file of `torch.save` (.pt, .pth, .ckpt,
            .bin, .pth.tar). The last needs PyTorch, and is read with `weights_only=True`, so that nothing in it is
            executed. A checkpoint may hold other entries next to its one state_dict.
        ignore : sequence of str
            Entries or layers of the source to leave out, such as ("aux1", "aux2").
        keep : sequence of str
            Layers of this network that keep their numbers, such as a new head, ("head",).

        Warns
        -----
        RuntimeWarning
            If layers of the same shapes are matched by the order in which the module defines them, and their names do
            not count up: its forward may use them in another order.

        Raises
        ------
        ValueError
            If an entry is missing, unexpected, NaN or infinite, or has the wrong shape (the message names it); if the
            entries cannot be matched to layers; if they are from `Model.state_dict`, whose layouts are not PyTorch's;
            or if the file has no state_dict.
        FileNotFoundError, ImportError
            If the file does not exist, or the library to read it is not installed.

        Examples
        --------
        >>> import numpy as np
        >>> import nnarray as nn
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((3,), seed=0)
        >>> theirs = {"0.weight": np.ones((5, 3)), "0.bias": np.zeros(5),
        ...           "2.weight": np.ones((2, 5)), "2.bias": np.zeros(2)}
        >>> model.load_torch(theirs).params["0.weight"].shape
        (3, 5)
        """
        from nnarray.persistence import pytorch

        params, state = pytorch.read(self.network, self.input_shape, source, ignore, keep)
        theta, after = self.wiring.params.replaced(self._plain, params), self.wiring.state.replaced(self._state, state)
        self._replace(theta, after)
        return self

    def to_torch(self, path: str | Path | None = None) -> dict[str, Any]:
        """Parameters and state as a PyTorch state_dict: NumPy arrays under PyTorch's names and in its layouts.

        Parameters
        ----------
        path : path, optional
            A .safetensors file to which they are also written. It is replaced as a whole or not at all.

        Raises
        ------
        ValueError
            If they are written to a file, and a number is NaN or infinite: `load_torch` would refuse that file.

        Examples
        --------
        >>> import nnarray as nn
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((3,), seed=0)
        >>> {name: array.shape for name, array in model.to_torch().items()}
        {'0.weight': (5, 3), '0.bias': (5,), '1.weight': (2, 5), '1.bias': (2,)}
        """
        from nnarray.persistence import pytorch

        theta, state = self.snapshot()
        arrays = self.wiring.params.views(theta) | self.wiring.state.views(state)
        return pytorch.state_dict(self.network, self.input_shape, arrays, path)

    def snapshot(self) -> tuple[Array, Array]:
        """Copies of theta and state, for `restore`."""
        return copy(self._theta), copy(self._state)

    def restore(self, kept: tuple[Array, Array]) -> None:
        """Set theta and state to those of a snapshot."""
        theta, state = kept
        theta = vectors.checked_theta(theta, self._state, self.wiring.params.size)
        self._replace(copy(theta), copy(vectors.checked_state(state, self._state)))

    @property
    def _plain(self) -> Array:
        """theta without a gradient record."""
        return without_record(self._theta)

    def with_theta(self, theta: Array, state: Array | None = None) -> Model:
        """A model of the same network with another theta and state. This model does not change.

        Use it in functions of theta that are compiled or differentiated, by `nn.grad`, `jax.jit` or `torch.func`.

        Parameters
        ----------
        theta : array, shape (size,)
        state : array, optional
            The state of this model if None.

        Raises
        ------
        TypeError, ValueError
            If their shape, library or device differs from this model's.

        Examples
        --------
        >>> import nnarray as nn
        >>> X, y = nn.datasets.moons(200)
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
        >>> bool((model.with_theta(0.0 * model.theta)(X) == 0.0).all())
        True
        """
        other = Model(self.network, self.input_shape, owned(stripped(theta)), self._state, wiring=self.wiring)
        other.frozen, other.metadata = self.frozen, self.metadata
        other._loss, other._engine = self._loss, self._engine
        if state is not None:
            other.state = state
        if isinstance(theta, Traced):
            other._theta = theta
            other._prepared = prediction.Prepared(self.wiring, theta, other._state, self.input_shape)
        return other

    def copy(self) -> Model:
        """Another model with copies of theta and state."""
        return self._moved(*self.snapshot())

    def to(self, be: str | Backend, dtype: object = None) -> Model:
        """A copy of the model on another backend, and in another dtype if one is given.

        Examples
        --------
        >>> import nnarray as nn
        >>> model = nn.Network(nn.Dense(2)).init((3,), seed=0).to("numpy", dtype="float32")
        >>> model.theta.dtype
        dtype('float32')
        """
        be = backend(be)
        wanted = be.floating(dtype or dtype_name(self._theta.dtype))
        own = backend_of(self._theta)
        theta, state = (own.to_numpy(v) if be.library is not own.library else v for v in (self._plain, self._state))
        return self._moved(copy(be.asarray(theta, dtype=wanted)), copy(be.asarray(state, dtype=wanted)))

    def fold(self) -> Model:
        """A model for inference, with each batch normalisation merged into the weights of the linear layer before it.

        The outputs are the same up to rounding, with fewer operations. Train the original model, not this one.

        Examples
        --------
        >>> import nnarray as nn
        >>> model = nn.Network(nn.Conv2D(4, 3, bias=False), nn.BatchNorm(), nn.Activation("relu")).init((8, 8, 1))
        >>> model.fold()
        Model(Conv2D(4, 3), Activation('relu'); 40 parameters, float64 on numpy (cpu))
        """
        from nnarray.functional.folding import folded

        network, params, state = folded(self.network, self._nested(), self.wiring.state.tree(self._state))
        wiring = Wiring.of(network, self.input_shape)
        theta = wiring.params.pack(params, self._plain)
        still = wiring.state.pack(state, self._state[:0])
        other = Model(network, self.input_shape, theta, still, wiring=wiring, engine=self._engine)
        other.metadata, other._loss = deepcopy(self.metadata), self._loss
        return other

    def _moved(self, theta: Array, state: Array) -> Model:
        other = Model(self.network, self.input_shape, theta, state, wiring=self.wiring)
        other.frozen, other.metadata, other._loss = self.frozen, deepcopy(self.metadata), self._loss
        if library_of(theta) is library_of(self._theta):
            other._engine = self._engine
        return other

    # --- Files ---------------------------------------------------------------------------------------------------

    @explained
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model into a safetensors file: parameters, state, architecture, history, metadata.

        The file at `path` is replaced as a whole or not at all. It contains a checksum. `nn.load` reads it.

        Parameters
        ----------
        path : path
            Must end in .safetensors.

        Raises
        ------
        ValueError
            If the path has another ending, a setting of a layer is code, a layer is not registered
            (`nn.register`), or a parameter is NaN or infinite: `nn.load` would refuse such a file.
        OSError
            If the folder does not exist, may not be written to, or is full.

        Examples
        --------
        >>> import nnarray as nn, tempfile, pathlib
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(pathlib.Path(folder, "moons.safetensors"))
        ...     again = nn.load(pathlib.Path(folder, "moons.safetensors"))
        >>> bool((again.theta == model.theta).all())
        True
        """
        from nnarray.training import checkpoints

        checkpoints.save(self, path)

    @explained
    def to_onnx(
        self,
        path: str | os.PathLike[str],
        *,
        batch: int | None = None,
        dynamic_axes: Mapping[Any, Any] | None = None,
        check: bool = True,
    ) -> None:
        """Write the model as an ONNX file, for programs in other languages.

        The file has operators of ONNX, and the parameters under their names, such as "0.weight". It computes what the
        model computes at inference: the outputs, such as the logits of classes. The input is named "X", or inputs have
        the names that the network gives them; the output is named "outputs". `nn.load_onnx` reads the file. The model
        of a file keeps the names of its inputs and its output, and the notes of the file.

        Layers of your own are written too, if they use the array API standard. The file at `path` is replaced as a
        whole or not at all. Above 2 GiB, the parameters lie in a second file beside it, such as
        "m.onnx.0123456789abcdef.data": move both together.

        Parameters
        ----------
        path : path
            Must end in .onnx.
        batch : int, optional
            The number of examples in each call of the file. If None, it may be any.
        dynamic_axes : mapping, optional
            Other axes of the inputs that may have any size, with a name for each: {1: "length"} for sequences,
            {1: "height", 2: "width"} for images. Of several inputs, such a mapping by name: {"tokens": {1: "length"}}.
            Axes with the same name have the same size. What learns or computes something for each position, such as
            `LearnedPositions`, has at most as many positions as the model has.
        check : bool
            Whether the file is run before it is written: on random inputs, by ONNX Runtime if it is installed, else
            by the reference evaluator of ONNX. Its outputs must be those of the model, up to rounding.

        Raises
        ------
        ImportError
            If the package onnx is not installed.
        TypeError
            If a layer of your own takes numbers out of arrays: a file is for all inputs.
        ValueError
            If the path has another ending, an operation cannot be written, the model is of bfloat16, or the file
            computes something else than the model. The message names the operation and the layer. No file is written.
        OSError
            If the folder does not exist, may not be written to, or is full.

        Examples
        --------
        >>> import nnarray as nn, tempfile, pathlib
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.to_onnx(pathlib.Path(folder, "moons.onnx"))
        ...     again = nn.load_onnx(pathlib.Path(folder, "moons.onnx"))
        >>> list(again.params)
        ['0.weight', '0.bias', '1.weight', '1.bias']
        """
        files.write_onnx(self, path, batch=batch, dynamic_axes=dynamic_axes, check=check)

    def state_dict(self) -> dict[str, Array]:
        """Copies of parameters and state by name, such as "0.weight", in the model's library.

        Examples
        --------
        >>> import nnarray as nn
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.BatchNorm()).init((2,), seed=0)
        >>> list(model.state_dict())
        ['0.weight', '0.bias', '1.weight', '1.bias', '1.mean', '1.variance']
        """
        from nnarray.persistence.pytorch import OwnLayout

        theta, state = self.snapshot()
        return OwnLayout(self.wiring.params.views(theta) | self.wiring.state.views(state))

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Model:
        """Set all parameters and the state from a mapping; all are checked before any is set. Returns the model.

        Parameters
        ----------
        state_dict : mapping of str to array or nested list
            In the form that `state_dict` returns. Arrays of any library are converted to the library,
            device and dtype of the model.

        Raises
        ------
        TypeError
            If it is no mapping.
        ValueError
            If a name is missing or unknown, a shape differs, or a number is NaN or infinite; or if it is a state_dict
            of PyTorch or of `to_torch`, whose layouts differ.
        """
        self._replace(*files.vectors_of(self.wiring, self._plain, self._state, state_dict))
        return self

    # --- Forward -------------------------------------------------------------------------------------------------

    def __call__(self, X: Inputs, *others: Never) -> Array:
        """Forward propagation at inference: outputs, shape (batch, ...), for inputs of shape (batch, ...).

        Real inputs of another dtype are converted to the model's; integers are not converted. Values are not
        checked, so nothing waits for the device, and `jax.jit` can trace the call. PyTorch's autograd can
        compute the gradients with respect to X and `theta`.

        Raises
        ------
        TypeError
            If X is not an array of real numbers, or is an array of another library; or if there is more than X.
        ValueError
            If X is on another device or has another shape.
        """
        if others:
            raise TypeError("a model takes X only, and returns outputs. With y, call model.evaluate(X, y).")
        return self._computed(X, self._engine)

    def _computed(self, X: Any, engine: str) -> Array:
        run = None if self.is_recorded(X) else self._prepared.stage(engine)
        if run is not None:
            return run(X if self._prepared.takes(X) else check_inputs(self, X))
        return prediction.computed(self, X, engine, self._nested)

    def is_recorded(self, X: Any = None) -> bool:
        """Whether theta or an array in X is recorded for a gradient, as in a function that `nn.grad` differentiates."""
        return isinstance(self._theta, Traced) or any(isinstance(x, Traced) for x in arrays_in(X))

    def of_values(self) -> Model:
        """The model without a record of theta."""
        return self.with_theta(stripped(self._theta)) if isinstance(self._theta, Traced) else self

    def recorded(self, X: Any) -> tuple[Array, Array, Any]:
        """theta, the state and the checked X, from which the definitions of all kernels can be recorded."""
        return prediction.recorded(self, X)

    def is_differentiable(self, X: Any) -> bool:
        """Whether X is one array of real numbers; refuses gradient records of other inputs, which would be lost."""
        return prediction.is_differentiable(self, X)

    def _nested(self) -> Tree:
        return self._prepared.tree()

    def new_cache(self, batch: int = 1, length: int | None = None) -> Cache:
        """An empty cache for `decode`, with room for `length` positions of `batch` sequences.

        Parameters
        ----------
        batch : int
        length : int, optional
            The number of positions for which the model was made if None.

        Raises
        ------
        ValueError
            If a layer needs all positions at once, or cannot take so many. The message names the layer.
        """
        refuse_without_positions(self.wiring, self.input_shape)
        usual = next(arrays_in(self.inputs)).shape[0]
        length = usual if length is None else integer(length, "length", 1, usual=usual)
        return new_cache(self.wiring, self.input_shape, self._plain, integer(batch, "batch", 1, usual=1), length)

    def decode(self, tokens: Inputs, cache: Cache) -> tuple[Array, Cache]:
        """The outputs for the next positions of some sequences, and the cache with these positions.

        y_t depends on the inputs up to t. So the outputs are those of the model for the whole sequences, but earlier
        positions are not computed again: attention keeps their keys and values, and a recurrent layer its state.

        Parameters
        ----------
        tokens : array, shape (batch, t, ...)
            The inputs at the next t positions: a prompt, or a single token.
        cache : Cache
            From `new_cache`, or from the last call. It is consumed: use the one that is returned. Pass a copy,
            `cache.copy()`, to continue a sequence in several ways. It belongs to the parameters that made it: after
            `fit`, or if theta is set, begin a new one.

        Returns
        -------
        y : array, shape (batch, t, ...)
        cache : Cache

        Raises
        ------
        TypeError, ValueError
            As when the model is called; if the cache was consumed, has no room for t positions, is for another
            number of sequences, or has other names, shapes or dtypes than this network has.

        Examples
        --------
        >>> import numpy as np
        >>> import nnarray as nn
        >>> model = nn.Network(nn.Embedding(9, 4), nn.Dense(9)).init((6,), seed=0)
        >>> cache = model.new_cache(batch=1)
        >>> y, cache = model.decode(np.asarray([[3, 1, 4]]), cache)
        >>> y, cache = model.decode(np.asarray([[1]]), cache)
        >>> y.shape, cache.position, cache.length
        ((1, 1, 9), 4, 6)
        """
        if not isinstance(cache, Cache):
            raise TypeError(f"cache must be one of model.new_cache(batch); got {shown(cache)}.")
        cache.refuse_consumed()
        refuse_other_cache(self.wiring, self.input_shape, self._plain, cache)
        tokens = check_positions(self, tokens, "tokens", cache.batch)
        after = cache.position + positions_of(tokens)
        if after > cache.length:
            raise ValueError(
                f"the cache has room for {cache.length} positions: it holds {cache.position}, and got "
                f"{after - cache.position} more. Make a longer one, model.new_cache(batch, length), or decode the last "
                f"positions again with a new one."
            )
        if self._decode is None:
            self._decode = compiled(partial(decode, self.wiring), self._theta, key_of("decode", self.wiring))
        cache.consumed = not any(map(is_traced, arrays_in(tokens)))  # what is being compiled writes into nothing
        planned = self._planned(cache, tokens)
        if planned is not None:
            y, following = planned(tokens, cache.position), cache._replace(position=after)
            following.maker = cache.maker  # the arrays are the same ones
        else:
            with engines.computing(self._engine):
                y, layers = self._decode(self._nested(), self._state, tokens, cache.layers, cache.position)
            following = cache._replace(layers=layers, position=after).made_by(self.wiring, self._plain.dtype)
        following.decoder = cache.decoder
        return y, following

    def _planned(self, cache: Cache, tokens: Any) -> Decoder | None:
        """The plan for the next token, that of the cache or a new one; None if the layers compute."""
        if positions_of(tokens) > 1 or any(is_traced(each) or stands_in(each) for each in arrays_in(tokens)):
            return None
        if cache.decoder is None or not cache.decoder.fits(self._plain, cache.layers, self._engine):
            cache.decoder = decoder_of(self.wiring, self._plain, cache, engine=self._engine)
        return cache.decoder if cache.decoder and cache.decoder.plan else None

    @explained
    def predict(
        self, X: Inputs | Source, *, batch_size: int | None = None, check_finite: bool = True, engine: str | None = None
    ) -> Array:
        """The outputs for X, computed in batches if `batch_size` is given, after a check of X for NaN and infinity.

        A `Source` or a mapped file is read one batch at a time, or all at once without a `batch_size`.
        `engine` is as in `fit`; the model's own if None.

        For a Dask array or dataframe the outputs are a Dask array. It is computed later, each block on its
        worker, in batches of 1,024 if no `batch_size` is given. If the lengths of the blocks are known, the
        outputs are bitwise equal to those of an array with this `batch_size`, whatever the blocks are.

        Raises
        ------
        ValueError
            If X contains NaN or infinity and `check_finite` is True, or as when the model is called.
        OutOfDeviceMemory
            If the device is full.
        """
        settings: dict[str, Any] = {"batch_size": batch_size, "check_finite": check_finite}
        return prediction.predicted(self, X, self._computed, engine=self.engine_for(engine), **settings)

    @explained
    def predict_proba(
        self, X: Inputs | Source, *, batch_size: int | None = None, check_finite: bool = True, engine: str | None = None
    ) -> Array:
        """Probabilities: p = softmax(outputs) of classes, p = logistic(outputs) where each output is a label.

        Which it is says the loss that the model was trained with. A network that ends in "softmax" gives them itself.
        The arguments are those of `predict`, and Dask arrays give Dask arrays.

        Returns
        -------
        array, shape and dtype of the outputs

        Raises
        ------
        ValueError
            If the model predicts values, or was not trained by `fit` and `model.loss` is not set; or as `predict`.

        Examples
        --------
        >>> import nnarray as nn
        >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
        >>> history = model.fit(X, y, optimizer=nn.Adam(0.05), epochs=20)
        >>> bool((abs(model.predict_proba(X).sum(axis=1) - 1.0) < 1e-12).all())
        True
        """
        from nnarray.training.answers import to_probabilities

        to_answer = to_probabilities(self)
        outputs = self.predict(X, batch_size=batch_size, check_finite=check_finite, engine=engine)
        return prediction.answered(outputs, to_answer, labels=False)

    @explained
    def predict_class(
        self,
        X: Inputs | Source,
        *,
        names: bool = False,
        batch_size: int | None = None,
        check_finite: bool = True,
        engine: str | None = None,
    ) -> Any:
        """The most likely class of each example: its label, or its name.

        That is the largest output, or for a single logit whether it is above 0. All arguments but `names` are those of
        `predict`, and Dask arrays give Dask arrays.

        Parameters
        ----------
        X : array, shape (N, ...)
        names : bool
            Whether to give the names in `model.metadata["classes"]`, a list of texts.

        Returns
        -------
        array of the default integer dtype, shape (N,); or list of str

        Raises
        ------
        ValueError
            As `predict_proba`; if each output is a label of its own; or if names are wanted and none are noted.

        Examples
        --------
        >>> import nnarray as nn
        >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
        >>> history = model.fit(X, y, optimizer=nn.Adam(0.1), epochs=50)
        >>> model.metadata["classes"] = ["upper", "lower"]
        >>> y[98:102].tolist(), model.predict_class(X[98:102], names=True)
        ([0, 0, 1, 1], ['upper', 'upper', 'lower', 'lower'])
        """
        compute = partial(self.predict, X, batch_size=batch_size, check_finite=check_finite, engine=engine)
        return prediction.classes(self, compute, is_lazy=is_lazy(X), names=names)

    @explained
    def evaluate(
        self,
        X: Inputs | Source | Stream,
        y: Array | None = None,
        *,
        loss: Any = None,
        metrics: Any = "auto",
        sample_weight: Array | None = None,
        classes: Sequence[str] | None = None,
        batch_size: int | None = 1024,
        engine: str | None = None,
    ) -> Evaluation:
        """The loss and the metrics of the model on examples, computed as on the `validation` of `fit`.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; on Dask arrays and dataframes the outputs are computed where the blocks are. The weights count
            in the loss and in the metrics; the table of the classes counts each example once.
        loss : str or Loss, optional
            That of the last `fit` if None.
        metrics : names or functions
            As in `fit`; "auto" is "accuracy" of classes and "r2" of values. If each of several outputs is a label of
            its own, as with "binary_cross_entropy", metrics of classes are those of the labels (`nn.metrics`).
        classes : sequence of str, optional
            Names for the tables; those in `model.metadata["classes"]`, or the labels, if None.
        batch_size : int or None
            Examples that are computed at once; it changes rounding only.
        engine : str, optional
            As in `fit`.

        Returns
        -------
        Evaluation
            A mapping such as `{"loss": 0.3, "accuracy": 0.9}`; `print` shows a table, with precision, recall and
            confusions of classes, if there are at most 50.

        Raises
        ------
        TypeError, ValueError
            If the arguments do not fit together, as in `fit`, such as labels of masked positions that would count; or
            if no loss is known.

        Examples
        --------
        >>> import nnarray as nn
        >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
        >>> history = model.fit(X, y, optimizer=nn.Adam(0.05), epochs=50)
        >>> result = model.evaluate(X, y)
        >>> list(result), result["accuracy"] > 0.9
        (['loss', 'accuracy'], True)
        """
        from nnarray.training.evaluation import Evaluator

        asked = Evaluator.of(
            self, loss=loss, metrics=metrics, classes=classes, batch_size=batch_size, engine=self.engine_for(engine)
        )
        return prediction.evaluated(self, asked, X, y, sample_weight)

    @explained
    def generate(
        self,
        prompt: Any,
        *,
        max_tokens: int = 100,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        stop: Any = (),
        seed: int = 0,
        stream: Callable[[Any], Any] | None = None,
        cache: bool | None = None,
    ) -> Any:
        """Continue a prompt: the network predicts the next token, one is chosen, and it is the next input.

        The model takes tokens, shape (batch, length), and its outputs at each position are the logits of the token that
        follows, shape (batch, length, V). It sees as many tokens as it was made for; of longer texts, it sees the end.

        Parameters
        ----------
        prompt : str, or integers, shape (length,) or (batch, length)
            Text needs `model.tokenizer`; a token that ends texts, such as "[SEP]", is not put behind it. At least one
            token, and none that is padding.
        max_tokens : int
            The largest number of tokens that are added.
        temperature : float
            Tokens are drawn with the probabilities softmax(logits / temperature): below 1 likely ones are preferred. 0
            takes the most likely token.
        top_k : int, optional
            Only the k most likely tokens are drawn.
        top_p : float, optional
            Only the most likely tokens that have this probability together are drawn; above 0, at most 1.
        repetition_penalty : float
            By how much the logits of tokens that were there before are divided if above 0, and else multiplied; 1 does
            nothing.
        stop : int, str, or several
            Tokens, or texts, at which the text ends. The end token of the tokenizer always ends it. The text that is
            returned is without them; an array of tokens has them.
        seed : int
            The same seed gives the same text, on every backend unless rounding decides between two tokens.
        stream : callable, optional
            It is called with each new piece of text; or with each new token, or the list of those of all sequences.
        cache : bool, optional
            Whether earlier positions are kept, and not computed again (`model.decode`). If None, they are kept if all
            layers can do that. The tokens are the same up to rounding.

        Returns
        -------
        str, or array of integers, shape (n,) or (batch, n)
            What follows the prompt, without tokens that the network masks (the `padding_index` of an embedding), except
            one at which the text ends. A sequence that has stopped before the others repeats its last token.

        Raises
        ------
        TypeError, ValueError
            If a setting is out of range; if the model is not one of tokens, or its outputs change with later tokens
            (the message names the layer); if the prompt is empty, or has a token or a character that is not in the
            vocabulary.

        References
        ----------
        .. [1] Holtzman, Buys, Du, Forbes & Choi (2020), The curious case of neural text degeneration. ICLR.
        .. [2] Keskar, McCann, Varshney, Xiong & Socher (2019), CTRL. arXiv:1909.05858.

        Examples
        --------
        >>> import nnarray as nn
        >>> text = "to be or not to be, that is the question. " * 4
        >>> tokenizer = nn.text.CharacterTokenizer.of(text)
        >>> tokens = nn.backend("numpy").asarray(tokenizer.encode(text))
        >>> X, y = tokens[:160].reshape(20, 8), tokens[1:161].reshape(20, 8)
        >>> model = nn.Network(nn.Embedding(len(tokenizer), 16), nn.Dense(len(tokenizer))).init((8,), seed=0)
        >>> history = model.fit(X, y, optimizer=nn.Adam(0.1), epochs=30)
        >>> model.tokenizer = tokenizer
        >>> model.generate("que", max_tokens=6, temperature=0)
        ' the t'
        """
        from nnarray.generation.continuing import Asked, generated
        from nnarray.generation.sampling import Sampling

        sampling = Sampling(temperature, top_k, top_p, repetition_penalty)
        return generated(self, prompt, Asked(sampling, max_tokens, stop, seed, stream, cache))

    def input_gradient(self, X: Array, classes: Array | int | None = None) -> Array:
        """dz_k / dX at inference: how much output k of each example changes with each entry of its input.

        Parameters
        ----------
        X : array, shape (N, ...)
        classes : int or array of integers, shape (N,), optional
            The output k, counted from 0: one for all examples, or one for each. If None, the largest output of each
            example, which is its class; several values, which are no classes, need a k.

        Returns
        -------
        array, shape of X

        Raises
        ------
        TypeError, ValueError
            As when the model is called; if the outputs are not one row per example; or if k is out of range, or not
            given and the model predicts several values.

        Warns
        -----
        UserWarning
            If no k is given, there are several outputs, and `model.loss` is None: it does not say what they are.

        References
        ----------
        .. [1] Simonyan, Vedaldi & Zisserman (2014), Deep inside convolutional networks. ICLR workshop.

        Examples
        --------
        >>> import nnarray as nn
        >>> X, y = nn.datasets.moons(200)
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
        >>> model.loss = "cross_entropy"  # as after fit: the outputs are classes
        >>> model.input_gradient(X).shape, model.input_gradient(X, 1).shape
        ((200, 2), (200, 2))
        """
        return prediction.gradient_of_input(self, X, classes, self._engine, self._nested)

    # --- Training ------------------------------------------------------------------------------------------------

    @explained
    def fit(
        self,
        X: Inputs | Source | Stream,
        y: Array | None = None,
        *,
        loss: Any = "auto",
        optimizer: Any = "adam",
        epochs: int = 10,
        batch_size: int | None = 32,
        validation: Any = None,
        metrics: Any = (),
        callbacks: Sequence[Any] = (),
        sample_weight: Array | None = None,
        class_weight: str | Mapping[int, float] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        progress: bool | None = None,
        check_finite: bool = True,
        checkpoint: Any = None,
        resume: Any = False,
        engine: str | None = None,
        accumulate: int = 1,
        ema: float | None = None,
        precision: str | None = None,
        augment: Any = None,
        grains: int | None = None,
        cluster: Any = None,
    ) -> History:
        """Train the model in place: epochs of steps theta <- theta - rate d(gradient), each on one batch.

        Parameters
        ----------
        X : array, shape (N, ...), Source, mapping of str to such, or Stream
            A mapping if the network takes several inputs. A `Source`, or an array of a mapped file, is read one batch
            at a time, and each batch is moved to the model's device. On a cluster, X may also be a Dask array or
            dataframe, whose blocks stay on the workers. A `Stream`, a loader or a list of batches has y and the weights
            in its batches, which keep their order and sizes.
        y : array
            Labels, shape (N,), for "cross_entropy"; else the outputs' shape.
        loss : str or Loss
            "cross_entropy", "binary_cross_entropy", "mse", "mae", "huber". "auto" follows from y: integers or truth
            values are classes, "cross_entropy", or "binary_cross_entropy" if they have the shape of outputs that are
            one; real numbers are values, "mse". What could be meant in two ways is refused. A model that has a loss, of
            an earlier `fit`, keeps it. `history.settings` and `model.loss` say which it was.
        optimizer : str or Optimizer
            "adam", "adamw", "nadam", "radam", "adamax", "sgd", "rmsprop", "adagrad", "adadelta", "lion", "lamb",
            "muon", "lbfgs" (which needs `batch_size=None`). Each call of `fit` starts with a new optimizer state,
            schedule and order, from the present parameters of the model.
        epochs : int
        batch_size : int or None
            The number of examples per step; None for all. The last batch of an epoch may be smaller.
        validation : (X, y), (X, y, sample_weight) or float, optional
            Held-out examples, or the fraction of the examples to hold out.
        metrics : names or functions, optional
            "accuracy", "top_5", "precision", "recall", "f1", "r2", "mse", "rmse", "mae", or f(outputs, y) -> number.
            They are computed on the outputs of the epoch's steps, and on the validation data as "val_...". They count
            the sample weights; a function of your own does if it has an argument `weights`. "f1" is the mean over the
            classes; also "f1_micro", "f1_weighted" and "f1_binary", and so for precision and recall. A mapping,
            {"name": f}, names the columns.
        callbacks : sequence of Callback or function of a Run
        sample_weight : array, shape (N,), optional
        class_weight : "balanced" or mapping of int to float, optional
            How much the examples of a class count in training, by label; 1 if it is not named. "balanced" is
            N / (K count): each of the K classes counts alike.
        shuffle : bool
            Whether each epoch has its own random order of the examples, drawn on the device.
        seed : int
            The seed of shuffles, dropout and the validation split.
        progress : bool, optional
            Whether to show a progress bar; None shows it in a terminal and in a notebook.
        check_finite : bool
            Whether to check X for NaN and infinity first.
        checkpoint : path or Checkpoint, optional
            A .safetensors file that always has the last finished epoch, even after a crash; `nn.load` reads it.
        resume : bool or path
            Whether to continue from `checkpoint` if that file exists, or from another file, up to `epochs`
            in total. With the same settings and data, the result is bitwise the same as without the stop
            (on the same machine, library and device).
        engine : str, optional
            What computes: "layers" is each layer itself. On NumPy also "numpy", steps that are prepared once, and
            "numba", compiled steps; on JAX "scan", an epoch as one compiled loop. "auto" is the fastest that is
            installed. The model's own if None. The history records which engine computed.
        accumulate : int
            The number of batches that are combined into one step, for batches that are too large for the memory.
        ema : float, optional
            The decay per step of an exponential moving average of the parameters, such as 0.999. The model gets the
            average at the end of each epoch: it is validated, returned and saved.
        precision : {"float16", "bfloat16"}, optional
            Mixed precision: the dtype in which the layers of a float32 model compute in a step. The model itself stays
            float32. A step whose gradient is too large for float16 is left out.
        augment : function of a batch and a Key, optional
            What changes each training batch at random, such as `nn.datasets.Augment()`, or `lambda x, key: ...` with
            the functions of `nn.datasets.augmentation`. It keeps the shape and dtype, and computes on the device of
            the batch. Validation and prediction see the examples as they are. Not with "lbfgs" or a cluster.
        grains : int, optional
            The number of parts of each batch, a power of two; 1 if None, and 8 on a cluster. The gradients
            of the parts are added in a fixed order, so that one machine and any number of workers give
            bitwise the same result. Batch normalisation uses the statistics of one part at a time.
        cluster : Client of Dask, address of a scheduler, or Cluster, optional
            The workers that compute the parts; at most as many as there are grains are used.

        Returns
        -------
        History
            With columns "epoch", "loss" (the mean over the batches of the epoch, each before its step),
            metrics, "lr" (the rate of the last step, without those of `groups`) and "seconds".

        Raises
        ------
        TypeError, ValueError
            If arguments do not fit together; the message says which and how to fix it.
        DivergenceError
            If the loss, a parameter, a running statistic or the optimizer's memory becomes NaN or infinite; the model
            keeps its last finite parameters.
        OutOfDeviceMemory
            If the device is full.
        OSError
            If the checkpoint cannot be written; the previous one is kept.
        ConnectionError
            If the cluster does not answer, or all its workers leave and none joins again.
        KeyboardInterrupt
            On Ctrl-C; model and `model.history` are those of the last finished step, and the checkpoint is that of the
            last finished epoch.

        Examples
        --------
        >>> import nnarray as nn
        >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
        >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
        >>> history = model.fit(X, y, optimizer=nn.Adam(0.05), epochs=20)
        >>> history["loss"][-1] < history["loss"][0]
        True
        """
        arguments = locals() | {"engine": self.engine_for(engine)}
        from nnarray.datasets.streams import as_stream
        from nnarray.distributed.cluster import cluster_of
        from nnarray.training.fit import fit
        from nnarray.training.settings import FitSettings

        X = X if y is not None else as_stream(X) or X
        if cluster is not None:
            arguments["cluster"] = cluster_of(cluster)
        settings = FitSettings.of(arguments)
        if settings.cluster is not None:
            return importlib.import_module("nnarray.distributed.training").fit_on_cluster(self, X, y, settings)
        return fit(self, X, y, settings)

    @explained
    def find_lr(
        self,
        X: Inputs | Source,
        y: Array,
        *,
        loss: Any = "auto",
        optimizer: Any = "adam",
        batch_size: int | None = 32,
        lowest: float = 1e-6,
        highest: float = 10.0,
        steps: int = 100,
        sample_weight: Array | None = None,
        seed: int = 0,
    ) -> RateSearch:
        """Search for a learning rate: take steps with rates that rise from `lowest` to `highest`, until the loss rises.

        The model does not change. X, y and the other arguments are as in `fit`.

        Parameters
        ----------
        X, y : array
        loss : str or Loss
        optimizer : str or Optimizer
            Its own learning rate is not used.
        batch_size : int or None
        lowest, highest : float
            The first and the last rate. Each rate is the previous one times a constant factor.
        steps : int
            At least 10.
        sample_weight : array, shape (N,), optional
        seed : int

        Returns
        -------
        RateSearch
            With `rates`, `losses`, `plot()` and `suggestion`: the rate of the lowest smoothed loss, but at most 5 times
            that at which three quarters of its fall are done.

        Raises
        ------
        TypeError, ValueError
            As `fit`.

        References
        ----------
        .. [1] Smith (2017), Cyclical learning rates for training neural networks, section 3.3. WACV.
        .. [2] Gugger (2018), How do you find a good learning rate.

        Examples
        --------
        >>> import nnarray as nn
        >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
        >>> model = nn.Network(nn.Dense(16, "tanh"), nn.Dense(2)).init((2,), seed=0)
        >>> 1e-3 < model.find_lr(X, y).suggestion < 1.0
        True
        """
        settings = {name: value for name, value in locals().items() if name not in ("self", "X", "y")}
        from nnarray.training.rates import search

        return search(self, X, y, **settings)

    # --- Looking at it -------------------------------------------------------------------------------------------

    @explained
    def summary(self, *, depth: int | None = None) -> Summary:
        """A table of the layers: output shape, parameters, multiply-adds and memory of the outputs for one example.

        Parameters
        ----------
        depth : int, optional
            How many levels of nested layers are listed, at least 1; all if None.

        Returns
        -------
        Summary
            It prints as the table.

        Examples
        --------
        >>> import nnarray as nn
        >>> nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), dtype="float32").summary()
        layer                       output shape   parameters   multiply-adds   memory
        0       Dense(5, activation='tanh')   batch x 5   15   10   20 B
        1       Dense(2)   batch x 2   12   10   8 B
        <BLANKLINE>
        27 parameters, 108 B
        20 multiply-adds and 28 B of outputs for one example
        """
        from nnarray.functional.summary import summary

        if depth is not None:
            depth = integer(depth, "depth", 1, usual=1)
        itemsize = namespace(self._theta).finfo(self._theta.dtype).bits // 8
        table = summary(self.network, self.input_shape, itemsize=itemsize, frozen=self.frozen, depth=depth)
        return table if self._loss is None else replace(table, loss=repr(self._loss))

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the network as a diagram: boxes from top to bottom, branches side by side, shortcuts as lines.

        Convolutions are blue, dense layers green, poolings orange, normalisations light blue, activations
        vermillion, and all other layers grey. The second line of a box is the shape of its outputs. A long
        network continues in the next column.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; if None, a new figure that is large enough for the network.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from nnarray.drawing.diagram import plot_network

        return plot_network(self.network, self.input_shape, ax=ax)

    def __repr__(self) -> str:
        layers = ", ".join(map(described, getattr(self.network, "layers", (self.network,))))
        size, dtype = self.wiring.params.size, dtype_name(self._theta.dtype)
        return f"Model({layers}; {size} parameters, {dtype} on {place(self._theta)})"
