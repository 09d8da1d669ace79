"""`nn.playground`: the playground from Python and from a notebook, with the user's own arrays."""

from __future__ import annotations

import threading
import webbrowser
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nnarray.apps.playground.catalog import EXAMPLES
from nnarray.apps.playground.models import Start, settings_of
from nnarray.apps.playground.packing import numbers
from nnarray.apps.playground.points import FEWEST, Given
from nnarray.apps.playground.server import Server
from nnarray.apps.playground.session import Session
from nnarray.apps.playground.settings import Settings
from nnarray.backends import Backend, as_data, backend_of, namespace
from nnarray.backends import backend as backend_called
from nnarray.checks import refuse_non_finite
from nnarray.losses import checked_labels
from nnarray.model import Model
from nnarray.names import shown


@dataclass(frozen=True)
class Playground:
    """A running playground; `close` ends it. A notebook shows it below the cell.

    Attributes
    ----------
    url : str
        The address of its page, with the token.
    """

    url: str
    server: Server = field(repr=False)

    def close(self) -> None:
        """End the playground and its sessions."""
        self.server.shutdown()
        self.server.server_close()

    def _repr_html_(self) -> str:
        return f'<iframe src="{self.url}" width="100%" height="800" style="border: 0"></iframe>'


def playground(
    model_or_data: Any = None,
    data: Any = None,
    *,
    port: int = 0,
    browser: bool = True,
    backend: str | Backend | None = None,
) -> Playground:
    """Open a page in which a small network is trained, watched and changed.

    The page is served to this machine alone. It ends with `close`, or with Python.

    Parameters
    ----------
    model_or_data : Model or (X, y), optional
        Your own examples: X of shape (N,), (N, 1) or (N, 2); y integers from 0 for classes, or real numbers. They are
        standardised. Without them, the page begins with the two moons. Or your own model of dense layers, with one or
        two inputs: the page begins with a copy of it. Your model does not change.
    data : (X, y), optional
        The examples for your model.
    port : int
        0 for one that is free.
    browser : bool
        Whether to open the browser.
    backend : str or Backend, optional
        Where the network computes, as for `nn.backend`; a model stays where it is.

    Returns
    -------
    Playground
        With `url` and `close`. In a notebook it is shown as a frame.

    Raises
    ------
    TypeError, ValueError
        If the data are not two arrays of these shapes, or the playground cannot show the model.
    OSError
        If the port is in use.

    Notes
    -----
    The page is modelled on TensorFlow Playground [1]_.

    References
    ----------
    .. [1] Smilkov, Carter, Sculley, Viégas & Wattenberg (2017), Direct-manipulation visualization of deep networks.
       arXiv:1708.03788.

    Examples
    --------
    >>> import nnarray as nn
    >>> page = nn.playground(nn.datasets.circles(100), browser=False)
    >>> page.url.startswith("http://127.0.0.1:")
    True
    >>> page.close()
    """
    model = model_or_data if hasattr(model_or_data, "wiring") else None
    if model is None and data is not None:
        raise TypeError("playground takes a model, data, or both: playground((X, y)), or playground(model, (X, y)).")
    server = served(data if model else model_or_data, model=model, port=port, backend=backend)
    threading.Thread(target=server.serve_forever, args=(0.5,), name="nnarray-playground", daemon=True).start()
    page = Playground(server.url, server)
    if browser:
        webbrowser.open(page.url)
    return page


def served(
    data: Any = None,
    *,
    model: Model | None = None,
    port: int = 0,
    backend: str | Backend | None = None,
    exit_on_close: bool = False,
) -> Server:
    """A server that listens, and answers as soon as its `serve_forever` is called."""
    given = None if data is None else _given(data)
    change: dict[str, Any] = {} if given is None else {"kind": "arrays"}
    if model is None:
        be = backend if isinstance(backend, Backend) else backend_called(backend)
        usual, start = Settings().changed({"data": change}), None
    else:
        be, usual = backend_of(model.theta), settings_of(model, change)
        start = Start.of(model, usual)
    known = _version()

    def make(settings: Settings | None) -> Session:
        return Session(settings or usual, backend=be, given=given, start=start, version=known)

    first = make(None)  # whatever is wrong with the data is found now, and what is imported later is there
    if start is not None and not start.is_of(usual.network, first.lab.model):
        raise ValueError(_does_not_fit(model, first.lab.model))
    try:
        return Server(make, port=port, exit_on_close=exit_on_close)
    except OSError as error:
        raise OSError(f"port {port} cannot be listened at: {error.strerror}; choose another one.") from error


def _does_not_fit(model: Model | None, needed: Model) -> str:
    shapes = [f"{each.input_shape[0]} to {each.output_shape[0]}" for each in (model, needed) if each is not None]
    return f"the model does not fit the data: it goes from {' numbers; the data need one from '.join(shapes)}."


def _version() -> str:
    try:
        return version("nnarray")
    except PackageNotFoundError:
        return ""


def _given(data: Any) -> Given:
    """The user's arrays as numbers; of many examples, 5,000 spread over all."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"playground takes two arrays, (X, y); got {shown(data)}.")
    X, y = as_data(data[0], "X"), as_data(data[1], "y")
    xp = namespace(X)
    X = X[:, None] if X.ndim == 1 else X
    if X.ndim != 2 or X.shape[1] not in (1, 2):
        raise ValueError(
            f"the playground shows one or two inputs: X must have shape (N, 1) or (N, 2); got {tuple(X.shape)}. Choose "
            f"two columns, X[:, :2]."
        )
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.shape != (X.shape[0],):
        raise ValueError(f"X has {X.shape[0]} examples, but y has shape {tuple(y.shape)}; make their lengths equal.")
    if X.shape[0] < FEWEST:
        raise ValueError(f"the playground needs at least {FEWEST} examples; got {X.shape[0]}.")
    stride = -(-X.shape[0] // EXAMPLES)
    X, y = X[::stride, ...], y[::stride]
    refuse_non_finite(xp.astype(X, xp.float32), "X")
    flat, inputs = numbers(X), X.shape[1]
    rows = [flat[i : i + inputs] for i in range(0, len(flat), inputs)]
    axes = ("x",) if inputs == 1 else ("x1", "x2")
    if xp.isdtype(y.dtype, ("bool", "integral")):
        return _of_classes(y, rows, axes)
    refuse_non_finite(y, "y")
    return Given(rows, numbers(y), (), axes, "y")


MOST_CLASSES = 10


def _of_classes(y: Any, rows: list[list[float]], axes: tuple[str, ...]) -> Given:
    labels = [int(label) for label in numbers(checked_labels(y, MOST_CLASSES, "y"))]
    return Given(rows, labels, tuple(map(str, range(max(max(labels) + 1, 2)))), axes, "class")
