"""PyTorch's names and layouts: a state_dict for any network, and back.

PyTorch has channels first, so axes are reordered: in the weights of convolutions and dense layers, and in the features
after a `Flatten`, which are (channels, height, width) in PyTorch and (height, width, channels) in this package.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, pairwise, takewhile
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from nnarray.backends import dtype_name
from nnarray.caller import warn
from nnarray.checks import refuse_non_finite
from nnarray.files import replace
from nnarray.functional.layout import Layout, Parameters
from nnarray.layers import GRU, LSTM, Conv1D, Conv2D, Dense, Layer, SimpleRNN
from nnarray.persistence.archive import fill, on_host
from nnarray.typing import Shape

STATE = {"mean": "running_mean", "variance": "running_var"}
COUNTER = "num_batches_tracked"  # PyTorch counts batches; not used here
COUNTERS = COUNTER, "n_averaged"  # and an average of models counts them
ORDER = "nnarray_order"  # in the metadata of a file: the names in the order of the layers, as a file has no order
# The axes of a weight here, in PyTorch's order.
AXES: dict[type[Layer], tuple[int, ...]] = {Conv2D: (3, 2, 0, 1), Conv1D: (2, 1, 0)}
AXES |= dict.fromkeys((Dense, SimpleRNN, LSTM, GRU), (1, 0))


@dataclass(frozen=True)
class Entry:
    """One array: its names here and in PyTorch, and the difference of the layouts."""

    name: str
    """The name here, in `params` or in the state."""
    module: str
    """The layer's name in PyTorch."""
    attribute: str
    shape: Shape
    """Here."""
    axes: tuple[int, ...] | None
    """The axis here of each of PyTorch's axes; None if they are the same."""
    flattened: Shape | None
    """The shape (..., channels) that was flattened into the first axis here."""
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
        """The array in PyTorch's layout."""
        if self.flattened:
            *sizes, channels = self.flattened
            x = np.moveaxis(x.reshape(*sizes, channels, *x.shape[1:]), len(sizes), 0).reshape(x.shape)
        return np.ascontiguousarray(x if self.axes is None else x.transpose(self.axes))

    def from_torch(self, x: np.ndarray) -> np.ndarray:
        """The array in the layout of this package."""
        if self.axes is not None:
            x = x.transpose(np.argsort(self.axes))
        if self.flattened:
            *sizes, channels = self.flattened
            x = np.moveaxis(x.reshape(channels, *sizes, *x.shape[1:]), 0, len(sizes)).reshape(x.shape)
        return np.ascontiguousarray(x)


def _key(module: str, attribute: str) -> str:
    return f"{module}.{attribute}" if module else attribute


def entries(network: Layer, shape: Shape) -> list[Entry]:
    """All arrays of a network for inputs of this shape, in the order of its layers."""
    entries: list[Entry] = []
    _walk(network, shape, (), None, entries)
    return entries


def _walk(layer: Layer, shape: Shape, path: tuple[str, ...], flat: Shape | None, entries: list[Entry]) -> Shape | None:
    """Collect the entries of a layer; `flat` is the shape that was flattened into its inputs; returns the outputs'."""
    if layer.named_layers:
        return _walk_inside(layer, shape, path, flat, entries)
    for is_state, wanted in ((False, layer.params(shape)), (True, layer.initial_state(shape))):
        for slot in Layout.of(wanted).slots:
            *before, name = (*path, *slot.path)  # a graph has parameters in parts of its own
            module, shaped = ".".join(before), slot.param.shape
            attribute = STATE.get(name, name) if is_state else name
            axes = AXES.get(type(layer)) if name.startswith("weight") else None
            ordered = flat if flat and shaped and (name == "weight" or layer.family != "dense") else None
            entries.append(Entry(_key(module, name), module, attribute, shaped, axes, ordered, is_state))
    if layer.family == "reshape" and len(layer.out_shape(shape)) == 1 and len(shape) > 1:
        return shape
    return None if layer.family == "dense" else flat


def _walk_inside(
    layer: Layer, shape: Shape, path: tuple[str, ...], flat: Shape | None, entries: list[Entry]
) -> Shape | None:
    in_a_row = layer.family in ("row", "auxiliary")
    inside = flat
    for name, inner, its_shape in layer.shapes(shape):
        inside = _walk(inner, its_shape, (*path, name), inside if in_a_row else flat, entries)
        if not in_a_row and (inside or (flat and layer.family == "residual")):
            raise ValueError(f"layer {'.'.join((*path, name))!r}: PyTorch flattens in another order.")
    return flat if layer.family == "auxiliary" else inside


# --- Reading ---------------------------------------------------------------------------------------------------------


class Marked(dict[str, Any]):
    """Arrays by name, with a mark that says in which layouts they are.

    A pickle of it has an `OrderedDict` with the mark, which other programs read: `torch.load` without code of this
    package.
    """

    nnarray_layout: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), {"nnarray_layout": self.nnarray_layout}, None, iter(self.items())


class OwnLayout(Marked):
    """Arrays in the layouts of this package, as `Model.state_dict` returns them."""

    nnarray_layout = "own"


class TorchLayout(Marked):
    """Arrays in PyTorch's layouts, as `Model.to_torch` returns them."""

    nnarray_layout = "module"


def _layout(arrays: Any) -> str:
    """In which layouts arrays are known to be: "own", "module", or "" if they have no mark."""
    return getattr(arrays, "nnarray_layout", "")


def refuse_torch(arrays: Any) -> None:
    """Refuse arrays in PyTorch's layouts where those of this package are needed: a square weight would be transposed.

    Raises
    ------
    ValueError
        If they are known to be in PyTorch's layouts.
    """
    if _layout(arrays) == TorchLayout.nnarray_layout or getattr(arrays, "_metadata", None) is not None:
        raise ValueError(
            "these arrays are in PyTorch's layouts, with weights of shape (outputs, inputs): use "
            "model.load_torch(state_dict)."
        )


class StateDict(NamedTuple):
    """A state_dict: arrays by name, and whether their order is known."""

    arrays: dict[str, Any]
    ordered: bool | None
    """Whether the metadata say that the entries are in the order of the layers; None if they do not say it."""
    by_use: bool = False
    """Whether that is the order in which the layers compute, and not only that in which a module defines them."""


class Stored(NamedTuple):
    """An array of a safetensors file, as its bytes."""

    kind: str
    shape: Shape
    data: bytes


PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".tar")  # endings of files of torch.save
KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}
KINDS |= {"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"}


def state_dict_of(source: Any) -> StateDict:
    """The state_dict itself, or the one in a file."""
    if isinstance(source, str | os.PathLike):
        return _from_file(Path(cast(Any, source)))
    return _from_mapping(source, "source")


def _from_mapping(source: Any, called: str) -> StateDict:
    if not isinstance(source, Mapping):
        method = next((each for each in ("to_torch", "state_dict") if hasattr(source, each)), None)
        remedy = f" Pass {called}.{method}()." if method else ""
        raise TypeError(
            f"source must be a state_dict (arrays by name) or the path of a file; got {type(source).__name__}.{remedy}"
        )
    inner = _state_dict_in(source, called)
    if isinstance(inner, Parameters) or _layout(inner) == OwnLayout.nnarray_layout:
        raise ValueError(
            f"{called} has the layouts of this package, as model.state_dict() and model.params return them, with "
            f"weights of shape (inputs, outputs). Use model.load_state_dict({called}), or model.set_params({called})."
        )
    arrays = {str(name): value for name, value in inner.items()}
    noted = getattr(inner, "_metadata", None)  # PyTorch's metadata by layer, which show later renames and moves
    return StateDict(arrays, None if noted is None else _follows(_modules(arrays), noted))


def _state_dict_in(source: Mapping[Any, Any], called: str) -> Mapping[Any, Any]:
    """The mapping itself, or the one mapping of arrays in a checkpoint."""
    inside = {name: value for name, value in source.items() if isinstance(value, Mapping)}
    if any(hasattr(value, "shape") and ("." in str(name) or not inside) for name, value in source.items()):
        return source
    arrays = [name for name, part in inside.items() if part and all(hasattr(x, "shape") for x in part.values())]
    if len(arrays) == 1:
        return inside[arrays[0]]
    if not arrays:
        raise ValueError(
            f"there is no state_dict (arrays by name) among {list(source)}. Pass the result of module.state_dict()."
        )
    raise ValueError(f"the state_dict is inside one of {arrays}: pass that part, such as {called}[{arrays[0]!r}].")


def _follows(names: list[str], order: Iterable[str]) -> bool:
    """Whether the names are in this order, which may have further names."""
    rest = iter(order)
    return all(name in rest for name in names)


def _from_file(path: Path) -> StateDict:
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; pass the path of a file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the path.")
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    if path.suffix in PICKLED:
        return _from_mapping(_unpickled(path), f"torch.load({str(path)!r}, weights_only=True)")
    raise ValueError(f"{str(path)!r} must end in .safetensors, {', '.join(PICKLED[:-1])} or {PICKLED[-1]}.")


def _from_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError, deserialize, safe_open

    try:
        stored = {name: Stored(x["dtype"], tuple(x["shape"]), x["data"]) for name, x in deserialize(path.read_bytes())}
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} cannot be read as a safetensors file: {error}") from error
    if "nnarray_format" in metadata:
        raise ValueError(f"{str(path)!r} is a model of nnarray; read it with nn.load({str(path)!r}).")
    order = metadata.get(ORDER, "").split("\n")
    ordered = sorted(order) == sorted(stored)
    return StateDict({name: stored[name] for name in (order if ordered else sorted(stored))}, ordered, ordered)


def _unpickled(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"reading {path.name!r} needs PyTorch: pip install 'nnarray[torch]', or convert it to .safetensors."
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises many types of errors
        raise ValueError(
            f"{str(path)!r} cannot be read as a state_dict. No code in it is executed, so that a whole module or "
            f"TorchScript cannot be loaded: save module.state_dict() instead, torch.save(module.state_dict(), path)."
        ) from error


def read(
    network: Layer, shape: Shape, source: Any, ignore: Sequence[str] = (), keep: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Parameters and state, by the names of this package, from a state_dict or a file.

    Entries are matched by name if it has the names of all layers, after a common prefix if there is one. Otherwise
    they are matched by position, if the order follows from PyTorch, a file of `to_torch`, the numbers in the names, the
    shapes, or weights and biases.

    Raises
    ------
    FileNotFoundError, ImportError, TypeError
        If the file does not exist, needs a library that is not installed, or has no state_dict.
    ValueError
        If an entry is missing, unexpected or not finite, has the wrong shape, or fits several layers; the message names
        it.
    """
    ignore, keep = ((each,) if isinstance(each, str) else each for each in (ignore, keep))
    wanted, source_dict = _without_kept(entries(network, shape), keep), state_dict_of(source)
    modules, shortened = {entry.module for entry in wanted}, _without_prefixes(_kept(source_dict.arrays, ignore))
    arrays = max(shortened, key=lambda each: len(modules & {*_modules(each)}))
    values = {True: dict[str, np.ndarray](), False: dict[str, np.ndarray]()}
    for entry, key in _matched(wanted, source_dict._replace(arrays=arrays)):
        x = numbers(key, arrays[key])
        if x.shape != entry.torch_shape:
            own = (
                " This is its shape here: for model.state_dict(), use load_state_dict."
                if x.shape == entry.shape
                else ""
            )
            raise ValueError(
                f"entry {key!r} has shape {x.shape}; layer {entry.module!r} needs {entry.torch_shape}.{own}"
            )
        refuse_non_finite(x, f"entry {key!r}", "Repair it, or use another file.")
        values[entry.is_state][entry.name] = entry.from_torch(x)
    return values[False], values[True]


def _without_kept(wanted: list[Entry], keep: Sequence[str]) -> list[Entry]:
    """The entries of the layers that do not keep their numbers."""
    modules = list(dict.fromkeys(entry.module for entry in wanted))
    for name in keep:
        if not any(f"{each}.".startswith(f"{name}.") for each in modules):
            raise ValueError(f"keep: no layer of this network is called {name!r}; it has {_listed('', modules)}.")
    return [each for each in wanted if not f"{each.module}.".startswith(tuple(f"{name}." for name in keep))]


def _kept(arrays: dict[str, Any], ignore: Sequence[str]) -> dict[str, Any]:
    """The entries that are not ignored, by full names or by names without the common prefix."""
    arrays = {name: x for name, x in arrays.items() if name.rpartition(".")[2] not in COUNTERS}
    starts = tuple(f"{each}." for each in ignore)
    return {
        name: arrays[name]
        for name, short in zip(arrays, _without_prefixes(arrays)[-1], strict=True)
        if not f"{name}.".startswith(starts) and not f"{short}.".startswith(starts)
    }


def _without_prefixes(arrays: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries; then without the first common part of all names, such as `module.`; then without two, ..."""
    parts = [name.split(".")[:-1] for name in arrays]
    shared = len([*takewhile(lambda each: len(set(each)) == 1, zip(*parts, strict=False))])
    return [{".".join(name.split(".")[cut:]): x for name, x in arrays.items()} for cut in range(shared + 1)]


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _modules(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(_module, names)))


def numbers(key: str, value: Any) -> Any:
    """One entry on the host, in a dtype that NumPy has."""
    kind = value.kind if isinstance(value, Stored) else dtype_name(getattr(value, "dtype", type(value).__name__))
    x: Any = None
    try:
        x = _array(value) if isinstance(value, Stored) else on_host(value)
        numeric = x.dtype.kind in "fiu"
    except (KeyError, TypeError, ValueError, RuntimeError):  # the errors of libraries for dtypes that NumPy lacks
        numeric = False
    if not numeric:
        remedy = "Call x.dequantize()" if kind.startswith("q") else "Convert it to float32"
        raise ValueError(f"entry {key!r} has the type {kind}, which is not a number type of NumPy. {remedy} first.")
    if x.dtype.kind in "iu":
        raise ValueError(
            f"entry {key!r} has dtype {x.dtype}, but weights must be real numbers. If they are quantised, dequantise "
            f"them first: multiply each by its scale. Otherwise convert them to float32."
        )
    return x


def _array(stored: Stored) -> np.ndarray:
    if stored.kind == "BF16":  # the upper half of a float32
        flat = (np.frombuffer(stored.data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        flat = np.frombuffer(stored.data, KINDS[stored.kind])
    return flat.reshape(stored.shape)


def _matched(wanted: list[Entry], source: StateDict) -> list[tuple[Entry, str]]:
    """Each entry with the key of its array."""
    ours = list(dict.fromkeys(entry.module for entry in wanted))
    theirs = _modules(source.arrays)
    by_name = len(ours) != len(theirs) or set(ours) <= set(theirs)
    called = dict(zip(ours, ours if by_name else _in_order(wanted, theirs, source), strict=True))
    for name, other in called.items():
        if name != other and name in theirs and not name.rpartition(".")[2].isdecimal():
            raise ValueError(
                f"layer {name!r} would get the entries of {other!r} by position, but the source has entries named "
                f"{name!r} too. Give all entries the names of this network."
            )
    keys = {_key(called[entry.module], entry.attribute): entry for entry in wanted}
    missing = [key for key in keys if key not in source.arrays]
    extra = [key for key in source.arrays if key not in keys]
    if missing or extra:
        inside = [f"; {missing[0]} has the name {key}" for key in extra if missing and key.endswith(f".{missing[0]}")]
        remedies: list[str] = []
        if extra:
            remedies.append(f"To leave out layers of the source, pass ignore={_some(extra, theirs)}.")
        if missing:
            without = _some([_key(keys[key].module, keys[key].attribute) for key in missing], ours)
            remedies.append(
                f"For layers of this network that keep their numbers, such as a new head, pass keep={without}."
            )
        if len(ours) != len(theirs):
            remedies.insert(0, f"The source has {len(theirs)} layers with numbers, and this network {len(ours)}.")
        raise ValueError(
            f"the state_dict does not fit the network, matched by {'name' if by_name else 'position'}"
            f"{_listed('; missing: ', missing)}{_listed('; extra: ', extra)}{''.join(inside[:1])}. {' '.join(remedies)}"
        )
    if not by_name and not source.by_use:
        short = dict(zip(source.arrays, _without_prefixes(source.arrays)[-1], strict=True))
        ordered = {short[key]: source.arrays[key] for key in keys}
        _warn_of_order(_modules(ordered), ordered)
    return [(entry, key) for key, entry in keys.items()]


def _some(keys: list[str], every: list[str]) -> tuple[str, ...]:
    """The layers of these entries, for a message; the last layer alone if that would be all."""
    layers = tuple(dict.fromkeys(_module(key) or key for key in keys))
    return layers if len(layers) < len(every) else layers[-1:]


def _in_order(wanted: list[Entry], layers: list[str], source: StateDict) -> list[str]:
    """The layers of a state_dict in the network's order: from metadata, numbers, shapes, or their own order."""
    if source.ordered:
        return layers
    if (numbered := _by_numbers(layers)) is not None:
        return numbered
    ours = _shapes((entry.module, entry.attribute, entry.torch_shape) for entry in wanted)
    theirs = _shapes(_attributes(source.arrays))
    by_shapes = {shapes: name for name, shapes in theirs.items()}
    if len(by_shapes) == len(layers) and set(by_shapes) == set(ours.values()):
        return [by_shapes[shapes] for shapes in ours.values()]
    if source.ordered is None and _as_pytorch_orders(source.arrays):
        return layers
    raise ValueError(
        f"the entries cannot be matched to layers: they may be in alphabetical order, as in a safetensors file, and "
        f"neither numbers nor shapes distinguish {_listed('', layers)}. Give the entries the names of this network, "
        f"{{{wanted[0].key!r}: theirs[...], ...}}, or pass module.state_dict() itself, or a .pt file of it."
    )


def _warn_of_order(layers: Iterable[str], arrays: Mapping[str, Any]) -> None:
    """Warn if the module that has these layers, in this order, may use those of the same shapes in another order."""
    alike, shapes = defaultdict[frozenset[tuple[str, Shape]], list[str]](list), _shapes(_attributes(arrays))
    for name in layers:
        alike[shapes[name]].append(name)
    doubtful = [(a, b) for names in alike.values() for a, b in pairwise(names) if not _counts_up(a, b)]
    if doubtful:
        a, b = doubtful[0]
        warn(
            f"layers {a!r} and {b!r} of the source have the same shapes, and are taken in the order in which the "
            f"module defines them. Its forward may use them in another order. To be sure, give the layers of this "
            f"network their names, such as name={a!r}, or compare the outputs of both for the same examples."
        )


def _counts_up(a: str, b: str) -> bool:
    """Whether the names first differ in a number that is larger in the second, such as "fc1" and "fc2"."""
    for i, j in zip(re.split(r"(\d+)", a), re.split(r"(\d+)", b), strict=False):
        if i != j:
            return i.isdecimal() and j.isdecimal() and int(i) < int(j)
    return False


def _attributes(arrays: Mapping[str, Any]) -> Iterator[tuple[str, str, Shape]]:
    return ((_module(name), name.rpartition(".")[2], np.shape(x)) for name, x in arrays.items())


def _as_pytorch_orders(arrays: Mapping[str, Any]) -> bool:
    """Whether the entries are in a module's own order, weight before bias, and not sorted by name or by dtype.

    Only layers with both a weight and a bias show this.
    """
    layers = [(module, list(names)) for module, names in groupby(arrays, _module)]
    if len({module for module, _ in layers}) < len(layers):  # the entries of a layer are not contiguous
        return False
    before = [_weight_before_bias(module, names, arrays) for module, names in layers]
    return False not in before and any(before) and all(a or b for a, b in pairwise(before))


def _weight_before_bias(module: str, names: list[str], arrays: Mapping[str, Any]) -> bool | None:
    """Whether the weight comes before the bias; None if the layer lacks one of them."""
    both = [_key(module, attribute) for attribute in ("weight", "bias")]
    if not {*both} <= {*names} or len({str(getattr(arrays[name], "dtype", None)) for name in both}) > 1:
        return None
    return names.index(both[0]) < names.index(both[1])


def _by_numbers(names: list[str]) -> list[str] | None:
    """The layers in the order of their numbers, as in a Sequential; None if names differ in another part."""
    paths = {name: [int(part) if part.isdecimal() else part for part in name.split(".")] for name in names}
    for a, b in combinations(paths.values(), 2):
        for i, j in zip(a, b, strict=False):
            if i != j:
                if isinstance(i, str) or isinstance(j, str):
                    return None
                break
    return sorted(names, key=paths.__getitem__)


def _shapes(arrays: Iterable[tuple[str, str, Any]]) -> dict[str, frozenset[tuple[str, Shape]]]:
    """The attributes and shapes of each layer."""
    shapes = defaultdict[str, set[tuple[str, Shape]]](set)
    for module, attribute, shape in arrays:
        shapes[module].add((attribute, tuple(shape)))
    return {module: frozenset(each) for module, each in shapes.items()}


def _listed(title: str, names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{title}{', '.join(names[:most])}{more}" if names else ""


# --- Writing ---------------------------------------------------------------------------------------------------------


def state_dict(network: Layer, shape: Shape, arrays: Mapping[str, Any], path: str | Path | None) -> dict[str, Any]:
    """The arrays under PyTorch's names and in its layouts; also written to a safetensors file if a path is given."""
    made = TorchLayout()
    for entry in entries(network, shape):
        made[entry.key] = entry.to_torch(on_host(arrays[entry.name]))
        if entry.attribute == STATE["variance"]:  # PyTorch's order has it last in a layer
            made[f"{entry.module}.{COUNTER}"] = np.asarray(0, dtype=np.int64)
    if path is not None:
        _write(made, Path(path))
    return made


def _write(made: dict[str, np.ndarray], path: Path) -> None:
    if path.suffix != ".safetensors":
        raise ValueError(
            f"the file must end in .safetensors; got {str(path)!r}. Use model.to_torch('{path.stem}.safetensors'), "
            f"and read it in PyTorch with safetensors.torch.load_file."
        )
    for key, x in made.items():
        refuse_non_finite(cast(Any, x), f"entry {key!r}", "Repair the model first; nothing was written.")
    metadata = {"format": "pt", ORDER: "\n".join(made)}  # "pt": for other readers
    replace(path, lambda part: fill(part, made, metadata))
