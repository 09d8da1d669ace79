"""Compare `nnarray train` with scikit-learn on the same rows: python benchmarks/tables.py --help."""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from report import machine
from sklearn import datasets
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from nnarray import backends
from nnarray.apps.workflow import steps, using

Columns = dict[str, Any]
LEVELS = 255  # categories of one column that HistGradientBoosting takes


def of_sklearn(load: Callable[..., Any]) -> Callable[[], pd.DataFrame]:
    """A data set that comes with scikit-learn, with the column "y"."""

    def frame() -> pd.DataFrame:
        loaded = load(as_frame=True)
        return loaded.data.assign(y=[f"c{k}" for k in loaded.target] if "target_names" in loaded else loaded.target)

    return frame


def imbalanced() -> pd.DataFrame:
    """Five of a hundred are of the second class, and one of a hundred labels is wrong."""
    X, y = datasets.make_classification(
        10_000, 20, n_informative=8, n_clusters_per_class=3, weights=[0.95], flip_y=0.01, random_state=0
    )
    return named(X, classes(y))


def levels() -> pd.DataFrame:
    """A value that hangs on which of 600 cities and 8 kinds, and on two numbers."""
    draw, n = np.random.default_rng(1), 20_000
    city, kind = draw.zipf(1.3, n) % 600, draw.integers(0, 8, n)
    size, age = draw.normal(size=n), draw.uniform(0, 60, n)
    worth = draw.normal(size=600)[city] + draw.normal(size=8)[kind] * size - 0.02 * age
    columns = {"city": [f"city {k}!" for k in city], "kind": [f"k{k}" for k in kind], "size": size, "age": age}
    return pd.DataFrame(columns | {"y": worth + draw.normal(0, 0.5, n)})


def missing() -> pd.DataFrame:
    """Friedman's first function, as two classes; a fifth of the numbers is missing, and more often where large."""
    draw = np.random.default_rng(2)
    X, y = datasets.make_friedman1(5_000, 10, noise=1.0, random_state=2)
    lost = draw.uniform(size=X.shape) < 0.1 + 0.2 * (X > 0.7)
    return named(np.where(lost, np.nan, X), classes(y > 14.5))


def skewed() -> pd.DataFrame:
    """Incomes, debts and the like: log-normal, and what counts are their ratios."""
    draw, n = np.random.default_rng(3), 10_000
    X = draw.lognormal(0.0, 2.0, (n, 6)) * 1000
    score = np.log(X[:, 0] / X[:, 1]) + 0.5 * np.log(X[:, 2]) * (X[:, 3] > 1000) - 3 + draw.logistic(0, 0.7, n)
    return named(X, classes(score > 0))


def products() -> pd.DataFrame:
    """A value made of products of columns, and of steps."""
    draw, n = np.random.default_rng(4), 20_000
    X = draw.normal(size=(n, 12))
    y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) * X[:, 3] + (X[:, 4] > 0.5) + 0.5 * X[:, 5] + draw.normal(0, 0.3, n)
    return named(X, y)


def mixed() -> pd.DataFrame:
    """A hundred thousand rows of four classes: numbers, skewed numbers, missing ones and names."""
    draw, n = np.random.default_rng(5), 100_000
    a, b = draw.normal(size=(2, n))
    paid, shop, day = draw.lognormal(3, 1.5, n), draw.integers(0, 40, n), draw.integers(0, 7, n)
    scores = np.stack(
        [a * b, np.log(paid) - 3 + (day > 4), draw.normal(size=40)[shop] + a, 0.5 * b + np.cos(2 * a)], axis=1
    )
    y = (scores + draw.gumbel(0, 0.5, (n, 4))).argmax(axis=1)
    b[draw.uniform(size=n) < 0.1] = np.nan
    columns = {"a": a, "b": b, "paid": paid.round(2), "shop": [f"s{k}" for k in shop], "day": [f"d{k}" for k in day]}
    return pd.DataFrame(columns | {"y": [f"c{k}" for k in y]})


def spirals() -> pd.DataFrame:
    """Two spirals, one around the other: few columns, and a boundary that no linear model follows."""
    draw, n = np.random.default_rng(6), 1_000
    k = draw.integers(0, 2, n)
    turn = np.sqrt(draw.uniform(0.02, 1.0, n)) * 3 * np.pi
    angle = turn + np.pi * k
    X = np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1) + draw.normal(0, 0.3, (n, 2))
    return named(X, classes(k))


def named(X: np.ndarray, y: Any) -> pd.DataFrame:
    """Columns x0, x1, ... and y."""
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])]).assign(y=y)


def classes(y: np.ndarray) -> list[str]:
    """Numbers as names."""
    return [f"c{int(k)}" for k in y]


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "iris": of_sklearn(datasets.load_iris),
    "wine": of_sklearn(datasets.load_wine),
    "breast cancer": of_sklearn(datasets.load_breast_cancer),
    "digits": of_sklearn(datasets.load_digits),
    "diabetes": of_sklearn(datasets.load_diabetes),
    "imbalanced": imbalanced,
    "levels": levels,
    "missing": missing,
    "spirals": spirals,
    "skewed": skewed,
    "products": products,
    "mixed": mixed,
}


def main(
    tables: Annotated[str, typer.Option(help="Which of them, with commas between.")] = ",".join(TABLES),
    seeds: Annotated[int, typer.Option(min=1, help="How many divisions into training and test rows.")] = 1,
    settings: Annotated[str, typer.Option(help="Of steps.Plan, as JSON; default: those of the command.")] = "{}",
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
) -> None:
    """Score each on a quarter of the rows, which no training has seen; means over the divisions."""
    results: dict[str, Any] = {}
    for name in tables.split(","):
        results[name] = [measured(TABLES[name](), seed, json.loads(settings)) for seed in range(seeds)]
        print("\n".join(rows_of(name, results[name])), flush=True)
    if json_file:
        json_file.write_text(json.dumps({"machine": machine(os.cpu_count() or 1), "results": results}, indent=1) + "\n")


def measured(frame: pd.DataFrame, seed: int, settings: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The scores of each method on the test rows of one division, and its seconds."""
    values = frame["y"].dtype.kind == "f"
    train, test = train_test_split(frame, test_size=0.25, random_state=seed, stratify=None if values else frame["y"])
    methods = {"nnarray": lambda: nnarray(train, test, values, settings | {"seed": seed})}
    methods["boosting"] = lambda: scored(boosting(values, seed), as_codes(train, frame), as_codes(test, frame), values)
    methods["linear"] = lambda: scored(linear(values), train, test, values)
    return {name: timed(method) for name, method in methods.items()}


def timed(method: Callable[[], dict[str, float]]) -> dict[str, float]:
    """With the seconds that it took."""
    begun = time.perf_counter()
    return method() | {"seconds": time.perf_counter() - begun}


def nnarray(train: pd.DataFrame, test: pd.DataFrame, values: bool, settings: dict[str, Any]) -> dict[str, float]:
    """What the commands `nnarray train` and `nnarray evaluate` come to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train.to_csv(folder / "train.csv", index=False)
        test.to_csv(folder / "test.csv", index=False)
        plan = steps.Plan(target=("y",), task="regress" if values else "classify", **settings)
        be = backends.backend("numpy")
        examples = steps.read(folder / "train.csv", plan)
        model = steps.model_for(folder / "train.csv", examples, plan, be)
        done = steps.train(model, examples, plan, folder / "model.safetensors")
        scores = using.evaluate(model, done.inputs, folder / "test.csv", unknown="ignore")
        return {metric: mine for metric, (mine, _) in scores.rows.items()} | {"epochs": len(model.history["epoch"])}


def as_codes(frame: pd.DataFrame, whole: pd.DataFrame) -> pd.DataFrame:
    """Names as categories; the rarest of too many as missing."""
    coded = frame.copy()
    for column in frame.columns.drop("y"):
        if not pd.api.types.is_numeric_dtype(frame[column]):
            usual = whole[column].value_counts().index[:LEVELS]
            coded[column] = pd.Categorical(frame[column].where(frame[column].isin(usual)), categories=usual)
    return coded


def boosting(values: bool, seed: int) -> Any:
    kind = HistGradientBoostingRegressor if values else HistGradientBoostingClassifier
    return kind(random_state=seed, categorical_features="from_dtype")


def linear(values: bool) -> Any:
    """Numbers standardised, names one-hot."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include=np.number)),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude=np.number)),
    )
    return make_pipeline(columns, Ridge() if values else LogisticRegression(max_iter=1000))


def scored(model: Any, train: pd.DataFrame, test: pd.DataFrame, values: bool) -> dict[str, float]:
    """As the commands score."""
    with warnings.catch_warnings(action="ignore"):
        model.fit(train.drop(columns="y"), train["y"])
        predicted = model.predict(test.drop(columns="y"))
    if values:
        return {"r2": r2_score(test["y"], predicted)}
    probabilities = model.predict_proba(test.drop(columns="y"))
    return {
        "accuracy": accuracy_score(test["y"], predicted),
        "cross_entropy": log_loss(test["y"], probabilities, labels=model.classes_),
    }


def rows_of(name: str, runs: list[dict[str, dict[str, float]]]) -> list[str]:
    """The rows of a table in Markdown: a metric a row, and the seconds."""
    rows: list[str] = []
    for metric in ("accuracy", "cross_entropy", "r2", "seconds"):
        if metric in runs[0]["nnarray"]:
            means = [np.mean([run[method][metric] for run in runs]) for method in ("nnarray", "boosting", "linear")]
            rows.append(f"| {name} | {metric} | {' | '.join(f'{mean:.3g}' for mean in means)} |")
    return rows


if __name__ == "__main__":
    typer.run(main)
