// The output: the decision boundary or the fitted curve, the numbers, and the curves of the training.

import { Surface, font, mark, redraw, sheet, ticks } from "./canvas.js";
import { classColor, colors, mixture, numbersOf, pixel } from "./colors.js";
import { lineChart } from "./charts.js";
import { send } from "./connection.js";
import { byId, fixed, h, onceAFrame, percent, rounded, write } from "./dom.js";
import { drawMap, inputsOf } from "./maps.js";
import { emit, on, store } from "./store.js";
import { t } from "./texts.js";

const LEFT = 34, BOTTOM = 22, TOP = 6, RIGHT = 6;
const parts = {};
const shown = { test: true, hard: false, log: false };
const drawingPoints = { on: false, label: 1 };
let cursor = null; // the point that the arrow keys move, in units of the axes

/** Build the section, once for each language. */
export function buildOutput() {
  const canvas = h("canvas", { tabIndex: 0, role: "application" });
  Object.assign(parts, { canvas, readout: h("div.readout"), figures: figuresOf(), charts: chartsOf() });
  const check = (name, text) => {
    const box = h("input", { type: "checkbox", checked: shown[name], onchange: () => { shown[name] = box.checked; redraw(parts.surface); } });
    return h("label.check", {}, box, text);
  };
  parts.hard = check("hard", t("out.hard"));
  byId("output").replaceChildren(
    h("div.head", {}, h("h2", { id: "output-title" }, t("out.title")), parts.hard, check("test", t("out.test"))),
    h("div.stack", {}, h("div.plot", {}, canvas), parts.readout),
    h("div.stack", {}, parts.figures.box, ...Object.values(parts.charts).map(({ box }) => box)),
  );
  parts.surface = new Surface(canvas, draw);
  for (const { canvas: chart, draw: drawChart } of Object.values(parts.charts)) {
    chart.surface = new Surface(chart, drawChart);
  }
  canvas.addEventListener("pointermove", (event) => probe(pointOf(event)));
  canvas.addEventListener("pointerleave", () => probe(null));
  canvas.addEventListener("pointerup", (event) => drawingPoints.on && addPoint(pointOf(event)));
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

// --- Axes -----------------------------------------------------------------------------------------------------------

/** The ranges of the two axes of the plot. */
function ranges() {
  const { range, values } = store.data;
  if (range.length === 2) return range;
  const [low, high] = store.data.task === "classes" ? [-0.1, 1.1] : values ?? [-1, 1];
  const room = store.data.task === "classes" ? 0 : 0.08 * (high - low || 1);
  return [range[0], [low - room, high + room]];
}

function axes(width, height) {
  const [[x0, x1], [y0, y1]] = ranges();
  const w = width - LEFT - RIGHT, tall = height - TOP - BOTTOM;
  return {
    w, tall,
    x: (v) => LEFT + ((v - x0) / (x1 - x0)) * w,
    y: (v) => TOP + tall - ((v - y0) / (y1 - y0)) * tall,
    back: (px, py) => [x0 + ((px - LEFT) / w) * (x1 - x0), y0 + ((TOP + tall - py) / tall) * (y1 - y0)],
  };
}

function pointOf(event) {
  if (!store.data) return null;
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
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const middle = ranges().map(([low, high]) => (low + high) / 2);
  if (event.key in moves) {
    event.preventDefault();
    const each = event.shiftKey ? 0.1 : 0.02;
    probe((cursor ?? middle).map((v, k) => v + moves[event.key][k] * each * (ranges()[k][1] - ranges()[k][0])));
  } else if ((event.key === "Enter" || event.key === " ") && drawingPoints.on) {
    event.preventDefault();
    addPoint(cursor ?? middle);
  } else if (event.key === "Escape") probe(null);
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
  const name = t(two ? "out.plot" : "out.plot.curve");
  if (parts.canvas.ariaLabel !== name) parts.canvas.ariaLabel = name;
  if (!at || !cursor) {
    if (!parts.readout.querySelector(".soft")) parts.readout.replaceChildren(h("p.soft", {}, ""));
    return write(parts.readout.firstChild, t(two ? "out.hover" : "out.hover.curve"));
  }
  const [x, y] = at.at.map((v) => rounded(v));
  if (!at.probabilities) {
    const key = two ? "out.point.plane" : "out.point.curve";
    return parts.readout.replaceChildren(h("p", {}, t(key, { x, y: two ? y : rounded(at.outputs[0]), z: rounded(at.outputs[0]) })));
  }
  const bars = at.probabilities.flatMap((p, k) => {
    const bar = h("b");
    bar.style.transform = `scaleX(${p})`;
    bar.style.background = classColor(k);
    return [h("span", {}, t("out.class", { k: store.data.classes[k] ?? k })), h("i", {}, bar), h("span", {}, percent(p))];
  });
  return parts.readout.replaceChildren(h("p", {}, t(two ? "out.point" : "out.point.one", { x, y })), h("div.bars", {}, bars));
}

// --- Drawing the plot -----------------------------------------------------------------------------------------------

function draw(context, width, height) {
  if (!store.data) return;
  const at = axes(width, height);
  context.save();
  context.beginPath();
  context.rect(LEFT, TOP, at.w, at.tall);
  context.clip();
  context.fillStyle = colors.zero;
  context.fillRect(LEFT, TOP, at.w, at.tall);
  if (inputsOf() === 2) drawPlane(context, at);
  else drawCurves(context, at);
  drawExamples(context, at);
  drawCursor(context, at);
  context.restore();
  drawAxes(context, at, height);
}

function drawPlane(context, at) {
  const { hovered, frame } = store;
  if (hovered) return drawMap(context, hovered.layer, hovered.unit, LEFT, TOP, at.w, at.tall);
  if (!frame?.grid?.numbers) return undefined;
  context.imageSmoothingEnabled = !shown.hard;
  context.imageSmoothingQuality = "high";
  context.drawImage(planeOf(frame.grid), LEFT, TOP, at.w, at.tall);
  return undefined;
}

function planeOf({ shape, numbers, low, high }) {
  const [maps, size] = shape;
  const { canvas, context, image, pixels } = sheet("plane", size, size);
  const count = size * size;
  const rgb = colors.classes.map(numbersOf), paper = numbersOf(colors.zero), p = new Float32Array(maps);
  for (let k = 0; k < count; k += 1) {
    const to = (size - 1 - Math.floor(k / size)) * size + (k % size);
    if (maps === 1) {
      const value = store.data.task === "classes" ? (2 * numbers[k]) / 255 - 1 : centred(low + (numbers[k] / 255) * (high - low), low, high);
      pixels[to] = pixel(shown.hard && store.data.task === "classes" ? 0.75 * Math.sign(value) : 0.85 * value);
    } else {
      for (let c = 0; c < maps; c += 1) p[c] = numbers[c * count + k] / 255;
      pixels[to] = mixture(shown.hard ? onlyLargest(p) : p, rgb, paper);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function centred(value, low, high) {
  const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
  return value / most;
}

function onlyLargest(p) {
  const largest = p.indexOf(Math.max(...p));
  return p.map((_, k) => (k === largest ? 1 : 0));
}

function drawCurves(context, at) {
  const { truth, range, task } = store.data;
  const [low, high] = range[0];
  const line = (values, from, stride) => {
    context.beginPath();
    for (let k = 0; k < stride; k += 1) {
      const x = at.x(low + (k / (stride - 1)) * (high - low)), y = at.y(values(from + k));
      context[k ? "lineTo" : "moveTo"](x, y);
    }
    context.stroke();
  };
  context.lineJoin = "round";
  if (truth) {
    context.strokeStyle = colors.soft;
    context.lineWidth = 1.5;
    context.setLineDash([2, 5]);
    line((k) => truth[k], 0, truth.length);
    context.setLineDash([]);
  }
  const grid = store.frame?.grid;
  if (!grid?.numbers) return;
  const stride = grid.shape.at(-1), curves = grid.numbers.length / stride;
  context.lineWidth = 3;
  for (let c = 0; c < curves; c += 1) {
    context.strokeStyle = task === "values" ? colors.positive : classColor(curves === 1 ? 1 : c);
    line(task === "values" ? (k) => grid.numbers[k] : (k) => grid.numbers[k] / 255, c * stride, stride);
  }
  drawHoveredCurve(context);
}

function drawHoveredCurve(context) {
  const { hovered } = store;
  if (!hovered) return;
  context.globalAlpha = 0.9;
  drawMap(context, hovered.layer, hovered.unit, LEFT, TOP, parts.surface.width - LEFT - RIGHT, parts.surface.height - TOP - BOTTOM);
  context.globalAlpha = 1;
}

function drawExamples(context, at) {
  const { train, test, task, range } = store.data;
  const two = range.length === 2;
  const radius = Math.max(2.4, Math.min(4.2, 60 / Math.sqrt(train.length + 1)));
  const paint = (row, hollow) => {
    const value = row[row.length - 1];
    const y = two ? row[1] : task === "classes" ? (value ? 1 : 0) : value;
    mark(context, task === "classes" ? value : 0, at.x(row[0]), at.y(y), radius);
    const fill = task === "classes" ? classColor(value) : two ? `rgba(${numbersOf2(value)})` : colors.negative;
    context.fillStyle = hollow ? colors.card : fill;
    context.strokeStyle = hollow ? fill : colors.card;
    context.lineWidth = hollow ? 1.8 : 1.2;
    context.fill();
    context.stroke();
  };
  train.forEach((row) => paint(row, false));
  if (shown.test) test.forEach((row) => paint(row, true));
}

function numbersOf2(value) {
  const [low, high] = store.data.values ?? [-1, 1];
  const bits = pixel(centred(value, low, high));
  return [bits & 255, (bits >> 8) & 255, (bits >> 16) & 255, 1].join(", ");
}

function drawCursor(context, at) {
  if (!cursor) return;
  const x = at.x(cursor[0]), y = at.y(inputsOf() === 1 ? store.probe?.probabilities?.[1] ?? store.probe?.outputs?.[0] ?? cursor[1] : cursor[1]);
  context.strokeStyle = colors.ink;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, TOP);
  context.lineTo(x, TOP + at.tall);
  if (inputsOf() === 2) {
    context.moveTo(LEFT, y);
    context.lineTo(LEFT + at.w, y);
  }
  context.globalAlpha = 0.35;
  context.stroke();
  context.globalAlpha = 1;
  context.beginPath();
  context.arc(x, y, 5, 0, 2 * Math.PI);
  context.lineWidth = 2;
  context.stroke();
}

function drawAxes(context, at, height) {
  const [[x0, x1], [y0, y1]] = ranges();
  context.font = font(11);
  context.fillStyle = colors.soft;
  context.textBaseline = "alphabetic";
  context.textAlign = "center";
  for (const v of ticks(x0, x1, 4)) context.fillText(rounded(v), Math.min(at.x(v), LEFT + at.w - 8), height - 6);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const v of ticks(y0, y1, 4)) context.fillText(rounded(v), LEFT - 6, at.y(v));
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
  write(figures.train_loss, rounded(frame.loss?.train));
  write(figures.test_loss, rounded(frame.loss?.test));
  write(figures.train_accuracy, score(frame.accuracy?.train ?? NaN));
  write(figures.test_accuracy, score(frame.accuracy?.test ?? NaN));
  redraw(parts.surface);
  for (const { canvas } of Object.values(parts.charts)) redraw(canvas.surface);
  if (cursor) send({ type: "probe", at: cursor.slice(0, inputsOf()) }, "probe");
}

function showTask() {
  const classes = store.data.task === "classes";
  parts.hard.hidden = !classes || inputsOf() === 1;
  write(parts.figures.names.train_accuracy, t(classes ? "out.train_accuracy" : "out.train_r2"));
  write(parts.figures.names.test_accuracy, t(classes ? "out.test_accuracy" : "out.test_r2"));
  write(parts.charts.accuracy.title, t(classes ? "out.accuracy" : "out.r2"));
  cursor = null;
  showReadout();
}

/** Show everything again, after the language has changed. */
export function showOutput() {
  if (!store.data) return;
  showTask();
  showFrame();
}

on("frame curve", showFrame);
on("data", showOutput);
on("probe", () => {
  if (!cursor) store.probe = null; // an answer that comes after the pointer has left
  showReadout();
  redraw(parts.surface);
});
on("hovered", () => redraw(parts.surface));

/** The canvas of the plot, to keep as a picture. */
export const plotCanvas = () => parts.canvas;
