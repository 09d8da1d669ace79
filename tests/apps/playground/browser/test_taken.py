"""The playground in a browser: what is taken along, the user's own model, and how the server ends."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nnarray as nn
from nnarray.apps.playground.limits import Limits
from nnarray.apps.playground.server import Server
from nnarray.apps.playground.session import Session
from tests.apps.playground.browser.screen import Screen, playground
from tests.processes import run_python

pytestmark = pytest.mark.browser

ROW = re.compile(r"^(\d+) (\S+)$", re.MULTILINE)


def taken(screen: Screen, name: str, folder: Path) -> Path:
    """The file that a button gives."""
    with screen.page.expect_download() as download:
        screen.page.get_by_role("button", name=name, exact=True).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_as_python_gives_the_same_losses(screen: Screen) -> None:
    screen.step(2)
    screen.choose("Learning rate", "0.03")
    screen.until(lambda: screen.settings["training"]["options"] == {"lr": 0.03}, "the other rate")
    screen.step(2)
    screen.click("[data-key=more1]")
    screen.until(lambda: screen.store("store.network[0].units") == 9, "another neuron")
    screen.run(20)
    screen.pause()
    screen.tab("take")
    code = screen.until(lambda: screen.text("#panel-take code"), "the script")
    (curve,) = [event for event in screen.send("{ type: 'hello' }") if event["type"] == "curve"]
    losses = dict(zip(curve["epochs"], curve["loss"], strict=True))
    assert len(losses) == screen.epoch > 24
    printed = ROW.findall(run_python(code).stdout)
    assert [int(epoch) for epoch, _ in printed] == [*range(1, screen.epoch + 1)]
    assert all(losses[int(epoch)] == pytest.approx(float(loss), rel=1e-8) for epoch, loss in printed)  # nine digits


def test_the_model_and_the_pictures_are_files(screen: Screen, tmp_path: Path) -> None:
    screen.step(3)
    screen.tab("take")
    model: Any = nn.load(taken(screen, "Model as a file", tmp_path))
    (probe,) = screen.send("{ type: 'probe', at: [0.3, -0.2] }")
    outputs = np.asarray(model(np.asarray([[0.3, -0.2]], dtype=np.float32)))[0].tolist()
    assert outputs == pytest.approx(probe["outputs"], rel=1e-5)
    picture = Image.open(taken(screen, "Output as PNG", tmp_path)).convert("RGB")
    box = screen.page.locator(".plot canvas").bounding_box()
    assert picture.size == (round(box["width"]), round(box["height"]))
    assert len(picture.getcolors(1_000_000)) > 100
    drawn = taken(screen, "Network as SVG", tmp_path).read_text("utf-8")
    assert drawn.count("<path") >= 2 * 8 + 8 * 2
    screen.page.get_by_role("button", name="Record a GIF").click()
    screen.run(3)
    with Image.open(taken(screen, "Save the GIF", tmp_path)) as film:
        assert film.n_frames > 1


def test_your_own_model_and_arrays(tab: Callable[..., Screen]) -> None:
    be = nn.backend("numpy")
    X, y = nn.datasets.circles(120, noise=0.05, seed=3, backend=be)
    network = nn.Network(nn.Dense(5, "tanh"), nn.Dense(3, "tanh"), nn.Dense(2))
    model = network.init((2,), seed=4, dtype="float32", backend=be)
    before = model.theta.copy()
    page = nn.playground(model, (X, y), browser=False)
    try:
        screen = tab().open(page.url)
        assert screen.store("[store.network[0].inputs, ...store.network.map(({ units }) => units)]") == [2, 5, 3, 2]
        assert screen.store("[...store.network[1].weight]") == np.ravel(model.params["1.weight"]).tolist()
        rows = screen.store("[...store.data.train, ...store.data.test]")
        assert sorted(row[2] for row in rows) == sorted(map(float, y))
        screen.step(2)
        assert screen.store("store.settings.data.kind") == "arrays"
        assert (model.theta == before).all()
        screen.page.get_by_role("button", name="Reset").click()
        screen.until(lambda: screen.epoch == 0, "the first weights")
        assert screen.store("[...store.network[1].weight]") == np.ravel(model.params["1.weight"]).tolist()
        screen.page.goto("about:blank")
    finally:
        page.close()


def test_ctrl_c_ends_the_server_and_the_page_says_so(tab: Callable[..., Screen]) -> None:
    screen = tab()
    screen.expected = "Failed to load resource: net::ERR_"
    with playground() as (process, url):
        screen.open(url).run(2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Traceback" not in process.stderr.read()
        toast = screen.page.wait_for_selector(".toast").inner_text()
    assert "connection to nnarray was lost" in toast


def test_with_the_last_tab_the_server_ends(tab: Callable[..., Screen]) -> None:
    server = Server(Session, limits=Limits(exit_after=0.3), exit_on_close=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        first, second = tab().open(server.url), tab().open(server.url)
        first.page.goto("about:blank")
        second.until(lambda: len(server.rooms) == 1, "the end of the first session")
        second.run(2)
        second.page.wait_for_timeout(800)  # longer than the server waits for another page
        assert thread.is_alive()
        second.page.goto("about:blank")
        thread.join(20)
        assert not thread.is_alive()
    finally:
        server.shutdown()
        server.server_close()


def test_a_page_without_the_token_is_refused(tab: Callable[..., Screen], address: str) -> None:
    screen = tab()
    screen.expected = "status of 403"
    screen.page.goto(address.partition("?")[0])
    toast = screen.page.wait_for_selector(".toast").inner_text()
    assert "Open the address" in toast
    assert screen.page.locator(".neuron").count() == 0
    other = screen.page.evaluate(FOREIGN, [address, json.dumps({})])
    assert other == 403


FOREIGN = """([address, body]) => {
  const { origin, searchParams } = new URL(address), path = `${origin}/open?token=${searchParams.get("token")}x`;
  return fetch(path, { method: "POST", body }).then(({ status }) => status);
}"""
