// The data: which dataset, how much noise, own formulas, files and points.

import { numbers } from "./arrays.js";
import { mark, redrawAll } from "./canvas.js";
import { classColor, colors } from "./colors.js";
import { send, sendFile, set } from "./connection.js";
import { byId, fixed, h, settled, write } from "./dom.js";
import { optionsBox } from "./options.js";
import { drawPoints } from "./output.js";
import { emit, on, store } from "./store.js";
import { t, textOr } from "./texts.js";

const SIDE = 64;
const parts = {};
const wide = matchMedia("(min-width: 1181px)"); // there the fields are always open, as in style.css
let drawing = false, label = 1;

/** Build the section, once for each language. */
export function buildData() {
  Object.assign(parts, { classes: thumbsBox("classes"), values: thumbsBox("values"), fields: fieldsOf(), error: h("p.error", { role: "alert" }), shape: "" });
  const { noise, n, seed, test, formula, columns, options } = parts.fields;
  byId("data").replaceChildren(
    h("div.head", {}, h("h2", { id: "data-title" }, t("data.title")), h("button", { type: "button", onclick: again }, t("data.again"))),
    h("div.kinds", {},
      h("div", {}, h("h3.soft", { id: "data-classes" }, t("data.classes")), parts.classes),
      h("div", {}, h("h3.soft", { id: "data-values" }, t("data.curves")), parts.values)),
    parts.error,
    h("details.more", { open: wide.matches }, h("summary", {}, t("data.more")), h("div.fields", {},
      h("div.stack", {}, noise.box, n.box), h("div.stack", {}, test.box, seed.box, options.box), h("div.stack", {}, formula.box, drawBox()),
      h("div.stack", {}, dropBox(), columns.box))),
  );
  listenToDrops();
}

const thumbsBox = (task) => h("div.thumbs", { role: "radiogroup", "aria-labelledby": `data-${task}`, onkeydown: moveChoice });

const setData = (part, latest) => set({ data: part }, latest);

const again = () => setData({ seed: (store.settings.data.seed + 1) % 1000 });

function slider(key, name, { low, high, step, format = String }) {
  const shown = h("output");
  const later = settled((value) => setData({ [name]: value }, `data.${name}`), 80);
  const input = h("input", { type: "range", min: low, max: high, step, oninput: () => {
    write(shown, format(Number(input.value)));
    later(Number(input.value));
  } });
  const show = (value) => {
    if (!input.matches(":active")) input.value = value;
    write(shown, format(value));
  };
  return { box: h("label.field", {}, h("span", {}, t(key), shown), input), input, show };
}

function fieldsOf() {
  return {
    noise: slider("data.noise", "noise", { low: 0, high: 0.5, step: 0.01, format: (v) => fixed(v) }),
    n: slider("data.size", "n", { low: 20, high: 1000, step: 10 }),
    test: slider("data.test", "test", { low: 0, high: 0.8, step: 0.05, format: (v) => `${Math.round(100 * v)} %` }),
    seed: slider("data.seed", "seed", { low: 0, high: 99, step: 1 }),
    formula: formulaBox(),
    columns: columnsBox(),
    options: optionsBox(() => store.catalog.data[store.settings.data.kind].options ?? {}, () => store.settings.data.options,
      (name, value) => setData({ options: { [name]: value } })),
  };
}

function formulaBox() {
  const input = h("input", { type: "text", id: "formula", autocomplete: "off", spellcheck: false, "aria-describedby": "formula-hint" });
  const send_ = () => change({ kind: "formula", formula: input.value }, "");
  const form = h("form.field", { onsubmit: (event) => { event.preventDefault(); send_(); } },
    h("label", { htmlFor: "formula" }, t("data.formula")), input, h("span", { id: "formula-hint" }, t("data.formula.hint")));
  input.addEventListener("change", send_);
  return { box: form, input };
}

// --- Thumbnails -----------------------------------------------------------------------------------------------------

function thumb(kind) {
  const canvas = h("canvas", { width: 2 * SIDE, height: 2 * SIDE, "aria-hidden": "true" });
  const button = h("button", { type: "button", role: "radio", "data-kind": kind, onclick: () => choose(kind) }, canvas, h("span", {}, textOr(`data.${kind}`, kind)));
  return button;
}

function choose(kind) {
  if (kind !== "drawn" && drawing) switchDrawing(false);
  change({ kind, options: {} }, store.catalog.data[kind].task);
}

/** Other data; with "auto" in place of a loss that does not fit them. */
function change(data, task) {
  const { loss } = store.settings.training, fits = (store.catalog.losses[task] ?? ["auto"]).includes(loss);
  set(fits ? { data } : { data, training: { loss: "auto" } });
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

const previewed = () => Object.entries(store.catalog.data).filter(([kind]) => !["drawn", "table", "arrays", "formula"].includes(kind));

function showThumbs() {
  if (!store.catalog || !store.settings) return;
  const kinds = previewed();
  const shape = kinds.map(([kind]) => kind).join();
  if (parts.shape !== shape) {
    for (const task of ["classes", "values"]) parts[task].replaceChildren(...kinds.filter(([, each]) => each.task === task).map(([kind]) => thumb(kind)));
    parts.shape = shape;
  }
  for (const task of ["classes", "values"]) {
    const all = [...parts[task].children], chosen = all.find(({ dataset }) => dataset.kind === store.settings.data.kind);
    all.forEach((each, k) => {
      each.setAttribute("aria-checked", String(each === chosen));
      each.tabIndex = (chosen ? each === chosen : k === 0) ? 0 : -1;
      drawThumb(each.firstElementChild, each.dataset.kind);
    });
  }
}

function drawThumb(canvas, kind) {
  const context = canvas.getContext("2d"), preview = store.previews?.[kind];
  context.setTransform(2, 0, 0, 2, 0, 0);
  context.clearRect(0, 0, SIDE, SIDE);
  if (!preview) return;
  const [count, width] = preview.points.shape, all = numbers(preview.points);
  const column = (k) => Array.from({ length: count }, (_, n) => all[n * width + k]);
  const x = scaled(column(0)), y = scaled(column(1)), last = column(width - 1);
  for (let n = 0; n < count; n += 1) {
    const kindOfMark = preview.task === "classes" ? last[n] : 0;
    mark(context, kindOfMark, x[n], SIDE - y[n], 2.1);
    context.fillStyle = preview.task === "classes" ? classColor(last[n]) : colors.positive;
    context.fill();
  }
}

function scaled(values) {
  const low = Math.min(...values), high = Math.max(...values);
  return values.map((v) => 6 + ((v - low) / (high - low || 1)) * (SIDE - 12));
}

// --- Points and files -----------------------------------------------------------------------------------------------

function drawBox() {
  const classes = h("div.row", { role: "radiogroup", "aria-label": t("data.draw.class") }, ...[0, 1, 2].map((k) => {
    const dot = h("canvas", { width: 28, height: 28, "aria-hidden": "true" });
    dot.style.width = "14px";
    const button = h("button", { type: "button", role: "radio", "aria-checked": String(k === label), "aria-label": t("out.class", { k }), onclick: () => chooseLabel(k) }, dot);
    button.drawDot = () => {
      const context = dot.getContext("2d");
      context.clearRect(0, 0, 28, 28);
      mark(context, k, 14, 15, 9);
      context.fillStyle = classColor(k);
      context.fill();
    };
    return button;
  }));
  Object.assign(parts, {
    dots: classes,
    draw: h("button", { type: "button", "aria-pressed": "false", onclick: () => switchDrawing(!drawing) }, t("data.draw")),
    clear: h("button", { type: "button", onclick: () => setData({ kind: "moons", points: [] }) }, t("data.draw.clear")),
  });
  parts.tools = h("div.stack", { hidden: true }, h("p.small.soft", {}, t("data.draw.hint")), classes, parts.clear);
  return h("div.stack", {}, parts.draw, parts.tools);
}

function switchDrawing(on_) {
  drawing = on_;
  parts.draw.setAttribute("aria-pressed", String(drawing));
  parts.tools.hidden = !drawing;
  drawPoints(drawing, label);
}

function chooseLabel(k) {
  label = k;
  [...parts.dots.children].forEach((each, j) => each.setAttribute("aria-checked", String(j === k)));
  drawPoints(drawing, label);
}

function columnsBox() {
  const selects = ["x", "y", "target"].map((name) => [name, h("select", { onchange: sendColumns })]);
  const box = h("div.stack", { hidden: true }, ...selects.map(([name, select]) => h("label.field", {}, h("span", {}, t(`data.${name}`)), select)));
  return { box, selects: Object.fromEntries(selects) };
}

function sendColumns() {
  const { x, y, target } = parts.fields.columns.selects;
  setData({ kind: "table", columns: [x.value, y.value].filter(Boolean), target: target.value });
}

function showColumns() {
  const { table, settings } = store, { box, selects } = parts.fields.columns;
  box.hidden = !table || settings?.data.kind !== "table";
  if (box.hidden) return;
  const names = table.columns.map(({ name }) => name), numeric = table.columns.filter(({ kind }) => kind === "number").map(({ name }) => name);
  const [x, y = ""] = settings.data.columns;
  const fill = (select, options, value) => {
    select.replaceChildren(...options.map((name) => h("option", { value: name }, name || t("none"))));
    select.value = value;
  };
  fill(selects.x, numeric, x);
  fill(selects.y, ["", ...numeric], y);
  fill(selects.target, names, settings.data.target);
}

function dropBox() {
  const input = h("input.unseen", { type: "file", accept: ".csv,.npy,text/csv", tabIndex: -1, "aria-hidden": "true", onchange: () => input.files[0] && sendFile(input.files[0]) });
  parts.drop = h("div.drop", {}, t("data.drop"), h("button", { type: "button", onclick: () => input.click() }, t("data.file")), input);
  return parts.drop;
}

let dropsAreHeard = false;

function listenToDrops() {
  if (dropsAreHeard) return;
  dropsAreHeard = true;
  addEventListener("dragover", (event) => { event.preventDefault(); parts.drop.classList.add("over"); });
  addEventListener("dragleave", (event) => event.relatedTarget ?? parts.drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    parts.drop.classList.remove("over");
    if (event.dataTransfer.files[0]) sendFile(event.dataTransfer.files[0]);
  });
}

// --- Showing --------------------------------------------------------------------------------------------------------

/** Show the data's settings as they are now. */
export function showData() {
  if (!store.settings) return;
  const { data } = store.settings, made = !["drawn", "table", "arrays"].includes(data.kind);
  for (const name of ["noise", "n", "seed", "test"]) parts.fields[name].show(data[name]);
  for (const name of ["noise", "n", "seed"]) parts.fields[name].box.hidden = !made;
  const { input } = parts.fields.formula;
  if (document.activeElement !== input) input.value = data.formula;
  write(parts.error, "");
  parts.fields.options.show();
  showColumns();
  showThumbs();
  for (const button of parts.dots.children) button.drawDot();
}

wide.addEventListener("change", () => { byId("data").querySelector("details").open = wide.matches; });
on("settings previews table", showData);
on("theme", () => { showThumbs(); for (const button of parts.dots.children) button.drawDot(); redrawAll(); });
on("refused", ({ at, reason }) => at?.startsWith("data") && write(parts.error, reason));
on("hello", () => {
  if (!store.previews) send({ type: "preview", n: 60 }, "preview", true);
});
