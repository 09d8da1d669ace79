// The datasets to choose from, each drawn from its own points.

import { mark } from "./canvas.js";
import { classColor, color, colors } from "./colors.js";
import { h } from "./dom.js";
import { imageOf } from "./images.js";
import { on, store } from "./store.js";
import { t, textOr } from "./texts.js";

const SIDE = 64, MOST = 80;
const GROUPS = ["classes", "values", "own"];
const OWN = ["drawn", "table", "arrays", "formula"];
const seen = new Map(); // the last points of each kind that was chosen
const parts = {};

/** The elements: a group for each task, and one for the user's own data. `choose(kind)` is called for the one that is chosen. */
export function thumbGroups(choose) {
  const groups = GROUPS.map((name) => {
    parts[name] = h("div.thumbs", { role: "radiogroup", "aria-labelledby": `data-${name}`, onkeydown: moveChoice });
    return h("div", {}, h("h3.soft", { id: `data-${name}` }, t(`data.${name}`)), parts[name]);
  });
  Object.assign(parts, { choose, shape: "" });
  return groups;
}

function moveChoice(event) {
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const all = [...event.currentTarget.children];
  const next = all[(all.indexOf(document.activeElement) + by + all.length) % all.length];
  next.focus();
  next.click();
}

/** The kinds of a group. */
function kindsOf(group) {
  if (group === "own") return OWN.filter((kind) => seen.has(kind));
  return Object.entries(store.catalog.data).filter(([kind, { task }]) => task === group && !OWN.includes(kind)).map(([kind]) => kind);
}

/** Show what there is, and which one is chosen. */
export function showThumbs() {
  if (!store.catalog || !store.settings) return;
  const shape = JSON.stringify(GROUPS.map(kindsOf));
  if (parts.shape !== shape) for (const group of GROUPS) parts[group].replaceChildren(...kindsOf(group).map(thumb));
  parts.shape = shape;
  parts.own.parentElement.hidden = kindsOf("own").length === 0;
  for (const group of GROUPS) {
    const all = [...parts[group].children], chosen = all.find(({ dataset }) => dataset.kind === store.settings.data.kind);
    all.forEach((each, k) => {
      each.setAttribute("aria-checked", String(each === chosen));
      each.tabIndex = (chosen ? each === chosen : k === 0) ? 0 : -1;
      drawThumb(each.firstElementChild, pointsOf(each.dataset.kind));
    });
  }
}

function thumb(kind) {
  const canvas = h("canvas", { width: 2 * SIDE, height: 2 * SIDE, "aria-hidden": "true" });
  return h("button", { type: "button", role: "radio", "data-kind": kind, onclick: () => parts.choose(kind) }, canvas, h("span", {}, textOr(kind === "formula" ? "data.formula.name" : `data.${kind}`, kind)));
}

/** Points of a kind: { task, rows }, or nothing if none are known yet. */
const pointsOf = (kind) => store.previews[kind] ?? seen.get(kind);

function drawThumb(canvas, points) {
  const context = canvas.getContext("2d");
  context.setTransform(2, 0, 0, 2, 0, 0);
  context.clearRect(0, 0, SIDE, SIDE);
  if (!points) return;
  if (points.sheet) {
    [[0, 0], [1, 0], [0, 1], [1, 1]].forEach(([x, y], k) => context.drawImage(imageOf(points.sheet, k), (x * SIDE) / 2, (y * SIDE) / 2, SIDE / 2, SIDE / 2));
    return;
  }
  const { task, rows } = points, classes = task === "classes";
  const [x, y, last] = [0, 1, rows[0].length - 1].map((k) => scaled(rows.map((row) => row[k])));
  rows.forEach((row, n) => {
    const kind = classes ? row[row.length - 1] : 0;
    mark(context, kind, x[n], SIDE - y[n], 2.1);
    context.fillStyle = classes ? classColor(kind) : row.length === 3 ? color((2 * last[n]) / SIDE - 1) : colors.positive;
    context.fill();
  });
}

function scaled(values) {
  const low = Math.min(...values), high = Math.max(...values);
  return values.map((v) => 6 + ((v - low) / (high - low || 1)) * (SIDE - 12));
}

on("previews", showThumbs);
on("data", ({ task }) => {
  const kind = store.settings?.data.kind, { train, sheet } = store.data, each = Math.ceil(train.length / MOST);
  seen.set(kind, { task, rows: train.filter((_, n) => n % each === 0), sheet });
  showThumbs();
});
