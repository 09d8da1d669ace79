"""A session as Python: a script of the public interface with the same data, changes and losses, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from nnarray.apps.playground import kept
from nnarray.apps.playground.built import (
    L1_CODE,
    MEMORY_CODE,
    RATES_CODE,
    REMEMBER_CODE,
    Call,
    Rates,
    is_of_one_output,
    optimizer_call,
    remembering,
)
from nnarray.apps.playground.checking import Wrong
from nnarray.apps.playground.record import LONGEST, Drawn, Entry, Loaded, Made, Record, Set, Trained
from nnarray.optimizers import OPTIMIZERS

HEAD = '''"""The training of a playground: the same data and changes, and so the same losses, bit for bit."""

{imports}import nnarray as nn

be = nn.backend({backend!r})
xp = be.xp
'''

TAIL = """
if X_test is not None:
    print(model.evaluate(X_test, {target}))
for epoch, loss in enumerate(losses, 1):
    print(epoch, repr(loss))
"""

REMEMBERED = "callbacks=[remember]"
WATCHED = "callbacks=[lambda run: None]"
"""What makes fit look at each epoch alone, as a session does: where one diverges, only that one is computed again."""


def script_of(record: Record, backend: str) -> str:
    """The script.

    Raises
    ------
    Wrong
        If the session was changed too often.
    """
    if record.is_too_long:
        raise Wrong(f"has more than {LONGEST} changes since the last reset, too many for a script; reset it.", "python")
    entries = [each for each in record.entries if not isinstance(each, Trained) or each.is_used]
    trained = [each for each in entries if isinstance(each, Trained)]
    left = [id(before) for before, after in pairwise(trained) if after.earlier]
    target = "y_test[:, None]" if trained and is_of_one_output(trained[-1].loss) else "y_test"
    lines = [
        *_definitions(entries),
        "losses = []",
        "",
        *(line for each in entries for line in _lines(each, id(each) in left)),
    ]
    needs_dataclass = any(each.settings.l1 or len(each.rates) > 1 or each.earlier for each in trained)
    imports = "from dataclasses import dataclass, field\n\n" if needs_dataclass else ""
    if _changes(entries):
        imports = f"import math\n{imports or chr(10)}"
    return HEAD.format(imports=imports, backend=backend) + "\n".join(lines) + TAIL.format(target=target)


def _changes(entries: Iterable[Entry]) -> bool:
    """Whether a network took over parameters, or a number was set."""
    return any(isinstance(each, Set) or (isinstance(each, Drawn) and each.keeps) for each in entries)


def _definitions(entries: Iterable[Entry]) -> Iterator[str]:
    trained = [each for each in entries if isinstance(each, Trained)]
    if any(len(each.rates) > 1 for each in trained):
        yield f"{RATES_CODE}\n"
    if any(each.earlier for each in trained):
        yield f"{REMEMBER_CODE}\n"
    if _changes(entries):
        yield f"\n{kept.code()}\n\n"


def _lines(entry: Entry, is_kept: bool) -> Iterator[str]:
    """An entry in Python; `is_kept` if the next training begins with the memory of this one."""
    match entry:
        case Made(code, precision):
            yield from (f"dtype = be.dtype({precision!r})", "X_test = y_test = None", *code, "")
        case Drawn(network, inputs, seed, precision, keeps):
            drawn = f"network.init({inputs!r}, seed={seed}, dtype={precision!r}, backend=be)"
            yield from _network(network)
            yield from (f"model = {f'keep({drawn}, model)' if keeps else drawn}", "")
        case Set(name, index, value):
            yield from (f"set_number(model, {name!r}, {index!r}, {value!r})", "")
        case Loaded(numbers):
            yield "model.load_state_dict({"
            yield from (f"    {name!r}: {values!r}," for name, values in numbers.items())
            yield from ("})", "")
        case Trained():
            yield from _training(entry, is_kept)


def _network(network: Call) -> Iterator[str]:
    yield "network = nn.Network("
    for layer in network.positional:
        yield f"    {layer.code},"
    yield ")"


def _training(entry: Trained, is_kept: bool) -> Iterator[str]:
    """A call of fit."""
    settings = entry.settings
    kind = f"nn.{OPTIMIZERS[settings.optimizer].__name__}"
    if settings.l1:
        yield L1_CODE.format(kind=kind)
        yield ""
    if entry.earlier:
        yield MEMORY_CODE.format(kind="WithL1" if settings.l1 else kind)
        yield ""
    changed = len(entry.rates) > 1
    lr = Call(Rates, (tuple(entry.rates),), name="Rates") if changed else None
    optimizer = optimizer_call(settings, lr)
    if entry.earlier:
        optimizer = remembering(optimizer, {}, entry.earlier)
    arguments = [
        "X",
        "y[:, None]" if is_of_one_output(entry.loss) else "y",
        f"loss={entry.loss!r}",
        f"optimizer={optimizer.code}",
        f"epochs={entry.epochs + entry.diverged}",
        f"batch_size={settings.batch_size}",
        f"seed={entry.seed}",
        "progress=False",
        *([WATCHED] if entry.diverged else [REMEMBERED] if is_kept else []),
    ]
    indent = "    " if entry.diverged else ""
    if entry.diverged:
        yield "try:"
    yield f"{indent}model.fit("
    yield from (f"{indent}    {argument}," for argument in arguments)
    yield f"{indent})"
    if entry.diverged:
        yield "except nn.DivergenceError as error:"
        yield "    print(error)"
    yield from (f"losses += model.history['loss']{'' if entry.epochs else ' if model.history else []'}", "")
