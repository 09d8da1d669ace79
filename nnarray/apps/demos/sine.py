"""A demo: a sine, by a network and by straight lines between samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nnarray import datasets, plotting
from nnarray.apps.demos.words import Watch, shape_of
from nnarray.backends import Backend, namespace
from nnarray.layers import Dense
from nnarray.layers.initializers import Normal
from nnarray.model import Model
from nnarray.network import Network
from nnarray.optimizers import Adam
from nnarray.plotting import on_host
from nnarray.schedules import Cosine
from nnarray.training.history import History
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SINE_POINTS = 200


class Errors(NamedTuple):
    """The error of an approximation of the sine, on a fine grid."""

    rms: float
    largest: float


@dataclass(frozen=True)
class SineFit:
    """A sine approximated by a network, and by straight lines between 2, 3, ... samples of it."""

    model: Model
    history: History
    samples: int
    grid: Array
    truth: Array
    output: Array
    network: Errors
    interpolated: Mapping[int, Array]
    interpolation: Mapping[int, Errors]


def fit_sine(
    be: Backend,
    *,
    hidden: Sequence[int] = (20,),
    activation: str = "tanh",
    samples: int = 15,
    seed: int = 0,
    epochs: int = 3000,
    watch: Watch | None = None,
) -> SineFit:
    """A network that approximates one period of a sine, compared with piecewise linear interpolation.

    Parameters
    ----------
    be : Backend
    hidden : sequence of int
        The sizes of the hidden layers.
    activation : str
    samples : int
        Interpolation is tried between 2, 3, ... and this many samples.
    seed, epochs : int
    watch : callable, optional

    Notes
    -----
    The initial biases of the hidden units are spread out, so that the units bend at different positions.
    """
    if samples < 2:
        raise ValueError(f"samples must be at least 2, for the two ends of a line; got {samples}.")
    x, y = datasets.sine(SINE_POINTS, noise=0, backend=be)
    grid, truth = datasets.sine(1001, noise=0, backend=be)
    inputs, inputs_of_grid = datasets.standardize(x, grid)
    layers = [Dense(units, activation, bias_init=Normal(0.0, 1.0)) for units in hidden]
    model = Network(*layers, Dense(1)).init((1,), seed=seed, backend=be)
    history = model.fit(
        inputs,
        y,
        loss="mse",
        optimizer=Adam(Cosine(0.05, epochs, lowest=5e-5)),
        epochs=epochs,
        batch_size=None,
        callbacks=[watch] if watch else [],
        progress=False,
    )
    output = model(inputs_of_grid)
    lines = {n: interpolate(*datasets.sine(n, noise=0, backend=be), grid) for n in range(2, samples + 1)}
    return SineFit(
        model=model,
        history=history,
        samples=SINE_POINTS,
        grid=grid,
        truth=truth,
        output=output,
        network=_errors(output, truth),
        interpolated=lines,
        interpolation={n: _errors(values, truth) for n, values in lines.items()},
    )


def interpolate(x: Array, y: Array, at: Array) -> Array:
    """Straight lines between samples at even distances h: the sum of hats  y_k max(0, 1 - |at - x_k| / h).

    Parameters
    ----------
    x, y : array, shape (n, 1), n at least 2
    at : array, shape (N, 1)

    Returns
    -------
    array, shape (N, 1)

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.apps.demos import interpolate
    >>> be = nn.backend("numpy")
    >>> interpolate(be.asarray([[0.0], [1.0]]), be.asarray([[1.0], [3.0]]), be.asarray([[0.25]]))
    array([[1.5]])
    """
    xp = namespace(x)
    h = x[1, 0] - x[0, 0]
    hats = 1.0 - xp.abs(at - x.T) / h
    return xp.matmul(xp.where(hats > 0, hats, xp.zeros_like(hats)), y)


def _errors(values: Array, truth: Array) -> Errors:
    xp = namespace(values)
    distance = xp.abs(values - truth)
    return Errors(float(xp.sqrt(xp.mean(distance**2))), float(xp.max(distance)))


def shown_counts(fit: SineFit) -> list[int]:
    """The numbers of samples in the figure and the table: a few, including the largest."""
    most = max(fit.interpolation)
    return sorted({n for n in (3, 5, 8) if n < most} | {most})


def draw_sine(fit: SineFit) -> Figure:
    """Interpolation between a few samples, the network, and the error over the number of samples."""
    counts = shown_counts(fit)
    columns = 2 if len(counts) == 2 else 3
    rows = -(-(len(counts) + 2) // columns)
    with plotting.picture(4.3 * columns, 3.2 * rows + 0.6) as figure:
        figure.suptitle("A sine wave, by straight lines between samples and by a network")
        panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
        for axes, n in zip(panels, counts, strict=False):
            _draw_curve(axes, fit, fit.interpolated[n], plotting.ORANGE)
            nearest = [round(k * 1000 / (n - 1)) for k in range(n)]
            x, y = on_host(fit.grid)[nearest, 0], on_host(fit.interpolated[n])[nearest, 0]
            axes.plot(x, y, "o", color="black", markersize=5)
            axes.set_title(f"{n} samples: error {fit.interpolation[n].rms:.2g}")
        network, error, *spare = panels[len(counts) :]
        _draw_curve(network, fit, fit.output, plotting.BLUE)
        network.set_title(f"{shape_of(fit.model)} network: error {fit.network.rms:.2g}")
        for i, axes in enumerate(panels[: len(counts) + 1]):
            axes.tick_params(labelleft=i % columns == 0)
            axes.set_ylabel("" if i % columns else "y")
        _draw_errors(error, fit)
        for axes in spare:
            axes.set_axis_off()
    return figure


def _draw_curve(axes: Axes, fit: SineFit, values: Array, colour: str) -> None:
    x, truth, y = (on_host(v)[:, 0] for v in (fit.grid, fit.truth, values))
    axes.plot(x, truth, color="0.75", linewidth=7)
    axes.fill_between(x, truth, y, color=colour, alpha=0.25, linewidth=0)
    axes.plot(x, y, color=colour)
    axes.set(xlabel="x", ylim=(-1.25, 1.25), xticks=(0, 0.25, 0.5, 0.75, 1), yticks=(-1, 0, 1))


def _draw_errors(axes: Axes, fit: SineFit) -> None:
    counts = list(fit.interpolation)
    errors = [fit.interpolation[n].rms for n in counts]
    axes.plot(counts, errors, "o-", color=plotting.ORANGE, label="straight lines")
    axes.axhline(fit.network.rms, color=plotting.BLUE, linestyle="--", label="network")
    axes.set(title="root mean square error", xlabel="samples")
    plotting.whole_numbers(axes)
    plotting.log_scale(axes, max(errors) / min(*errors, fit.network.rms))
    axes.grid(alpha=0.3)
    axes.legend()
