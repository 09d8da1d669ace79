// Images as examples: the sheet of those that are predicted, and what the filters see of the chosen one.

import { sheet } from "./canvas.js";
import { className } from "./classes.js";
import { classColor, color, colors, pixel } from "./colors.js";
import { send } from "./connection.js";
import { emit, store } from "./store.js";

const GAP = 8, BAR = 7; // between two images, and the height of the bar below each

/** Whether the examples are images. */
export const areImages = () => Boolean(store.data?.sheet);

/** How many are shown. */
export const imageCount = () => store.data.sheet.images.shape[0];

/** The probabilities of the classes for an image. */
export function probabilitiesOf(k) {
  const { shape: [classes, count], numbers } = store.frame.grid;
  if (k >= count) return [];
  const p = Array.from({ length: classes }, (_, c) => numbers[c * count + k] / 255);
  return classes === 1 ? [1 - p[0], p[0]] : p;
}

/** The class that is predicted for an image. */
export const predicted = (k) => {
  const p = probabilitiesOf(k);
  return p.indexOf(Math.max(...p));
};

/** Look at another image. */
export function chooseImage(k) {
  if (k < 0 || k >= imageCount()) return;
  store.image = k;
  send({ type: "choose", image: k }, "choose");
  emit("chosen");
  emit("say", `${k + 1}: ${className(predicted(k))}`);
}

// --- Images as canvases ---------------------------------------------------------------------------------------------

/** An image of a sheet, or one channel of it, as a canvas. */
export function imageOf({ images, numbers }, k, channel = -1) {
  const [, rows, columns] = images.shape, area = rows * columns;
  const { canvas, context, image, pixels } = sheet("image", columns, rows);
  for (let n = 0; n < area; n += 1) {
    const from = 3 * (k * area + n);
    const [r, g, b] = [0, 1, 2].map((c) => (channel < 0 || channel === c ? numbers[from + c] : 0));
    pixels[n] = 0xff000000 | (b << 16) | (g << 8) | r;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Draw what a neuron gives for the chosen image: a channel, the map of a filter, or the one number of an output. */
export function drawImageMap(context, column, unit, x, y, width, height) {
  context.imageSmoothingEnabled = false;
  if (column === 0) context.drawImage(imageOf(store.data.sheet, store.image, unit), x, y, width, height);
  else drawFilterMap(context, column, unit, x, y, width, height);
  context.imageSmoothingEnabled = true;
}

function drawFilterMap(context, column, unit, x, y, width, height) {
  const layer = store.frame?.units?.get(store.network[column - 1]?.name);
  if (!layer || unit >= layer.maps.shape[0]) return;
  const [, rows = 1, columns = 1] = layer.maps.shape, scale = layer.scale[unit] ?? 0, from = unit * rows * columns;
  const { canvas, context: small, image, pixels } = sheet("map", columns, rows);
  for (let k = 0; k < rows * columns; k += 1) pixels[k] = pixel((((layer.numbers[from + k] - 128) / 127) * scale) / Math.max(scale, 1));
  small.putImageData(image, 0, 0);
  context.drawImage(canvas, x, y, width, height);
}

/** Draw the weights of a filter for one of its inputs, or for all three channels of an image as its colours. */
export function drawFilter(context, { kernel, inputs, units }, unit, input, x, y, size) {
  const { rows, columns, numbers } = kernel;
  const { canvas, context: small, image, pixels } = sheet("filter", columns, rows);
  const at = (k, i) => numbers[(k * inputs + i) * units + unit];
  const most = largest(numbers);
  for (let k = 0; k < rows * columns; k += 1) {
    const [r, g, b] = input === null ? [0, 1, 2].map((i) => Math.round(127.5 + 127.5 * (at(k, i) / most))) : [];
    pixels[k] = input === null ? 0xff000000 | (b << 16) | (g << 8) | r : pixel(at(k, input) / most);
  }
  small.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, x, y, size, size);
  context.imageSmoothingEnabled = true;
}

const largest = (numbers) => numbers.reduce((most, w) => Math.max(most, Math.abs(w)), 1e-6);

// --- The sheet ------------------------------------------------------------------------------------------------------

/** Where the images of a square of this width are. */
function places(width) {
  const count = imageCount(), across = Math.ceil(Math.sqrt(count)), side = (width - (across - 1) * GAP) / across;
  return { across, side: side - BAR, apart: side + GAP };
}

/** The image at a point of the sheet, or -1. */
export function imageAt(x, y, width) {
  const { across, apart } = places(width), column = Math.floor(x / apart), k = Math.floor(y / apart) * across + column;
  return column < across && k >= 0 && k < imageCount() ? k : -1;
}

/** How many images are side by side. */
export const imagesAcross = () => places(0).across;

/** Draw all images with their predictions, or what the neuron under the pointer sees of the chosen one. */
export function drawSheet(context, width, height) {
  if (!store.frame?.grid?.numbers) return;
  if (store.hovered) drawSeen(context, width, height);
  else for (let k = 0; k < imageCount(); k += 1) drawTile(context, k, width);
}

function drawTile(context, k, width) {
  const { across, side, apart } = places(width), { labels } = store.data.sheet;
  const x = (k % across) * apart + BAR / 2, y = Math.floor(k / across) * apart;
  context.drawImage(imageOf(store.data.sheet, k), x, y, side, side);
  let left = x;
  probabilitiesOf(k).forEach((p, c) => {
    context.fillStyle = classColor(c);
    context.fillRect(left, y + side + 2, p * side, BAR - 2);
    left += p * side;
  });
  if (predicted(k) !== labels[k]) drawCross(context, x + side - 8, y + 8);
  if (k !== store.image) return;
  context.strokeStyle = colors.ink;
  context.lineWidth = 2.5;
  context.strokeRect(x - 2, y + 1, side + 4, side + BAR);
}

/** The mark of a wrong prediction. */
function drawCross(context, x, y) {
  context.beginPath();
  context.arc(x, y, 7, 0, 2 * Math.PI);
  context.fillStyle = colors.paper;
  context.fill();
  context.beginPath();
  for (const by of [-1, 1]) {
    context.moveTo(x - 3, y - 3 * by);
    context.lineTo(x + 3, y + 3 * by);
  }
  context.strokeStyle = colors.ink;
  context.lineWidth = 2;
  context.stroke();
}

/** The chosen image, what the neuron gives for it, and its filter below. */
function drawSeen(context, width) {
  const { layer: column, unit } = store.hovered, side = (width - GAP) / 2, layer = store.network[column - 1];
  context.imageSmoothingEnabled = false;
  context.drawImage(imageOf(store.data.sheet, store.image), 0, 0, side, side);
  context.fillStyle = color(0);
  context.fillRect(side + GAP, 0, side, side);
  drawImageMap(context, column, unit, side + GAP, 0, side, side);
  if (!layer?.kernel) return;
  const { inputs } = layer, across = Math.max(3, Math.ceil(Math.sqrt(inputs * 2))), each = (width + GAP) / across - GAP;
  for (let i = 0; i < inputs; i += 1) {
    const top = side + 2 * GAP + Math.floor(i / across) * (each + GAP);
    drawFilter(context, layer, unit, i, (i % across) * (each + GAP), top, Math.min(each, side - GAP));
  }
}
