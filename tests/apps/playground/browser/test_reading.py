"""The playground in a browser: what a reader sees, by keyboard too, in both languages, on a phone and in the dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.apps.playground.browser.screen import Screen, is_blue, is_orange

pytestmark = pytest.mark.browser

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TABS = ("happening", "explain", "inside", "take")
WIDTHS = (390, 768, 1280, 1920)
NUMBER = re.compile(r"[\d.]+")


def violations(screen: Screen) -> list[str]:
    """What axe finds."""
    from axe_playwright_python.sync_playwright import Axe

    options = {"runOnly": RULES, "resultTypes": ["violations"]}
    found = Axe().run(screen.page, options=options).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_no_fault(tab: Callable[..., Screen], address: str, width: int, theme: str) -> None:
    phone: dict[str, Any] = {"is_mobile": True, "has_touch": True} if width < 500 else {}
    screen = tab(viewport={"width": width, "height": 900}, color_scheme=theme, **phone).open(address)
    screen.step(2)
    ready = {"explain": "#panel-explain .arithmetic", "inside": "#histograms canvas", "take": "#panel-take code"}
    for name in TABS:
        screen.page.eval_on_selector(f"#tab-{name}", "(button) => button.click()")
        screen.page.wait_for_selector(ready.get(name, ".notes li"), state="attached")
    screen.page.evaluate("document.querySelectorAll('[role=tabpanel]').forEach((each) => { each.hidden = false; })")
    assert violations(screen) == []  # of all panels at once


def test_nothing_is_wider_than_the_window(screen: Screen) -> None:
    for width in WIDTHS:
        screen.page.set_viewport_size({"width": width, "height": 900})
        for name in TABS:
            screen.page.eval_on_selector(f"#tab-{name}", "(button) => button.click()")
            wide, window = screen.drawn().page.evaluate(
                "(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth])(document.documentElement)"
            )
            assert wide <= window, (width, name)


def test_the_point_under_the_pointer(screen: Screen) -> None:
    screen.step(2)
    ((x, y),) = screen.places([[0.2, -0.4]])
    screen.page.locator(".plot canvas").hover(position={"x": x, "y": y})
    screen.until(lambda: "At x₁ =" in screen.text(".readout"), "the numbers at the point")
    at, probabilities = screen.store("[store.probe.at, store.probe.probabilities]")
    assert at == pytest.approx([0.2, -0.4], abs=0.02)
    shown = [
        float(text)
        for text in NUMBER.findall(screen.text(".readout .bars").replace("class 0", "").replace("class 1", ""))
    ]
    assert shown == pytest.approx([100 * p for p in probabilities], abs=0.06)
    outputs = screen.store("store.probe.outputs")
    assert sum(probabilities) == pytest.approx(1.0)
    assert (outputs[1] > outputs[0]) == (probabilities[1] > 0.5)
    path = screen.image("#network canvas")
    screen.page.mouse.move(5, 5)
    screen.until(lambda: screen.store("store.probe") is None, "no point")
    screen.until(lambda: screen.image("#network canvas") != path, "the network without numbers")


def test_the_plane_has_the_colours_of_the_classes(screen: Screen) -> None:
    first = screen.image(".plot canvas")
    screen.choose("Learning rate", "0.03")
    screen.run(60)
    screen.pause()
    assert screen.image(".plot canvas") != first
    screen.page.get_by_label("Show test data").click()
    corners = screen.store(
        "store.data.range.map(([low, high]) => [low + 0.04 * (high - low), high - 0.04 * (high - low)])"
    )
    (x_low, x_high), (y_low, y_high) = corners
    top, bottom = screen.plane([[x_low, y_high], [x_high, y_low]])  # outside the two moons
    assert is_orange(top)
    assert is_blue(bottom)


def test_one_step_is_explained_with_its_numbers(screen: Screen) -> None:
    screen.step(1)
    screen.tab("explain")
    screen.page.wait_for_selector("#panel-explain table.numbers")
    checks = screen.page.locator("#panel-explain td.ok").all_inner_texts()
    assert len(checks) == 4  # the weights and the biases of two layers
    assert screen.page.locator("#panel-explain td.bad").count() == 0
    lines = ".arithmetic, .arithmetic p, .formula"
    for width, texts in ((1280, f"{lines}, .scroll"), (390, lines)):  # long ones are broken, not cut
        screen.page.set_viewport_size({"width": width, "height": 900})
        assert screen.page.evaluate(CUT, texts) == []
    loss = screen.store("store.explanation.loss")
    assert f"Loss = {loss:.3g}".rstrip("0") in screen.text("#panel-explain")
    example, row = 7, screen.store("store.data.train[7]")
    screen.page.locator("#panel-explain input").fill(str(example))
    screen.page.locator("#panel-explain input").press("Enter")
    screen.until(lambda: screen.store("store.explanation.inputs[0]") == pytest.approx(row[0]), "the other example")
    assert screen.store("store.explained") == example


CUT = """(texts) => [...document.querySelectorAll(`#panel-explain :is(${texts})`)]
  .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth).map((each) => each.textContent)"""


def test_histograms_and_gradients_are_drawn(screen: Screen) -> None:
    screen.tab("inside")
    screen.run(5)
    screen.page.wait_for_selector("#histograms canvas")
    charts = screen.page.locator("#histograms canvas")
    screen.until(lambda: charts.count() == 6, "three histograms of each of two layers")
    screen.until(
        lambda: (
            len(
                {
                    screen.page.evaluate("(k) => document.querySelectorAll('#histograms canvas')[k].toDataURL()", k)
                    for k in range(6)
                }
            )
            == 6
        ),
        "six different histograms",
    )
    counts = screen.store("store.frame.histograms.map(({ counts }) => counts.reduce((a, b) => a + b, 0))")
    assert counts[0] == 16  # the weights of 2 inputs and 8 units
    assert screen.store("[...store.history.norms.keys()]") == ["hidden1", "output"]


def test_by_keyboard_alone(screen: Screen) -> None:
    press = screen.page.keyboard.press
    screen.page.focus(".drive .main")
    press("Space")
    screen.until(lambda: screen.epoch > 2, "the training")
    press("Space")
    screen.until(lambda: "Paused" in screen.text("#state"), "the pause is said")
    screen.page.focus("[data-key=neuron1-0]")
    press("ArrowDown")
    press("Enter")
    screen.page.wait_for_selector(".editor")
    weight, before = screen.store("store.network[0].weight[1]"), screen.image("#network canvas")
    press("ArrowRight")
    press("ArrowRight")
    screen.until(lambda: screen.store("store.network[0].weight[1]") != weight, "another weight")
    screen.until(lambda: screen.image("#network canvas") != before, "another image")
    press("Escape")
    assert screen.page.evaluate("document.activeElement.dataset.key") == "neuron1-1"
    screen.page.focus(".plot canvas")
    press("ArrowRight")
    screen.until(lambda: screen.page.locator(".readout .bars i").count() == 2, "the probabilities")
    press("Escape")
    screen.until(lambda: screen.store("store.probe") is None, "no point")


TEXTS = """[..."h2, h3, p, dt, b, summary, label > span:not(:has(code)), .tabs button, .drive button".split(", ")]
  .flatMap((each) => [...document.querySelectorAll(each)])
  .map((each) => each.textContent.trim()).filter((text) => /[A-Za-z]{3}/.test(text))"""


def test_both_languages(screen: Screen, tab: Callable[..., Screen], address: str) -> None:
    english = screen.page.evaluate(TEXTS)
    assert len(english) > 40
    screen.page.locator("#language").select_option("ja")
    screen.until(lambda: screen.store("store.hello.language") == "ja", "Japanese")
    screen.until(lambda: "The weights" not in screen.text("#below"), "the words below")
    assert screen.page.evaluate("document.documentElement.lang") == "ja"
    assert {*screen.page.evaluate(TEXTS)} & {*english} == set()
    screen.page.locator("#language").select_option("en")
    screen.until(lambda: screen.page.evaluate(TEXTS) == english, "English again")
    assert "学習率" in tab(language="ja-JP").open(address).text("#bar")


def test_the_dark_theme_is_dark(screen: Screen) -> None:
    corner = [[40, 12]]
    (light,) = screen.pixels("#network canvas", [[1, 1]])
    (plot,) = screen.pixels(".plot canvas", corner)
    screen.click("#theme")
    screen.until(lambda: screen.pixels(".plot canvas", corner)[0] != plot, "other colours")
    dark = screen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", dark))) < 60
    assert sum(screen.pixels(".plot canvas", corner)[0][:3]) < sum(plot[:3])
    assert light[3] == 0  # the network is drawn on the page itself
    screen.page.reload()
    screen.page.wait_for_selector(".neuron")
    assert screen.page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("name", ["A neuron", "Training", "Images"])
def test_a_tour_leads_through_its_steps(screen: Screen, name: str) -> None:
    screen.page.get_by_role("button", name="Tours").click()
    screen.page.locator("#tours li button", has_text=name).first.click()
    seen = set()
    while screen.page.locator(".tour").count():
        seen.add(screen.text(".tour p"))
        assert screen.page.locator(".lit").count() == 1
        screen.click(".tour .main")
    assert len(seen) == 6
    assert screen.page.locator(".lit").count() == 0
