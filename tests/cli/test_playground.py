"""`nnarray playground`: it prints its address, answers, and ends on Ctrl-C or with its last page."""

from __future__ import annotations

import json
import re
import signal
from urllib.request import Request, urlopen

from typer.testing import CliRunner

from nnarray.cli import app
from tests.processes import LIMIT, NNARRAY, started

ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/\?token=([\w-]+)")


def post(address: str, token: str, path: str) -> dict[str, object]:
    headers = {"Content-Type": "application/json", "X-Playground-Token": token}
    with urlopen(Request(address + path, b"{}", headers), timeout=LIMIT) as answer:
        return dict(json.loads(answer.read()))


def test_it_answers_and_ends_on_ctrl_c() -> None:
    with started(*NNARRAY, "playground", "--no-browser", "--backend", "numpy") as process:
        assert process.stdout is not None
        found = ADDRESS.search(process.stdout.readline())
        assert found
        address, token = found.groups()
        with urlopen(address, timeout=LIMIT) as answer:
            assert b"<title>" in answer.read()
        assert post(address, token, "/open")["session"]
        process.send_signal(signal.SIGINT)
        _, complained = process.communicate(timeout=LIMIT)
    assert (process.returncode, complained) == (130, "nnarray: interrupted\n")


def test_it_ends_with_its_last_page() -> None:
    with started(*NNARRAY, "playground", "--no-browser", "--exit-on-close", "--backend", "numpy") as process:
        assert process.stdout is not None
        found = ADDRESS.search(process.stdout.readline())
        assert found
        address, token = found.groups()
        session = post(address, token, "/open")["session"]
        post(address, token, f"/session/{session}/close")
        _, complained = process.communicate(timeout=LIMIT)
    assert (process.returncode, complained) == (0, "")


def test_wrong_arguments_are_one_line() -> None:
    done = CliRunner().invoke(app, ["playground", "--port", "70000", "--no-browser"])
    assert done.exit_code == 2
    assert "--port must be from 0 to 65535; got 70000." in done.output
    done = CliRunner().invoke(app, ["playground", "--backend", "numpi", "--no-browser"])
    assert done.exit_code == 2
    assert "numpi" in done.output
