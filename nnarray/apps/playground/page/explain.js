// One step on one example, with its numbers.

import { send } from "./connection.js";
import { className } from "./classes.js";
import { h, rounded, write } from "./dom.js";
import { layerName } from "./below.js";
import { emit, on, store } from "./store.js";
import { t } from "./texts.js";

const parts = {};

/** The elements of the panel. */
export function buildExplain() {
  Object.assign(parts, {
    example: h("input", { type: "number", min: 0, step: 1, value: "0" }),
    wait: h("span.small.soft", { role: "status" }),
    result: h("div"),
  });
  parts.example.addEventListener("change", ask);
  const form = h("form.row", { onsubmit: (event) => { event.preventDefault(); ask(); } },
    h("label.row", {}, t("explain.example"), parts.example), h("button", { type: "submit" }, t("explain.go")), parts.wait);
  if (store.explanation) show(store.explanation);
  return [h("div.stack", {}, h("p.soft.lead", {}, t("explain.lead")), form, parts.result)];
}

let visible = false;

/** Explain an example when the panel is opened. It is marked in the plot, and a click there chooses another one. */
export function explainShown(now) {
  visible = now;
  if (visible && store.data) ask();
  mark(null);
}

/** Mark an example in the plot; null marks none. */
function mark(example) {
  store.explained = example;
  emit("explained");
}

on("picked", (at) => {
  if (!visible || !store.data) return;
  const { train, range } = store.data, sizes = range.map(([low, high]) => high - low);
  const away = (row) => sizes.reduce((sum, size, k) => sum + ((row[k] - at[k]) / size) ** 2, 0);
  const distances = train.map(away);
  parts.example.value = distances.indexOf(Math.min(...distances));
  ask();
});

async function ask() {
  const most = (store.data?.train.length ?? 1) - 1;
  const example = Math.max(0, Math.min(most, Math.round(Number(parts.example.value) || 0)));
  parts.example.max = most;
  parts.example.value = example;
  write(parts.wait, t("explain.wait"));
  await send({ type: "explain", example }, "explain");
  write(parts.wait, "");
  if (visible) mark(example);
}

function show(explanation) {
  const { inputs, target, loss, loss_formula: formula, lines, verdict, ok, layers } = explanation;
  const name = store.data?.task === "classes" ? className(target) : rounded(target);
  parts.result.replaceChildren(
    h("div.step", {}, h("h3", {}, t("explain.input")), h("p.arithmetic", {}, `x = ${inputs.length ? `(${inputs.map((x) => rounded(x)).join(", ")})` : t("explain.image")}    ${t("data.target")}: ${name}`)),
    ...layers.map((layer) => h("div.step", {}, h("h3", {}, `${t("explain.forward")}: ${layerName(layer.layer)} `, h("span.soft.small", {}, layer.is)),
      formulaOf(layer.formula), numbersOf(layer), arithmetic(layer.forward))),
    h("div.step", {}, h("h3", {}, `${t("explain.loss")} = ${rounded(loss)}`), formulaOf(formula), arithmetic(lines)),
    ...[...layers].reverse().map((layer) => h("div.step", {}, h("h3", {}, `${t("explain.backward")}: ${layerName(layer.layer)}`), arithmetic(layer.backward), gradientsOf(layer))),
    h(ok ? "p.ok" : "p.bad", {}, verdict),
  );
}

const formulaOf = (text) => h("p.formula", {}, text);
const arithmetic = (lines) => h("div.arithmetic", { role: "group", "aria-label": t("explain.numbers") }, lines.map((line) => h("p", {}, line)));

function numbersOf({ layer, outputs }) {
  const units = store.network.find(({ name }) => name === layer)?.units ?? outputs.length;
  return h("p.small.soft", {}, `y = (${outputs.map((x) => rounded(x)).join(", ")}${units > outputs.length ? ", …" : ""})`);
}

function gradientsOf({ gradients }) {
  if (!gradients.length) return null;
  const head = ["parameter", "check", "norm", "along", "difference"].map((key) => h("th", { scope: "col" }, t(`explain.${key}`)));
  const lines = gradients.map(({ name, norm, along, difference, relative, ok }) => h("tr", {},
    h("th", { scope: "row" }, name),
    h(ok ? "td.ok" : "td.bad", { title: rounded(relative, 2) }, `${ok ? "✓" : "✗"} ${t(ok ? "explain.checked" : "explain.off")}`),
    h("td", {}, rounded(norm)), h("td", {}, rounded(along)), h("td", {}, rounded(difference))));
  return h("div.scroll", { tabIndex: 0, role: "group", "aria-label": t("explain.check") }, h("table.numbers", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, lines)));
}

on("explanation", show);
on("data", () => {
  store.explanation = null;
  mark(null);
});
