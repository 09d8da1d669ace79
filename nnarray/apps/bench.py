"""Benchmarks: networks of several sizes, timed on the usable backends. Nothing here prints."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnarray import backends, models, random
from nnarray.backends import FLOATS, Backend, host_backend
from nnarray.checks import integer, real
from nnarray.kernels.compilation import compiled
from nnarray.model import Model
from nnarray.names import named
from nnarray.random import Key
from nnarray.training.callbacks import Callback, Run
from nnarray.typing import Array

WIDTHS = (16, 64, 256, 1024)
WIDTHS_OF_GPUS = (*WIDTHS, 2048)
CLASSES = 10
PAUSE = 0.1  # seconds for the threads of the previous library to stop waiting for work
TURNS = 10  # number of measurements, for a median
STEPS = (4, 64)  # smallest and largest number of steps per epoch
DOUBT = 2.0  # threads wait for each other: if another program delays one, times at least double


@dataclass(frozen=True)
class Timing:
    """The times of a computation and of its matrix products alone, on the same backend.

    Attributes
    ----------
    seconds, products : float
        Median times.
    multiply_adds : int
        The number in the matrix products.
    spread : float
        The ratio of the upper to the lower quartile; the larger of both.
    """

    seconds: float
    products: float
    multiply_adds: int
    spread: float = 1.0

    @property
    def gflops(self) -> float:
        """Operations in 10^9 per second; a multiply-add is two."""
        return 2e-9 * self.multiply_adds / self.seconds

    @property
    def fraction(self) -> float:
        """The speed, as a fraction of that of its matrix products alone."""
        return self.products / self.seconds

    @property
    def doubtful(self) -> bool:
        """Whether the times vary, or beat the limit, so much that other programs must have been running."""
        return self.spread > DOUBT or self.fraction > DOUBT


@dataclass(frozen=True)
class Case:
    """The times of a backend at one width; None if it could not be measured, and then `failure` says why."""

    backend: str
    device: str
    gpu: bool
    width: int
    forward: Timing | None = None
    training: Timing | None = None
    failure: str = ""


@dataclass(frozen=True)
class Device:
    """A backend, and the device on which it computes."""

    backend: Backend
    device: str
    gpu: bool


def devices(flags: Sequence[str] | None = None) -> list[Device]:
    """The backends to measure: those of the flags, or all usable ones except those for tests.

    Raises
    ------
    ValueError, ImportError, RuntimeError
        If a flag is unknown, or its backend cannot compute; the message says why.
    """
    if flags is None:
        flags = [info.name for info in backends.list_backends() if info.usable and not info.imitates]
    chosen = {be.name: be for be in map(backends.backend, flags)}
    return [_device(be) for be in chosen.values()]


def _device(be: Backend) -> Device:
    name = backends.describe(be.name).device
    return Device(be, name, gpu=name != "CPU" and not name.startswith("imitation"))


def measure(
    devices: Sequence[Device],
    widths: Sequence[int] | None = None,
    *,
    batch_size: int = 128,
    dtype: str = "float32",
    seconds: float = 1.0,
) -> Iterator[Case]:
    """Time the multilayer perceptron n-n-n-10 on some backends, for one width n after the other.

    A forward propagation is a call of the model, in a row of calls, after which the host waits for the device. A
    training step is a step of `Model.fit` with Adam, including its share of shuffling and of the end of the epoch. The
    first epoch, in which libraries compile and warm up, is left out.

    The limit is the time of the same matrix products alone on the same backend, as no change of the other
    operations can be faster. (A larger product would be faster per operation, but the network does not need it.) In
    small networks, calls take longer than products, so an implementation with fewer calls can beat the limit.

    Parameters
    ----------
    devices : sequence of Device
    widths : sequence of int, optional
        16 to 1024, and 2048 with a GPU.
    batch_size : int
    dtype : str
        "float32", "float64", ...
    seconds : float
        The approximate time of the measurement of each backend at each width, without compilation.

    Yields
    ------
    Case
        One for each width and backend. A failure, such as a full device, is recorded in it, and the next case follows.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of range.
    """
    integer(batch_size, "batch_size", 1, usual=128)
    real(seconds, "seconds", least=0.0, usual=1.0)
    named(dtype, dict.fromkeys(FLOATS), "dtype")
    for width in default_widths(devices) if widths is None else widths:
        integer(width, "each width", 1, usual=256)
        for device in devices:
            time.sleep(min(PAUSE, seconds))
            yield _case(device, width, batch_size, dtype, seconds)


def default_widths(devices: Sequence[Device]) -> tuple[int, ...]:
    """The default widths."""
    return WIDTHS_OF_GPUS if any(device.gpu for device in devices) else WIDTHS


def _case(at: Device, width: int, batch: int, dtype: str, seconds: float) -> Case:
    case, be = Case(at.backend.name, at.device, at.gpu, width), at.backend
    try:
        model = models.mlp(CLASSES, (width, width)).init((width,), backend=be, dtype=dtype)
        x = _drawn(be, model, (batch, width))
        forward = _forward(be, model, x, seconds / 2)
        case = replace(case, forward=forward)
        return replace(case, training=_training(be, model, x, 4 * forward.seconds, seconds / 2))
    except Exception as error:  # mostly out of memory, for which each library has its own error
        return replace(case, failure=str(error) or type(error).__name__)


def _drawn(be: Backend, model: Model, shape: tuple[int, ...]) -> Array:
    return random.normal(Key(0), shape, xp=be.xp, device=be.device, dtype=model.theta.dtype)


# --- Timing ----------------------------------------------------------------------------------------------------


def _forward(be: Backend, model: Model, x: Array, seconds: float) -> Timing:
    products = _products(be, model, x, training=False)
    turns = _turns([lambda: model(x), products], be, seconds)
    return _timing(turns, x.shape[0] * model.summary().multiply_adds)


def _training(be: Backend, model: Model, x: Array, guess: float, seconds: float) -> Timing:
    """The time of a training step, which has three times the products of a forward one, except dx of the inputs."""
    about, (least, most) = model.summary(), STEPS
    steps = max(least, min(most, int(seconds / TURNS / guess)))
    X = be.xp.concat([x] * steps, axis=0)
    y = be.asarray([i % CLASSES for i in range(X.shape[0])])
    epochs = _Epochs(be, _products(be, model, x, training=True), steps, seconds)
    model.copy().fit(X, y, epochs=10**6, batch_size=x.shape[0], callbacks=[epochs], progress=False, check_finite=False)
    return _timing(epochs.turns[1:], x.shape[0] * (3 * about.multiply_adds - about.lines[0].multiply_adds))


def _timing(turns: Sequence[Sequence[float]], multiply_adds: int) -> Timing:
    """The timing from the seconds of the computation and of its products in each turn."""
    times, alone = zip(*turns, strict=True)
    spread = max(map(_spread, (times, alone)))
    return Timing(statistics.median(times), statistics.median(alone), multiply_adds, spread)


def _spread(times: Sequence[float]) -> float:
    if len(times) < 2:
        return 1.0
    lower, _, upper = statistics.quantiles(times, n=4, method="inclusive")
    return upper / lower


def _turns(calls: Sequence[Callable[[], Any]], be: Backend, seconds: float) -> list[list[float]]:
    """The seconds per call in rows of equal calls: several rows, for about `seconds` in total.

    The calls alternate, so that other load of the machine affects all of them equally.
    """
    for call in calls:
        _row(call, be, 1)  # compiles, and allocates memory
    begun, turns = time.perf_counter(), list[list[float]]()
    once = [_row(call, be, 1) for call in calls]
    counts = [max(1, int(seconds / TURNS / len(calls) / max(each, 1e-9))) for each in once]
    while not turns or time.perf_counter() - begun < seconds:
        turns.append([_row(call, be, count) for call, count in zip(calls, counts, strict=True)])
    return turns


def _row(call: Callable[[], Any], be: Backend, count: int) -> float:
    """Seconds of each of `count` calls, with one wait at the end."""
    kept = None  # the last result must stay referenced: JAX waits only for such arrays
    be.synchronize()
    begun = time.perf_counter()
    for _ in range(count):
        kept = call()
    be.synchronize()
    taken = time.perf_counter() - begun
    del kept
    return taken / count


class _Epochs(Callback):
    """Times the epochs of `fit`, and the matrix products in between, until the time is over."""

    def __init__(self, be: Backend, products: Callable[[], Any], steps: int, seconds: float) -> None:
        self.be, self.products, self.steps, self.seconds = be, products, steps, seconds
        self.turns: list[tuple[float, float]] = []  # seconds of a step and of its products
        self.first = self.begun = 0.0

    def on_fit_start(self, run: Run) -> None:
        self.begun = time.perf_counter()

    def on_epoch_end(self, run: Run) -> None:
        taken = time.perf_counter() - self.begun
        self.turns.append((taken / self.steps, _row(self.products, self.be, self.steps)))
        self.begun = time.perf_counter()
        self.first = self.first or self.begun
        if run.epoch > 1 and self.begun - self.first >= self.seconds:
            run.stop("the time is over")


def _products(be: Backend, model: Model, x: Array, *, training: bool) -> Callable[[], Any]:
    """Only the matrix products of the network, as one function: x W, and for training also x^T dy and dy W^T."""
    weights = [model.params[f"{i}.weight"] for i in range(3)]
    inputs = [x] * 3  # all three layers have inputs of the same shape
    dys = [_drawn(be, model, (x.shape[0], weight.shape[1])) for weight in weights]

    def products(weights: list[Array], inputs: list[Array], dys: list[Array]) -> list[Array]:
        results = [x @ weight for x, weight in zip(inputs, weights, strict=True)]
        if training:
            results += [x.T @ dy for x, dy in zip(inputs, dys, strict=True)]
            results += [dy @ weight.T for dy, weight in zip(dys[1:], weights[1:], strict=True)]
        return results

    call = compiled(products, x)
    return lambda: call(weights, inputs, dys)


# --- Conclusions ---------------------------------------------------------------------------------------------

DOING = {"training": "trains", "forward": "goes forward"}


def verdict(cases: Sequence[Case]) -> list[str]:
    """Sentences on the width from which each GPU is faster than NumPy, or else than the first CPU backend."""
    names = list(dict.fromkeys(case.backend for case in cases if not case.gpu))
    gpus = list(dict.fromkeys(case.backend for case in cases if case.gpu))
    if not gpus:
        return ["There is no GPU among these backends to compare with. `nnarray info` shows why."]
    if not names:
        return ["There is no CPU among these backends to compare with. Add numpy."]
    host = host_backend().name
    host = host if host in names else names[0]
    return [_compared(cases, gpu, host, kind) for gpu in gpus for kind in DOING]


def _compared(cases: Sequence[Case], gpu: str, host: str, kind: str) -> str:
    """A sentence on the width from which `gpu` is faster than `host`."""
    ours, theirs = (
        {case.width: getattr(case, kind).seconds for case in cases if case.backend == name and getattr(case, kind)}
        for name in (gpu, host)
    )
    gains = {width: theirs[width] / ours[width] for width in sorted(ours) if width in theirs}
    if not gains:
        return f"{gpu} and {host} could not both be measured at any width ({kind})."
    largest, best = max(gains), max(gains, key=lambda width: gains[width])
    slower = [width for width, gain in gains.items() if gain <= 1.0]
    measured = f"from {min(gains)} to {largest}" if len(gains) > 1 else f"only {largest}"
    if not slower:
        return f"{gpu} {DOING[kind]} faster than {host} at every width, {measured} ({gains[best]:.3g} times at {best})."
    if largest not in slower:
        start = min(width for width in gains if width > max(slower))
        return f"{gpu} {DOING[kind]} faster than {host} from width {start} on ({gains[best]:.3g} times at {best})."
    at = f"closest at {best}: {gains[best]:.2g} times its speed"
    if gains[best] > 1.0:
        at = f"faster at {best}, {gains[best]:.3g} times, but not at {largest}"
    return f"{gpu} never {DOING[kind]} faster than {host} up to the largest of these widths, {measured} ({at})."
