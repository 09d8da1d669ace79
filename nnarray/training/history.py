"""The history of a training: what each finished epoch resulted in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from nnarray.names import shown

OF_MODELS = ("fit", "predict", "predict_proba", "predict_class", "evaluate", "score", "save", "params", "theta")
"""What is asked of a history where fit returns the model, as in scikit-learn."""


NOT_THE_MODEL = (
    "fit trains the model itself and returns the history: call the model, and write model.fit(X, y), not "
    "model = model.fit(X, y)"
)


class History(Mapping[str, list[float]]):
    """The results of each finished epoch: a mapping of columns such as "epoch", "loss", "val_loss", "lr", "seconds".

    "seconds" is the time since the start of the training, in which a resumed one counts the time before.

    Attributes
    ----------
    steps : int
        The number of updates, including those of an unfinished epoch.
    settings : dict
        The settings of the training: loss, optimizer, batch size, seed, ... as strings and numbers.

    Examples
    --------
    >>> from nnarray.training.history import History
    >>> history = History()
    >>> history.append({"epoch": 1, "loss": 0.5})
    >>> history["loss"]
    [0.5]
    """

    def __init__(self) -> None:
        self.columns: dict[str, list[float]] = {}
        self.steps = 0
        self.settings: dict[str, Any] = {}

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch."""
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)

    def extend(self, columns: Mapping[str, list[float]]) -> None:
        """Add several epochs."""
        for name, values in columns.items():
            self.columns.setdefault(name, []).extend(values)

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.columns:
            from nnarray.metrics import METRICS

            how = f" Pass metrics=[{name!r}] to fit." if name in METRICS else ""
            how = " Pass validation=0.2 to fit." if str(name).startswith("val_") else how
            raise KeyError(f"the history has no column {name!r}; it has {', '.join(self.columns)}.{how}")
        return self.columns[name]

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("columns", {}) or name == "history":
            given = "loss" if name == "history" else name
            raise AttributeError(f"History is a mapping: history[{given!r}].", name=name, obj=self)
        advice = f". {NOT_THE_MODEL}" if name in OF_MODELS else ""
        raise AttributeError(f"'History' object has no attribute {name!r}{advice}", name=name, obj=self)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse a call: the history was taken for the model."""
        raise TypeError(f"a history cannot be called. {NOT_THE_MODEL}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.6g}" for name, values in self.columns.items() if values)
        return f"History({len(self.columns.get('epoch', []))} epochs, last: {last or 'none'})"

    def to_pandas(self) -> Any:
        """The columns as a `pandas.DataFrame` with one row per epoch; needs `nnarray[pandas]`."""
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise ImportError("history.to_pandas() needs pandas; pip install 'nnarray[pandas]'.") from error
        return pandas.DataFrame(self.columns)

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the epochs; needs `nnarray[plot]`. Returns the matplotlib axes."""
        if isinstance(ax, str | list | tuple):
            raise TypeError(
                f"history.plot draws the losses; got {shown(ax)}. For the metrics, write "
                f"nn.plotting.plot_metrics(history)."
            )
        from nnarray.drawing.curves import plot_history

        return plot_history(self, ax=ax)
