// Canvases with sharp pixels, drawn at most once per frame.

const dirty = new Set();
let asked = false;

/** Draw this surface in the next frame. */
export function redraw(surface) {
  dirty.add(surface);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const now = [...dirty];
    dirty.clear();
    for (const each of now) each.paint();
  });
}

/** Surfaces that exist, to draw all again when the theme changes. */
const surfaces = new Set();
export function redrawAll() {
  for (const each of surfaces) {
    if (each.canvas.isConnected) redraw(each);
    else surfaces.delete(each);
  }
}

/** A canvas that follows the size of its box: `draw(context, width, height)` in CSS pixels. */
export class Surface {
  constructor(canvas, draw) {
    Object.assign(this, { canvas, draw, width: 0, height: 0, ratio: 1 });
    this.context = canvas.getContext("2d");
    surfaces.add(this);
    new ResizeObserver(([entry]) => this.resize(entry.contentRect)).observe(canvas);
  }

  resize({ width, height }) {
    this.width = width;
    this.height = height;
    this.ratio = Math.min(3, window.devicePixelRatio || 1);
    this.canvas.width = Math.round(width * this.ratio);
    this.canvas.height = Math.round(height * this.ratio);
    this.paint(); // at once: a canvas that changes its size is empty
  }

  paint() {
    if (!this.width || !this.height) return;
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    this.draw(this.context, this.width, this.height);
  }
}

const sheets = new Map();

/** A small canvas of so many pixels, kept by name and size: an image that is then drawn larger. */
export function sheet(name, width, height) {
  const key = `${name} ${width} ${height}`;
  let kept = sheets.get(key);
  if (!kept) {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    kept = { canvas, context, image, pixels: new Uint32Array(image.data.buffer) };
    sheets.set(key, kept);
  }
  return kept;
}

let family = "";

/** The font of drawings. */
export function font(size, weight = 400) {
  family ||= getComputedStyle(document.body).fontFamily;
  return `${weight} ${size}px ${family}`;
}

/** Numbers for the marks of an axis: 1, 2 or 5 times a power of ten apart, about `count` of them. */
export function ticks(low, high, count = 4) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [];
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => span / s <= count + 0.5) ?? 10 * power;
  const marks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) marks.push(Number((k * step).toPrecision(12)));
  return marks;
}

/** The path of a mark: circle, square, triangle, diamond, so that classes differ without colour, too. */
export function mark(context, kind, x, y, r) {
  context.beginPath();
  if (kind % 4 === 0) context.arc(x, y, r, 0, 2 * Math.PI);
  else if (kind % 4 === 1) context.rect(x - 0.88 * r, y - 0.88 * r, 1.76 * r, 1.76 * r);
  else {
    const corners = kind % 4 === 2 ? [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]] : [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]];
    corners.forEach(([dx, dy], k) => context[k ? "lineTo" : "moveTo"](x + r * dx, y + r * dy));
    context.closePath();
  }
}
