"""What a request says besides its body: what the body is, what is to be answered, and the query."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from nnarray.apps.service.payloads import CHARSETS, CSV, JSON, Refused, kinds_for
from nnarray.apps.workflow.inputs import Unknown
from nnarray.apps.workflow.pipeline import Pipeline
from nnarray.names import canonical

QUERY = {"unknown": None}
UNKNOWN = {"error": None, "ignore": None}
WEIGHT = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)")


class Head(NamedTuple):
    """What a request says besides its body."""

    kind: str
    """The media type of the body."""
    charset: str | None
    """The encoding of a CSV body; None: that of the training table."""
    answer: str
    """The media type of the answer."""
    unknown: Unknown


def head_of(pipeline: Pipeline, headers: Mapping[str, str], query: Any) -> Head:
    """What a request says, if all of it can be done.

    Raises
    ------
    Refused
        If the model does not take the body (415), the answer cannot be what `Accept` asks for (406), or the query says
        something unknown (400).
    """
    kind, _, parameters = headers.get("content-type", JSON).partition(";")
    kind, kinds = kind.strip().lower(), kinds_for(pipeline)
    if kind not in kinds:
        raise Refused(
            415,
            f"the body is called {kind!r}, and the model takes {', '.join(kinds)}; say with Content-Type which it is.",
        )
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise Refused(415, f"the body is encoded by {coding!r}; send it without Content-Encoding.")
    answer = _answer(headers.get("accept") or "*/*", kind)
    return Head(kind, _charset(parameters, kind), answer, _unknown(query))


def _charset(parameters: str, kind: str) -> str | None:
    """The encoding of the body, if it is declared."""
    declared = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", parameters, re.IGNORECASE)
    if declared is None or kind not in (JSON, CSV):
        return None
    accepted = CHARSETS if kind == CSV else {"utf-8": "utf-8"}
    encodings = {_codec(name): encoding for own in accepted.items() for name, encoding in (own, (own[1], own[1]))}
    if _codec(declared[1]) not in encodings:
        raise Refused(415, f"the charset of the body is {declared[1]!r}; {kind} is read as {', '.join(accepted)}.")
    return encodings[_codec(declared[1])] if kind == CSV else None


def _codec(charset: str) -> str | None:
    """Python's name of an encoding, if there is one."""
    try:
        return codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None


def _answer(accept: str, kind: str) -> str:
    """The media type that is wanted most; of two alike, the one that is named more exactly, else that of the body."""
    kinds = (CSV, JSON) if kind == CSV else (JSON, CSV)
    chosen = max(kinds, key=lambda each: _wish(accept, each))
    if _wish(accept, chosen)[0] == 0:
        raise Refused(406, f"the answer is {' or '.join(kinds)}; ask for one of them with Accept, or leave it out.")
    return chosen


def _wish(accept: str, kind: str) -> tuple[float, int]:
    """How much this media type is wanted, from 0 to 1, by the most exact range that it falls into; and how exact."""
    exactness = {kind: 3, f"{kind.partition('/')[0]}/*": 2, "*/*": 1}
    exact, wish = 0, 0.0
    for each in accept.lower().split(","):
        media, *parameters = (part.strip() for part in each.split(";"))
        if exactness.get(media, 0) > exact:
            exact, wish = exactness[media], _weight(parameters)
    return wish, exact


def _weight(parameters: list[str]) -> float:
    given = next((each for each in parameters if each.startswith("q=")), "q=1")
    if not (weight := WEIGHT.fullmatch(given)):
        raise Refused(400, f"a weight in Accept is from 0 to 1, such as q=0.5; got {given!r}.")
    return float(weight[1])


def _unknown(query: Any) -> Unknown:
    """What to do with new categories, from the query, which says nothing else."""
    try:
        for name in query:
            canonical(name, QUERY, "parameter of the query")
        if len(said := query.getlist("unknown")) > 1:
            raise ValueError(f"unknown= is in the query {len(said)} times; send it once.")
        return canonical(said[0], UNKNOWN, "choice of unknown") if said else "error"  # type: ignore[return-value]
    except ValueError as error:
        raise Refused(400, str(error)) from error
