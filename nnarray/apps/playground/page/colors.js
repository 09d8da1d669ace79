// Colours of numbers and classes. Blue and orange differ for all common kinds of colour blindness.

const STEPS = 256;
const CLASSES = 8;

let table = null;

/** The colours of the theme that is on now. */
export const colors = { ink: "", soft: "", line: "", card: "", paper: "", negative: "", positive: "", zero: "", classes: [] };

/** Read the colours of the theme from the style sheet; call it when the theme changes. */
export function readColors() {
  const probe = document.body.appendChild(document.createElement("i"));
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  for (const name of ["ink", "soft", "line", "card", "paper", "negative", "positive", "zero"]) colors[name] = read(name);
  colors.classes = Array.from({ length: CLASSES }, (_, k) => read(`class-${k}`));
  probe.remove();
  table = tableOf(numbersOf(colors.negative), numbersOf(colors.zero), numbersOf(colors.positive));
}

/** The red, green and blue of "rgb(1, 2, 3)". */
export const numbersOf = (color) => color.match(/[\d.]+/g).slice(0, 3).map(Number);

function tableOf(low, middle, high) {
  const made = new Uint32Array(STEPS);
  for (let k = 0; k < STEPS; k += 1) {
    const at = (2 * k) / (STEPS - 1) - 1;
    const end = at < 0 ? low : high;
    const [r, g, b] = middle.map((from, c) => mixed(from, end[c], Math.abs(at)));
    made[k] = 0xff000000 | (b << 16) | (g << 8) | r;
  }
  return made;
}

const mixed = (from, to, share) => Math.round((1 - share) * from + share * to);

/** The colour of a number between -1 and 1, as the pixel of an ImageData of 32 bits. */
export function pixel(value) {
  const at = value > -1 ? (value < 1 ? value : 1) : -1;
  return table[Math.round(((at + 1) / 2) * (STEPS - 1))];
}

/** The colour of a number between -1 and 1, for strokes and fills. */
export function color(value, alpha = 1) {
  const bits = pixel(value);
  return `rgba(${bits & 255}, ${(bits >> 8) & 255}, ${(bits >> 16) & 255}, ${alpha})`;
}

/** The colour of a class: orange and blue for two, further ones for more. */
export const classColor = (k) => colors.classes[k % CLASSES];

/** The mixture of the colours of classes by their probabilities, as a pixel. The background has a share of it. */
export function mixture(probabilities, rgb, paper) {
  const sum = [0, 0, 0];
  let largest = 0;
  for (let k = 0; k < probabilities.length; k += 1) {
    const p = probabilities[k];
    largest = Math.max(largest, p);
    for (let c = 0; c < 3; c += 1) sum[c] += p * rgb[k % CLASSES][c];
  }
  const share = 0.12 + 0.5 * largest;
  const [r, g, b] = sum.map((s, c) => mixed(paper[c], s, share));
  return 0xff000000 | (b << 16) | (g << 8) | r;
}
