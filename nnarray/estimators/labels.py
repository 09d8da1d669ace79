"""Labels of any kind as numbers: the classes, and the class number of each example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.utils.multiclass import check_classification_targets, type_of_target

from nnarray import kernels
from nnarray.backends import Backend, device_of, host_backend, namespace
from nnarray.estimators.inputs import backend_of_data, holds_numbers, is_host, labels_on
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.names import shown
from nnarray.typing import Array

MULTILABEL = "multilabel"


def kind_of(y: Any) -> str:
    """The kind of labels: "multiclass" (one class per example), or "multilabel" (a column of 0 and 1 per class).

    Raises
    ------
    ValueError
        If they are of another kind.
    """
    if is_host(backend_of_data(y)):
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("several columns of classes are not supported; fit one classifier for each column.")
        return MULTILABEL if kind == "multilabel-indicator" else "multiclass"
    xp = namespace(y)
    if y.ndim == 2 and bool(xp.all((y == 0) | (y == 1))):
        return MULTILABEL
    if y.ndim != 1:
        raise ValueError(f"y must have shape (N,), or (N, labels) with entries 0 and 1; got shape {tuple(y.shape)}.")
    if xp.isdtype(y.dtype, "real floating") and not bool(xp.all(y == xp.floor(y))):
        raise ValueError("Unknown label type: continuous. A classifier needs classes; use a regressor for such y.")
    return "multiclass"


def classes_of(y: Any, kind: str) -> Any:
    """The sorted classes, on the device of y; with several labels, their numbers."""
    xp = namespace(y)
    if kind != MULTILABEL:
        return xp.unique_values(y)
    index = xp.__array_namespace_info__().default_dtypes(device=device_of(y))["integral"]
    return xp.arange(y.shape[1], dtype=index, device=device_of(y))


def numbered(y: Any, classes: Any) -> Any:
    """The class number of each label, counted from 0.

    Raises
    ------
    ValueError
        If a label is not among the classes.
    """
    if namespace(y) is not namespace(classes):
        host = host_backend()
        y, classes = (
            host.asarray(y) if holds_numbers(y) else y,
            host.asarray(classes) if holds_numbers(classes) else classes,
        )
    if holds_numbers(y) is not holds_numbers(classes):
        raise ValueError(f"`y` has labels of another kind than `self.classes_`, which are {shown(classes)}.")
    xp = namespace(classes)
    y, ordered = (xp.astype(each, xp.int8) if xp.isdtype(each.dtype, "bool") else each for each in (y, classes))
    index = xp.searchsorted(ordered, y)
    index = xp.where(index < ordered.shape[0], index, 0)
    if not bool(xp.all(xp.take(ordered, index) == y)):
        raise ValueError(f"`y` has classes not in `self.classes_`, which are {shown(classes)}.")
    return index


def named_labels(index: Array, classes: Any, be: Backend) -> Any:
    """The labels with these class numbers: on the backend `be` if they are numbers, on the host if they are text."""
    of_classes = backend_of_data(classes)
    labels = of_classes.xp.take(classes, of_classes.asarray(index))
    return labels_on(labels, be)


def class_weights(setting: Any, index: Array, classes: Any, weights: Array | None, like: Array) -> Array:
    """The weight of each example by its class, on the device of `like`.

    Parameters
    ----------
    setting : "balanced" or mapping of label to number
        "balanced" gives each class the same total weight: W / (K W_k), with W_k the weight of its examples. Classes
        that a mapping does not name have weight 1.
    index : array of integers, shape (N,)
    classes : array
    weights : array, shape (N,), optional
        Other weights of the examples.
    """
    xp, count = namespace(like), classes.shape[0]
    if isinstance(setting, str):
        if setting != "balanced":
            raise ValueError(
                f"class_weight must be 'balanced', a mapping of label to number, or None; got {shown(setting)}."
            )
        hot = kernels.one_hot(index, count, like=at_least_float32(like))
        masses = xp.sum(hot if weights is None else hot * weights[:, None], axis=0)
        each = xp.sum(masses) / (count * xp.where(masses > 0, masses, 1.0))
        return xp.take(each, index)
    if not isinstance(setting, Mapping):
        raise ValueError(
            f"class_weight must be 'balanced', a mapping of label to number, or None; got {shown(setting)}."
        )
    whole = int if namespace(classes).isdtype(classes.dtype, "integral") else float
    labels = list(classes) if is_host(backend_of_data(classes)) else [whole(label) for label in classes]
    if unknown := [label for label in setting if label not in labels]:
        raise ValueError(f"class_weight names {shown(unknown)}, which are not among the classes {shown(labels)}.")
    wanted = [float(setting.get(label, 1.0)) for label in labels]
    return xp.take(xp.asarray(wanted, dtype=at_least_float32(like).dtype, device=device_of(like)), index)
