"""A film of training: how the decision boundary changes."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nnarray import files
from nnarray.checks import integer, real
from nnarray.drawing.canvas import axes_for, need_matplotlib, picture
from nnarray.model import Model
from nnarray.plotting.plane import plot_boundary
from nnarray.training.callbacks import Callback, Run
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

KINDS = (".gif", ".mp4", ".html")
MOST_MEGABYTES = 200.0  # of a film inside a page; matplotlib's own bound of 20 drops frames


class Frame(NamedTuple):
    """The parameters and the state of the model after an epoch."""

    epoch: int
    loss: float | None
    """The loss over that epoch; None before the first."""
    numbers: tuple[Array, Array]
    """theta and state, on the device of the model."""


class Film(Callback):
    """A callback that keeps the parameters of a model during training, and shows how its decision boundary changes.

    During training, nothing leaves the device: every few epochs a copy of the parameters is kept there. The frames
    are drawn afterwards, on request.

    Parameters
    ----------
    X : array, shape (N, 2)
        The frames span these points.
    y : array, shape (N,), optional
        The classes of the points.
    every : int
        The number of epochs from one frame to the next. The first frame is the untrained model, the last one the final
        epoch.
    names : sequence of str, optional
        The names of the classes.

    Attributes
    ----------
    frames : list of Frame
        The frames of the last training.

    Raises
    ------
    ValueError
        Before the training, if `plot_boundary` cannot draw the model; when it is drawn, if it was not passed to one.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,))
    >>> film = nn.plotting.Film(X, y, every=5)
    >>> history = model.fit(X, y, epochs=20, callbacks=[film])
    >>> [frame.epoch for frame in film.frames]
    [0, 5, 10, 15, 20]
    >>> film.save("training.gif")  # doctest: +SKIP
    """

    def __init__(self, X: Array, y: Array | None = None, *, every: int = 5, names: Sequence[str] | None = None) -> None:
        self.X, self.y, self.names = X, y, names
        self.every = integer(every, "every", 1, usual=5)
        self.frames: list[Frame] = []
        self._model: Model | None = None

    # --- While the model trains ----------------------------------------------------------------------------------

    def on_fit_start(self, run: Run) -> None:
        """Drop the frames of an earlier training, and keep the untrained model; refuse what cannot be drawn."""
        self._model, self.frames = run.model, []
        with suppress(ImportError), picture(1.0, 1.0) as figure:  # without matplotlib, it is drawn elsewhere
            plot_boundary(run.model, self.X, self.y, names=self.names, ax=figure.subplots(), resolution=2)
        self._keep(run)

    def on_epoch_end(self, run: Run) -> None:
        """Keep the parameters after every few epochs."""
        if run.epoch % self.every == 0:
            self._keep(run)

    def on_fit_end(self, run: Run) -> None:
        """Keep the final parameters."""
        if self.frames and self.frames[-1].epoch != run.epoch:
            self._keep(run)

    def _keep(self, run: Run) -> None:
        self.frames.append(Frame(run.epoch, run.last.get("loss"), run.model.snapshot()))

    # --- Afterwards ----------------------------------------------------------------------------------------------

    def draw(self, number: int = -1, *, ax: Axes | None = None, resolution: int = 100) -> Axes:
        """Draw one frame: the boundary, with the epoch and its loss as the title.

        Parameters
        ----------
        number : int
            The number of the frame; -1 is the last one.
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.
        resolution : int
            The number of grid points along each axis.
        """
        frame = self._shot()[number]
        assert self._model is not None
        model = self._model.copy()
        model.restore(frame.numbers)
        axes = plot_boundary(model, self.X, self.y, names=self.names, ax=axes_for(ax), resolution=resolution)
        title = "before training" if frame.loss is None else f"epoch {frame.epoch}: loss {frame.loss:.3g}"
        axes.set_title(title)
        return axes

    def _shot(self) -> list[Frame]:
        if not self.frames:
            raise ValueError("the film has no frames. Pass it to a training: model.fit(..., callbacks=[film]).")
        return self.frames

    def animation(self, *, ax: Axes | None = None, fps: float = 10.0, resolution: int = 100) -> FuncAnimation:
        """The film as a matplotlib animation, which is drawn when it is played or saved.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw, cleared before each frame; a new figure if None.
        fps : float
            Frames per second.
        resolution : int
            The number of grid points along each axis.
        """
        speed = real(fps, "fps", least=0.01, usual=10.0)
        frames = self._shot()
        axes = axes_for(ax)
        figure: Any = axes.figure.canvas.figure  # the whole figure, if the axes are in a subfigure
        from matplotlib.animation import FuncAnimation

        def show(number: int) -> list[Any]:
            axes.clear()
            self.draw(number, ax=axes, resolution=resolution)
            return [*axes.images, *axes.collections, axes.title]

        return FuncAnimation(
            figure, show, frames=len(frames), init_func=list, interval=1000.0 / speed, cache_frame_data=False
        )

    def save(self, path: str | Path, *, fps: float = 10.0, resolution: int = 100) -> None:
        """Write the film to a file, which is replaced as a whole or not at all.

        Parameters
        ----------
        path : path
            Must end in .gif, .html (a page with buttons) or .mp4, which needs the program ffmpeg.
        fps : float
            Frames per second.
        resolution : int
            The number of grid points along each axis.

        Raises
        ------
        ValueError
            If the path has another ending, or the film was not passed to a training.
        RuntimeError
            If ffmpeg is needed but not installed.
        OSError
            If the file cannot be written.
        """
        target = Path(path)
        kind = target.suffix.lower()
        if kind not in KINDS:
            raise ValueError(f"the path of a film must end in {', '.join(KINDS)}; got {str(path)!r}.")
        files.prove(target)
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, f"film{kind}")
            if kind == ".html":
                made.write_text(self.to_html(fps=fps, resolution=resolution), encoding="utf-8")
            else:
                self._write(made, fps, resolution)
            files.replace(target, lambda part: _copy(made, part))

    def _write(self, path: Path, fps: float, resolution: int) -> None:
        need_matplotlib()
        from matplotlib.animation import FFMpegWriter, PillowWriter

        writer = FFMpegWriter if path.suffix == ".mp4" else PillowWriter
        if not writer.isAvailable():
            raise RuntimeError(
                "an .mp4 film needs the program ffmpeg, which was not found. Install it, or save a .gif or .html."
            )
        with picture(5.6, 4.2) as figure:
            film = self.animation(ax=figure.subplots(), fps=fps, resolution=resolution)
            film.save(path, writer=writer(fps=fps), dpi=100)  # pyright: ignore[reportArgumentType]

    def to_html(self, *, fps: float = 10.0, resolution: int = 100) -> str:
        """The film as HTML with buttons to play it. In a notebook, pass it to `IPython.display.HTML`."""
        with picture(5.6, 4.2) as figure:
            from matplotlib import rc_context

            film = self.animation(ax=figure.subplots(), fps=fps, resolution=resolution)
            with rc_context({"animation.embed_limit": MOST_MEGABYTES, "savefig.dpi": 80.0}):
                return _with_signs(film.to_jshtml(fps=fps))  # pyright: ignore[reportArgumentType]


SIGNS = {
    "minus": "−",
    "fast-backward": "⏮",
    "step-backward": "◁",
    "play fa-flip-horizontal": "◀",
    "pause": "⏸",
    "play": "▶",
    "step-forward": "▷",
    "fast-forward": "⏭",
    "plus": "+",
}


def _with_signs(page: str) -> str:
    """Characters for matplotlib's buttons, instead of icons that the page would load from another site."""
    page = re.sub(r"<link[^>]*font-awesome[^>]*>", "", page)
    for name, sign in SIGNS.items():
        page = page.replace(f'<i class="fa fa-{name}"></i>', sign)
    return page


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
