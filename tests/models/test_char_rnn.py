"""The recurrent language model beside a transcription in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.packages import package
from tests.tolerances import to_host

torch = package("torch")


def transcription(model: nn.Model, be: nn.Backend, kind: str, dtype: str) -> Any:
    """PyTorch's network with the same weights."""
    cell = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind]

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = torch.nn.Embedding(7, 5), cell(5, 6, 2, batch_first=True)
            self.head = torch.nn.Linear(6, 7)

        def forward(self, x: Any) -> Any:
            return self.head(self.rnn(self.embed(x))[0])

    net = Net().to(getattr(torch, dtype))
    names = dict(zip("012", ("embed", "rnn", "head"), strict=True))
    state = {f"{names[name[0]]}{name[1:]}": torch.tensor(x) for name, x in model.to_torch().items()}
    net.load_state_dict(state)
    return net


@pytest.mark.once_a_library
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_training_is_that_of_the_transcription(be: nn.Backend, kind: str) -> None:
    """The losses of 15 steps of Adam, on the same batches in the same order."""
    rng = np.random.default_rng(0)
    text = (np.arange(41) * np.arange(41) // 3 + rng.integers(0, 2, 41)) % 7
    X, y = np.stack([text[i : i + 11] for i in range(30)]), np.stack([text[i + 1 : i + 12] for i in range(30)])
    dtype = "float64" if "float64" in be.dtypes else "float32"
    net = nn.models.char_rnn(7, 6, 2, cell=kind, embedding=5)
    model = net.init((11,), seed=1, backend=be, dtype=dtype)
    theirs = transcription(model, be, kind, dtype)
    given: Any = {"optimizer": nn.Adam(0.01), "batch_size": 10, "shuffle": False, "epochs": 5}
    got = model.fit(be.asarray(X), be.asarray(y), **given)["loss"]

    optimizer, want = torch.optim.Adam(theirs.parameters(), 0.01), []
    for _ in range(5):
        losses = []
        for first in range(0, 30, 10):
            outputs = theirs(torch.tensor(X[first : first + 10]))
            loss = torch.nn.functional.cross_entropy(
                outputs.reshape(-1, 7), torch.tensor(y[first : first + 10]).ravel()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        want.append(np.mean(losses))
    np.testing.assert_allclose(got, want, rtol=1e-6 if dtype == "float64" else 1e-3)


@pytest.mark.once_a_library
def test_decoding_continues_what_was_learned(be: nn.Backend) -> None:
    """Token by token, from the state alone, the outputs are those of the whole text."""
    text = np.arange(25)[None, :] % 4
    net = nn.models.char_rnn(4, 12, cell="gru", dropout=0.1)
    model = net.init((24,), seed=0, backend=be, dtype="float32")
    model.fit(be.asarray(text[:, :-1]), be.asarray(text[:, 1:]), epochs=30, optimizer=nn.Adam(0.03))
    outputs, cache = model.decode(be.asarray(text[:, :3]), model.new_cache())
    tokens = [0, 1, 2]
    for _ in range(9):
        tokens.append(int(to_host(be, outputs)[0, -1].argmax()))
        outputs, cache = model.decode(be.asarray(np.asarray([[tokens[-1]]])), cache)
    assert tokens == [i % 4 for i in range(12)]
    nn.testing.assert_close(outputs[:, -1, :], to_host(be, model(be.asarray(text[:, :24])))[:, 11])
