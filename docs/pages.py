"""One page an object: what docs/reference lists with `.. auto...::` gets a page, found under its other names too.

The pages are written anew for every build, into docs/reference/<kind>/, and are not kept in the repository. A page of
docs/reference shows the first sentence of each object in their place.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from formulas import as_role, escaped, pieces

import nnarray
from nnarray import kernels, losses, metrics, optimizers
from nnarray.layers import activations, initializers

BLOCK = re.compile(r"^```\{eval-rst\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^\.\. auto(?P<kind>\w+):: (?P<name>[\w.]+)(?P<rest>.*\n(?: +\S.*\n)*)", re.MULTILINE)
MODULE = re.compile(r"^\.\. currentmodule:: (\S+)$", re.MULTILINE)
PLOT = re.compile(r"^```\{plot\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r" = | <- ")

WORDS = {
    "howto/backends": "array library, device",
    "howto/data": "data loader, DataLoader, generator, larger than memory, missing values, normalize, standardize, shuffle",  # noqa: E501
    "howto/files": "save model, load model, export, safetensors, resume, checkpoint",
    "howto/commandline": "csv, parquet, terminal, command line",
    "howto/gpu": "GPU, CUDA, out of memory",
    "howto/images": "image classification, photos, data augmentation",
    "howto/inputs": "embedding, mask, padding, categories, several inputs",
    "howto/precision": "float16, bfloat16, mixed precision",
    "howto/pytorch": "PyTorch, torch, weights from PyTorch",
    "howto/reproduce": "seed, reproducible, random state",
    "howto/series": "time series, forecast, LSTM, GRU, windows, causal convolution",
    "howto/sklearn": "sklearn, scikit-learn, pipeline, grid search, cross-validation",
    "howto/learning": "not learning, loss does not decrease, vanishing gradient, dead relu, debugging",
    "howto/training": "overfitting, regularization, weight decay, learning rate, batch size, validation",
    "howto/jax": "JAX",
    "howto/text": "tokenizer, language model, GPT, text generation, prompt, temperature",
    "explanation": "backpropagation, backward pass",
    "gallery": "plot, figure, picture, visualize",
    "comparison": "benchmark, Keras, Thinc, alternatives",
}
"""What readers search for, and the page that answers it. Names in code are found without being here."""

ALSO = {
    "nnarray.SGD": "momentum, Nesterov, gradient descent",
    "nnarray.EarlyStopping": "early stopping",
    "nnarray.Model": "predict, fit, train",
    "nnarray.load": "load model",
    "nnarray.datasets.batches": "data loader",
    "nnarray.datasets.stream": "data loader",
    "nnarray.losses.CrossEntropy": "cross-entropy, softmax loss",
    "nnarray.datasets.moons": "two moons",
    "nnarray.metrics.confusion_matrix": "confusion matrix",
    "nnarray.plotting.plot_confusion": "confusion matrix",
}
"""Of objects, what no table of names in the code has."""


class Entry(NamedTuple):
    """An object of docs/reference: how autodoc documents it, and where it is."""

    kind: str
    module: str
    name: str
    rest: str
    """A signature, and the options of autodoc."""

    @property
    def full(self) -> str:
        """The name with its module."""
        return f"{self.module}.{self.name}"

    @property
    def page(self) -> str:
        """From docs/reference. The kind is in it: `backend` and `Backend` are one name where case does not count."""
        return f"{self.kind}/{self.full}"

    @property
    def summary(self) -> str:
        """The first sentence of the docstring, as code where it has a formula that cannot be typeset."""
        doc = inspect.getdoc(getattr(resolve_name(self.module), self.name)) or ""
        first = re.split(r" {3,}|(?<=\w)\.(?:\s|$)|(?<=\))\.(?:\s|$)", doc.split("\n\n")[0])[0].strip()
        first = re.sub(r"\s+", " ", first).rstrip(".")
        parts = pieces(first)
        if any(FORMULA.search(part) for part, latex in parts if not latex):
            return f"`` {first} ``"
        return "".join(f"${part}$" if latex else re.sub(r"([*_<|])", r"\\\1", part) for part, latex in parts)


def entries(text: str, module: str = "nnarray") -> Iterator[Entry]:
    """The objects that a page, or a block of it, documents; `module` is the current one where it begins."""
    for line in re.finditer(f"{MODULE.pattern}|{ENTRY.pattern}", text, re.MULTILINE):
        if line["kind"] is None:
            module = line[1]
            continue
        path, _, name = line["name"].rpartition(".")
        yield Entry(line["kind"], path or module, name, line["rest"])


# --- Pages -----------------------------------------------------------------------------------------------------------


def object_page(entry: Entry, also: Mapping[str, list[str]]) -> str:
    """The page of one object."""
    title = entry.full.removeprefix("nnarray.")
    return (
        _head(title, [entry.name, *also.get(entry.full, [])])
        + f".. currentmodule:: {entry.module}\n\n.. auto{entry.kind}:: {entry.name}{entry.rest}"
    )


def activation_page(name: str, others: list[str]) -> str:
    """The page of an activation function: its formula, its derivative, and both drawn."""
    doc, back = (inspect.cleandoc(kernels.TABLE[each].definition.__doc__ or "") for each in (name, f"{name}_pullback"))
    title = f"{name} ({', '.join(others)})" if others else name
    page = _head(title, [name, f"{name} activation", *others])
    page += (
        f"An activation function: ``nn.Dense(16, {name!r})``, or ``nn.Activation({name!r})`` as a layer of its own.\n\n"
    )
    page += "The function, and its pullback, which takes a gradient dy back to dx:\n\n"
    page += f"{_typeset(doc)}\n\n{_typeset(back)}\n\n"
    if name in ("softmax", "log_softmax"):
        return page
    code = f"from nnarray.plotting import plot_activation\n\nplot_activation({name!r})"
    alt = f"The function {name} and its derivative, from -4 to 4"
    return page + f".. plot::\n   :alt: {alt}\n\n{_indented(code)}\n"


def _typeset(doc: str) -> str:
    """A docstring with its formulas as mathematics, each on a line of its own."""
    lines = escaped(as_role(" ".join(doc.split())))
    return re.sub(r"(:math:`[^`]*`[.,;:]?) ?", r"\1\n| ", f"| {lines}").removesuffix("\n| ")


def _head(title: str, words: list[str]) -> str:
    """A title, and the words under which the index and the search find the page."""
    index = "".join(f"   ! single: {word}\n" for word in dict.fromkeys(words))
    return f"{title}\n{'=' * len(title)}\n\n.. index::\n{index}\n"


def _indented(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.splitlines())


def other_names() -> dict[str, list[str]]:
    """By the full name of each object, what else it is called: in the field's libraries, and in words."""
    names = {full: words.split(", ") for full, words in ALSO.items()}

    def add(full: str, other: str) -> None:
        names.setdefault(full, []).extend(dict.fromkeys([other, other.replace("_", " ")]))

    for other, name in nnarray._ALSO.items():
        if name and name != "Activation":
            add(f"nnarray.{name}", other)
    for module, table, also in (
        ("nnarray", optimizers.OPTIMIZERS, optimizers.ALSO),
        ("nnarray.losses", losses.LOSSES, losses.ALSO),
        ("nnarray.metrics", metrics.METRICS, metrics.ALSO),
        ("nnarray.initializers", initializers.INITIALIZERS, initializers.ALSO),
    ):
        for other, name in [*zip(table, table, strict=True), *also.items()]:
            add(f"{module}.{_called(table[name])}", other) if name in table else None
    return names


def _called(row: Any) -> str:
    """The name of a class, of a function, or of the class of an object."""
    return getattr(row, "__name__", type(row).__name__)


# --- For Sphinx ------------------------------------------------------------------------------------------------------


def write_pages(app: Any) -> None:
    """Write a page for each object and each activation; a page that has not changed is not read again."""
    folder = Path(app.srcdir, "reference")
    also = other_names()
    pages = {e.page: object_page(e, also) for path in folder.glob("*.md") for e in entries(path.read_text("utf-8"))}
    for name in activations.FUNCTIONS:
        others = [other for other, its in activations.ALSO.items() if its == name]
        pages[f"activation/{name}"] = activation_page(name, others)
    for old in folder.glob("*/*.rst"):
        if old.relative_to(folder).with_suffix("").as_posix() not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")


def list_objects(app: Any, docname: str, content: list[str]) -> None:
    """On a page of docs/reference, show links to the pages of its objects, and their first sentences.

    matplotlib's directive for plots needs reStructuredText around it, and gets it here.
    """
    if docname.startswith("reference/") and docname.count("/") == 1:
        content[0] = BLOCK.sub(_listed, content[0])
    if docname == "reference/layers":
        content[0] = re.sub(
            r'^\| `"(\w+)"` \|', r'| [`"\1"`](/reference/activation/\1.rst) |', content[0], flags=re.MULTILINE
        )
        content[0] += _toctree({f"activation/{name}": name for name in activations.FUNCTIONS})
    names = (f"{docname.replace('/', '-')}-{number}" for number in count(1))
    content[0] = PLOT.sub(lambda plot: _plot(next(names), plot[1]), content[0])
    if docname in WORDS:
        title, rest = content[0].split("\n", 1)
        content[0] = (
            f"{title}\n\n```{{index}} {', '.join(f'! {word}' for word in WORDS[docname].split(', '))}\n```\n{rest}"
        )


def _listed(block: re.Match[str]) -> str:
    before = MODULE.findall(block.string, 0, block.start())
    listed = list(entries(block[1], *before[-1:]))
    tree = _toctree({each.page: each.name for each in listed})
    lines = "".join(f"- [`{each.name}`](/reference/{each.page}.rst): {each.summary}\n" for each in listed)
    return f"{tree}\n{lines}" if listed else ""


def _plot(name: str, text: str) -> str:
    """matplotlib's directive; it counts the plots of a piece of reStructuredText, so here they need names of their own."""  # noqa: E501
    return f"```{{eval-rst}}\n.. plot::\n   :filename-prefix: {name}\n{_indented(text)}\n```"


def _toctree(pages: Mapping[str, str]) -> str:
    return "".join(["\n```{toctree}\n:hidden:\n\n", *(f"{name} <{page}>\n" for page, name in pages.items()), "```\n"])


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx of the functions above."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", list_objects)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
