// The output: the decision boundary or the fitted curve, the numbers, and the curves of the training.

import { Surface, redraw } from "./canvas.js";
import { className } from "./classes.js";
import { classColor, colors } from "./colors.js";
import { lineChart } from "./charts.js";
import { send } from "./connection.js";
import { byId, h, ofLoss, onceAFrame, percent, rounded, write } from "./dom.js";
import { areImages, chooseImage, imageAt, imagesAcross, predicted, probabilitiesOf } from "./images.js";
import { inputsOf } from "./maps.js";
import { neuronName } from "./network.js";
import { axes, drawPlot, ranges } from "./plot.js";
import { emit, isFull, on, store } from "./store.js";
import { swatch } from "./swatch.js";
import { t } from "./texts.js";

const parts = {};
const shown = { test: true, hard: false, log: false };
const drawingPoints = { on: false, label: 1 };
let cursor = null; // the point that the arrow keys move, in units of the axes
let spoken = false; // whether the next numbers at the point are an answer to a key

/** Build the section, once for each language. */
export function buildOutput() {
  const canvas = h("canvas", { tabIndex: 0, role: "application" });
  Object.assign(parts, { canvas, name: h("span.small.soft"), key: h("div.legend.marks"), readout: h("div.readout"), figures: figuresOf(), charts: chartsOf() });
  const check = (name, text) => {
    const box = h("input", { type: "checkbox", checked: shown[name], onchange: () => { shown[name] = box.checked; redraw(parts.surface); } });
    return h("label.check", {}, box, text);
  };
  parts.hard = check("hard", t("out.hard"));
  parts.choices = h("div.row.choices", {}, check("test", t("out.test")), parts.hard);
  byId("output").replaceChildren(
    h("div.head", {}, h("h2", { id: "output-title" }, t("out.title")), parts.name),
    h("div.stack", {}, h("div.plot", {}, canvas), parts.key, parts.choices, parts.readout),
    h("div.stack", {}, parts.figures.box, ...Object.values(parts.charts).map(({ box }) => box)),
  );
  parts.surface = new Surface(canvas, (context, width, height) => store.data && drawPlot(context, width, height, shown, cursor));
  for (const { canvas: chart, draw: drawChart } of Object.values(parts.charts)) {
    chart.surface = new Surface(chart, drawChart);
  }
  canvas.addEventListener("pointermove", (event) => probe(pointOf(event)));
  canvas.addEventListener("pointerdown", (event) => probe(pointOf(event)));
  canvas.addEventListener("pointerleave", ({ pointerType }) => pointerType === "touch" || probe(null)); // a finger always leaves
  canvas.addEventListener("pointerup", (event) => areImages() ? chooseImage(imageAt(event.offsetX, event.offsetY, parts.surface.width)) : (drawingPoints.on ? addPoint(pointOf(event)) : emit("picked", pointOf(event))));
  canvas.addEventListener("keydown", keyDown);
  canvas.addEventListener("blur", () => probe(null));
}

function figuresOf() {
  const value = () => h("dd", {}, "–");
  const made = { train_loss: value(), test_loss: value(), train_accuracy: value(), test_accuracy: value() };
  const names = Object.fromEntries(Object.keys(made).map((key) => [key, h("dt", {}, t(`out.${key}`))]));
  return { ...made, names, box: h("dl.figures", {}, Object.entries(made).map(([key, dd]) => h("div", {}, names[key], dd))) };
}

function chartsOf() {
  const chart = (name, draw_, keys = true) => {
    const canvas = h("canvas", { role: "img", "aria-label": t(`out.${name}`) });
    const legend = keys ? [h("span.key", {}, t("out.train")), h("span.key.dashed", {}, t("out.testing"))] : [];
    const title = h("b", {}, t(`out.${name}`));
    return { canvas, title, draw: draw_, box: h("figure.chart", {}, h("figcaption", {}, title, ...legend, name === "loss" ? logBox() : null), canvas) };
  };
  return { loss: chart("loss", drawLoss), accuracy: chart("accuracy", drawAccuracy) };
}

function logBox() {
  const box = h("input", { type: "checkbox", checked: shown.log, onchange: () => { shown.log = box.checked; redraw(parts.charts.loss.canvas.surface); } });
  return h("label.check.small", {}, box, t("out.log"));
}

function pointOf(event) {
  if (!store.data || areImages()) return null;
  const { x, y, width, height } = parts.canvas.getBoundingClientRect();
  return axes(width, height).back(event.clientX - x, event.clientY - y);
}

// --- The point under the pointer ------------------------------------------------------------------------------------

const probe = onceAFrame((at) => {
  cursor = at && clamped(at);
  if (cursor) send({ type: "probe", at: cursor.slice(0, inputsOf()) }, "probe");
  else if (store.probe) {
    store.probe = null;
    emit("probe", null);
  }
  redraw(parts.surface);
});

/** Choose a point, as if the pointer were there. */
export const probeAt = (at) => probe(at);

const clamped = (at) => ranges().map(([low, high], k) => Math.min(high, Math.max(low, at[k])));

function keyDown(event) {
  if (areImages()) return imageKey(event);
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const middle = ranges().map(([low, high]) => (low + high) / 2);
  if (event.key in moves) {
    event.preventDefault();
    const each = event.shiftKey ? 0.1 : 0.02;
    spoken = true;
    probe((cursor ?? middle).map((v, k) => v + moves[event.key][k] * each * (ranges()[k][1] - ranges()[k][0])));
  } else if ((event.key === "Enter" || event.key === " ") && drawingPoints.on) {
    event.preventDefault();
    addPoint(cursor ?? middle);
  } else if (event.key === "Escape") probe(null);
  return undefined;
}

function imageKey(event) {
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -imagesAcross(), ArrowDown: imagesAcross() }[event.key];
  if (!by) return;
  event.preventDefault();
  chooseImage(store.image + by);
}

/** Switch the drawing of points by click on or off, and choose their class. */
export function drawPoints(on_, label) {
  Object.assign(drawingPoints, { on: on_, label });
}

function addPoint(at) {
  if (!at) return;
  const [a, b] = clamped(at).map((v) => Number(v.toPrecision(5)));
  send({ type: "draw", points: [[a, b, drawingPoints.label]] });
  emit("say", t("state.added", { k: drawingPoints.label }));
}

function showReadout() {
  const { probe: at } = store, two = inputsOf() === 2;
  const name = t(areImages() ? "out.plot.images" : two ? "out.plot" : "out.plot.curve");
  if (parts.canvas.ariaLabel !== name) parts.canvas.ariaLabel = name;
  if (areImages()) return showImage();
  if (!at || !cursor) {
    if (!parts.readout.querySelector(".soft")) parts.readout.replaceChildren(h("p.soft", {}, ""));
    return write(parts.readout.firstChild, t(two ? "out.hover" : "out.hover.curve"));
  }
  const [x, y] = at.at.map((v) => rounded(v));
  if (!at.probabilities) {
    const key = two ? "out.point.plane" : "out.point.curve";
    return parts.readout.replaceChildren(h("p", {}, t(key, { x, y: two ? y : rounded(at.outputs[0]), z: rounded(at.outputs[0]) })));
  }
  return parts.readout.replaceChildren(h("p", {}, t(two ? "out.point" : "out.point.one", { x, y })), barsOf(at.probabilities));
}

function barsOf(probabilities) {
  return h("div.bars", {}, probabilities.flatMap((p, k) => {
    const bar = h("b");
    bar.style.transform = `scaleX(${p})`;
    bar.style.background = classColor(k);
    return [h("span", {}, className(k)), h("i", {}, bar), h("span", {}, percent(p))];
  }));
}

/** What is predicted for the chosen image, and what it is. */
function showImage() {
  const { image, frame, data: { sheet: { labels } } } = store;
  if (!frame?.grid || frame.grid.shape.length !== 2) return;
  const text = t(predicted(image) === labels[image] ? "out.image.right" : "out.image.wrong", { k: image + 1, label: className(labels[image]) });
  parts.readout.replaceChildren(h("p", {}, text), barsOf(probabilitiesOf(image)));
}

// --- Numbers and curves ---------------------------------------------------------------------------------------------

const column = (k) => store.history.seen.map((row) => row[k]);

const lines = (train, test) => [
  { x: column(0), y: column(test), color: colors.negative, dash: [5, 4], width: 2 },
  { x: column(0), y: column(train), color: colors.ink, width: 1.75 },
];

function drawLoss(context, width, height) {
  lineChart(context, width, height, lines(1, 2), { log: shown.log, low: shown.log ? undefined : 0, empty: t("out.empty") });
}

function drawAccuracy(context, width, height) {
  const classes = store.data?.task === "classes";
  const least = classes ? Math.max(0, Math.min(0.4, ...column(3).filter(Number.isFinite))) : Math.max(-1, Math.min(0, ...column(3)));
  const format = classes ? (v) => `${Math.round(100 * v)} %` : rounded;
  lineChart(context, width, height, lines(3, 4), { low: least, high: 1, format, empty: t("out.empty") });
}

function showFrame() {
  const { frame, data } = store;
  if (!frame || !data) return;
  const classes = data.task === "classes", score = classes ? percent : (v) => rounded(v);
  const { figures } = parts;
  write(figures.train_loss, ofLoss(frame.loss?.train));
  write(figures.test_loss, ofLoss(frame.loss?.test));
  write(figures.train_accuracy, score(frame.accuracy?.train ?? NaN));
  write(figures.test_accuracy, score(frame.accuracy?.test ?? NaN));
  redraw(parts.surface);
  if (areImages()) showReadout();
  for (const { canvas } of Object.values(parts.charts)) redraw(canvas.surface);
  if (cursor) send({ type: "probe", at: cursor.slice(0, inputsOf()) }, "probe");
}

/** What the marks of the plot mean. */
function showKey() {
  const { task, classes } = store.data;
  if (areImages()) return parts.key.replaceChildren(...classes.map((_, k) => h("span", {}, swatch(k), className(k))), h("span", {}, `✗ ${t("out.wrong")}`));
  const own = (k, text, hollow) => h("span", {}, swatch(k, hollow), text);
  const names = task === "classes" ? classes.slice(0, 8).map((_, k) => own(k, className(k))) : [own(0, t("out.train"))];
  const curves = task === "values" && inputsOf() === 1 ? [h("span.key.fit", {}, t("out.fit")), store.data.truth && h("span.key.truth", {}, t("out.truth"))] : [];
  return parts.key.replaceChildren(...names, own(0, t("out.testing"), true), ...curves.filter(Boolean));
}

function showTask() {
  showKey();
  const classes = store.data.task === "classes";
  parts.hard.hidden = !classes || inputsOf() === 1;
  parts.choices.hidden = areImages();
  write(parts.figures.names.train_accuracy, t(classes ? "out.train_accuracy" : "out.train_r2"));
  write(parts.figures.names.test_accuracy, t(classes ? "out.test_accuracy" : "out.test_r2"));
  write(parts.charts.accuracy.title, t(classes ? "out.accuracy" : "out.r2"));
  parts.readout.style.minHeight = `${1.7 + 1.6 * Math.max(1, classes ? store.data.classes.length : 1)}em`; // so that nothing moves when it is filled
  cursor = null;
  showReadout();
}

/** Show everything again, after the language has changed. */
export function showOutput() {
  if (!store.data) return;
  showTask();
  showFrame();
}

on("frame", (frame) => (isFull(frame) ? showFrame() : redraw(parts.surface)));
on("curve", showFrame);
on("data", showOutput);
on("probe", () => {
  if (!cursor) store.probe = null; // an answer that comes after the pointer has left
  showReadout();
  redraw(parts.surface);
  if (spoken && store.probe) emit("say", [...parts.readout.querySelectorAll("p, span")].map((each) => each.textContent).join(" "));
  spoken = false;
});
on("hovered sketch explained chosen", () => {
  write(parts.name, store.hovered ? neuronName(store.hovered.layer, store.hovered.unit) : "");
  redraw(parts.surface);
});

/** The canvas of the plot, to keep as a picture. */
export const plotCanvas = () => parts.canvas;
