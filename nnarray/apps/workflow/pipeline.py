"""A trained network with the preparation of its data, as one object: rows or images in, labels or values out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nnarray import files
from nnarray.apps.workflow import using
from nnarray.apps.workflow.exporting.files import bytes_of
from nnarray.apps.workflow.inputs import ROWS, Images, Inputs, Part, Rows, Unknown
from nnarray.backends import Backend, backend_of, dtype_name, host_backend
from nnarray.backends import backend as backend_called
from nnarray.caller import warn
from nnarray.checks import integer, switch
from nnarray.model import Model
from nnarray.names import named, shown
from nnarray.onnx.writing.file import named_file
from nnarray.tables.cells import listed
from nnarray.tables.columns import CategoryColumn, SkewedColumn
from nnarray.tables.containers import table_of
from nnarray.tables.dates import DateColumn
from nnarray.tables.oddities import UNKNOWN, Oddities
from nnarray.tables.words import TextColumn


class Column(NamedTuple):
    """A column that a pipeline needs."""

    name: str
    kind: str
    """"number", "skewed number", "category", "date" or "text"."""
    accepts: str
    """In words."""
    categories: tuple[str, ...] = ()
    """That were met in training; none of a column of another kind."""


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A trained network with the preparation of its data: rows or images in, labels or values out.

    Made by `nn.load_pipeline` from a file that `nnarray train` wrote. What it gives are the numbers of
    `nnarray predict`. It changes nothing, so that several threads may use it at once.

    Attributes
    ----------
    model : Model
        The network: prepared numbers in, logits or standardised values out.
    inputs : Rows or Images
        The preparation.
    """

    model: Model
    inputs: Inputs

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns that rows need, in the order of the training; none where images are taken.

        Rows may have others, in any order; they are ignored.
        """
        return tuple(map(_described, self.inputs.preparation.columns)) if isinstance(self.inputs, Rows) else ()

    @property
    def targets(self) -> tuple[str, ...]:
        """What is predicted: the name of a column, or of several."""
        return self.inputs.targets

    @property
    def classes(self) -> tuple[Any, ...]:
        """The labels that `predict` may give, in the order of `predict_proba`; none where values are predicted.

        Integers and truth values, if all entries of the target were such; else text.
        """
        return tuple(self.inputs.labels.tolist())

    def predict(self, data: Any, *, unknown: Unknown = "error") -> np.ndarray:
        """The label of each row or image, or its values.

        Parameters
        ----------
        data : path, dataframe, list of dicts, dict of columns; or path, image, list of these, array
            *Rows*: the path of a table; a frame of pandas, Polars or pyarrow, or anything else with
            `__arrow_c_stream__`; a list of rows, each a dict by the names of the columns; a dict of columns. None and
            NaN are missing entries. *Images*: the path of a file or a folder, which is read in the order of its names;
            an image of Pillow's; a list of paths and images; an array of shape (height, width, 3) or
            (n, height, width, 3), uint8. A path of a JPEG is decoded in less detail than an image in memory, and its
            numbers differ a little.
        unknown : "error" or "ignore"
            What to do with a category that was not met in training: refuse it, or take it for none.

        Returns
        -------
        array of NumPy's
            Labels, shape (n,): text, or int64 or bool if all entries of the target were integers or truth values; or
            values in the unit of the target, shape (n,), (n, t) of t > 1 targets, in the model's dtype, at least
            float32.

        Warns
        -----
        UserWarning
            Of missing entries in columns that had none in training, and of numbers far outside the range of the
            training: how many rows have them, and in which columns.

        Raises
        ------
        TypeError
            If `data` is nothing of that kind.
        ValueError
            If a column is missing, or an entry cannot be one of its column: the message names the row, counted from 1,
            and the column; if an image cannot be decoded.
        OSError
            If a file cannot be read.
        """
        outputs = self._outputs(data, unknown)
        if self.classes:
            return self.inputs.labels[outputs.argmax(axis=1)]
        values = np.stack(list(self.answers(outputs).values()), axis=1)
        return values[:, 0] if len(self.targets) == 1 else values

    def predict_proba(self, data: Any, *, unknown: Unknown = "error") -> np.ndarray:
        """The probability of each class, shape (n, K), in the order of `classes`; of `data` as `predict` takes it.

        After `nnarray train --class-weight balanced` these are those of equally frequent classes.

        Raises
        ------
        ValueError
            If values are predicted, which have no probabilities; and as `predict`.
        """
        if not self.classes:
            raise ValueError(f"values of {listed(self.targets)} are predicted, and no classes; use predict.")
        outputs = self._outputs(data, unknown)
        return np.stack(list(self.answers(outputs).values())[1:], axis=1)

    def _outputs(self, data: Any, unknown: Unknown) -> np.ndarray:
        outputs, oddities = list[np.ndarray](), Oddities()
        for part in self.parts(data, unknown=unknown, be=backend_of(self.model.theta)):
            oddities.add(part.X.shape[0], part.odd)
            outputs.append(using.outputs_of(self.model, part.X))
        for kind, line in oddities.described.items():
            if kind != UNKNOWN or unknown == "error":  # else the caller has asked for it
                warn(f"{line}.", UserWarning)
        return np.concatenate(outputs)

    def parts(self, data: Any, *, unknown: Unknown = "error", be: Backend | None = None) -> Iterator[Part]:
        """What the network takes, some rows or images at a time, on this backend; on the host if None."""
        own = self.model.theta.dtype
        plain = "float64" if self.columns or dtype_name(own) == "float64" else "float32"  # as it is read on any backend
        be, dtype = (host_backend(), plain) if be is None else (be, own)
        if isinstance(data, str | os.PathLike):
            return self.inputs.parts(Path(data), be, dtype, labelled=False, unknown=unknown)
        if isinstance(self.inputs, Images):
            return self.inputs.parts_of(_images(data), be, dtype)
        table = table_of(data, [column.name for column in self.columns], self.inputs.text)
        tables = (table.slice(start, ROWS) for start in range(0, max(table.num_rows, 1), ROWS))
        return self.inputs.parts_of(tables, be, dtype, unknown=unknown)

    def answers(self, outputs: np.ndarray) -> dict[str, Any]:
        """The columns that `nnarray predict` writes, of outputs of the network."""
        return using.answers(self.inputs, outputs, dtype_name(self.model.theta.dtype))

    def to_onnx(
        self,
        path: str | os.PathLike[str],
        *,
        unknown: Unknown = "ignore",
        batch: int | None = None,
        check: bool = True,
    ) -> None:
        """Write the network with the preparation of its data as an ONNX file, for programs in other languages.

        Each column of a table is an input with its name, shape (n, 1): numbers in float64, nan where one is missing;
        categories and dates as text, "" or a word such as NA where one is missing. Truth values are 1 and 0. Of images,
        the input is "image": bytes of shape (n, height, width, 3), in the size of the training.

        Outputs: "label", shape (n,), and "probabilities", shape (n, K), in the order of `classes`; or "value", shape
        (n, t), in the units of the t targets. Where a column has the name of an output, that is "predicted NAME".
        Classes and targets are in the notes of the file.

        Parameters
        ----------
        path : path
            Must end in .onnx. The file is replaced as a whole or not at all.
        unknown : "ignore" or "error"
            What the file does with a category that was not met in training: take it for none of the known ones, or
            fail.
        batch : int, optional
            The number of rows or images in each call of the file. If None, it may be any.
        check : bool
            Whether the file is run before it is written, on made rows with missing entries and unknown categories: by
            ONNX Runtime if it is installed, else by the reference evaluator of ONNX. Its answers must be those of
            `predict` and `predict_proba`, up to rounding.

        Raises
        ------
        ImportError
            If the package onnx is not installed.
        ValueError
            If the path has another ending, a column is free text, whose hashed words ONNX cannot express, or the file
            answers something else than `predict`. No file is written.
        OSError
            If the folder does not exist, may not be written to, or is full.

        Notes
        -----
        A number that is infinite, and a text that is no date, make the computation fail, as in `predict`. Dates need
        version 20 of the operators, all others version 18.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import nnarray as nn, onnx, pyarrow
        >>> from nnarray.apps.workflow.inputs import Rows
        >>> from nnarray.tables.preparation import Preparation
        >>> table = pyarrow.table({"length": [1.5, 7.5], "colour": ["red", "blue"], "price": [1.2, 3.5]})
        >>> inputs = Rows(Preparation.fit(table, "price"))  # nnarray train makes it, and trains the network
        >>> pipeline = nn.Pipeline(nn.Network(nn.Dense(1)).init((3,), seed=0), inputs)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "flowers.onnx")
        ...     pipeline.to_onnx(file)
        ...     graph = onnx.load(file).graph
        >>> [port.name for port in graph.input], [port.name for port in graph.output]
        (['length', 'colour'], ['value'])
        """
        file = named_file(path, dtype_name(self.model.theta.dtype))
        batch = None if batch is None else integer(batch, "batch", 1, usual=1)
        named(unknown, {"error": None, "ignore": None}, "choice of unknown")
        data = bytes_of(self.model, self.inputs, batch, unknown, is_checked=switch(check, "check"))
        files.replace_by(file, data)

    def __repr__(self) -> str:
        takes = f"{len(self.columns)} columns" if self.columns else "images"
        gives = f"classes {', '.join(self.inputs.classes)}" if self.classes else "values"
        return f"Pipeline(from {takes} to {', '.join(self.targets)}: {gives}; {self.model})"


def load_pipeline(
    path: str | os.PathLike[str], *, backend: str | Backend | None = None, dtype: str | None = None
) -> Pipeline:
    r"""The trained network in a file together with the preparation of its data.

    Parameters
    ----------
    path : path
        A .safetensors file that `nnarray train` wrote.
    backend : str or Backend, optional
        What computes; as for `nn.load`.
    dtype : str, optional
        To compute in; that of the file if None.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or says nothing about its data: then `nn.load` gives the network alone.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import nnarray as nn
    >>> from nnarray.apps.workflow import steps
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data, file = pathlib.Path(folder, "flowers.csv"), pathlib.Path(folder, "flowers.safetensors")
    ...     _ = data.write_text("length,kind\n" + 20 * "1.5,daisy\n7.5,rose\n")
    ...     plan = steps.Plan(target=("kind",))  # nnarray train flowers.csv --target kind --out flowers.safetensors
    ...     examples = steps.read(data, plan)
    ...     _ = steps.train(steps.model_for(data, examples, plan, nn.backend("numpy")), examples, plan, file)
    ...     pipeline = nn.load_pipeline(file)
    >>> pipeline.predict([{"length": 1.4}, {"length": 8}]).tolist()
    ['daisy', 'rose']
    >>> pipeline.predict_proba({"length": [1.4, 8]}).shape, pipeline.classes
    ((2, 2), ('daisy', 'rose'))
    >>> pipeline.columns[0].name, pipeline.columns[0].kind, pipeline.targets
    ('length', 'number', ('kind',))
    """
    return Pipeline(*using.load(Path(path), backend_called(backend), dtype))


def _described(column: Any) -> Column:
    """What a column accepts, in words."""
    if isinstance(column, CategoryColumn):
        missing = "a missing one is a category" if column.missing else "a missing one is none of them"
        return Column(column.name, column.kind, f"{listed(column.categories)}; {missing}", column.categories)
    return Column(column.name, column.kind, _entries(column))


def _entries(column: Any) -> str:
    """What a column of another kind than categories accepts."""
    if isinstance(column, TextColumn):
        return "text; a missing one is one without words"
    if isinstance(column, DateColumn):
        zone = "with a time zone" if column.zone else "without a time zone"
        return f"dates and times in ISO form, {zone}, in training from {column.first[:10]} on; one may be missing"
    if isinstance(column, SkewedColumn):
        with np.errstate(over="ignore"):
            usual = float(column.unit * np.sinh(column.mean))  # what is standardised is arsinh(x / unit)
        return f"numbers, in training about {usual:.4g}, in many sizes; a missing one is taken as this"
    truth = ", true and false" if column.truth else ""
    numbers = f"numbers{truth}, in training {column.mean:.4g} with deviation {column.scale:.4g}"
    return f"{numbers}; a missing one is taken as the mean"


def _images(data: Any) -> Iterable[Any]:
    """Several images of what may be one."""
    if isinstance(data, list | tuple) or (isinstance(data, np.ndarray) and data.ndim == 4):
        if not len(data):
            raise ValueError("there are no images to predict; give at least one.")
        return data
    if isinstance(data, np.ndarray) or hasattr(data, "convert") or hasattr(data, "read"):
        return [data]
    raise TypeError(
        f"images are needed: a path, an image of Pillow's, a list of these, or an array of uint8 of shape (n, height, "
        f"width, 3); got {shown(data)}."
    )
