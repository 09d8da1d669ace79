"""Initial values of parameters: each initializer draws an array from a key, a shape and its fans."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnarray import random
from nnarray.arguments import explain_classes
from nnarray.checks import above_zero, numbers_of_python, real
from nnarray.names import also, canonical, named, shown
from nnarray.typing import Array, Device, Namespace, Shape


@dataclass(frozen=True)
class Initializer:
    """Draws the initial values of a parameter: `draw(key, shape, xp, device)`, in float64 on the host.

    A network draws all parameters once, on the host, and moves them as one vector. So a seed gives bitwise the same
    weights on every backend.
    """

    def draw(self, key: random.Key, shape: Shape, xp: Namespace, device: Device) -> Array:
        """The values, of this shape."""
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Initializer):
    """The same value for all entries."""

    value: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", real(self.value, "Constant value", usual=0.0))

    def draw(self, key: random.Key, shape: Shape, xp: Namespace, device: Device) -> Array:
        """The value, in this shape."""
        return xp.full(shape, self.value, dtype=xp.float64, device=device)


@dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform on [low, high)."""

    low: float = -0.05
    high: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", real(self.low, "Uniform low", usual=-0.05))
        object.__setattr__(self, "high", real(self.high, "Uniform high", usual=0.05))
        if self.low > self.high:
            raise ValueError(
                f"Uniform needs low <= high; got low={self.low:g}, high={self.high:g}. For numbers from -a to a, write "
                f"Uniform(-a, a)."
            )

    def draw(self, key: random.Key, shape: Shape, xp: Namespace, device: Device) -> Array:
        """Uniform numbers, of this shape."""
        u = random.uniform(key, shape, xp=xp, device=device, dtype=xp.float64)
        return self.low + (self.high - self.low) * u


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal with the given mean and standard deviation."""

    mean: float = 0.0
    std: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", real(self.mean, "Normal mean", usual=0.0))
        object.__setattr__(self, "std", real(self.std, "Normal std", least=0.0, usual=0.05))

    def draw(self, key: random.Key, shape: Shape, xp: Namespace, device: Device) -> Array:
        """Normal numbers, of this shape."""
        return self.mean + self.std * random.normal(key, shape, xp=xp, device=device, dtype=xp.float64)


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Zero mean and variance gain / fan, so that signals keep their size from layer to layer.

    Parameters
    ----------
    gain : float
        1 for Glorot and LeCun, 2 for He.
    fan : {"in", "out", "average"}
        The number of inputs of each output ("in"), the number of outputs of each input ("out"), or their mean.
    distribution : {"uniform", "normal"}
        Uniform on +-sqrt(3 gain / fan), or normal.

    References
    ----------
    .. [1] LeCun, Bottou, Orr & Mueller (1998), Efficient BackProp.
    .. [2] Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward neural networks. AISTATS.
    .. [3] He, Zhang, Ren & Sun (2015), Delving deep into rectifiers. ICCV.
    """

    gain: float = 1.0
    fan: str = "in"
    distribution: str = "uniform"

    def __post_init__(self) -> None:
        numbers_of_python(self)
        above_zero(self.gain, "gain", or_zero=True)
        if self.fan not in ("in", "out", "average"):
            raise ValueError(f"fan must be 'in', 'out' or 'average'; got {shown(self.fan)}.")
        if self.distribution not in ("uniform", "normal"):
            raise ValueError(f"distribution must be 'uniform' or 'normal'; got {shown(self.distribution)}.")

    def draw(self, key: random.Key, shape: Shape, xp: Namespace, device: Device) -> Array:
        """Uniform or normal numbers whose variance suits the fans of this shape."""
        fan_in, fan_out = fans(shape)
        fan = {"in": fan_in, "out": fan_out, "average": (fan_in + fan_out) / 2}[self.fan]
        std = math.sqrt(self.gain / max(fan, 1))
        if self.distribution == "normal":
            return Normal(0.0, std).draw(key, shape, xp, device)
        return Uniform(-math.sqrt(3.0) * std, math.sqrt(3.0) * std).draw(key, shape, xp, device)


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """A random matrix with orthonormal rows or columns, times gain; leading axes count as rows.

    References
    ----------
    .. [1] Saxe, McClelland & Ganguli (2014), Exact solutions to the nonlinear dynamics of learning. ICLR.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", real(self.gain, "gain", usual=1.0))

    def draw(self, key: random.Key, shape: Shape, xp: Namespace, device: Device) -> Array:
        """The factor Q of a normal matrix, in this shape."""
        if len(shape) < 2:
            raise ValueError(
                f"the orthogonal initializer needs at least 2 axes; got shape {shape}. Use 'normal' instead."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        q, r = xp.linalg.qr(random.normal(key, tall, xp=xp, device=device, dtype=xp.float64))
        q = q * xp.where(xp.linalg.diagonal(r) < 0, -1.0, 1.0)  # makes the distribution uniform over all rotations
        return xp.reshape(self.gain * (q if rows >= columns else q.T), shape)


@dataclass(frozen=True)
class RowOfZeros(Initializer):
    """The values of another initializer, except for one row, which is 0."""

    inner: Initializer
    row: int

    def draw(self, key: random.Key, shape: Shape, xp: Namespace, device: Device) -> Array:
        """The other's values with zeros in the row."""
        kept = xp.arange(shape[0], device=device) != self.row
        return self.inner.draw(key, shape, xp, device) * xp.astype(kept, xp.float64)[:, None]


def fans(shape: Shape) -> tuple[int, int]:
    """Fan-in and fan-out of a weight whose last two axes are (inputs, outputs), and whose other axes are a window."""
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


INITIALIZERS: dict[str, Initializer] = {
    "zeros": Constant(0.0),
    "ones": Constant(1.0),
    "normal": Normal(),
    "uniform": Uniform(),
    "glorot": VarianceScaling(1.0, "average"),
    "glorot_normal": VarianceScaling(1.0, "average", "normal"),
    "he": VarianceScaling(2.0),
    "he_normal": VarianceScaling(2.0, "in", "normal"),
    "lecun": VarianceScaling(1.0),
    "lecun_normal": VarianceScaling(1.0, "in", "normal"),
    "orthogonal": Orthogonal(),
}


ALSO = also(
    zeros="zero",
    ones="one",
    normal="random_normal",
    uniform="random_uniform",
    glorot="glorot_uniform xavier xavier_uniform",
    glorot_normal="xavier_normal",
    he="he_uniform kaiming kaiming_uniform",
    he_normal="kaiming_normal",
    lecun="lecun_uniform",
    absent="constant truncated_normal trunc_normal identity eye dirac sparse variance_scaling",
)


def kept_initializer(init: object) -> Any:
    """An initializer in the form that settings store: the name as in the table."""
    return init if isinstance(init, Initializer) else canonical(init, INITIALIZERS, "initializer", ALSO)


def initializer(name: str | Initializer) -> Initializer:
    """The initializer of that name, or the one given."""
    return name if isinstance(name, Initializer) else named(name, INITIALIZERS, "initializer", ALSO)


explain_classes(__name__)
