"""`nnarray train text.txt`, `generate`, `show` and `demo text`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import nnarray as nn
from nnarray.apps.demos import text as demo
from nnarray.apps.workflow import texts
from nnarray.datasets import scratch
from tests.cli.test_cli import call, fails, size_of
from tests.processes import NNARRAY, run

SMALL = ("--backend", "numpy", "--blocks", "1", "--heads", "2", "--features", "16", "--context", "16", "--epochs", "2")
TALES = nn.datasets.tales(12)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tales.txt").write_text(TALES)


def train(*words: str) -> str:
    done = call("train", "tales.txt", *SMALL, *words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_text_becomes_a_language_model() -> None:
    said = train("--out", "tales.safetensors")
    assert "read as text because it ends in .txt and no --target is given" in said
    for part in (
        "epoch 2/2  loss",
        "by frequency alone",
        "sample:",
        "model: tales.safetensors",
        "nnarray generate tales",
    ):
        assert part in said
    model = nn.load("tales.safetensors")
    assert model.tokenizer == nn.text.CharacterTokenizer.of(TALES)
    data = model.metadata["data"]
    assert (data["tokens"], data["held out"]) == (len(TALES), round(0.1 * len(TALES)))
    assert model.metadata["scores"]["metrics"]["perplexity"] == pytest.approx(
        np.exp(model.history["val_loss"][-1]), rel=1e-4
    )
    assert not Path("tales.unfinished.safetensors").exists()
    assert call("show", "tales.safetensors").stdout.count("tokenizer") == 1


def test_a_model_continues_a_text_and_the_seed_decides() -> None:
    train("--out", "m.safetensors")
    words = ("generate", "m.safetensors", "--backend", "numpy", "--prompt", "There was", "--max-tokens", "30")
    first, again, other = call(*words), call(*words), call(*words, "--seed", "1")
    assert first.exit_code == 0, first.output
    assert first.stdout == again.stdout != other.stdout
    assert first.stdout.startswith("There was")
    assert len(first.stdout) == len("There was") + 30 + 1
    model = nn.load("m.safetensors")
    assert first.stdout == "There was" + model.generate("There was", max_tokens=30) + "\n"
    greedy = call(*words, "--temperature", "0", "--stop", "e")
    assert greedy.stdout == "There was" + model.generate("There was", max_tokens=30, temperature=0, stop="e") + "\n"
    assert call("generate", "m.safetensors", "--max-tokens", "5").stdout.startswith("\n")


def test_a_console_without_the_characters_of_a_text_shows_others() -> None:
    tokenizer = nn.text.CharacterTokenizer("éè")
    model = nn.Network(nn.Embedding(2, 4), nn.Dense(2)).init((8,), seed=0)
    model.tokenizer = tokenizer
    model.save("e.safetensors")
    words = ("generate", "e.safetensors", "--backend", "numpy", "--prompt", "é", "--max-tokens", "5")
    done = run(*NNARRAY, *words, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, "?" * 6 + "\n"), done.stderr


def test_the_facts_of_a_training_for_machines() -> None:
    facts = json.loads(train("--json", "--tokenizer", "pairs", "--vocabulary", "300", "--validation", "0"))
    assert facts["task"] == "text"
    assert (facts["held out"], facts["epochs"]) == (False, 2)
    assert facts["scores"]["of"] == "tokens of the training"
    assert facts["loss by frequency alone"] > 1.0
    model = nn.load("model.safetensors")
    assert len(model.tokenizer or "") == 300
    assert call("generate", "model.safetensors", "--max-tokens", "3").exit_code == 0


def test_a_training_is_continued_up_to_the_epochs_in_total() -> None:
    train("--out", "whole.safetensors", "--epochs", "4", "--no-early-stopping")
    train("--out", "parts.safetensors", "--no-early-stopping")
    said = train("--out", "parts.safetensors", "--epochs", "4", "--no-early-stopping", "--resume")
    assert "4 epochs" in said
    whole, parts = nn.load("whole.safetensors"), nn.load("parts.safetensors")
    assert np.array_equal(whole.theta, parts.theta)
    assert "nothing to do" in train("--out", "parts.safetensors", "--epochs", "4", "--no-early-stopping", "--resume")
    Path("tales.txt").write_text(TALES + "more of it. " * 9)
    line = fails(2, "train", "tales.txt", *SMALL, "--out", "parts.safetensors", "--epochs", "5", "--resume")
    assert "cannot be resumed" in line


def test_a_training_is_not_continued_with_another_text_of_the_same_length() -> None:
    train("--out", "m.safetensors")
    before = Path("m.safetensors").read_bytes()
    assert max(TALES) == "y"
    renamed = TALES.replace("y", "z")  # the same tokens, the last of which stands for another character
    for other in (TALES[::-1], renamed):
        Path("tales.txt").write_text(other)
        line = fails(2, "train", "tales.txt", *SMALL, "--out", "m.safetensors", "--epochs", "3", "--resume")
        assert "'m.safetensors' cannot be resumed: its text or its tokenizer was another one (the digest was " in line
        assert "Pass the text, --tokenizer and --encoding of its start, or begin again with --restart" in line
    assert Path("m.safetensors").read_bytes() == before


def test_a_text_that_the_memory_cannot_hold_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    train("--out", "memory.safetensors")
    monkeypatch.setattr(texts, "is_too_much", lambda needed: True)
    read = texts.read(Path("tales.txt"), texts.TextPlan(context=16))
    assert isinstance(read.train.tokens, np.memmap)
    train("--out", "file.safetensors")
    one, other = nn.load("memory.safetensors"), nn.load("file.safetensors")
    assert np.array_equal(one.theta, other.theta)
    assert sorted(map(str, Path().glob("*.npy"))) == []
    assert scratch.is_too_much(2**62)


def test_a_table_in_a_txt_file_needs_a_target() -> None:
    Path("t.txt").write_text("a,b\n" + "1,2\n3,4\n5,7\n8,9\n" * 10)
    done = call("train", "t.txt", "--target", "b", "--epochs", "1", "--backend", "numpy")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("tales.txt", "--hidden", "5"),
            "--hidden is not for texts, and 'tales.txt' is read as a text: it ends in .txt, and",
        ),
        (("tales.txt", "--drop", "a"), "--drop is not for texts"),
        (
            ("t.csv", "--target", "a", "--context", "5"),
            "--context is for texts, and 't.csv' is none: a text is a file that",
        ),
        (
            ("tales.txt", "--context", "100000"),
            "too few for windows of 100000 tokens. Pass a longer text, a smaller --con",
        ),
        (("tales.txt", "--heads", "3"), "--heads must divide --features, 128; got 3"),
        (("tales.txt", "--context", "0"), "--context must be an integer of at least 1; got 0"),
        (("tales.txt", "--tokenizer", "words"), "unknown --tokenizer 'words'; use one of characters, bytes, pairs"),
        (
            ("tales.txt", "--vocabulary", "300"),
            "--vocabulary is for --tokenizer pairs, and the tokenizer is characters",
        ),
        (("latin.txt",), "'latin.txt' is not text in UTF-8: byte 3, in line 1, does not fit. Pass its encoding"),
        (("empty.txt",), "'empty.txt' is empty"),
    ],
)
def test_what_is_wrong_is_named(words: tuple[str, ...], said: str) -> None:
    Path("latin.txt").write_bytes("café".encode("cp1252"))
    Path("empty.txt").write_bytes(b"")
    Path("t.csv").write_text("a,b\n1,2\n")
    assert said in fails(2, "train", *words, "--backend", "numpy")


def test_models_of_another_kind() -> None:
    train("--out", "m.safetensors")
    Path("t.csv").write_text("a\n1\n")
    assert "is a model of text, which continues a prompt: use nnarray generate" in fails(
        2, "predict", "m.safetensors", "t.csv"
    )
    nn.Network(nn.Dense(2)).init((2,)).save("d.safetensors")
    assert "'d.safetensors' has no tokenizer, so it is not a model of text" in fails(2, "generate", "d.safetensors")
    assert "character '東'" in fails_after_prompt("m.safetensors", "東")
    assert "there is no file 'none.safetensors'" in fails(1, "generate", "none.safetensors")


def fails_after_prompt(model: str, prompt: str) -> str:
    done = call("generate", model, "--prompt", prompt)
    assert done.exit_code == 2
    return done.stderr


# --- The demo and its figure -----------------------------------------------------------------------------------------


def test_the_demo_writes_while_it_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TALES": 30, "LENGTH": 16, "FEATURES": 16, "BATCH": 4, "STEPS": 5}.items():
        monkeypatch.setattr(demo, name, value)
    done = call("demo", "text", "--backend", "numpy", "--epochs", "2")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("There was once") == 2
    assert done.stdout.endswith("figure: nnarray-text.png\n")
    assert size_of("nnarray-text.png")[0] > 1000


def test_a_sample_begins_as_the_text_of_the_training_does(host: nn.Backend) -> None:
    """`nnarray train` puts no end into its tokens, so that a model has never seen what follows one."""
    tokenizer = nn.text.BytePairTokenizer.train("a b", 257)
    model = nn.models.gpt(257, 8, 1, 2).init((4,), seed=0)
    model.tokenizer = tokenizer
    assert texts.first_prompt(model) == ""
    model.metadata["input"] = {"kind": "text"}
    assert texts.first_prompt(model) == "\n"
