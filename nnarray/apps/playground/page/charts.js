// Line charts and histograms.

import { font, ticks } from "./canvas.js";
import { colors } from "./colors.js";
import { rounded } from "./dom.js";

const LEFT = 44, RIGHT = 10, TOP = 8, BOTTOM = 20;

/** Draw lines: `lines` is a list of { x, y, color, dash, width }; `options` has low, high (of y), log, unit of x. */
export function lineChart(context, width, height, lines, { low, high, log = false, empty = "", format = rounded } = {}) {
  const box = { x: LEFT, y: TOP, w: width - LEFT - RIGHT, h: height - TOP - BOTTOM };
  const scale = log ? (v) => Math.log10(Math.max(v, 1e-12)) : (v) => v;
  const [bottom, top] = rangeOf(lines, low, high, scale, log);
  const last = Math.max(1, ...lines.map(({ x }) => x[x.length - 1] ?? 0));
  const first = Math.min(...lines.map(({ x }) => x[0] ?? 0), last - 1);
  const px = (v) => box.x + ((v - first) / (last - first)) * box.w;
  const py = (v) => box.y + box.h - ((scale(v) - bottom) / (top - bottom)) * box.h;
  context.font = font(11);
  context.lineWidth = 1;
  context.strokeStyle = colors.line;
  context.fillStyle = colors.soft;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const value of marksOf(bottom, top, log)) {
    const at = Math.round(py(value)) + 0.5;
    context.beginPath();
    context.moveTo(box.x, at);
    context.lineTo(box.x + box.w, at);
    context.stroke();
    context.fillText(format(value), box.x - 7, at);
  }
  context.textBaseline = "alphabetic";
  for (const value of ticks(first, last, Math.max(2, Math.floor(box.w / 90)))) {
    context.textAlign = value === 0 ? "left" : value > last - (last - first) / 12 ? "right" : "center";
    context.fillText(rounded(value, 6), px(value), height - 4);
  }
  if (lines.every(({ x }) => x.length < 1)) {
    context.textAlign = "center";
    context.fillText(empty, box.x + box.w / 2, box.y + box.h / 2);
    return;
  }
  context.save();
  context.beginPath();
  context.rect(box.x, box.y - 3, box.w + 3, box.h + 6);
  context.clip();
  for (const line of lines) stroke(context, line, px, py, box.w);
  context.restore();
}

function rangeOf(lines, low, high, scale, log) {
  let least = Infinity, most = -Infinity;
  for (const { y } of lines) {
    for (const value of y) {
      if (!Number.isFinite(value) || (log && value <= 0)) continue;
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  }
  if (least > most) [least, most] = log ? [0.01, 1] : [0, 1];
  const bottom = scale(low ?? least), top = scale(high ?? most);
  const room = 0.04 * (top - bottom);
  if (top - bottom > 1e-9) return [low === undefined ? bottom - room : bottom, high === undefined ? top + room : top];
  return log ? [bottom - 0.5, top + 0.5] : [low === undefined ? bottom - 0.5 : bottom, bottom + 1];
}

function marksOf(bottom, top, log) {
  if (!log) return ticks(bottom, top, 4);
  const marks = [];
  const each = Math.max(1, Math.ceil((top - bottom) / 4));
  for (let power = Math.ceil(bottom); power <= top; power += each) marks.push(10 ** power);
  return marks.length > 1 ? marks : ticks(10 ** bottom, 10 ** top, 3).filter((value) => value > 0);
}

function stroke(context, { x, y, color, dash = [], width = 1.75 }, px, py, room) {
  context.strokeStyle = color;
  context.lineWidth = width;
  context.lineJoin = "round";
  context.setLineDash(dash);
  context.beginPath();
  const each = Math.max(1, Math.floor(x.length / (2 * room)));
  let pen = false;
  for (let k = 0; k < x.length; k = k + each < x.length || k === x.length - 1 ? k + each : x.length - 1) {
    if (!Number.isFinite(y[k])) pen = false;
    else context[pen ? "lineTo" : "moveTo"](px(x[k]), py(y[k]));
    pen = pen || Number.isFinite(y[k]);
  }
  context.stroke();
  context.setLineDash([]);
}

/** Draw counts as bars between `low` and `high`. Bars left of 0 are orange, the others blue. */
export function histogram(context, width, height, { low, high, counts }) {
  const most = Math.max(1, ...counts);
  const base = height - 18;
  const each = width / counts.length;
  counts.forEach((count, k) => {
    const middle = low + ((k + 0.5) / counts.length) * (high - low);
    const tall = (count / most) * (base - 6);
    context.fillStyle = middle < 0 ? colors.negative : colors.positive;
    context.fillRect(k * each + 0.5, base - tall, Math.max(1, each - 1), tall);
  });
  context.strokeStyle = colors.line;
  context.beginPath();
  context.moveTo(0, base + 0.5);
  context.lineTo(width, base + 0.5);
  context.stroke();
  context.font = font(11);
  context.fillStyle = colors.soft;
  context.textAlign = "left";
  context.fillText(rounded(low, 2), 0, height - 4);
  context.textAlign = "right";
  context.fillText(rounded(high, 2), width, height - 4);
  if (low < 0 && high > 0) {
    const zero = (-low / (high - low)) * width;
    context.textAlign = "center";
    if (zero > 34 && zero < width - 34) context.fillText("0", zero, height - 4);
  }
}
