"""What `nnarray train` prints of a table or a folder: before the training, after it, as JSON, and into the log."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnarray.apps.workflow.inputs import Rows
from nnarray.cli.console import facts_of_training, label, listed, show_details, show_facts, show_scores, show_table
from nnarray.layers.base import described as described_layer

if TYPE_CHECKING:
    from rich.console import Console

    from nnarray.apps.workflow.comparisons import Folded, Verdict
    from nnarray.apps.workflow.inputs import Examples
    from nnarray.apps.workflow.reports import Drawn
    from nnarray.apps.workflow.steps import Trained
    from nnarray.model import Model

log = logging.getLogger("nnarray")

SHOWN_COLUMNS = 50  # of a table, before the training; `nnarray show` lists all


def show_start(console: Console, model: Model, examples: Examples, backend: str) -> None:
    """What is trained, on what: facts, notes and the columns of a table."""
    inputs, data = examples.inputs, model.metadata["data"]
    what = f"{len(inputs.classes)} classes" if inputs.classes else f"values of {', '.join(inputs.targets)}"
    facts = {
        "backend": backend,
        "data": f"{data['name']}: {data['trained on']} examples for training, {data['held out']} held out"
        + (f", {data['test']} for the test" if "test" in data else ""),
        "target": f"{what}: {listed(inputs.classes)}" if inputs.classes else what,
        "network": f"{described_layer(model.network)}, {model.theta.shape[0]} parameters",
    }
    show_facts(console, facts)
    for note in examples.notes:
        console.print(f"note: {note}", soft_wrap=True)
    if examples.notes:
        console.print()
    if isinstance(inputs, Rows):
        rows = inputs.preparation.describe()
        if len(rows) > SHOWN_COLUMNS:
            rows = [*rows[: SHOWN_COLUMNS - 1], ["...", f"{len(rows) - SHOWN_COLUMNS} more columns"], rows[-1]]
        show_table(console, ["column", "kind", "what is done"], rows)
        console.print()


def show_end(console: Console, done: Trained, limit: int, linear: Trained | None, folded: Folded | None) -> None:
    """How the training ended, and the scores of the network beside those of a linear model."""
    history = done.model.history
    stopped = f", {done.stopped}" if done.stopped else ""
    seconds, epochs = history["seconds"][-1], len(history["epoch"])
    if done.idle:
        have = f"{epochs} of {limit} epochs" if epochs <= limit else f"{epochs} epochs, and --epochs asks for {limit}"
        console.print(f"nothing to do: {have}{stopped}; the model is as it was\n")
    else:
        console.print(f"{epochs} epochs, {history.steps} steps, {seconds:.3g} s{stopped}\n")
    from nnarray.apps.workflow.comparisons import excess_of, verdict

    if folded is not None:
        _show_folds(console, folded, epochs)
    elif done.held_out or done.tested is None:
        of = "held-out examples" if done.held_out else "training examples: none were held out"
        chosen = (
            f" (by which early stopping chose epoch {done.best_epoch})" if done.best_epoch and done.held_out else ""
        )
        show_scores(console, done.scores, f"on {done.scores.examples} {of}{chosen}", linear and linear.scores)
        if linear is not None:
            _show_verdict(console, verdict(excess_of(linear, done)))
    if done.tested is not None:
        title = f"on {done.tested.examples} test examples, which were not used in the training"
        show_scores(console, done.tested, title, linear and linear.tested)


def _show_verdict(console: Console, verdict: Verdict | None) -> None:
    """Say where the simpler model is enough."""
    how = "as well, and is easier to explain" if verdict == "as well" else "better"
    if verdict in ("as well", "better"):
        console.print(f"note: a linear model predicts these examples {how}: --hidden ''\n", soft_wrap=True)


def _show_folds(console: Console, folded: Folded, epochs: int) -> None:
    beside = folded.linear
    rows = [
        [label(name), *(f"{value:.4g}" for value in (mean, spread, *([beside[name]] if beside else []), base))]
        for name, (mean, spread, base) in folded.rows.items()
    ]
    console.print(f"mean and spread of {len(folded.scores)} folds, each on its held-out examples:")
    names = ["", "network", "spread", *(["linear model"] if beside else []), f"always {folded.scores[0].baseline}"]
    show_table(console, names, rows, names[1:])
    console.print()
    show_details(console, folded.pooled)
    _show_verdict(console, folded.verdict)
    saved = f"The saved network was trained on all folds, for {epochs} epochs: the mean of the best epochs."
    console.print(f"{saved}\n", soft_wrap=True)


def facts_of_linear(done: Trained, linear: Trained) -> dict[str, Any]:
    """What JSON says of the linear model."""
    from nnarray.apps.workflow.comparisons import excess_of, verdict

    tested = {"linear model on test": linear.tested.to_json()} if linear.tested else {}
    return {"linear model": linear.scores.to_json(), "linear model predicts": verdict(excess_of(linear, done))} | tested


def facts_of(done: Trained, out: Path, drawn: Drawn) -> dict[str, Any]:
    """What JSON says of the training."""
    return {
        "model": str(out),
        **({"link to": str(out.resolve())} if out.is_symlink() else {}),
        "task": "classify" if done.inputs.classes else "regress",
        "data": done.model.metadata["data"],
        "notes": [*done.examples.notes, *drawn.notes],
        "parameters": done.model.theta.shape[0],
        **facts_of_training(done),
        "scores": done.scores.to_json(),
        **({"test scores": done.tested.to_json()} if done.tested else {}),
        "pictures": [str(file) for file in drawn.files],
    }


def log_end(done: Trained, out: Path) -> None:
    """Note in the log which epoch was chosen, and how good it is."""
    for scores, of in ((done.scores, "held-out" if done.held_out else "training"), (done.tested, "test")):
        if scores is not None:
            log.info("scores on %d %s examples: %s", scores.examples, of, scores.to_json()["metrics"])
    if done.idle:
        log.info("nothing to do: %s has ended before, and is not changed", out)
        return
    log.info("%s is saved, with the parameters of epoch %d", out, done.best_epoch or len(done.model.history["epoch"]))
