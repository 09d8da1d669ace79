"""The playground in a browser: training, and changes while it trains."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.apps.playground.browser.screen import Screen, is_blue, is_orange

pytestmark = pytest.mark.browser

PLANE = "store.frame.grid.numbers"


def test_spirals_are_learned_with_the_mouse_alone(screen: Screen) -> None:
    screen.click("[data-kind=spirals]")
    screen.until(lambda: screen.settings["data"]["kind"] == "spirals", "spirals")
    screen.page.locator("#data input[type=range]").first.click(position={"x": 12, "y": 12})  # a little noise
    screen.click("#network .head .round:last-child")
    screen.click(*["[data-key=more1]"] * 4, *["[data-key=more2]"] * 4)
    screen.until(lambda: screen.store("store.network.map(({ units }) => units)") == [12, 8, 2], "the neurons")
    screen.page.get_by_role("button", name="Reset").click()
    screen.run()
    screen.until(lambda: screen.figure(2) >= 99.0, "an accuracy of 99 %")
    screen.pause()
    assert screen.figure(2) >= 99.0
    screen.page.get_by_label("Classes only").click()
    screen.page.get_by_label("Show test data").click()
    assert painted_as_predicted(screen) > 150
    assert right_on_the_plane(screen) >= 0.98


def painted_as_predicted(screen: Screen) -> int:
    """Compare the colours of the plane, away from marks and the boundary, with the probabilities of the frame."""
    numbers, size, (x_range, y_range) = screen.store(f"[[...{PLANE}], store.frame.grid.shape.at(-1), store.data.range]")
    places = screen.places(screen.store("store.data.train"))
    draw, cells, points = random.Random(0), [], []
    for _ in range(1200):
        i, j = draw.randrange(2, size - 2), draw.randrange(2, size - 2)
        around = [numbers[(j + b) * size + i + a] for a in (-1, 0, 1) for b in (-1, 0, 1)]
        if min(around) > 140 or max(around) < 115:
            cells.append(numbers[j * size + i] > 127)
            points.append([low + k / (size - 1) * (high - low) for k, (low, high) in ((i, x_range), (j, y_range))])
    compared = 0
    at = screen.places(points)
    for is_one, (x, y), pixel in zip(cells, at, screen.pixels(".plot canvas", at), strict=True):
        if min((x - px) ** 2 + (y - py) ** 2 for px, py in places) > 64:
            assert is_blue(pixel) if is_one else is_orange(pixel), (x, y, pixel)
            compared += 1
    return compared


def right_on_the_plane(screen: Screen) -> float:
    """The fraction of the training examples on whose nearest point of the plane the class is right."""
    numbers, size, ranges = screen.store(f"[[...{PLANE}], store.frame.grid.shape.at(-1), store.data.range]")
    rows = screen.store("store.data.train")
    right = 0
    for *x, label in rows:
        i, j = (round((v - low) / (high - low) * (size - 1)) for v, (low, high) in zip(x, ranges, strict=True))
        right += (numbers[j * size + i] > 127) == (label > 0.5)
    return right / len(rows)


def test_another_learning_rate_while_it_trains(screen: Screen) -> None:
    screen.run(30)
    before = screen.figure(0)
    screen.choose("Learning rate", "0.0001")
    screen.until(lambda: screen.settings["training"]["options"] == {"lr": 0.0001}, "the other rate")
    changed_at = screen.epoch
    screen.until(lambda: screen.epoch > changed_at + 5, "further epochs")
    assert screen.store("store.running")
    assert screen.store("store.frame.lr") == pytest.approx(0.0001)
    screen.choose("Learning rate", "0.03")
    screen.until(lambda: screen.figure(0) < before, "a lower loss")
    screen.pause()
    epochs = screen.store("store.history.seen.map((row) => row[0])")
    assert epochs == sorted(epochs)
    assert epochs[0] < 30  # the curve is still that of the first epochs, too


def test_each_setting_of_the_bar_changes_while_it_trains(screen: Screen) -> None:
    screen.page.get_by_role("button", name="More settings").click()
    screen.run()
    fields = screen.page.locator("#bar select:visible")
    labels = screen.page.locator("#bar label.field:has(select):visible")
    names = [text.split("\n")[0] for text in labels.all_inner_texts()]
    assert len(names) == fields.count() >= 13
    for k, name in enumerate(names):
        if name == "Seed of the weights":  # a reset, which begins again at epoch 0
            continue
        other_setting(screen, fields.nth(k), name)
    assert screen.store("store.running")


def other_setting(screen: Screen, field: Any, name: str) -> None:
    """Choose another value, which the session then has, while the training continues."""
    state = "JSON.stringify(store.settings)"
    values = field.evaluate("(list) => [...list.options].map(({ value }) => value)")
    before, now = screen.store(state), field.input_value()
    other = next(value for value in reversed(values) if value not in (now, "lbfgs"))
    field.select_option(other)
    if name != "Epochs per second":
        screen.until(lambda: screen.store(state) != before, f"{name}: {other}")
    epoch = screen.epoch
    screen.until(lambda: screen.epoch > epoch, f"further epochs after {name}: {other}")
    assert field.input_value() == other, name
    if name in ("Optimizer", "Learning rate", "Schedule"):  # not to diverge with what comes next
        screen.send(f"{{ type: 'restore', settings: {before} }}")
        assert field.input_value() == now


def test_changes_in_quick_succession_are_all_made(screen: Screen) -> None:
    clicks = """() => {
      for (const button of ["more1", "more1", "more1"]) document.querySelector(`[data-key=${button}]`).click();
      for (const each of [1, 2]) document.querySelector("#network .head .round:last-child").click();
      for (const each of [1, 2]) document.querySelector("#data .head button").click();
    }"""
    screen.page.evaluate(clicks)  # before any of them is answered
    screen.choose("Activation", "relu")
    screen.page.get_by_role("button", name="More settings").click()
    screen.choose("Dropout", "0.2")
    screen.until(lambda: screen.settings["network"]["layers"][-1]["dropout"] == 0.2, "the last change")
    layers = screen.settings["network"]["layers"]
    assert [(each["units"], each["activation"], each["dropout"]) for each in layers] == [
        (11, "relu", 0.2),
        (4, "relu", 0.2),
        (4, "relu", 0.2),
    ]
    assert screen.settings["data"]["seed"] == 2


def test_a_loss_that_is_not_a_number_is_explained(screen: Screen) -> None:
    screen.choose("Optimizer", "sgd")
    screen.choose("Activation", "relu")
    screen.until(lambda: screen.settings["network"]["layers"][0]["activation"] == "relu", "relu")
    screen.send("{ type: 'set', settings: { training: { options: { lr: 1000000 } } } }")
    screen.click(".drive .main")
    screen.until(lambda: "NaN or infinite in epoch" in screen.text(".notes"), "what happened")
    assert screen.page.locator(".notes li.warning").count() == 1
    assert not screen.store("store.running")
    assert screen.page.locator(".drive .main").get_attribute("aria-label") == "Train"
    screen.page.get_by_role("button", name="Learning rate 100000").click()
    screen.until(lambda: screen.settings["training"]["options"]["lr"] == 100000, "the rate that was offered")
    screen.choose("Learning rate", "0.1")
    screen.until(lambda: screen.settings["training"]["options"]["lr"] == 0.1, "a usual rate")
    screen.run(20)
    assert screen.store("store.frame.loss.train") < 1.0


def test_it_says_that_it_prepares_while_steps_are_compiled(screen: Screen) -> None:
    # a first compilation takes long on a busy machine: its events are given here without it
    apply = "import('/page/store.js').then(({ apply }) => apply({ type: 'state', running: true, preparing: true }))"
    screen.page.evaluate(apply)
    screen.until(lambda: "preparing" in screen.text(".counter"), "that steps are prepared")
    screen.until(lambda: "preparing" in screen.text("#state"), "that it is said")
    screen.send("{ type: 'step', epochs: 1 }")
    assert "preparing" not in screen.text(".counter")
    screen.page.evaluate("import('/page/store.js').then(({ emit }) => emit('waiting', true))")  # as by other data
    screen.until(lambda: "preparing" in screen.text(".counter"), "that the change is prepared")
    screen.send("{ type: 'set', settings: {} }")
    assert "preparing" not in screen.text(".counter")


def test_a_reset_gives_the_first_image_again(screen: Screen) -> None:
    first, loss = screen.image("#network canvas"), screen.store("store.frame.loss.train")
    screen.step(3)
    screen.page.mouse.move(5, 5)
    trained = screen.until(lambda: (now := screen.image("#network canvas")) != first and now, "another image")
    screen.page.get_by_role("button", name="Reset").click()
    screen.until(lambda: screen.epoch == 0, "epoch 0")
    assert screen.store("store.frame.loss.train") == loss
    screen.page.mouse.move(5, 5)
    screen.until(lambda: screen.image("#network canvas") == first, "the first image")
    assert trained != first


def test_two_tabs_do_not_disturb_each_other(screen: Screen, tab: Callable[..., Screen], address: str) -> None:
    other = tab().open(address)
    other.click("[data-kind=circles]")
    other.until(lambda: other.settings["data"]["kind"] == "circles", "circles")
    other.drawn()
    image, loss = other.image(".plot canvas"), other.store("store.frame.loss.train")
    screen.choose("Learning rate", "0.1")
    screen.run(20)
    assert other.epoch == 0
    assert other.store("store.frame.loss.train") == loss
    assert other.image(".plot canvas") == image
    assert screen.settings["data"]["kind"] == "moons"
    other.run(3)
    assert other.settings["training"]["options"] == {"lr": 0.01}
    assert screen.store("store.running")


def test_a_weight_is_dragged(screen: Screen) -> None:
    weights = "[...store.network[0].weight]"
    before, image = screen.store(weights), screen.image("#network canvas")
    box, (x, y, _, _) = screen.page.locator("#network canvas").bounding_box(), screen.module("layout", FIRST_LINE)
    mouse = screen.page.mouse
    mouse.move(box["x"] + x + 3, box["y"] + y)
    mouse.move(box["x"] + x + 4, box["y"] + y)
    mouse.down()
    mouse.move(box["x"] + x + 4, box["y"] + y - 60, steps=4)
    mouse.up()
    screen.until(lambda: screen.store(weights) != before, "another weight")
    screen.send("{ type: 'hello' }")  # what follows is what the session has
    (change,) = [new - old for new, old in zip(screen.store(weights), before, strict=True) if new != old]
    assert change == pytest.approx(1.0, abs=0.011)  # 60 pixels; weights that are dragged have two decimals
    screen.until(lambda: screen.image("#network canvas") != image, "another image")
    assert screen.store("store.frame.step") == 0


FIRST_LINE = """import("/page/network.js").then(({ drawing }) => layout.lineOf(drawing().layout, 0, 0, 0))"""
