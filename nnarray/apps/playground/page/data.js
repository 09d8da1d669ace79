// The data: which dataset, how much noise, own formulas, files and points.

import { redrawAll } from "./canvas.js";
import { change, send, sendFile, set } from "./connection.js";
import { byId, fixed, h, settled, write } from "./dom.js";
import { areImages } from "./images.js";
import { optionsBox } from "./options.js";
import { drawPoints } from "./output.js";
import { emit, on, store } from "./store.js";
import { repaintSwatches, swatch } from "./swatch.js";
import { t } from "./texts.js";
import { showThumbs, thumbGroups } from "./thumbs.js";

const parts = {};
const wide = matchMedia("(min-width: 1181px)"); // there the fields are always open, as in style.css
let drawing = false, label = 1;

/** Build the section, once for each language. */
export function buildData() {
  Object.assign(parts, { fields: fieldsOf(), error: h("p.error", { role: "alert" }), again: h("button", { type: "button", onclick: again }, t("data.again")) });
  const { noise, n, seed, test, formula, columns, options } = parts.fields;
  byId("data").replaceChildren(
    h("div.head", {}, h("h2", { id: "data-title" }, t("data.title")), parts.again),
    h("div.kinds", {}, ...thumbGroups(choose)),
    parts.error,
    h("details.more", { open: wide.matches }, h("summary", {}, t("data.more")), h("div.fields", {},
      h("div.stack", {}, noise.box, n.box), h("div.stack", {}, test.box, seed.box, options.box), h("div.stack", {}, formula.box, drawBox()),
      h("div.stack", {}, dropBox(), columns.box))),
  );
  listenToDrops();
}

const setData = (part, latest) => set({ data: part }, latest);

const again = () => change(() => ({ data: { seed: (store.settings.data.seed + 1) % 1000 } }));

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
  const name_ = h("b", {}, t(key));
  return { box: h("label.field", {}, h("span", {}, name_, shown), input), name: name_, input, show };
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
  const send_ = () => setData({ kind: "formula", formula: input.value });
  const form = h("form.field", { onsubmit: (event) => { event.preventDefault(); send_(); } },
    h("label", { htmlFor: "formula" }, t("data.formula")), input, h("span", { id: "formula-hint" }, t("data.formula.hint")));
  input.addEventListener("change", send_);
  return { box: form, input };
}

// --- Which data -----------------------------------------------------------------------------------------------------

function choose(kind) {
  if (kind !== "drawn" && drawing) switchDrawing(false);
  const { images, suggests } = store.catalog.data[kind], new_ = images && !areImages() ? suggests : {}; // another kind of network
  set({ ...new_, data: { ...new_.data, kind, options: {} } });
}

// --- Points and files -----------------------------------------------------------------------------------------------

function drawBox() {
  const classes = h("div.row", { role: "radiogroup", "aria-label": t("data.draw.class") }, ...[0, 1, 2].map((k) => h("button", {
    type: "button", role: "radio", "aria-checked": String(k === label), "aria-label": t("out.class", { k }), onclick: () => chooseLabel(k),
  }, swatch(k))));
  Object.assign(parts, {
    dots: classes,
    draw: h("button", { type: "button", "aria-pressed": "false", onclick: () => switchDrawing(!drawing) }, t("data.draw")),
    clear: h("button", { type: "button", onclick: () => send({ type: "erase" }) }, t("data.draw.clear")),
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
  const input = h("input.unseen", { type: "file", accept: ".csv,.tsv,.npy,text/csv", tabIndex: -1, "aria-hidden": "true", onchange: () => input.files[0] && sendFile(input.files[0]) });
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
  const { images } = store.catalog.data[data.kind];
  parts.fields.noise.box.hidden = !made || images;
  write(parts.fields.n.name, t(images ? "data.images" : "data.size"));
  write(parts.again, t(images ? "data.again.images" : "data.again"));
  parts.draw.parentElement.hidden = images;
  const { input } = parts.fields.formula;
  if (document.activeElement !== input) input.value = data.formula;
  write(parts.error, "");
  parts.fields.options.show();
  showColumns();
  showThumbs();
}

wide.addEventListener("change", () => { byId("data").querySelector("details").open = wide.matches; });
on("settings table", showData);
on("table", ({ encoding }) => encoding && emit("toast", t("data.encoding", { encoding })));
on("theme", () => {
  showThumbs();
  repaintSwatches();
  redrawAll();
});
on("refused", ({ at, reason }) => at?.startsWith("data") && write(parts.error, reason));
