// The small images of the neurons, as canvases that are drawn larger.

import { sheet } from "./canvas.js";
import { colors, pixel } from "./colors.js";
import { areImages, drawImageMap } from "./images.js";
import { store } from "./store.js";

const INPUT = 24;

/** How many inputs the network has: 1 for curves, 2 for the plane; 0 for images, which have no axes. */
export const inputsOf = () => store.data?.range.length ?? 2;

/** The names of the columns of the network: "input", then its layers. */
export const namesOf = () => ["input", ...store.network.map(({ name }) => name)];

/** The values of a neuron in -1 to 1, as { size, at(k) } along its map, or null. */
function valuesOf(column, unit) {
  const two = inputsOf() === 2;
  if (column === 0) {
    const along = (k) => (2 * (k + 0.5)) / INPUT - 1;
    return { size: INPUT, at: two ? (k) => along(unit === 0 ? k % INPUT : Math.floor(k / INPUT)) : along };
  }
  const layer = store.frame?.units?.get(namesOf()[column]);
  if (!layer || unit >= layer.maps.shape[0]) return null;
  const size = layer.maps.shape[1];
  const from = unit * (two ? size * size : size);
  const scale = layer.scale[unit] ?? 0;
  const most = Math.max(1e-6, Math.abs(scale));
  return { size, at: (k) => (((layer.numbers[from + k] - 128) / 127) * scale) / Math.max(most, 1) };
}

/** Draw the map of a neuron into a square. For networks of one input, it is a curve. */
export function drawMap(context, column, unit, x, y, width, height = width) {
  if (areImages()) return drawImageMap(context, column, unit, x, y, width, height);
  const values = valuesOf(column, unit);
  context.fillStyle = colors.zero;
  context.fillRect(x, y, width, height);
  if (!values) return undefined;
  if (inputsOf() === 1) return drawCurve(context, values, x, y, width, height);
  return context.drawImage(imageOf(values), x, y, width, height);
}

function imageOf({ size, at }) {
  const { canvas, context, image, pixels } = sheet("neuron", size, size);
  for (let row = 0; row < size; row += 1) {
    for (let k = 0; k < size; k += 1) pixels[(size - 1 - row) * size + k] = pixel(at(row * size + k));
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function drawCurve(context, { size, at }, x, y, width, height) {
  const middle = y + height / 2, tall = height / 2 - 3;
  const each = width / (size - 1);
  for (const [sign, fill] of [[1, colors.positive], [-1, colors.negative]]) {
    context.beginPath();
    context.moveTo(x, middle);
    for (let k = 0; k < size; k += 1) context.lineTo(x + k * each, middle - tall * (sign * at(k) > 0 ? at(k) : 0));
    context.lineTo(x + width, middle);
    context.fillStyle = fill;
    context.save();
    context.globalAlpha *= 0.55;
    context.fill();
    context.restore();
  }
  context.beginPath();
  for (let k = 0; k < size; k += 1) context[k ? "lineTo" : "moveTo"](x + k * each, middle - tall * at(k));
  context.strokeStyle = colors.ink;
  context.lineWidth = 1.25;
  context.stroke();
}
