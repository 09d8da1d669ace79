"""What comes in requests, and goes out in answers: JSON, CSV and images."""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nnarray.apps.workflow.inputs import Part, Rows, Unknown
from nnarray.apps.workflow.pipeline import Pipeline
from nnarray.tables.cells import listed
from nnarray.tables.containers import ACCEPTED
from nnarray.tables.formats.faults import standing_for
from nnarray.tables.oddities import Oddities
from nnarray.tables.write import print_table

JSON, CSV = "application/json", "text/csv"
IMAGES = ("image/png", "image/jpeg", "image/webp")
SENTENCES = re.compile(r"(?<=[.?]) (?=[A-Z])")
ENCODING = re.compile(r"([Pp])ass its encoding: --encoding (\S+), or TextFormat\(encoding='\S+'\)")
DELIMITER = re.compile(r"with ('[^']+') as the delimiter\. If '[^']+' separates the entries: --delimiter [^)]*\)\.")
CHARSETS = {
    **{"utf-8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "latin-1", "windows-1252": "cp1252", "utf-16": "utf-16"},
    **{"shift_jis": "cp932", "euc-jp": "euc_jp", "euc-kr": "cp949", "gb18030": "gb18030", "big5": "big5"},
    "windows-1251": "cp1251",
}
"""The encodings of a CSV body, by their names in HTTP: as browsers, those of Windows for Japanese and Korean [1]_.

.. [1] WHATWG, Encoding Standard.
"""
OPTION = re.compile(r"(?<![\w'\"])--[a-z]")
ROWS = "a list of rows, each an object, one such object, or an object of columns, each a list"
Answers = Mapping[str, Any]


class Refused(Exception):
    """A request that is not answered with predictions: the status of HTTP, and why."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


def kinds_for(pipeline: Pipeline) -> tuple[str, ...]:
    """The media types of the bodies that a pipeline takes."""
    return (JSON, CSV) if pipeline.columns else IMAGES


def prepared(
    pipeline: Pipeline,
    body: bytes,
    kind: str,
    *,
    unknown: Unknown = "error",
    charset: str | None = None,
    most: int,
    oddities: Oddities | None = None,
) -> np.ndarray:
    """What the network takes, from the body of a request; `oddities` counts its odd rows.

    Raises
    ------
    Refused
        If the body cannot be read, has more rows than `most`, or they are not what the model takes.
    """
    if not body:
        raise Refused(400, f"the body is empty; send rows or an image as {' or '.join(kinds_for(pipeline))}.")
    oddities = Oddities() if oddities is None else oddities
    try:
        if kind == CSV:
            return _of_csv(_reading(pipeline, charset), body, unknown, most, oddities)
        data = _read_json(body) if kind == JSON else io.BytesIO(body)
        if data == []:
            return np.zeros((0, *pipeline.model.input_shape))
        return _joined(pipeline.parts(data, unknown=unknown), most, oddities)
    except (ValueError, TypeError) as error:
        one_line = kind == CSV and b"\n" not in body.strip()
        hint = " The body is one line: curl -d removes line ends, send it with --data-binary @FILE." if one_line else ""
        raise Refused(422, for_clients(" ".join(str(error).split())) + hint) from error


def for_clients(message: str) -> str:
    """A message without the remedies that a client does not have: options of a command, arguments of Python."""
    message = message.replace("--unknown ignore, or unknown='ignore'", "?unknown=ignore in the address")
    message = message.replace(ACCEPTED, ROWS).replace(", in Python None,", "")
    message = DELIMITER.sub(r"with \1 as the delimiter. Send the entries separated by \1, or send JSON.", message)
    message = ENCODING.sub(_charset, message)
    return " ".join(part for part in SENTENCES.split(message) if not OPTION.search(part)) or message


def _charset(encoding: re.Match[str]) -> str:
    names = {python: name for name, python in CHARSETS.items()}
    name = "Name" if encoding[1] == "P" else "name"
    return f"{name} its encoding, Content-Type: {CSV}; charset={names[encoding[2]]}"


def _reading(pipeline: Pipeline, charset: str | None) -> Pipeline:
    """The pipeline that reads text in this encoding."""
    if charset is None or not isinstance(pipeline.inputs, Rows):
        return pipeline
    return replace(pipeline, inputs=replace(pipeline.inputs, text=replace(pipeline.inputs.text, encoding=charset)))


def _of_csv(pipeline: Pipeline, body: bytes, unknown: Unknown, most: int, oddities: Oddities) -> np.ndarray:
    """Through a file, as `nnarray predict` reads one; errors name the body instead."""
    with tempfile.TemporaryDirectory(prefix="nnarray-") as folder:
        file = Path(folder, "body.csv")
        file.write_bytes(body)
        with standing_for(file, "the body", "Send the table itself, as CSV."):
            return _joined(pipeline.parts(file, unknown=unknown), most, oddities)


def _joined(parts: Iterable[Part], most: int, oddities: Oddities) -> np.ndarray:
    """The rows of all parts, if there are not too many."""
    inputs: list[np.ndarray] = []
    for part in parts:
        inputs.append(np.asarray(part.X))
        oddities.add(part.X.shape[0], part.odd)
        if sum(map(len, inputs)) > most:
            raise Refused(413, f"a request may have {most} rows at most; send the others in further requests.")
    return np.concatenate(inputs)


def _read_json(body: bytes) -> Any:
    """Rows, or columns by name."""
    try:
        data = json.loads(body, parse_constant=_no_json, object_pairs_hook=_once)
    except RecursionError:
        raise Refused(400, "the body is nested too deeply to be read; send a list of flat objects.") from None
    except ValueError as error:
        raise Refused(400, f"the body is no JSON: {error}.") from error
    return _rows_in(data) if isinstance(data, dict) else data


def _rows_in(data: dict[str, Any]) -> Any:
    """The rows of {"rows": [...]}, and one object without lists as one row; else columns by name."""
    rows, lists = data.get("rows"), [name for name, cells in data.items() if isinstance(cells, list)]
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        if others := [name for name in data if name != "rows"]:
            raise Refused(422, f"beside 'rows', the body has {listed(others)}, which is not read; send 'rows' alone.")
        return rows
    if lists and all(isinstance(row, dict) for row in data[lists[0]]) and data[lists[0]]:
        raise Refused(422, f"{lists[0]!r} holds rows: call it 'rows', or send its list alone.")
    if lists and (others := [name for name in data if name not in lists]):
        raise Refused(
            422,
            f"lists in {listed(lists)}, and none in {listed(others)}: for one row, send no lists; for columns, send "
            f"lists alone.",
        )
    return data if lists else [data]


def _no_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is none of its numbers; send null for what is not known")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has {twice!r} twice; send it once")
    return made


def written_json(answers: Answers) -> bytes:
    """{"predictions": [...]}, an object for each row."""
    columns = [column if isinstance(column, list) else column.tolist() for column in answers.values()]
    rows = [dict(zip(answers, row, strict=True)) for row in zip(*columns, strict=True)]
    return json.dumps({"predictions": rows}, ensure_ascii=False, allow_nan=False).encode()


def written_csv(answers: Answers) -> bytes:
    """A row of names, and a row for each prediction."""
    sink = io.BytesIO()
    print_table(sink, [answers])
    return sink.getvalue()


WRITERS: Mapping[str, Callable[[Answers], bytes]] = {JSON: written_json, CSV: written_csv}
