"""A training as a film: the decision boundary while it forms."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nnarray.checks import integer, real
from nnarray.drawing.canvas import axes_for, need_matplotlib, picture
from nnarray.model import Model
from nnarray.persistence import files
from nnarray.plotting.plane import plot_boundary
from nnarray.training.callbacks import Callback, Run
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

KINDS = (".gif", ".mp4", ".html")
MOST_MEGABYTES = 200.0  # of a film inside a page; matplotlib's own bound of 20 drops frames


class Frame(NamedTuple):
    """The numbers of the model after an epoch."""

    epoch: int
    loss: float | None
    """Over that epoch; None before the first."""
    numbers: tuple[Array, Array]
    """theta and state, where the model lives."""


class Film(Callback):
    """Keep the parameters of a model while it trains, and show its decision boundary as it forms.

    Nothing leaves the device while it trains: every few epochs a copy of the parameters is kept there, and the
    frames are drawn when they are asked for.

    Parameters
    ----------
    X : array, shape (N, 2)
        The frames span these points.
    y : array, shape (N,), optional
        Their classes.
    every : int
        Epochs from one frame to the next. The first frame is the untrained model, the last one the final epoch.
    names : sequence of str, optional
        What the classes are called.

    Attributes
    ----------
    frames : list of Frame
        Of the last training.

    Raises
    ------
    ValueError
        When it is drawn: if no training has been watched, or the model is not one that `plot_boundary` draws.
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
        """Forget an earlier training, and keep the model as it is."""
        self._model, self.frames = run.model, []
        self._keep(run)

    def on_epoch_end(self, run: Run) -> None:
        """Keep the parameters of every few epochs."""
        if run.epoch % self.every == 0:
            self._keep(run)

    def on_fit_end(self, run: Run) -> None:
        """Keep the last ones."""
        if self.frames and self.frames[-1].epoch != run.epoch:
            self._keep(run)

    def _keep(self, run: Run) -> None:
        self.frames.append(Frame(run.epoch, run.last.get("loss"), run.model.snapshot()))

    # --- Afterwards ----------------------------------------------------------------------------------------------

    def draw(self, number: int = -1, *, ax: Axes | None = None, resolution: int = 100) -> Axes:
        """Draw one frame: the boundary, and above it the epoch and the loss over it.

        Parameters
        ----------
        number : int
            Of the frame; the last one is -1.
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.
        resolution : int
            Points of the grid along each axis.
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
            raise ValueError("the film has no frames; pass it to a training: model.fit(..., callbacks=[film]).")
        return self.frames

    def animation(self, *, ax: Axes | None = None, fps: float = 10.0, resolution: int = 100) -> FuncAnimation:
        """The film as an animation of matplotlib, which is drawn as it is played or saved.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw, cleared before each frame; a new figure if None.
        fps : float
            Frames a second.
        resolution : int
            Points of the grid along each axis.
        """
        speed = real(fps, "fps", least=0.01, usual=10.0)
        frames = self._shot()
        axes = axes_for(ax)
        figure: Any = axes.figure.canvas.figure  # the whole one, where the axes are in a part of it
        from matplotlib.animation import FuncAnimation

        def show(number: int) -> list[Any]:
            axes.clear()
            self.draw(number, ax=axes, resolution=resolution)
            return [*axes.images, *axes.collections, axes.title]

        return FuncAnimation(
            figure, show, frames=len(frames), init_func=list, interval=1000.0 / speed, cache_frame_data=False
        )

    def save(self, path: str | Path, *, fps: float = 10.0, resolution: int = 100) -> None:
        """Write the film into a file, which is replaced as a whole or not at all.

        Parameters
        ----------
        path : path
            Ends in .gif, in .html (a page with buttons), or in .mp4, which needs the program ffmpeg.
        fps : float
            Frames a second.
        resolution : int
            Points of the grid along each axis.

        Raises
        ------
        ValueError
            If the path ends otherwise, or no training has been watched.
        RuntimeError
            If ffmpeg is needed and not there.
        OSError
            If the file cannot be written.
        """
        target = Path(path)
        kind = target.suffix.lower()
        if kind not in KINDS:
            raise ValueError(f"a film is written to a file that ends in {', '.join(KINDS)}; got {str(path)!r}.")
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
                "an .mp4 film needs the program ffmpeg, which is not found here; install it, or save a .gif or .html."
            )
        with picture(5.6, 4.2) as figure:
            film = self.animation(ax=figure.subplots(), fps=fps, resolution=resolution)
            film.save(path, writer=writer(fps=fps), dpi=100)  # pyright: ignore[reportArgumentType]

    def to_html(self, *, fps: float = 10.0, resolution: int = 100) -> str:
        """The film as a piece of a page, with buttons to play it: for a notebook, `IPython.display.HTML(...)`."""
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
    """Characters for matplotlib's buttons, whose icons would be loaded from another site."""
    page = re.sub(r"<link[^>]*font-awesome[^>]*>", "", page)
    for name, sign in SIGNS.items():
        page = page.replace(f'<i class="fa fa-{name}"></i>', sign)
    return page


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
