"""A trained file as a web service: answers, refusals, the same bits in any company, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from typer.testing import CliRunner

import nnarray as nn
from nnarray.apps.service import batches, payloads
from nnarray.apps.service.application import Limits, application
from nnarray.apps.service.batches import Batcher, batch_size, in_batches, outputs_on_host
from nnarray.apps.service.counts import Counts
from nnarray.cli import app
from nnarray.cli import serve as serve_command
from tests.processes import LIMIT, NNARRAY, started

GOOD = {"length": 5.5, "colour": "red", "age": 3}
JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}


def call(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], prog_name="nnarray")
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained files: classes of rows, values of rows, and classes of images."""
    place, draws = tmp_path_factory.mktemp("service"), np.random.default_rng(0)
    with open(place / "flowers.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*GOOD, "kind"])
        for k in draws.integers(3, size=120).tolist():
            age = "" if draws.random() < 0.1 else int(draws.integers(9))
            table.writerow([round(k + draws.normal(5, 0.3), 2), ["red", "blue", "white"][k], age, "abc"[k]])
    usual = ("--backend", "numpy", "--epochs", 2, "--out")
    call("train", place / "flowers.csv", "--target", "kind", *usual, place / "kind.safetensors")
    call("train", place / "flowers.csv", "--target", "length", *usual, place / "length.safetensors")
    for name, shade in (("cats", 60), ("dogs", 190)):
        (place / "photos" / name).mkdir(parents=True)
        for i in range(4):
            pixels = np.clip(draws.normal(shade, 30, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / "photos" / name / f"{i}.png")
    call("train", place / "photos", "--size", 16, "--hidden", 4, *usual, place / "pets.safetensors")
    return place


@asynccontextmanager
async def client_of(service: Starlette) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a service that runs in this process."""
    transport = httpx.ASGITransport(service, raise_app_exceptions=False)
    async with service.router.lifespan_context(service), httpx.AsyncClient(transport=transport) as client:
        client.base_url = httpx.URL("http://here")
        yield client


def asked(model: Path, questions: Callable[[httpx.AsyncClient], Awaitable[Any]], **limits: Any) -> Any:
    """What comes of questions to the service of this model."""

    async def run() -> Any:
        pipeline = nn.load_pipeline(model, backend="numpy")
        async with client_of(application(pipeline, model.name, Limits(**limits))) as client:
            return await questions(client)

    return asyncio.run(run())


def posted(model: Path, content: bytes, headers: dict[str, str], query: str = "", **limits: Any) -> httpx.Response:
    return asked(model, lambda client: client.post(f"/predict{query}", content=content, headers=headers), **limits)


# --- Answers ---------------------------------------------------------------------------------------------------------


def test_the_numbers_of_the_command_line(folder: Path) -> None:
    for name in ("kind", "length"):
        model = folder / f"{name}.safetensors"
        lines = call("predict", model, folder / "flowers.csv", "--json", "--backend", "numpy").splitlines()
        wanted = [json.loads(line) for line in lines]
        answer = posted(model, (folder / "flowers.csv").read_bytes(), CSV | {"Accept": "application/json"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        got = answer.json()["predictions"]
        assert [list(row) for row in got] == [list(row) for row in wanted]
        for row, other in zip(got, wanted, strict=True):
            for column, value in row.items():
                assert value == (other[column] if isinstance(value, str) else pytest.approx(other[column], rel=1e-4))


def test_answers_do_not_wait_for_the_client() -> None:
    with (
        closing(serve_command._listening("127.0.0.1", 0)) as listening,
        closing(socket.create_connection(listening.getsockname())),
        closing(listening.accept()[0]) as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_dates_and_texts(tmp_path: Path) -> None:
    rows = [{"made": f"2020-01-{1 + k % 28:02d}", "said": f"loose bolt number {k}"} for k in range(60)]
    lines = ["made,said,kind", *(f"{row['made']},{row['said']},{'ab'[k % 2]}" for k, row in enumerate(rows))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    out = tmp_path / "a.safetensors"
    call("train", tmp_path / "a.csv", "--target", "kind", "--backend", "numpy", "--epochs", 1, "--out", out)

    async def questions(client: httpx.AsyncClient) -> tuple[Any, Any]:
        about = (await client.get("/")).json()
        return about, await client.post("/predict", content=json.dumps(rows), headers=JSON)

    about, answer = asked(out, questions)
    assert [column["kind"] for column in about["columns"]] == ["date", "text"]
    assert answer.status_code == 200
    wanted = nn.load_pipeline(out).predict(rows).tolist()
    assert [row["prediction"] for row in answer.json()["predictions"]] == wanted


def test_rows_columns_and_csv_are_one(folder: Path) -> None:
    model, rows = folder / "kind.safetensors", [GOOD, {**GOOD, "age": None, "length": 6.5, "price": "?"}]
    columns = {name: [row[name] for row in rows] for name in GOOD}
    text = "length,colour,age\n5.5,red,3\n6.5,red,\n"

    async def questions(client: httpx.AsyncClient) -> list[httpx.Response]:
        bodies = [json.dumps(each).encode() for each in (rows, {"rows": rows}, columns, rows[0])]
        answers = [await client.post("/predict", content=body, headers=JSON) for body in bodies]
        answers.append(await client.post("/predict", content=bodies[0]))  # JSON where nothing is said
        answers.append(await client.post("/predict", content=text, headers=CSV | {"Accept": "application/json"}))
        answers.append(await client.post("/predict", content=bodies[0], headers=JSON | {"Accept": "text/csv"}))
        answers.append(await client.post("/predict", content=text, headers=CSV))
        return answers

    *in_json, csv_of_json, csv_of_csv = asked(model, questions)
    (one,) = in_json.pop(3).json()["predictions"]
    assert one == in_json[0].json()["predictions"][0]
    assert [answer.status_code for answer in in_json] == [200] * 5
    assert len({answer.text for answer in in_json}) == 1
    assert csv_of_csv.headers["content-type"].startswith("text/csv")
    assert csv_of_csv.text == csv_of_json.text
    table = list(csv.DictReader(io.StringIO(csv_of_csv.text)))
    for row, other in zip(table, in_json[0].json()["predictions"], strict=True):
        assert row["prediction"] == other["prediction"]
        assert np.float32(row["p_a"]) == np.float32(other["p_a"])


def test_what_the_model_is_and_how_the_service_does(folder: Path) -> None:
    async def questions(client: httpx.AsyncClient) -> tuple[Any, ...]:
        about, health = (await client.get("/")).json(), (await client.get("/health")).json()
        for content in (json.dumps([GOOD, GOOD]), "x"):
            await client.post("/predict", content=content, headers=JSON)
        return (
            about,
            health,
            (await client.get("/metrics")),
            (await client.get("/none")),
            (await client.get("/predict")),
        )

    about, health, metrics, none, got = asked(folder / "kind.safetensors", questions)
    assert (about["model"], about["targets"], about["classes"]) == ("kind.safetensors", ["kind"], ["a", "b", "c"])
    assert (about["training ended"], about["nnarray"]) == (True, nn.__version__)
    assert about["trained"] == nn.load(folder / "kind.safetensors").metadata["trained"]
    assert [column["name"] for column in about["columns"]] == list(GOOD)
    assert about["columns"][1]["categories"] == ["blue", "red", "white"]
    assert about["accepts"] == ["application/json", "text/csv"]
    assert health == {"status": "ok"}
    lines = metrics.text.splitlines()
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        f'nnarray_model_info{{model="kind.safetensors",sha256="",trained="{about["trained"]["ended"]}"}} 1',
        'nnarray_requests_total{code="200"} 1',
        'nnarray_requests_total{code="400"} 1',
        "nnarray_rows_total 2",
        "nnarray_computations_total 1",
        "nnarray_waiting_requests 0",
        "nnarray_request_seconds_count 2",
        'nnarray_request_seconds_bucket{le="+Inf"} 2',
    ):
        assert line in lines
    assert (none.status_code, got.status_code) == (404, 405)
    assert none.json()["error"] == "Not Found: there are POST /predict and GET /, /health and /metrics."


def test_labels_escape_what_prometheus_would_misread() -> None:
    assert r'nnarray_model_info{model="a\"b\\c\nd"} 1' in Counts({"model": 'a"b\\c\nd'}).text()


def test_durations_fall_into_the_buckets_up_to_their_bounds() -> None:
    counts = Counts()
    for seconds in (0.0005, 0.001, 0.002, 60.0):
        counts.answered(200, seconds)
    buckets = re.findall(r'bucket{le="(.*)"} (\d+)', counts.text())
    assert (buckets[0], buckets[1], buckets[-2], buckets[-1]) == (
        ("0.001", "2"),
        ("0.0025", "3"),
        ("2.5", "3"),
        ("+Inf", "4"),
    )


def test_an_image(folder: Path) -> None:
    file = folder / "photos" / "dogs" / "0.png"
    wanted = nn.load_pipeline(folder / "pets.safetensors", backend="numpy").predict_proba(file)[0]
    answer = posted(folder / "pets.safetensors", file.read_bytes(), {"Content-Type": "image/png"})
    (row,) = answer.json()["predictions"]
    assert [row["p_cats"], row["p_dogs"]] == pytest.approx(wanted.tolist(), rel=1e-4)
    cut = posted(folder / "pets.safetensors", file.read_bytes()[:90], {"Content-Type": "image/png"})
    assert cut.status_code == 422
    assert "image 1 cannot be decoded" in cut.json()["error"]
    rows = posted(folder / "pets.safetensors", b"[]", JSON)
    assert rows.status_code == 415
    assert "the model takes image/png, image/jpeg" in rows.json()["error"]


# --- Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"", JSON, 400, "the body is empty; send rows or an image as application/json or text/csv"),
        (b"[1", JSON, 400, "the body is no JSON"),
        (b"\xff\xfe\x00", JSON, 400, "the body is no JSON"),
        (b"[" * 100_000, JSON, 400, "nested too deeply"),
        (b'[{"length": NaN}]', JSON, 400, "NaN is none of its numbers; send null for what is not known"),
        (b'[{"length": -Infinity}]', JSON, 400, "-Infinity is none of its numbers"),
        (b'[{"length": 1, "length": 2}]', JSON, 400, "an object has 'length' twice"),
        (b"[" + b"9" * 5000 + b"]", JSON, 400, "the body is no JSON"),
        (b"3", JSON, 422, "rows are needed, as a list of rows, each an object, one such object, or an object of col"),
        (b'{"rows": [1]}', JSON, 422, "the table lacks 'length', 'colour', 'age'"),
        (
            json.dumps({**GOOD, "age": [3]}).encode(),
            JSON,
            422,
            "lists in 'age', and none in 'length', 'colour': for one row, send no lists",
        ),
        (json.dumps({"rows": [GOOD], "id": 7}).encode(), JSON, 422, "beside 'rows', the body has 'id', which is not"),
        (b'{"length": 1}', JSON, 422, "the table lacks 'colour', 'age', which the model"),
        (json.dumps([GOOD, {"length": 1}]).encode(), JSON, 422, "row 2 lacks 'colour', 'age'"),
        (json.dumps([{"Length": 1}]).encode(), JSON, 422, "the table lacks 'length', 'colour', 'age', which the model"),
        (json.dumps([GOOD, {**GOOD, "age": "old"}]).encode(), JSON, 422, "row 2, column 'age': 'old' is text"),
        (json.dumps([{**GOOD, "age": 1e999}]).replace("Infinity", "1e999").encode(), JSON, 422, "column 'age': infin"),
        (json.dumps([{**GOOD, "age": {}}]).encode(), JSON, 422, "row 1, column 'age': {} is no number"),
        (json.dumps([{**GOOD, "colour": "pink"}]).encode(), JSON, 422, "'pink' is not a category of the training"),
        (b"length,colour,age\n5,red\n", CSV, 422, "the body, row 1: 2 entries for 3 columns"),
        (b"length,colour\n5,red\n", CSV, 422, "the table lacks 'age'"),
        (b"length,colour,age\n5,red,old\n", CSV, 422, "row 1, column 'age': 'old' is not a number"),
        (b"length,colour\n", CSV, 422, "the table lacks 'age'"),
        (
            b"length;colour;age\n5;red;3\n",
            CSV,
            422,
            "as the delimiter. Send the entries separated by ',', or send JSON.",
        ),
        (b"\x00\xff\xfe", CSV, 422, "the body"),
        (b"\x1f\x8b\x08 12345", CSV, 422, "the body is compressed by gzip, and not a text table (CSV). Send the table"),
        (
            "length,colour,age\n5,blé,3\n".encode("latin-1"),
            CSV,
            422,
            "Save it as UTF-8, or name its encoding, Content-Type: text/csv; charset=windows-1252, which reads 'blé'",
        ),
        ("length,colour,age\n5,赤い,3\n".encode("cp932"), CSV, 422, "charset=shift_jis, which reads '赤い'"),
        (
            "length,colour,age\n5,赤い,3\n".encode(),
            {"Content-Type": "text/csv; charset=us-ascii"},
            422,
            "Name its encoding, Content-Type: text/csv; charset=utf-8, which reads '赤い'.",
        ),
        (
            "length,colour,age\n5,①,3\n".encode("cp932"),
            {"Content-Type": "text/csv; charset=Shift_JIS"},
            422,
            "'①' is not a category of the training",
        ),
        ("length,colour,age\n5,red,3\n".encode("utf-16"), CSV, 422, "Content-Type: text/csv; charset=utf-16."),
        (b"[]", {"Content-Type": "text/plain; charset=utf-8"}, 415, "the body is called 'text/plain', and the model"),
        (b"x" * 30_000, JSON, 413, "a request may have 19.5 KiB at most; send fewer rows at once"),
        (json.dumps([GOOD] * 101).encode(), JSON, 413, "a request may have 100 rows at most"),
        (b"length,colour,age\n" + b"5,red,3\n" * 101, CSV, 413, "a request may have 100 rows at most"),
    ],
)
def test_what_is_refused(body: bytes, headers: dict[str, str], status: int, message: str, folder: Path) -> None:
    limits = {"rows": 100, "bytes": 200_000 if b"[[[" in body else 20_000}
    answer = posted(folder / "kind.safetensors", body, headers, **limits)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]
    assert "/tmp" not in answer.text
    assert "body.csv" not in answer.text


@pytest.mark.parametrize("model", ["kind", "length"])
def test_no_rows_have_no_predictions(model: str, folder: Path) -> None:
    file = folder / f"{model}.safetensors"
    for body in (b"[]", b'{"rows": []}'):
        answer = posted(file, body, JSON)
        assert (answer.status_code, answer.json()) == (200, {"predictions": []})
    answer = posted(file, b"length,colour,age,kind\n", CSV)
    names = {"kind": "prediction,p_a,p_b,p_c", "length": "length"}[model]
    assert (answer.status_code, answer.text.splitlines()) == (200, [names])


def test_a_csv_body_is_answered_as_the_client_asks(folder: Path) -> None:
    """As a client in a browser asks: of two alike, what it names."""
    body = b"length,colour,age\n5.5,red,3\n"
    for accept, kind in (("application/json, text/plain, */*", "application/json"), ("*/*", "text/csv")):
        answer = posted(folder / "kind.safetensors", body, CSV | {"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)


def test_other_pages_are_counted_and_not_redirected(folder: Path) -> None:
    async def questions(client: httpx.AsyncClient) -> tuple[httpx.Response, str]:
        await client.get("/predict")
        answer = await client.post("/predict/", content=json.dumps([GOOD]), headers=JSON)
        return answer, (await client.get("/metrics")).text

    answer, counts = asked(folder / "kind.safetensors", questions)
    assert (answer.status_code, "there are POST /predict and" in answer.json()["error"]) == (404, True)
    assert 'nnarray_requests_total{code="404"} 1\nnnarray_requests_total{code="405"} 1\n' in counts


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"length,colour,age5.5,red,3", CSV, "curl -d removes line ends, send it with --data-binary @FILE."),
        (json.dumps({"instances": [GOOD]}).encode(), JSON, "'instances' holds rows: call it 'rows', or send its list"),
        (json.dumps({**GOOD, "colour": ["red"]}).encode(), JSON, "lists in 'colour', and none in 'length', 'age'"),
    ],
)
def test_usual_mistakes_in_a_body_are_named(body: bytes, kind: dict[str, str], said: str, folder: Path) -> None:
    answer = posted(folder / "kind.safetensors", body, kind)
    assert (answer.status_code, said in answer.json()["error"]) == (422, True), answer.text


def test_a_new_category_is_ignored_when_asked_for(folder: Path) -> None:
    body = json.dumps([{**GOOD, "colour": "pink"}]).encode()
    answer = posted(folder / "kind.safetensors", body, JSON, "?unknown=ignore")
    assert (answer.status_code, answer.headers["Unknown-Rows"]) == (200, "1")
    known = json.dumps([GOOD]).encode()
    assert posted(folder / "kind.safetensors", known, JSON, "?unknown=ignore").headers["Unknown-Rows"] == "0"
    assert "Unknown-Rows" not in posted(folder / "kind.safetensors", known, JSON).headers
    wrong = posted(folder / "kind.safetensors", body, JSON, "?unknown=skip")
    assert wrong.status_code == 400
    assert "unknown choice of unknown 'skip'" in wrong.json()["error"]


def test_rows_unlike_those_of_the_training_are_counted(folder: Path) -> None:
    """They are answered; whoever watches the service sees that something has changed upstream."""
    rows = [GOOD, {**GOOD, "colour": None}, {**GOOD, "length": 1e7}, {**GOOD, "colour": "", "length": 1e7}]
    answer = posted(folder / "kind.safetensors", json.dumps(rows).encode(), JSON)
    assert (answer.status_code, len(answer.json()["predictions"])) == (200, 4)
    assert (answer.headers["Missing-Rows"], answer.headers["Far-Rows"]) == ("2", "2")
    assert "Missing-Rows" not in posted(folder / "kind.safetensors", json.dumps([GOOD]).encode(), JSON).headers
    counts = Counts(odd_rows=Counter({"missing": 2})).text()
    assert "nnarray_missing_rows_total 2\n" in counts
    assert "nnarray_far_rows_total 0\n" in counts


HEADS: list[tuple[dict[str, str], str, int, str]] = [
    (
        {},
        "?unknwon=ignore",
        400,
        "parameter of the query 'unknwon'; use one of unknown. Did you mean 'unknown'?",
    ),
    ({}, "?unknown=error&unknown=ignore", 400, "unknown= is in the query 2 times; send it once"),
    ({"Accept": "text/html, image/*"}, "", 406, "the answer is application/json or text/csv; ask for one of them"),
    ({"Accept": "application/json;q=0, text/csv;q=0.0"}, "", 406, "ask for one of them with Accept"),
    ({"Accept": "text/csv;q=2"}, "", 400, "a weight in Accept is from 0 to 1, such as q=0.5; got 'q=2'"),
    (
        {"Content-Type": "application/json; charset=latin-1"},
        "",
        415,
        "the charset of the body is 'latin-1'",
    ),
    ({"Content-Type": "text/csv; charset=zip"}, "", 415, "text/csv is read as utf-8, us-ascii, iso-8859-1"),
    ({"Content-Type": 'text/csv; charset=""'}, "", 415, "the charset of the body is ''"),
    ({"Content-Encoding": "gzip"}, "", 415, "the body is encoded by 'gzip'; send it without Content-Encoding"),
    ({"Content-Type": "text/plain"}, "", 415, "say with Content-Type which it is"),
]


@pytest.mark.parametrize(("headers", "query", "status", "message"), HEADS)
def test_what_cannot_be_done_as_asked_is_refused(
    headers: dict[str, str], query: str, status: int, message: str, folder: Path
) -> None:
    answer = posted(folder / "kind.safetensors", json.dumps([GOOD]).encode(), JSON | headers, query)
    assert (answer.status_code, message in answer.json()["error"]) == (status, True), answer.text


def test_accept_and_charset_are_followed(folder: Path) -> None:
    body = "length,colour,age\n5.5,red,3\n"
    accepted = {
        "text/html, text/csv;q=0.5, */*;q=0.1": "text/csv",
        "text/*, application/json;q=0.9": "text/csv",
        "*/*": "application/json",
        "text/csv;q=0.1, application/*": "application/json",
        "text/csv;q=0, */*": "application/json",
        "": "application/json",
        "application/json, text/plain, */*": "application/json",
    }

    async def questions(client: httpx.AsyncClient) -> tuple[list[str], list[str]]:
        kinds = []
        for accept in accepted:
            answer = await client.post("/predict", content=json.dumps([GOOD]), headers=JSON | {"Accept": accept})
            kinds.append(answer.headers["content-type"].partition(";")[0])
        texts = []
        for charset in ("utf-8", "UTF-16", '"iso-8859-1"', "us-ascii"):
            headers = {"Content-Type": f"text/csv; header=present; Charset={charset}"}
            texts.append((await client.post("/predict", content=body.encode(charset.strip('"')), headers=headers)).text)
        return kinds, texts

    kinds, texts = asked(folder / "kind.safetensors", questions)
    assert kinds == list(accepted.values())
    assert len(set(texts)) == 1
    assert texts[0].startswith("prediction,p_a")


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        (
            "'x' is no category. Correct it, or ignore new categories with --unknown ignore, or unknown='ignore'.",
            "'x' is no category. Correct it, or ignore new categories with ?unknown=ignore in the address.",
        ),
        ("It has no header. Use --no-header, or TextFormat(header=False).", "It has no header."),
        ("'--drop x' is not a number.", "'--drop x' is not a number."),
        ("Use --header.", "Use --header."),
    ],
)
def test_remedies_of_other_interfaces_are_not_sent(said: str, sent: str) -> None:
    assert payloads.for_clients(said) == sent


def test_a_body_without_a_declared_length_is_limited_too(folder: Path) -> None:
    sent = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b" " * 1000

    answer = posted(folder / "kind.safetensors", endless(), JSON, bytes=20_000)  # type: ignore[arg-type]
    assert answer.status_code == 413
    assert sent < 30_000


def test_a_slow_body_is_given_up(folder: Path) -> None:
    async def slow() -> AsyncGenerator[bytes]:
        yield b"["
        await asyncio.sleep(60)

    answer = posted(folder / "kind.safetensors", slow(), JSON, seconds=0.1)  # type: ignore[arg-type]
    assert answer.status_code == 408
    assert "has not come within 0.1 s" in answer.json()["error"]


def test_too_many_requests_are_asked_to_come_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def slowly(compute: Any, X: np.ndarray, size: int) -> np.ndarray:
        assert go.wait(LIMIT)
        return in_batches(compute, X, size)

    async def questions(client: httpx.AsyncClient) -> list[httpx.Response]:
        monkeypatch.setattr(batches, "in_batches", slowly)
        body = json.dumps([GOOD])
        accepted = [asyncio.create_task(client.post("/predict", content=body, headers=JSON)) for _ in range(3)]
        while "nnarray_waiting_requests 3" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.01)
        refused = await client.post("/predict", content=body, headers=JSON)
        go.set()
        return [refused, *(await asyncio.gather(*accepted))]

    refused, *accepted = asked(folder / "kind.safetensors", questions, waiting=3)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "too many requests" in refused.json()["error"]
    assert [answer.status_code for answer in accepted] == [200] * 3


def test_a_fault_of_the_service_is_one_answer_and_no_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def questions(client: httpx.AsyncClient) -> list[httpx.Response]:
        body, answers = json.dumps([GOOD]), []
        for broken in (True, False):
            with monkeypatch.context() as patch:
                if broken:
                    patch.setattr(batches, "in_batches", lambda *_: 1 / 0)
                answers.append(await client.post("/predict", content=body, headers=JSON))
        return [*answers, await client.get("/metrics")]

    broken, well, metrics = asked(folder / "kind.safetensors", questions)
    assert (broken.status_code, broken.json()) == (500, {"error": "the service failed; its log says why."})
    assert well.status_code == 200
    assert 'nnarray_requests_total{code="500"} 1' in metrics.text


@pytest.mark.parametrize("name", ["rows", "bytes", "waiting"])
def test_limits_are_at_least_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"--max-{name} must be an integer of at least 1; got 0"):
        Limits(**{name: 0})


# --- The same bits ---------------------------------------------------------------------------------------------------


def test_the_batch_is_the_largest_in_which_places_do_not_matter() -> None:
    def placed(X: np.ndarray) -> np.ndarray:
        return X + (np.arange(len(X)) > 5)[:, None]

    assert batch_size(placed, (3,)) == 4
    assert batch_size(lambda X: X, (3,)) == 64
    assert batch_size(lambda X: X[:, 0, 0, :], (4, 4, 3)) == 8
    assert batch_size(lambda X: X + np.arange(len(X))[:, None], (3,)) == 1


def test_every_batch_is_of_one_size() -> None:
    sizes = []

    def compute(X: np.ndarray) -> np.ndarray:
        sizes.append(len(X))
        return 2 * X

    X = np.arange(26.0).reshape(13, 2)
    assert np.array_equal(in_batches(compute, X, 4), 2 * X)
    assert sizes == [4] * 4


def test_a_row_has_the_same_bits_in_any_company(be: nn.Backend, folder: Path) -> None:
    pipeline = nn.load_pipeline(folder / "kind.safetensors", backend=be, dtype="float32")
    X = np.random.default_rng(0).normal(size=(150, *pipeline.inputs.input_shape))

    async def run() -> tuple[np.ndarray, list[list[np.ndarray]]]:
        batcher = Batcher(pipeline.model)
        running = asyncio.create_task(batcher.run())
        alone = np.concatenate([await batcher.outputs(X[i : i + 1]) for i in range(len(X))])
        ways = []
        for lengths in ([150], [1] * 150, [7] * 21 + [3], [100, 1, 49]):
            ends = np.cumsum(lengths)
            ways.append(
                await asyncio.gather(*(batcher.outputs(X[e - n : e]) for e, n in zip(ends, lengths, strict=True)))
            )
        running.cancel()
        return alone, ways

    alone, ways = asyncio.run(run())
    for outputs in ways:
        assert np.array_equal(np.concatenate(outputs), alone)
    assert np.allclose(alone, outputs_on_host(pipeline.model, X), rtol=1e-4, atol=1e-4)


def test_requests_that_come_together_are_computed_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []

    async def run() -> None:
        model = nn.load_pipeline(folder / "kind.safetensors", backend="numpy").model
        batcher = Batcher(model, computed.append)
        X = np.zeros((1300, *model.input_shape))
        waiting = [asyncio.create_task(batcher.outputs(X[:n])) for n in (1, 2, 3, 600, 1300)]
        await asyncio.sleep(0)
        running = asyncio.create_task(batcher.run())
        assert [len(outputs) for outputs in await asyncio.gather(*waiting)] == [1, 2, 3, 600, 1300]
        running.cancel()

    asyncio.run(run())
    assert computed == [6, 512, 88, 512, 512, 276]


# --- The command -----------------------------------------------------------------------------------------------------


@contextmanager
def served(model: Path, *words: str) -> Generator[tuple[Any, int]]:
    with started(*NNARRAY, "serve", str(model), "--port", "0", "--backend", "numpy", *words) as process:
        said = process.stdout.readline()
        found = re.fullmatch(rf"{model.name} answers at http://127\.0\.0\.1:(\d+); Ctrl-C ends it\n", said)
        assert found, (said, process.stderr.read())
        yield process, int(found[1])


def ask(port: int, rows: list[Any]) -> tuple[int, Any]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=LIMIT)) as connection:
        connection.request("POST", "/predict", json.dumps(rows), JSON)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_is_accepted_is_answered_before_the_end(number: int, folder: Path) -> None:
    """The server has the head of a request and a part of its body when the signal comes; the rest comes later."""
    body = json.dumps([GOOD] * 3).encode()
    with served(folder / "kind.safetensors") as (process, port):
        status, wanted = ask(port, [GOOD] * 3)
        assert status == 200
        with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client:
            head = f"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            client.sendall(head + body[:20])
            time.sleep(0.5)
            process.send_signal(number)
            time.sleep(0.5)
            assert process.poll() is None
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", port), timeout=LIMIT).close()
            client.sendall(body[20:])
            answer = b""
            while more := client.recv(65_536):
                answer += more
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == wanted
        _, complained = process.communicate(timeout=LIMIT)
        assert (process.returncode, complained) == (0, "")


def test_a_body_that_never_comes_does_not_hold_the_end_up(folder: Path) -> None:
    with (
        served(folder / "kind.safetensors", "--stop-seconds", "2") as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client,
    ):
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: 500\r\n\r\n[{")
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        answer = b""
        while more := client.recv(65_536):
            answer += more
        _, complained = process.communicate(timeout=LIMIT)
        assert time.monotonic() - began < 15  # without a bound, the 30 seconds of a slow body
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert "the service ends, and the body has not come" in answer.decode()
        assert (process.returncode, complained) == (0, "")


HEAD = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
BROKEN = {
    "nothing": b"",
    "a part of the head": HEAD[:30],
    "a part of the body": HEAD + b"Content-Length: 500\r\n\r\n[{",
    "no HTTP": b"\x16\x03\x01\x02\x00" + bytes(200),
    "a head without an end": HEAD + b"X: " + b"x" * 100_000,
    "a body without a length": HEAD + b"\r\n",
    "a wrong length": HEAD + b"Content-Length: -1\r\n\r\n[]",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
    "chunks that are none": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n[]",
    "bytes in the address": b"POST /predict?unknown=%ff%00 HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n[]",
    "two requests at once": 2 * (HEAD + b"Content-Length: 2\r\n\r\n[]"),
}


def test_broken_connections_do_no_harm(folder: Path) -> None:
    """Each is closed, half closed and reset by its client; nothing stays open, and nothing is reported as a fault."""
    with served(folder / "kind.safetensors") as (process, port):
        wanted = ask(port, [GOOD])
        descriptors = Path(f"/proc/{process.pid}/fd")
        before = len(list(descriptors.iterdir())) if descriptors.exists() else 0
        for _ in range(5):
            for sent in BROKEN.values():
                for end in ("close", "half", "reset"):
                    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client:
                        client.sendall(sent)
                        if end == "half":
                            client.shutdown(socket.SHUT_WR)
                            with suppress(ConnectionError):
                                while client.recv(65_536):
                                    pass
                        elif end == "reset":
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert ask(port, [GOOD]) == wanted
        with closing(HTTPConnection("127.0.0.1", port, timeout=LIMIT)) as connection:
            connection.request("GET", "/metrics")
            metrics = connection.getresponse().read().decode()
        assert "nnarray_waiting_requests 0" in metrics
        assert 'code="500"' not in metrics
        deadline = time.monotonic() + LIMIT
        while before and len(list(descriptors.iterdir())) > before + 1:  # the last ones may still be closing
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, complained = process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    assert "Traceback" not in complained


def fails(code: int, *words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], prog_name="nnarray")
    assert done.exit_code == code, done.output
    (line,) = done.stderr.splitlines()
    return line


def test_wrong_calls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = folder / "kind.safetensors"
    assert "there is no file" in fails(1, "serve", folder / "none.safetensors")
    assert "--port must be from 0 to 65535; got 70000" in fails(2, "serve", model, "--port", 70_000)
    assert "--max-rows must be an integer of at least 1; got 0" in fails(2, "serve", model, "--max-rows", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = fails(1, "serve", model, "--port", port)
        assert f"127.0.0.1:{port} cannot be listened at: address already in use; choose another --port" in line
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "a web service needs uvicorn; pip install 'nnarray[serve]'" in fails(1, "serve", model)


def test_listening_to_others_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    async def started(server: Any) -> None:
        async with server.config.app.router.lifespan_context(server.config.app):
            server.started = True

    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: asyncio.run(started(server)))
    words = ("serve", str(folder / "kind.safetensors"), "--port", "0", "--backend", "numpy")
    here = CliRunner().invoke(app, [*words], prog_name="nnarray")
    others = CliRunner().invoke(app, [*words, "--host", "0.0.0.0"], prog_name="nnarray")
    assert (here.exit_code, here.stderr, others.exit_code) == (0, "", 0)
    assert "others can reach this address, without encryption or a password; put it behind a proxy" in others.stderr
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert serve_command.LOCAL[0] == "127.0.0.1"
    assert payloads.JSON == "application/json"


def test_a_service_that_does_not_start_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    words = ("serve", folder / "kind.safetensors", "--port", "0", "--backend", "numpy")
    with monkeypatch.context() as patch:
        patch.setattr(uvicorn.Server, "run", lambda server, sockets: None)
        assert "the service has not started" in fails(1, *words)
    monkeypatch.setattr("nnarray.apps.service.application.Batcher", lambda *_: 1 / 0)
    assert fails(1, *words) == "nnarray: division by zero"


def test_workers_are_processes_of_their_own(folder: Path) -> None:
    said = fails(2, "serve", folder / "kind.safetensors", "--workers", "4")
    assert "--workers 4: a service is one process. Start several, each with its own --port, behind a proxy" in said


def test_the_log_has_each_request_and_why_it_was_refused(folder: Path, tmp_path: Path) -> None:
    """The log goes on in a new file after it was moved away."""
    file = tmp_path / "a.log"
    with served(folder / "kind.safetensors", "--log-file", str(file)) as (process, port):
        assert ask(port, [GOOD])[0] == 200
        with closing(HTTPConnection("127.0.0.1", port, timeout=LIMIT)) as probe:
            probe.request("GET", "/health")
            assert probe.getresponse().status == 200
        first = file.rename(tmp_path / "a.log.1")
        assert ask(port, [{**GOOD, "colour": "pink"}])[0] == 422
        process.send_signal(signal.SIGTERM)
        said, complained = process.communicate(timeout=LIMIT)
    assert (process.returncode, said, complained) == (0, "", "")
    before, after = first.read_text(), file.read_text()
    assert (
        f"INFO nnarray {nn.__version__} serves {folder / 'kind.safetensors'} at http://127.0.0.1:{port}: Pip" in before
    )
    digest = sha256((folder / "kind.safetensors").read_bytes()).hexdigest()
    assert f"INFO the file has the sha256 {digest}, its training ended: 20" in before
    assert '- "POST /predict HTTP/1.1" 200' in before
    assert "DEBUG refused, 422: row 1, column 'colour': 'pink' is not a category" in after
    assert re.search(r"refused, 422: .* \(127\.0\.0\.1:\d+\)\n", after)
    assert "/health" not in before
    assert '- "POST /predict HTTP/1.1" 422' in after
    assert "Application shutdown complete" in after
