"""The contents of a folder of images, with a subfolder for each class, and the files that are left out."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnarray.names import shown

log = logging.getLogger("nnarray")

_JPEG, _PNM, _OTHERS = (".jfif", ".jpe", ".jpeg", ".jpg"), (".pbm", ".pgm", ".pnm", ".ppm"), (".bmp", ".gif", ".png")
SUFFIXES = (*_JPEG, *_PNM, *_OTHERS, ".tif", ".tiff", ".webp")

# Names in lower case. Files that file managers, file servers and archives add to folders of images:
OF_SYSTEMS = {"@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "__macosx"}
OF_SYSTEMS |= {"@__thumb", "@synoresource", "~snapshot", "recycler", "network trash folder", "temporary items"}
OF_SYSTEMS |= {"lost+found", "system volume information", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini"}

# Parts of a data set, such as train, Validation, test1, training_data, seg_train; and those of a cross-validation:
TRAINING, HELD_OUT = (
    re.compile(f"(?P<before>.*[^a-z])?({words})(set|data|images|[^a-z].*)?", re.IGNORECASE)
    for words in ("train(ing)?", "test(ing)?|val(id(ation)?)?|eval(uation)?|dev|hold-?_?out|pred(ict(ion)?)?|extra")
)

FOLD = re.compile(r"(fold|split)[^a-z]*\d+", re.IGNORECASE)
OUTSIDE = "images outside of the subfolders, without a class"
NO_IMAGES = "files without the ending of an image"
NOWHERE = "broken links"
TWICE = "folders that are read under another name, or contain this one"


class Search:
    """The images below a folder, and the files that were left out, by the reason.

    Links to folders are followed. Each folder is read once. Files that systems add are ignored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left_out: dict[str, list[str]] = {}
        real = folder.resolve()
        self._read = dict.fromkeys(
            (real, *real.parents), (folder, folder)
        )  # each real folder: the class in which it was found, and its name there

    def images(self) -> list[Path]:
        """All images, sorted."""
        return self._sorted(self.folder, self.folder)

    def classes(self) -> dict[str, list[Path]]:
        """The images of each subfolder, both sorted; a subfolder may have none.

        Raises
        ------
        ValueError
            If there are no subfolders, the subfolders are parts such as train and test, or one folder is in two
            classes.
        """
        entries = entries_of(self.folder)
        subfolders = [entry for entry in entries if entry.is_dir()]
        if not subfolders:
            raise ValueError(
                f"folder {str(self.folder)!r} has no subfolders; put the images of each class into its own subfolder, "
                f"such as {str(self.folder / 'cats')!r} and {str(self.folder / 'dogs')!r}."
            )
        _refuse_parts(self.folder, subfolders)
        inside = {folder: [entry for entry in entries_of(folder) if entry.is_dir()] for folder in subfolders}
        for folder, inner in inside.items():
            _refuse_parts(folder, inner, inside=True)
        _refuse_equal(self.folder, inside)
        for entry in entries:
            if entry not in subfolders and self._is_image(entry):
                self._leave_out(OUTSIDE, entry)
        return {each.name: self._sorted(each, each) for each in subfolders if self._is_new(each, each)}

    def report(self) -> tuple[str, ...]:
        """The reasons and numbers of the files that were left out, with the names of some; also written to the log."""
        report = tuple(f"{reason}: {len(names)} ({_some(names)})" for reason, names in self.left_out.items())
        if report:
            log.warning("left out below %s: %s", self.folder, "; ".join(report))
        return report

    def _sorted(self, folder: Path, top: Path) -> list[Path]:
        return sorted(self._below(folder, top), key=lambda p: p.relative_to(top).as_posix())

    def _below(self, folder: Path, top: Path) -> Iterator[Path]:
        for entry in entries_of(folder):
            if entry.is_dir():
                if self._is_new(entry, top):
                    yield from self._below(entry, top)
            elif self._is_image(entry):
                yield entry

    def _is_image(self, file: Path) -> bool:
        fault = NOWHERE if not file.exists() else NO_IMAGES if file.suffix.lower() not in SUFFIXES else ""
        if fault:
            self._leave_out(fault, file)
        return not fault

    def _is_new(self, folder: Path, top: Path) -> bool:
        """Whether to read the folder: not if it was read under another name, or contains the whole dataset."""
        real = folder.resolve()
        if real not in self._read:
            self._read[real] = top, folder
            return True
        before, met = self._read[real]
        if before not in (top, self.folder):
            raise ValueError(
                f"{str(met)!r} of class {before.name!r} and {str(folder)!r} of class {top.name!r} are the same folder, "
                f"through a link: its images would be in two classes. Remove the link."
            )
        self._leave_out(TWICE, folder)
        return False

    def _leave_out(self, reason: str, path: Path) -> None:
        self.left_out.setdefault(reason, []).append(str(path.relative_to(self.folder)))


def entries_of(folder: Path) -> list[Path]:
    """The contents of a folder, sorted; without hidden files and files that systems add."""
    return sorted(p for p in folder.iterdir() if not (p.name.startswith(".") or _is_of_system(p.name.casefold())))


def _is_of_system(name: str) -> bool:
    return name in OF_SYSTEMS or re.fullmatch(r"found\.\d{3}", name) is not None


def _refuse_parts(folder: Path, subfolders: list[Path], *, inside: bool = False) -> None:
    """Refuse subfolders that are parts of a data set, not classes; `inside` a class only if that is certain."""
    train, held_out = ([p for p in subfolders if part.fullmatch(p.name)] for part in (TRAINING, HELD_OUT))
    plain = [p for p in train + held_out if not any(m and m["before"] for m in _as_part(p.name))]
    folds = [p for p in subfolders if FOLD.fullmatch(p.name)]
    all_parts = any(parts and len(parts) == len(subfolders) for parts in (plain, folds))
    if (train and held_out) or (all_parts and not inside):
        parts = train + held_out or folds
        raise ValueError(
            f"the subfolders of {str(folder)!r} are parts of a data set, not classes: "
            f"{', '.join(p.name for p in parts)}. {_one_of(parts[0])} (If they are classes, rename them.)"
        )


def _as_part(name: str) -> Iterator[re.Match[str] | None]:
    return (part.fullmatch(name) for part in (TRAINING, HELD_OUT))


def _one_of(part: Path) -> str:
    """The remedy for parts of a data set: pass one, if the classes are in it; otherwise swap the levels."""
    if any(entry.is_dir() for entry in entries_of(part)):
        return f"Pass one of them: {str(part)!r}."
    kind, top = part.parent.name, part.parent.parent
    return (
        f"Put the classes into the parts: move {str(part)!r} to {str(top / part.name / kind)!r}, do so for each part, "
        f"and pass {str(top / part.name)!r}."
    )


def _refuse_equal(folder: Path, inside: dict[Path, list[Path]]) -> None:
    """Refuse subfolders that all contain the same folders and nothing else: those are the classes."""
    names = [{inner.name for inner in each} for each in inside.values()]
    mixed = any(entry.suffix.lower() in SUFFIXES for each in inside for entry in entries_of(each))
    if not mixed and len(names) > 1 and len(names[0]) > 1 and all(each == names[0] for each in names):
        first, *_ = inside
        raise ValueError(
            f"the subfolders of {str(folder)!r} all contain the same folders, {_some(sorted(names[0]))}, which then "
            f"are the classes: pass one of the subfolders, such as {str(first)!r}. If "
            f"{_some([p.name for p in inside])} are the classes, move their images out of those folders, or give "
            f"the folders different names."
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join([*names[:most], "..."] if len(names) > most else names)


def refuse_empty(folder: Path, classes: dict[str, list[Path]]) -> None:
    """Refuse classes without images; the error names their folders."""
    empty = [repr(name) for name, files in classes.items() if not files]
    if empty:
        what = f"class {empty[0]} has" if len(empty) == 1 else f"classes {', '.join(empty)} have"
        raise ValueError(
            f"{what} no images: no file below the subfolder in {str(folder)!r} ends in one of {', '.join(SUFFIXES)}. "
            f"Add images, convert those in other formats, or remove the folder."
        )


def existing_folder(folder: str | os.PathLike[str], wanted: str) -> Path:
    """`folder` as a path; refused if it does not exist or is a file. `wanted` describes it in errors."""
    try:
        path = Path(folder)
    except TypeError:
        raise TypeError(f"folder must be the path of {wanted}; got {shown(folder)}.") from None
    if not path.exists():
        raise FileNotFoundError(f"folder {str(path)!r} does not exist; pass the path of {wanted}.")
    if not path.is_dir():
        raise NotADirectoryError(f"{str(path)!r} is a file; pass the path of {wanted}.")
    return path
