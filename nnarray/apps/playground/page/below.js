// The panels below: what is happening, one step explained, histograms, and what can be taken along.

import { Surface, redraw } from "./canvas.js";
import { colors } from "./colors.js";
import { histogram, lineChart } from "./charts.js";
import { send, set } from "./connection.js";
import { byId, h, write } from "./dom.js";
import { buildExplain, explainShown } from "./explain.js";
import { isFull, on, store } from "./store.js";
import { buildTake, takeShown } from "./take.js";
import { t, textOr } from "./texts.js";

const TABS = {
  happening: { build: buildHappening, shown: showHappening },
  explain: { build: buildExplain, shown: explainShown },
  inside: { build: () => [normsChart(), h("div.sheets", { id: "histograms" })], shown: watchHistograms },
  take: { build: buildTake, shown: takeShown },
};
const parts = { charts: new Map() };
let open = "happening";

/** Build the panels, once for each language. */
export function buildBelow() {
  parts.charts.clear();
  parts.tabs = Object.keys(TABS).map((name) => h("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, onclick: () => openTab(name),
  }, t(`tab.${name}`)));
  parts.panels = Object.entries(TABS).map(([name, { build }]) => h("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, tabIndex: 0 }, ...build()));
  const list = h("div.tabs", { role: "tablist", "aria-label": t("tab.label"), onkeydown: moveTab }, ...parts.tabs);
  byId("below").setAttribute("aria-label", t("tab.label"));
  byId("below").replaceChildren(list, ...parts.panels);
  openTab(open);
}

/** Show the panel of this name. */
export function openTab(name) {
  open = name;
  Object.keys(TABS).forEach((each, k) => {
    parts.tabs[k].setAttribute("aria-selected", String(each === name));
    parts.tabs[k].tabIndex = each === name ? 0 : -1;
    parts.panels[k].hidden = each !== name;
  });
  for (const [each, { shown }] of Object.entries(TABS)) shown(each === name);
}

function moveTab(event) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  const next = parts.tabs[(parts.tabs.indexOf(document.activeElement) + by + parts.tabs.length) % parts.tabs.length];
  next.focus();
  next.click();
}

// --- What is happening ----------------------------------------------------------------------------------------------

function buildHappening() {
  parts.notes = h("ul.notes", { "aria-live": "polite" });
  parts.words = "";
  return [parts.notes];
}

function showHappening(visible = open === "happening") {
  if (!visible || !parts.notes) return;
  const words = store.frame?.words ?? [];
  const now = JSON.stringify(words.map(({ text, why, button }) => [text, why, button]));
  if (now === parts.words) return;
  parts.words = now;
  parts.notes.replaceChildren(...(words.length ? words.map(noteOf) : [h("li", {}, h("span", {}, t("happening.none")))]));
}

function noteOf({ level, text, why, button, try: settings, reset }) {
  const apply = () => {
    set(settings);
    if (reset) send({ type: "reset" });
  };
  const change = settings && h("button", { type: "button", onclick: apply }, button || t("happening.try"));
  return h(`li.${level}`, {}, h("strong", {}, text), change ?? h("span"), why ? h("p.soft", {}, why) : null);
}

// --- Histograms and gradients ---------------------------------------------------------------------------------------

function normsChart() {
  const canvas = h("canvas", { role: "img", "aria-label": t("out.norms") });
  parts.keys = h("span.row.small");
  parts.norms = new Surface(canvas, (context, width, height) => {
    const { epochs, norms } = store.history;
    lineChart(context, width, height, [...norms].map(([, y], k) => ({ x: epochs, y, color: colors.classes[(k + 1) % 8], dash: DASHES[k % 4] })), { log: true, empty: t("out.empty") });
  });
  return h("figure.chart", {}, h("figcaption", {}, h("b", {}, t("out.norms")), parts.keys), canvas);
}

const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

/** The name of a layer for a reader. */
export function layerName(layer) {
  const hidden = /^hidden(\d+)$/.exec(layer);
  return hidden ? t("net.layer", { layer: hidden[1] }) : textOr(`net.${layer}_layer`, layer);
}

function watchHistograms(visible) {
  send({ type: "watch", histograms: visible, gradients: true }, "watch.histograms");
}

function showInside() {
  if (open !== "inside" || !store.frame) return;
  redraw(parts.norms);
  const layers = [...store.history.norms.keys()], keys = layers.join() + store.hello.language;
  if (parts.keys.dataset.shows !== keys) {
    parts.keys.dataset.shows = keys;
    parts.keys.replaceChildren(...layers.map(keyOf));
  }
  const all = store.frame.histograms ?? [], names = all.map(({ layer, of }) => `${layer} ${of}`);
  if (names.join() !== [...parts.charts.keys()].join()) buildHistograms(all);
  for (const each of all) {
    const chart = parts.charts.get(`${each.layer} ${each.of}`);
    chart.values = each;
    redraw(chart.surface);
  }
}

function keyOf(layer, k) {
  const swatch = h("canvas", { width: 44, height: 8, "aria-hidden": "true" });
  Object.assign(swatch.style, { width: "22px", height: "4px" });
  const context = swatch.getContext("2d");
  Object.assign(context, { strokeStyle: colors.classes[(k + 1) % 8], lineWidth: 4 });
  context.setLineDash(DASHES[k % 4].map((x) => 2 * x));
  context.moveTo(0, 4);
  context.lineTo(44, 4);
  context.stroke();
  return h("span.row", {}, swatch, layerName(layer));
}

function buildHistograms(all) {
  parts.charts.clear();
  byId("histograms").replaceChildren(...all.map(({ layer, of }) => {
    const title = t(`inside.${of}`, { name: layerName(layer) });
    const canvas = h("canvas", { role: "img", "aria-label": title });
    const chart = { values: null };
    chart.surface = new Surface(canvas, (context, width, height) => chart.values && histogram(context, width, height, chart.values));
    parts.charts.set(`${layer} ${of}`, chart);
    return h("figure.chart", {}, h("figcaption", {}, h("b", {}, title)), canvas);
  }));
}

on("frame", (frame) => {
  if (!isFull(frame)) return;
  showHappening();
  showInside();
});
on("state", ({ reason }) => reason === "diverged" && openTab("happening"));
