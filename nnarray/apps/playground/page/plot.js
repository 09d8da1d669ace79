// The drawing of the plot: the decision boundary over the plane, or the data and the fitted curve.

import { font, mark, sheet, ticks } from "./canvas.js";
import { classColor, colors, mixture, numbersOf, pixel } from "./colors.js";
import { traceContour } from "./contour.js";
import { rounded } from "./dom.js";
import { areImages, drawSheet } from "./images.js";
import { drawMap, inputsOf } from "./maps.js";
import { store } from "./store.js";

const LEFT = 34, BOTTOM = 22, TOP = 6, RIGHT = 6;

// --- Axes -----------------------------------------------------------------------------------------------------------

/** The ranges of the two axes of the plot. */
export function ranges() {
  const { range, values } = store.data;
  if (range.length === 2) return range;
  const [low, high] = store.data.task === "classes" ? [-0.1, 1.1] : values ?? [-1, 1];
  const room = store.data.task === "classes" ? 0 : 0.08 * (high - low || 1);
  return [range[0], [low - room, high + room]];
}

/** The positions of the axes in a canvas of this size, and back. */
export function axes(width, height) {
  const [[x0, x1], [y0, y1]] = ranges();
  const w = Math.round(width - LEFT - RIGHT), tall = Math.round(height - TOP - BOTTOM); // whole pixels, which are clipped fast
  return {
    w, tall,
    x: (v) => LEFT + ((v - x0) / (x1 - x0)) * w,
    y: (v) => TOP + tall - ((v - y0) / (y1 - y0)) * tall,
    back: (px, py) => [x0 + ((px - LEFT) / w) * (x1 - x0), y0 + ((TOP + tall - py) / tall) * (y1 - y0)],
  };
}

// --- Drawing the plot -----------------------------------------------------------------------------------------------

/** Draw it all. `shown` has test and hard; `cursor` is the chosen point, or null. */
export function drawPlot(context, width, height, shown, cursor) {
  if (areImages()) return drawSheet(context, width, height);
  const at = axes(width, height);
  context.save();
  context.beginPath();
  context.rect(LEFT, TOP, at.w, at.tall);
  context.clip();
  context.fillStyle = colors.zero;
  context.fillRect(LEFT, TOP, at.w, at.tall);
  if (inputsOf() === 2) drawPlane(context, at, shown.hard);
  drawKept(context, at, width, height, shown.test);
  if (inputsOf() === 1) drawCurves(context, at); // over the points, which would hide them
  if (cursor) drawCursor(context, at, cursor);
  context.restore();
  return drawAxes(context, at, height);
}

function drawPlane(context, at, hard) {
  const { hovered, frame } = store;
  if (hovered) return drawHovered(context, at, 0.68);
  if (!frame?.grid?.numbers) return undefined;
  context.imageSmoothingEnabled = !hard;
  context.imageSmoothingQuality = "low";
  const size = frame.grid.shape.at(-1), halfX = at.w / (size - 1) / 2, halfY = at.tall / (size - 1) / 2;
  context.drawImage(planeOf(frame.grid, hard), LEFT - halfX, TOP - halfY, at.w + 2 * halfX, at.tall + 2 * halfY); // its outer pixels are on the edges
  drawBoundary(context, at, frame.grid);
  return undefined;
}

function drawBoundary(context, at, { shape: [maps, size], numbers }) {
  if (store.data.task !== "classes" || maps !== 1) return;
  context.beginPath();
  traceContour(context, numbers, size, 127.5, (x, y) => [LEFT + (x / (size - 1)) * at.w, TOP + at.tall - (y / (size - 1)) * at.tall]);
  context.strokeStyle = colors.ink;
  context.globalAlpha = 0.6;
  context.lineWidth = 1.5;
  context.stroke();
  context.globalAlpha = 1;
}

function planeOf({ shape, numbers, low, high }, hard) {
  const [maps, size] = shape;
  const { canvas, context, image, pixels } = sheet("plane", size, size);
  const count = size * size;
  const rgb = colors.classes.map(numbersOf), paper = numbersOf(colors.zero), p = new Float32Array(maps);
  for (let k = 0; k < count; k += 1) {
    const to = (size - 1 - Math.floor(k / size)) * size + (k % size);
    if (maps === 1) {
      const value = store.data.task === "classes" ? (2 * numbers[k]) / 255 - 1 : centred(low + (numbers[k] / 255) * (high - low), low, high);
      pixels[to] = pixel(hard && store.data.task === "classes" ? 0.55 * Math.sign(value) : 0.62 * value);
    } else {
      for (let c = 0; c < maps; c += 1) p[c] = numbers[c * count + k] / 255;
      pixels[to] = mixture(hard ? onlyLargest(p) : p, rgb, paper);
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
  drawHovered(context, at, 0.9);
}

/** The map of the neuron under the pointer, over the whole plot. */
function drawHovered(context, at, alpha) {
  const { hovered } = store;
  if (!hovered) return;
  context.globalAlpha = alpha;
  drawMap(context, hovered.layer, hovered.unit, LEFT, TOP, at.w, at.tall);
  context.globalAlpha = 1;
}

const layer = document.createElement("canvas");
let keptFor = [];

/** Draw the examples: as an image that is kept as long as they look the same. */
function drawKept(context, at, width, height, withTest) {
  const { canvas } = context, now = [store.data, store.sketch, store.explained, withTest, canvas.width, canvas.height, width, height, colors.card, colors.ink];
  if (now.some((each, k) => each !== keptFor[k])) {
    Object.assign(layer, { width: canvas.width, height: canvas.height });
    const own = layer.getContext("2d");
    own.setTransform(context.getTransform());
    drawExamples(own, at, withTest);
    keptFor = now;
  }
  context.save();
  context.resetTransform();
  context.drawImage(layer, 0, 0);
  context.restore();
}

function drawExamples(context, at, withTest) {
  const { task, range } = store.data, sketched = store.sketch !== null; // then the drawn points alone
  const train = sketched ? store.sketch : store.data.train, test = sketched ? [] : store.data.test;
  const two = range.length === 2;
  const radius = Math.max(2.4, Math.min(4.2, 60 / Math.sqrt(train.length + 1)));
  const paint = (row, hollow) => {
    const value = row[row.length - 1];
    const y = two ? row[1] : task === "classes" ? (value ? 1 : 0) : value;
    mark(context, task === "classes" ? value : 0, at.x(row[0]), at.y(y), radius);
    const fill = task === "classes" ? classColor(value) : two ? `rgba(${numbersOf2(value)})` : colors.negative;
    context.fillStyle = hollow ? colors.card : fill;
    context.strokeStyle = hollow ? fill : task === "values" && two ? colors.soft : colors.card;
    context.lineWidth = hollow ? 1.8 : 1.2;
    context.fill();
    context.stroke();
  };
  train.forEach((row) => paint(row, false));
  if (store.explained !== null && !sketched) drawExplained(context, at, train[store.explained]);
  if (withTest) test.forEach((row) => paint(row, true));
}

function drawExplained(context, at, row) {
  if (!row) return;
  context.beginPath();
  context.arc(at.x(row[0]), at.y(store.data.range.length === 2 ? row[1] : row.at(-1)), 10, 0, 2 * Math.PI);
  context.strokeStyle = colors.ink;
  context.lineWidth = 2.5;
  context.stroke();
}

function numbersOf2(value) {
  const [low, high] = store.data.values ?? [-1, 1];
  const bits = pixel(centred(value, low, high));
  return [bits & 255, (bits >> 8) & 255, (bits >> 16) & 255, 1].join(", ");
}

function drawCursor(context, at, cursor) {
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
