"""PyTorch's names and layouts: a state_dict for any network, and back.

PyTorch keeps channels first, so that axes change places: the weights of convolutions and dense layers, and the
features after a `Flatten`, which PyTorch orders (channels, height, width) and this package (height, width, channels).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnarray.backends import backend
from nnarray.layers import Auxiliary, Conv1D, Conv2D, Dense, Layer, Reshape
from nnarray.layers.combine import Composite, Residual, Row
from nnarray.layout import Layout
from nnarray.persistence.files import replace
from nnarray.typing import Shape

STATE = {"mean": "running_mean", "variance": "running_var"}
COUNTER = "num_batches_tracked"  # PyTorch counts batches; nothing here reads it
# The axes of a weight here, in PyTorch's order.
AXES: dict[type[Layer], tuple[int, ...]] = {Conv2D: (3, 2, 0, 1), Conv1D: (2, 1, 0), Dense: (1, 0)}


@dataclass(frozen=True)
class Entry:
    """One array: what it is called here and in PyTorch, and how its layout differs."""

    name: str
    """Here, in `params` or in the state."""
    module: str
    """The layer, in PyTorch's words."""
    attribute: str
    shape: Shape
    """Here."""
    axes: tuple[int, ...] | None
    """Which axis here is each of PyTorch's; None for the same."""
    flattened: Shape | None
    """The shape (..., channels) whose entries, flattened, are the first axis here."""
    is_state: bool

    @property
    def key(self) -> str:
        """The name in a state_dict."""
        return _key(self.module, self.attribute)

    @property
    def torch_shape(self) -> Shape:
        """The shape in a state_dict."""
        return self.shape if self.axes is None else tuple(self.shape[axis] for axis in self.axes)

    def to_torch(self, x: np.ndarray) -> np.ndarray:
        """In PyTorch's layout."""
        if self.flattened:
            *places, channels = self.flattened
            x = np.moveaxis(x.reshape(*places, channels, *x.shape[1:]), len(places), 0).reshape(x.shape)
        return np.ascontiguousarray(x if self.axes is None else x.transpose(self.axes))

    def from_torch(self, x: np.ndarray) -> np.ndarray:
        """In the layout of this package."""
        if self.axes is not None:
            x = x.transpose(np.argsort(self.axes))
        if self.flattened:
            *places, channels = self.flattened
            x = np.moveaxis(x.reshape(channels, *places, *x.shape[1:]), 0, len(places)).reshape(x.shape)
        return np.ascontiguousarray(x)


def _key(module: str, attribute: str) -> str:
    return f"{module}.{attribute}" if module else attribute


def entries(network: Layer, shape: Shape) -> list[Entry]:
    """All arrays of a network for inputs of this shape, in the order of its layers."""
    found: list[Entry] = []
    _walk(network, shape, (), None, found)
    return found


def _walk(layer: Layer, shape: Shape, path: tuple[str, ...], flat: Shape | None, found: list[Entry]) -> Shape | None:
    """Collect the entries of a layer; `flat` is the shape that was flattened into its inputs, returned for outputs."""
    if isinstance(layer, Composite):
        return _walk_inside(layer, shape, path, flat, found)
    module = ".".join(path)
    for is_state, wanted in ((False, layer.params(shape)), (True, layer.initial_state(shape))):
        for place in Layout.of(wanted).places:
            name, shaped = place.name, place.param.shape
            attribute = STATE.get(name, name) if is_state else name
            axes = AXES.get(type(layer)) if name == "weight" else None
            ordered = flat if flat and shaped and (name == "weight" or not isinstance(layer, Dense)) else None
            found.append(Entry(f"{module}.{name}", module, attribute, shaped, axes, ordered, is_state))
    if isinstance(layer, Reshape) and len(layer.out_shape(shape)) == 1 and len(shape) > 1:
        return shape
    return None if isinstance(layer, Dense) else flat


def _walk_inside(
    layer: Composite, shape: Shape, path: tuple[str, ...], flat: Shape | None, found: list[Entry]
) -> Shape | None:
    in_a_row = isinstance(layer, Row) and not isinstance(layer, Residual)
    inside = flat
    for name, inner, its_shape in layer.shapes(shape):
        inside = _walk(inner, its_shape, (*path, name), inside if in_a_row else flat, found)
        if not in_a_row and (inside or (flat and isinstance(layer, Residual))):
            raise ValueError(f"layer {'.'.join((*path, name))!r}: PyTorch flattens another way.")
    return flat if isinstance(layer, Auxiliary) else inside


# --- Reading ---------------------------------------------------------------------------------------------------------


def arrays_of(source: Any) -> dict[str, np.ndarray]:
    """The arrays of a state_dict, or of a file that holds one.

    Raises
    ------
    FileNotFoundError, ImportError, TypeError, ValueError
        If the file is not there, needs a library that is not, or holds something else.
    """
    if isinstance(source, str | Path):
        return _arrays_of_file(Path(source))
    if not isinstance(source, Mapping):
        raise TypeError(f"a state_dict (arrays by name) or the path of a file is needed; got {type(source).__name__}.")
    host = backend("numpy")
    nested = [name for name, value in source.items() if isinstance(value, Mapping)]
    if nested:
        raise ValueError(f"the state_dict is inside of {nested}: give that part, for instance source[{nested[0]!r}].")
    return {str(name): host.to_numpy(value) for name, value in source.items()}


def _arrays_of_file(path: Path) -> dict[str, np.ndarray]:
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; pass the path of a file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the path.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(path)
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"{str(path)!r} is no safetensors file that NumPy can hold: {error}") from error
    if path.suffix in (".pt", ".pth"):
        return arrays_of(_unpickled(path))
    raise ValueError(f"{str(path)!r} must end in .safetensors, .pt or .pth.")


def _unpickled(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"reading {path.name!r} needs PyTorch: pip install 'nnarray[torch]', or convert it to .safetensors."
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: PyTorch does not say which
        raise ValueError(f"{str(path)!r} cannot be read as a state_dict: {error}") from error


def read(
    network: Layer, shape: Shape, source: Any, ignore: tuple[str, ...] = ()
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Parameters and state by their names here, from a state_dict or a file.

    Matched by name if every layer's name is there, else by position.

    Raises
    ------
    ValueError
        If an entry is missing, extra or misshapen: the message names it.
    """
    given = {
        name: value
        for name, value in arrays_of(source).items()
        if name.rpartition(".")[2] != COUNTER and not any(name == i or name.startswith(f"{i}.") for i in ignore)
    }
    wanted = entries(network, shape)
    matched = _matched(wanted, given)
    for entry, key in matched:
        if given[key].shape != entry.torch_shape:
            raise ValueError(
                f"entry {key!r} has shape {given[key].shape}; layer {entry.module!r} needs {entry.torch_shape}."
            )
        if given[key].dtype.kind not in "fiu" and given[key].dtype.name != "bfloat16":
            raise ValueError(f"entry {key!r} holds {given[key].dtype}, not numbers.")
    params, state = (
        {entry.name: entry.from_torch(given[key]) for entry, key in matched if entry.is_state == which}
        for which in (False, True)
    )
    return params, state


def _matched(wanted: list[Entry], given: Mapping[str, np.ndarray]) -> list[tuple[Entry, str]]:
    """Each entry with the key of its array."""
    here = list(dict.fromkeys(entry.module for entry in wanted))
    there = list(dict.fromkeys(name.rpartition(".")[0] for name in given))
    by_position = len(here) == len(there) and not set(here) <= set(there)
    called = dict(zip(here, there, strict=True)) if by_position else {name: name for name in here}
    keys = {_key(called[entry.module], entry.attribute): entry for entry in wanted}
    missing = [key for key in keys if key not in given]
    extra = [key for key in given if key not in keys]
    if missing or extra:
        raise ValueError(
            f"the state_dict does not fit the network, matched by {'position' if by_position else 'name'}"
            f"{_listed('; missing: ', missing)}{_listed('; extra: ', extra)}. Leave entries out with ignore=(...)."
        )
    return [(entry, key) for key, entry in keys.items()]


def _listed(title: str, names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{title}{', '.join(names[:most])}{more}" if names else ""


# --- Writing ---------------------------------------------------------------------------------------------------------


def state_dict(network: Layer, shape: Shape, arrays: Mapping[str, Any], path: str | Path | None) -> dict[str, Any]:
    """The arrays under PyTorch's names and in its layouts; also written to a safetensors file if a path is given."""
    host, made = backend("numpy"), dict[str, np.ndarray]()
    for entry in entries(network, shape):
        made[entry.key] = entry.to_torch(host.to_numpy(arrays[entry.name]))
        if entry.attribute == STATE["variance"]:  # PyTorch writes it last in its layer
            made[f"{entry.module}.{COUNTER}"] = np.asarray(0, dtype=np.int64)
    if path is not None:
        _write(made, Path(path))
    return made


def _write(made: dict[str, np.ndarray], path: Path) -> None:
    from safetensors.numpy import save_file

    if path.suffix != ".safetensors":
        raise ValueError(f"the file must end in .safetensors; got {str(path)!r}.")
    replace(path, lambda part: save_file(made, part))
