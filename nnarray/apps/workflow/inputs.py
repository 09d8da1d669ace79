"""The inputs of a network: rows of a table or images of a folder, converted to arrays as in its training."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, NamedTuple

import numpy as np

from nnarray.apps.workflow.splits import Split
from nnarray.backends import Backend, host_backend
from nnarray.checks import integer
from nnarray.datasets.decoding import UnreadableImage, decoded, decoded_in_order, from_bytes, square_of
from nnarray.datasets.folders import SUFFIXES, Search, entries_of
from nnarray.datasets.images import ImageFolder, images
from nnarray.datasets.scratch import is_too_much
from nnarray.datasets.sources import Source
from nnarray.names import memory, named, shown
from nnarray.persistence.kept import Place, Read
from nnarray.tables.arrow import arrow
from nnarray.tables.cells import UNNAMED, is_text, present, text_of, without_dictionary
from nnarray.tables.endings import DELIMITERS
from nnarray.tables.kinds import too_many
from nnarray.tables.mapped import Held, mapped_features, mapped_table, rows_together
from nnarray.tables.memory import memory_of_text
from nnarray.tables.oddities import Odd
from nnarray.tables.preparation import Preparation
from nnarray.tables.read import TableFile, open_table
from nnarray.tables.targets import task_of
from nnarray.tables.text_format import USUAL, TextFormat
from nnarray.typing import Array, Shape

ROWS = 16_384  # of a table that are in memory at once
IMAGES = 256
IN_MEMORY = 8  # bytes for each one of the images: float32, and a copy of that to train on

Unknown = Literal["error", "ignore"]
Watch = Callable[[str, float | None], object]
"""Called with a description of the work, and the finished fraction if it is known."""


class Part(NamedTuple):
    """Some examples, in the order in which they come."""

    X: Array
    names: list[str] | None
    """Of the files; None for the rows of a table."""
    y: np.ndarray | None
    """Numbers of classes, shape (n,), or standardised values, shape (n, t); None where nobody asks for them."""
    kept: dict[str, Any] | None = None
    """Columns of the table as they are, by name: arrays of Arrow's; None of images."""
    odd: Odd = {}  # noqa: RUF012  # nobody changes it
    """By column, which entries the training has met none like."""


@dataclass(frozen=True)
class Rows:
    """The rows of a table, the target columns, and the format of a text file."""

    preparation: Preparation
    text: TextFormat = USUAL

    kind: ClassVar[str] = "table"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; none if values are predicted."""
        return self.preparation.classes

    @property
    def labels(self) -> np.ndarray:
        """The classes as the target's entries are, shape (K,): text, int64 or bool."""
        return self.preparation.labels

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that are predicted."""
        return self.preparation.target.names

    @property
    def input_shape(self) -> Shape:
        """Of one row."""
        return (len(self.preparation.feature_names),)

    def parts(
        self,
        path: Path,
        be: Backend,
        dtype: object,
        *,
        labelled: bool,
        unknown: Unknown = "error",
        errors: str = "raise",
        keep: Sequence[str] = (),
    ) -> Iterator[Part]:
        """The table in the file, some rows at a time; with the columns `keep` of it as they are."""
        file = open_table(path, self.text)
        keep = present(columns_named(keep, file.columns), list(file.columns), "--keep")
        self._refuse_clash(keep)
        tables = file.batches(ROWS, may_be_empty=not labelled)  # no rows have no predictions, but no score either
        return self.parts_of(tables, be, dtype, labelled=labelled, unknown=unknown, keep=keep)

    def parts_of(
        self,
        tables: Iterable[Any],
        be: Backend,
        dtype: object,
        *,
        labelled: bool = False,
        unknown: Unknown = "error",
        keep: Sequence[str] = (),
    ) -> Iterator[Part]:
        """The rows of tables, in their order."""
        start = 0
        needed = {*(column.name for column in self.preparation.columns), *(self.targets if labelled else ()), *keep}
        for part in tables:
            table = part.select(sorted(needed)) if needed.issubset(part.column_names) else part
            rows = np.arange(start, start + table.num_rows)
            start += table.num_rows
            if labelled:  # only those with a target can be compared with it
                known = self.preparation.known_in(table)
                table, rows = table.filter(known), rows[known]
            X, odd = self.preparation.read(table, rows=rows, unknown=unknown)
            y = self.preparation.targets(table, rows=rows) if labelled else None
            kept = {name: without_dictionary(table.column(name)).combine_chunks() for name in keep}
            yield Part(be.asarray(X, dtype=dtype), None, y, kept, odd)

    def _refuse_clash(self, keep: Sequence[str]) -> None:
        """Refuse to keep a column that has the name of one of the predictions."""
        values = [f"predicted {name}" for name in self.targets if name in keep]
        predicted = ["prediction", *(f"p_{name}" for name in self.classes)] if self.classes else values
        if clash := [name for name in keep if name in predicted]:
            raise ValueError(
                f"--keep: the predictions have a column {clash[0]!r} of their own; rename that of the table, or leave "
                f"it out."
            )

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs in the units of the targets."""
        return self.preparation.values(outputs)

    def to_json(self) -> dict[str, Any]:
        """What a file of the model keeps of its inputs."""
        return {"kind": self.kind, "preparation": self.preparation.to_json(), "text": self.text.to_json()}


@dataclass(frozen=True)
class Images:
    """Images of one size, and the classes that are predicted."""

    size: int
    classes: tuple[str, ...]

    kind: ClassVar[str] = "pictures"  # the word in the files of saved models
    targets: ClassVar[tuple[str, ...]] = ("class",)

    @property
    def input_shape(self) -> Shape:
        """Of one image."""
        return (self.size, self.size, 3)

    @property
    def labels(self) -> np.ndarray:
        """The classes, shape (K,), text."""
        return np.asarray(self.classes)

    def parts(
        self,
        path: Path,
        be: Backend,
        dtype: object,
        *,
        labelled: bool,
        unknown: Unknown = "error",
        errors: str = "raise",
        keep: Sequence[str] = (),
    ) -> Iterator[Part]:
        """The images of a folder, sorted, some at a time; or the one image of a file."""
        if keep:
            raise ValueError("--keep is about the columns of a table, and the model takes images: leave it out.")
        by_class = {path.absolute().parent.name: [_image(path)]} if path.is_file() else _files(path, labelled)
        files = [file for in_class in by_class.values() for file in in_class]
        labels = self._labels(by_class) if labelled else None
        waiting: list[tuple[int, np.ndarray]] = []
        fault = named(errors, FAULTS, "choice of errors")
        for i, pixels in decoded_in_order(files, range(len(files)), self.size, fault, limit=IMAGES):
            waiting.append((i, pixels))
            if len(waiting) == IMAGES:
                yield self._part(path, files, waiting, labels, be, dtype)
                waiting = []
        if waiting:
            yield self._part(path, files, waiting, labels, be, dtype)

    def parts_of(self, given: Iterable[Any], be: Backend, dtype: object) -> Iterator[Part]:
        """Images in memory, or the paths of some."""
        named_squares = ((f"image {i}", self._square(image, f"image {i}")) for i, image in enumerate(given, 1))
        while some := list(islice(named_squares, IMAGES)):
            names, squares = zip(*some, strict=True)
            yield Part(from_bytes(np.stack(squares), be.dtype(dtype), be), list(names), None)

    def _square(self, image: Any, name: str) -> np.ndarray:
        if isinstance(image, str | Path):
            return decoded(_image(Path(image)), self.size)
        if hasattr(image, "read"):
            return decoded(image, self.size, name)
        if isinstance(image, np.ndarray) or hasattr(image, "convert"):  # the latter is Pillow's
            return square_of(image, self.size, name)
        raise TypeError(f"{name} must be a path, an image of Pillow's or an array of uint8; got {shown(image)}.")

    def _part(
        self,
        folder: Path,
        files: list[Path],
        read: list[tuple[int, np.ndarray]],
        labels: np.ndarray | None,
        be: Backend,
        dtype: object,
    ) -> Part:
        numbers = [i for i, _ in read]
        X = from_bytes(np.stack([pixels for _, pixels in read]), be.dtype(dtype), be)
        names = [str(files[i].relative_to(folder) if folder != files[i] else files[i]) for i in numbers]
        return Part(X, names, None if labels is None else labels[numbers])

    def _labels(self, by_class: dict[str, list[Path]]) -> np.ndarray:
        """The class of each file: the subfolder's name."""
        numbers = {name: k for k, name in enumerate(self.classes)}
        for name, files in by_class.items():
            if files and name not in numbers:
                raise ValueError(
                    f"{str(files[0])!r} is in the subfolder {name!r}, which is not one of the classes "
                    f"{', '.join(self.classes)}. Move the images of each class into a subfolder of its name."
                )
        labels = [numbers[name] for name, files in by_class.items() for _ in files]
        return np.asarray(labels, dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        """What a file of the model keeps of its inputs."""
        return {"kind": self.kind, "size": self.size, "classes": list(self.classes)}


Inputs = Rows | Images


def _image(file: Path) -> Path:
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{str(file)!r} does not have the ending of an image, but the model was trained on images. Pass a folder "
            f"of images, or a file that ends in one of {', '.join(SUFFIXES)}."
        )
    return file


def _files(folder: Path, labelled: bool) -> dict[str, list[Path]]:
    """The images below a folder; by class if `labelled`."""
    if not folder.exists():
        raise FileNotFoundError(f"there is no file or folder {str(folder)!r}; check the path.")
    search = Search(folder)
    files = search.classes() if labelled else {"": search.images()}
    search.report()
    if not any(files.values()):
        raise ValueError(f"folder {str(folder)!r} has no images: no file in it ends in one of {', '.join(SUFFIXES)}.")
    return files


def _raise(_: Path, error: UnreadableImage) -> None:
    raise error


def _skip(_: Path, __: UnreadableImage) -> None:
    """The file is left out."""


FAULTS = {"raise": _raise, "skip": _skip}


def inputs_of(metadata: dict[str, Any], name: str) -> Inputs:
    """The inputs of a model, from the metadata of its training.

    Raises
    ------
    ValueError
        If there are no such metadata, or they are not valid.
    """
    noted = metadata.get("input")
    if not isinstance(noted, dict):
        raise ValueError(
            f"{name} has no description of its data: it was not trained by `nnarray train`. Use it from Python: "
            f"nn.load({name}).predict(X)."
        )
    if noted.get("kind") == "text":
        raise ValueError(f"{name} is a model of text, which continues a prompt: use nnarray generate {name}.")
    try:
        if noted.get("kind") == Rows.kind:
            return Rows(Preparation.from_json(noted.get("preparation")), TextFormat.from_json(noted.get("text")))
        classes, size = noted.get("classes"), integer(noted.get("size"), "size", 1, usual=64)
        if noted.get("kind") != Images.kind or not isinstance(classes, list) or not classes:
            raise ValueError(f"kind {noted.get('kind')!r} and classes {str(classes)[:60]}")
        return Images(size, tuple(map(str, classes)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be used: the description of its data is damaged: {error}") from error


# --- To train on -----------------------------------------------------------------------------------------------------


class Examples(NamedTuple):
    """All examples of a file or folder on the host, and how they were made."""

    X: np.ndarray | Source
    y: np.ndarray
    inputs: Inputs
    train: np.ndarray
    """The numbers of the examples to train on."""
    held_out: np.ndarray
    notes: list[str]
    """Notes on them for the user."""
    test: np.ndarray = np.zeros(0, dtype=np.int64)
    """The numbers of the examples that no part of the training sees."""


def rows_to_train_on(
    path: Path,
    targets: Sequence[str],
    *,
    task: Literal["auto", "classify", "regress"],
    drop: Sequence[str],
    categories: Sequence[str],
    split: Split,
    text: TextFormat = USUAL,
    dtype: Literal["float32", "float64"] = "float64",
    place: Place | None = None,
    watch: Watch = lambda what, fraction: None,
) -> Examples:
    """A table. All rows decide the kind of each column; its mean, categories and the like come from the training rows.

    `watch` is called with the progress. With a `place` on a disk with room, the rows and the inputs lie in files there,
    and the examples are the same, bit for bit.
    """
    file = open_table(path, text)
    targets, drop, categories = (columns_named(each, file.columns) for each in (targets, drop, categories))
    _refuse_other_delimiter(file, targets)
    unread = {*drop} - {*targets, *categories}
    source = Read(path, repr((file.text.to_json(), sorted(unread))))
    table, written, let_go = _held(file, unread, source, place, watch)
    watch(f"preparing {len(file.columns)} columns of {table.num_rows:,} rows", 1.0)
    with_target = np.flatnonzero(Preparation.known(table, targets, task))
    if len(with_target) == 0:
        raise ValueError(
            f"no row of {str(path)!r} has a target: column {', '.join(targets)} is empty. Choose another target."
        )
    target, alone = table.column(targets[0]).take(with_target), len(targets) == 1
    chosen, note = task_of(target, targets[0]) if task == "auto" and alone else (task, "")
    groups = _groups(target) if chosen == "classify" and alone else None
    parts = split.of(len(with_target), groups)
    preparation = Preparation.fit(
        table, targets, task=task, drop=drop, categories=categories, train=with_target[parts.train], between=let_go
    )
    if file.kind not in DELIMITERS and is_text(target.type):
        preparation = preparation.with_text_labels()
    notes = [note] if note else []
    if lost := table.num_rows - len(with_target):
        notes.append(f"{lost} of {table.num_rows} rows have no target and were left out{_words(file)}")
    if file.kind in DELIMITERS and file.text.header is None and all(name.isdecimal() for name in file.columns):
        notes.append(f"the columns are called {', '.join(file.columns[:3])}, ...; if these are data, use --no-header")
    notes += [*_names_among_cells(file, table, let_go), *preparation.notes(table.drop_columns(drop), let_go)]
    if place is None:
        known = table.take(with_target) if lost else table
        X = preparation.features(known, rows=with_target, unknown="ignore", dtype=dtype)
    else:
        known = table.select(list(targets)).take(with_target) if lost else table
        X = mapped_features(preparation, table, with_target, dtype, source, place, let_go)
        size = memory(written + np.dtype(dtype).itemsize * int(np.prod(X.shape)))
        notes.append(f"the table is not kept in memory, but in {size} of {str(place.folder)!r}, {place.until(path)}")
    y = preparation.targets(known, rows=with_target)
    return Examples(X, y, Rows(preparation, text), parts.train, parts.held_out, notes, parts.test)


def _held(file: TableFile, unread: set[str], source: Read, place: Place | None, watch: Watch) -> Held:
    """All rows, in memory or on the disk."""
    if place is None:
        return Held(arrow().concat_tables(list(_parts(file, file.batches(), unread, watch))))
    parts = file.batches(rows_together(len(file.columns)))
    return mapped_table(_parts(file, parts, unread, watch), source, place)


def _refuse_other_delimiter(file: TableFile, targets: Sequence[str]) -> None:
    """Refuse a single column whose name holds the target's: the delimiter must be another."""
    name = file.columns[0]
    for mark in " :|;":
        if len(file.columns) == 1 and targets and set(targets) <= set(name.split(mark)) - {name}:
            raise ValueError(
                f"{str(file.path)!r} has a single column, {name[:60]!r}. If {mark!r} separates the entries: "
                f"--delimiter {mark!r}, or TextFormat(delimiter={mark!r})."
            )


def _names_among_cells(file: TableFile, table: Any, between: Callable[[], object]) -> list[str]:
    """A note where the names of the columns look like entries of them."""
    if file.kind not in DELIMITERS or file.text.header is not None:
        return []
    pc = arrow().compute
    names = [name for name in table.column_names if not name.isdecimal()]
    cells: list[str] = []
    for name in names:
        cells += [name] if pc.index(table.column(name).cast("string"), name).as_py() >= 0 else []
        between()
    if 2 * len(cells) <= len(table.column_names):
        return []
    return [
        f"the names of the columns, {', '.join(cells[:3])}, also occur as entries; if they are data, use --no-header"
    ]


def _words(file: TableFile) -> str:
    """The remedy if a word such as NA is a class, and does not mean a missing entry."""
    words = file.kind in DELIMITERS and file.text.missing is None
    return (
        " (if a word such as NA is a class: put it in quotes, or use --missing ''; and --task classify)"
        if words
        else ""
    )


def _parts(file: TableFile, parts: Iterator[Any], unread: set[str], watch: Watch) -> Iterator[Any]:
    """All rows, some at a time; the columns in `unread` are left empty, and take no memory."""
    pa, text = arrow(), memory_of_text(file.path)
    size, read, rows = file.path.stat().st_size, 0, 0
    for part in parts:
        rows += part.num_rows
        read += part.nbytes - 3 * part.num_rows * part.num_columns  # 4 bytes say where an entry begins, 1 ends it
        done = min(1.0, read / size) if text else None
        watch(f"reading {file.path.name}: {'' if done is None else f'{done:.0%}, '}{rows:,} rows", done)
        columns = [pa.nulls(len(c)) if n in unread else c for n, c in zip(file.columns, part.columns, strict=True)]
        yield pa.table(columns, names=list(file.columns), metadata=part.schema.metadata)


def columns_named(wanted: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Names of columns. A text that is no column is split at its commas; "" stands for the columns without a name."""
    unnamed = [name for name in columns if re.fullmatch(UNNAMED, name)]
    names = [name for each in wanted for name in ([each] if each in columns else [n.strip() for n in each.split(",")])]
    return [name for each in names for name in (unnamed if unnamed and not each else [each])]


def _groups(column: Any) -> np.ndarray | None:
    """The number of each entry's class; None if there are too many for classes, which is refused later."""
    codes = text_of(column).combine_chunks().dictionary_encode()
    if too_many(len(codes.dictionary), len(codes)):
        return None
    return codes.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def images_to_train_on(
    path: Path,
    *,
    size: int,
    split: Split,
    errors: Literal["raise", "skip"],
    stream: bool | None = False,
    place: Place | None = None,
    watch: Watch = lambda what, fraction: None,
) -> Examples:
    """A folder of images: each subfolder is a class.

    With `stream`, their bytes lie in a file in `place`, or beside `path`, and the examples are the same, bit for bit;
    None asks for it where they would take more than half of the free memory.
    """
    folder = images(path, size=size, errors=errors, dtype="float32", backend=host_backend())
    if len(folder.classes) < 2:
        only = "".join(folder.classes)
        inside = [p for p in entries_of(path / only) if p.is_dir()]
        hint = f" If the subfolders of {only!r} are the classes, pass {str(path / only)!r}." if inside else ""
        raise ValueError(
            f"folder {str(path)!r} has one class only, {only!r}; make subfolders for at least two classes.{hint}"
        )
    needed = IN_MEMORY * len(folder) * size**2 * 3
    notes, where = [f"left out: {line}" for line in folder.left_out], list[str]()
    X: Any
    y: Any
    if is_too_much(needed) if stream is None else stream:
        place = place or Place(path.absolute().parent)
        X, y = _on_disk(folder, place, watch)
        held = f"{memory(int(np.prod(X.shape)))} of {str(place.folder)!r}, {place.until(path)}"
        where = [f"the images are not kept in memory, but in {held}"]
    else:
        X, y = folder.load()
    if skipped := len(folder) - len(y):
        notes.append(f"{skipped} images cannot be decoded and were left out")
    parts = split.of(len(y), y)
    return Examples(X, y, Images(size, folder.classes), parts.train, parts.held_out, notes + where, parts.test)


def _on_disk(folder: ImageFolder, place: Place, watch: Watch) -> tuple[Any, Any]:
    """The images in a file in `place`, and their classes on the host."""
    from PIL import __version__ as decoder

    source = Read(folder.folder, repr((folder.size, folder.errors, decoder)), folder.files)

    def show(read: int) -> None:
        watch(f"decoding {folder.folder.name}: {read:,} of {len(folder):,} images", read / len(folder))

    def write(file: IO[bytes]) -> None:
        folder.write(file, place.folder, show)
        source.refuse_changed()

    if place.keeps:
        source.remove_outdated(place.folder)
    with place.filled(lambda: source.name_of("images"), write) as file:
        return folder.mapped(file)
