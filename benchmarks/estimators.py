"""Time the estimators beside scikit-learn's at the same work: python benchmarks/estimators.py --help."""

from __future__ import annotations

import json
import os
import statistics
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from report import machine, number, quartiles
from rich.console import Console
from rich.table import Table
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from workloads import clusters

from nnarray import estimators

FEATURES, CLASSES = 54, 7
TASKS = {
    "7 classes": ("MLPClassifier", CLASSES),
    "2 classes": ("MLPClassifier", 2),
    "regression": ("MLPRegressor", CLASSES),
}


def main(
    rows: Annotated[int, typer.Option(min=200, help="Examples.")] = 100_000,
    epochs: Annotated[int, typer.Option(min=1, help="Of each fit; none stops earlier.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="How often each library takes its turn.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
) -> None:
    """Time whole calls of fit and predict_proba (predict of the regressors), with all settings at their defaults."""
    console, about = Console(width=140), machine(os.cpu_count() or 1)
    console.print(about)
    results: dict[str, Any] = {}
    for dtype in ("float32", "float64"):
        for task in TASKS:
            results[f"{task}, {dtype}"] = measured(task, dtype, rows, epochs, repeats)
    console.print(table(results, f"54-100 ReLU, {rows:,} rows in batches of 200, Adam, {epochs} epochs"))
    if json_file:
        json_file.write_text(json.dumps({"machine": about, "results": results}, indent=1) + "\n")


def measured(task: str, dtype: str, rows: int, epochs: int, repeats: int) -> dict[str, Any]:
    """Seconds of each library, turn by turn, and how good both are."""
    kind, classes = TASKS[task]
    X, y = clusters(np.random.default_rng(0), rows + 2_000, (FEATURES, classes))
    X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(dtype)
    if kind == "MLPRegressor":
        y = (X[:, 0] * X[:, 1] + np.sin(X[:, 2])).astype(dtype)
    settings = {"max_iter": epochs, "tol": 0.0, "n_iter_no_change": np.inf, "random_state": 0}
    made = {"scikit-learn": getattr(neural_network, kind), "nnarray": getattr(estimators, kind)}
    found: dict[str, Any] = {name: {"fit": [], "predict": []} for name in made}
    warnings.simplefilter("ignore", ConvergenceWarning)
    for turn in range(-1, repeats):  # the first is to warm up
        for name, of in made.items():
            seconds, model = once(of(**settings), X[:rows], y[:rows])
            found[name]["score"] = model.score(X[rows:], y[rows:])
            if turn >= 0:
                for step, value in seconds.items():
                    found[name][step].append(value)
    return found


def once(model: Any, X: np.ndarray, y: np.ndarray) -> tuple[dict[str, float], Any]:
    """Seconds of a fit and of the predictions for all examples."""
    begun = time.perf_counter()
    model.fit(X, y)
    between = time.perf_counter()
    getattr(model, "predict_proba", model.predict)(X)
    return {"fit": between - begun, "predict": time.perf_counter() - between}, model


def table(results: dict[str, Any], title: str) -> Table:
    """Medians, quartiles, and the ratio to scikit-learn's in the same run."""
    made = Table(title=title)
    for column in ("task", "step", "scikit-learn, ms", "quartiles", "nnarray, ms", "quartiles", "ratio", "scores"):
        made.add_column(column, justify="left" if column in ("task", "step") else "right")
    for task, found in results.items():
        theirs, ours = found["scikit-learn"], found["nnarray"]
        for step in ("fit", "predict"):
            medians = [1e3 * statistics.median(each[step]) for each in (theirs, ours)]
            cells: list[str] = []
            for each, median in zip((theirs, ours), medians, strict=True):
                low, high = quartiles([1e3 * seconds for seconds in each[step]])
                cells += [number(median), f"{number(low)} to {number(high)}"]
            scores = f"{theirs['score']:.3f}, {ours['score']:.3f}" if step == "fit" else ""
            made.add_row(task, step, *cells, f"{medians[1] / medians[0]:.2f}", scores)
    return made


if __name__ == "__main__":
    typer.run(main)
