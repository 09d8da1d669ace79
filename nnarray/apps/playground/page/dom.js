// Elements of the page, and what they share.

/** An element with its properties, attributes, listeners and children: h("button.big", { onclick }, "Go"). */
export function h(name, props = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && !key.includes("-") && key !== "list") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** Change the text of an element only if it differs, so that a screen reader and the layout rest. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A function that waits until calls have stopped for some milliseconds. */
export function settled(action, milliseconds) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), milliseconds);
  };
}

/** A function that runs at most once per drawn frame, with the values of its last call. */
export function onceAFrame(action) {
  let waiting = null;
  return (...values) => {
    if (waiting === null) {
      requestAnimationFrame(() => {
        const last = waiting;
        waiting = null;
        action(...last);
      });
    }
    waiting = values;
  };
}

/** A number as a reader wants it: three digits that mean something. */
export function rounded(x, digits = 3) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? x.toExponential(1).replace(".0e", "e").replace("e+", "e") : String(Number(x.toPrecision(digits)));
  return text.replaceAll("-", "−");
}

/** A number with always the same count of decimals, so that a column of them does not move. */
export const fixed = (x, decimals = 2) => (Number.isFinite(x) ? x.toFixed(decimals).replace("-", "−") : rounded(x));

/** A loss, with three decimals while they say something. */
export const ofLoss = (x) => (Number.isFinite(x) && x >= 0.01 && x < 1000 ? x.toFixed(3) : rounded(x, 2));

/** A fraction as a percentage that is 100 only if it is 1. */
export const percent = (x) => (Number.isFinite(x) ? `${x >= 1 ? 100 : Math.min(99.9, 100 * x).toFixed(1)}\u202f%` : "–");
