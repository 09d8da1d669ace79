"""A fitted estimator as an ONNX file: its inputs in, labels with probabilities or values out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from sklearn.utils.validation import check_is_fitted

from nnarray import files
from nnarray.backends import dtype_name, host_backend
from nnarray.checks import integer, switch
from nnarray.estimators.scalers import Step, raw, scaled, steps_of, written
from nnarray.model import Model
from nnarray.onnx.writing.around import After, Port, Shell, around, inside
from nnarray.onnx.writing.comparing import Answers, refuse_other_answers
from nnarray.onnx.writing.file import contents, named_file, source_of
from nnarray.onnx.writing.record import Source, examples
from nnarray.onnx.writing.sizes import BATCH
from nnarray.onnx.writing.writer import Writer
from nnarray.random import Key
from nnarray.typing import Array

INPUT = "X"


class Exports:
    """Estimators that are written as files."""

    model_: Model

    def _answering(self, dtype: str, inputs: Sequence[Port]) -> After:
        """What follows the outputs of the network in a file."""
        raise NotImplementedError

    def _right(self, outputs: Array) -> Answers:
        """What a file must give for outputs of the network on the host."""
        raise NotImplementedError

    def _notes(self) -> dict[str, Any]:
        """What a file says of the classes and the features."""
        names = getattr(self, "feature_names_in_", None)
        return {} if names is None else {"features": list(names)}

    def to_onnx(
        self, path: str | os.PathLike[str], *, before: Any = None, batch: int | None = None, check: bool = True
    ) -> None:
        """Write the estimator as an ONNX file, for programs in other languages.

        The input is "X", shape (N, features), in the dtype of the model: float64 if X was so in `fit`, unless `dtype`
        is another; float32 for float16 and bfloat16. A classifier gives "label", shape (N,), with the type of its
        classes (text, integers or others), and "probabilities", shape (N, K), also for two classes; with several labels
        per example, "label" is 0 and 1, shape (N, K). A regressor gives "value", shape (N, outputs). The notes of the
        file have the classes, and the names of the features if there are any.

        Parameters
        ----------
        path : path
            Must end in .onnx. The file is replaced as a whole or not at all.
        before : transformer, optional
            The steps before the estimator in a pipeline, `pipeline[:-1]`, to be in the file too: fitted StandardScaler,
            MinMaxScaler, MaxAbsScaler or RobustScaler of scikit-learn, or a pipeline of them. Then the input is the
            unscaled X in float64, in which the scalers compute.
        batch : int, optional
            The number of examples in each call of the file. If None, it may be any.
        check : bool
            Whether the file is run before it is written, on random inputs: by ONNX Runtime if it is installed, else by
            the reference evaluator of ONNX. Its answers must be those of the estimator, up to rounding.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called.
        ImportError
            If the package onnx is not installed.
        TypeError
            If `before` is another transformer.
        ValueError
            If the path has another ending, `before` has another number of features than the estimator, a layer cannot
            be written, or the file answers something else than the estimator. No file is written.
        OSError
            If the folder does not exist, may not be written to, or is full.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import onnx
        >>> from nnarray.estimators import MLPClassifier
        >>> classifier = MLPClassifier((5,), max_iter=20, tol=1.0, random_state=0)
        >>> classifier = classifier.fit([[0.0, 1.0], [1.0, 0.0]] * 9, ["daisy", "rose"] * 9)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "flowers.onnx")
        ...     classifier.to_onnx(file)
        ...     graph = onnx.load(file).graph
        >>> [port.name for port in graph.output]
        ['label', 'probabilities']
        """
        check_is_fitted(self)
        own = dtype_name(self.model_.theta.dtype)
        dtype = own if own == "float64" else "float32"  # few programs compute in 16 bits
        model = self.model_.of_values().to(host_backend(), dtype=dtype)
        file = named_file(path, dtype)
        batch = None if batch is None else integer(batch, "batch", 1, usual=1)
        is_checked = switch(check, "check")
        steps = steps_of(before)
        _check_columns(steps, tuple(model.input_shape))
        own_notes = {**_features_of(before), **self._notes()}
        notes = {name: json.dumps(each, ensure_ascii=False) for name, each in own_notes.items()}
        ports = [Port(INPUT, dtype if before is None else "float64", tuple(model.input_shape))]

        def entry(w: Writer) -> str:
            return inside(INPUT) if before is None else written(w, steps, inside(INPUT), dtype)

        shell = Shell(ports, entry, self._answering(dtype, ports))
        source = source_of(model, {})
        data = around(contents(source, batch, is_checked=False), shell, notes, batch)
        if is_checked:
            refuse_other_answers(
                data, self._cases(model, source, batch, None if before is None else steps), "the estimator"
            )
        files.replace_by(file, data)

    def _cases(
        self, model: Model, source: Source, batch: int | None, steps: list[Step] | None
    ) -> Iterator[tuple[dict[str, Any], Answers]]:
        for i, count in enumerate((1, 50) if batch is None else (batch, batch)):
            x = z = examples(source, {BATCH: count}, Key(i))
            if steps is not None:
                xp = host_backend().xp
                x = raw(steps, xp.astype(z, xp.float64))
                z = xp.astype(scaled(steps, x), z.dtype)
            yield {INPUT: x}, self._right(model.predict(z))


def _check_columns(steps: Sequence[Step], shape: tuple[int, ...]) -> None:
    """The steps have a number for each feature, or one for all."""
    for _, numbers in steps:
        if numbers.ndim and tuple(numbers.shape) != shape:
            raise ValueError(
                f"before was fitted with {numbers.shape[0]} features, and the estimator with rows of shape {shape}. "
                f"Pass the steps before it in its pipeline, as in pipeline[-1].to_onnx(path, before=pipeline[:-1])."
            )


def _features_of(before: Any) -> dict[str, Any]:
    """The names of the columns before they are scaled."""
    names = getattr(before, "feature_names_in_", None)
    return {} if names is None else {"features": list(names)}
