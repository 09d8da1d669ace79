// The network: a small image in each neuron, and lines for the weights.

import { Surface, font, redraw } from "./canvas.js";
import { className, inputName, shortName } from "./classes.js";
import { color, colors } from "./colors.js";
import { change, send } from "./connection.js";
import { byId, fixed, h, rounded, write } from "./dom.js";
import { editLayer, editNeuron, closeEditor, refreshEditor } from "./editor.js";
import { areImages, drawFilter } from "./images.js";
import { layoutOf, leastHeight, lineAt, lineOf, trace } from "./layout.js";
import { drawMap, inputsOf, namesOf } from "./maps.js";
import { emit, isFull, on, store } from "./store.js";
import { t } from "./texts.js";

const parts = {};
let layout = null, shape = "", placed = "", pointed = null, dragged = null;
let flowing = null; // what each neuron has at the chosen point: a list for each column, or null

/** Build the section, once for each language. */
export function buildNetwork() {
  const canvas = h("canvas", { role: "img" });
  Object.assign(parts, {
    canvas,
    box: h("div.net", {}, canvas),
    tip: h("div.tip", { hidden: true, role: "presentation" }),
    count: h("span.small.soft.count"),
    remove: roundButton("−", t("net.remove_layer"), () => changeLayers(-1)),
    add: roundButton("+", t("net.add_layer"), () => changeLayers(1)),
    layers: h("span"),
    legend: h("p"),
  });
  shape = placed = "";
  byId("network").replaceChildren(
    h("div.head", {}, h("h2", { id: "network-title", tabIndex: -1 }, t("net.title")), parts.count, parts.remove, parts.layers, parts.add),
    parts.box,
    h("div.legend", {}, h("span", {}, "−"), h("span.scale", { role: "presentation" }), h("span", {}, "+"), parts.legend),
  );
  parts.surface = new Surface(canvas, draw);
  canvas.addEventListener("pointermove", pointerMoves);
  canvas.addEventListener("pointerdown", pointerDown);
  canvas.addEventListener("pointerup", pointerUp);
  canvas.addEventListener("pointercancel", pointerUp);
  canvas.addEventListener("pointerleave", () => point(null));
  const size = canvas.getBoundingClientRect();
  if (size.width) parts.surface.resize(size);
}

const roundButton = (text, label, onclick) => h("button.round", { type: "button", onclick, "aria-label": label, title: label }, text);

/** The sizes of the columns: inputs, hidden layers, outputs. */
export const sizesOf = () => (store.network.length ? [store.network[0].inputs, ...store.network.map(({ units }) => units)] : [2, 2]);

/** The name of a neuron for a reader. */
export function neuronName(column, unit) {
  const last = column === sizesOf().length - 1;
  if (column === 0) return inputName(unit);
  if (!last) return t("net.neuron", { layer: column, neuron: unit + 1 });
  return store.data?.task === "classes" ? className(classOf(unit)) : t("net.output");
}

/** The class that an output stands for. A single output is that of the second class. */
const classOf = (unit) => (store.network.at(-1).units === 1 ? 1 : unit);

// --- Layers and units -----------------------------------------------------------------------------------------------

const layersNow = () => store.settings.network.layers;

async function changeLayers(by) {
  await change(() => {
    const last = layersNow().at(-1) ?? { units: 4, activation: "tanh" };
    return { network: { layers: by > 0 ? [...layersNow(), { ...last, units: Math.min(last.units, 4) }] : layersNow().slice(0, -1) } };
  });
  const { length } = layersNow();
  emit("say", `${length} ${t(length === 1 ? "net.layers.one" : "net.layers")}`);
}

async function changeUnits(k, by) {
  await change(() => ({ network: { layers: layersNow().map((layer, j) => (j === k ? { ...layer, units: layer.units + by } : layer)) } }));
  emit("say", t("state.units", { layer: k + 1, units: layersNow()[k]?.units }));
}

/** The buttons over the canvas; they are made again only if the sizes of the network change. */
function placeButtons() {
  const sizes = sizesOf(), { layers } = store.settings.network;
  const now = JSON.stringify([sizes, layers.map(({ units }) => units), layout.narrow, inputsOf()]);
  if (now !== shape) {
    const focused = document.activeElement?.dataset?.key;
    parts.box.replaceChildren(parts.canvas, ...sizes.flatMap((_, k) => [headOf(k, sizes), ...neuronsOf(k, sizes)]), parts.tip);
    if (focused) parts.box.querySelector(`[data-key="${focused}"]`)?.focus();
    shape = now;
    closeEditor();
  }
  const where = `${now} ${parts.surface.width} ${parts.surface.height}`;
  if (placed === where) return;
  placed = where;
  for (const each of parts.box.querySelectorAll(".place")) {
    const { column, unit } = each.dataset;
    const { x, ys } = layout.columns[column];
    if (unit === undefined) each.style.transform = `translate(${Math.round(x)}px, 0) translateX(-50%)`;
    else {
      each.style.transform = `translate(${x - layout.size / 2}px, ${ys[unit] - layout.size / 2}px)`;
      each.style.width = each.style.height = `${layout.size}px`;
    }
  }
}

function headOf(k, sizes) {
  const place = (...children) => h("div.place", { "data-column": k }, ...children);
  if (k === 0) return place(h("div.layer-head.soft", {}, t(sizes[0] === 1 ? "net.input" : "net.inputs")));
  const layer = store.settings.network.layers[k - 1];
  if (!layer || k === sizes.length - 1) return place(h("div.layer-head.soft", {}, t(sizes[k] === 1 ? "net.output" : "net.outputs")));
  const fewer = roundButton("−", t("net.remove_unit", { layer: k }), () => changeUnits(k - 1, -1));
  const more = roundButton("+", t("net.add_unit", { layer: k }), () => changeUnits(k - 1, 1));
  fewer.disabled = layer.units <= 1;
  more.disabled = layer.units >= store.catalog.limits.units;
  fewer.dataset.key = `fewer${k}`;
  more.dataset.key = `more${k}`;
  const name = h("button.quiet.name", { type: "button", "data-key": `layer${k}`, onclick: (event) => editLayer(k - 1, event.currentTarget, parts.box) }, layer.activation);
  name.setAttribute("aria-label", `${t("net.layer", { layer: k })}: ${layer.activation}`);
  return place(h("div.layer-head", {}, name), h("div.layer-head", {}, fewer, layout.narrow ? null : h("b", {}, String(layer.units)), more));
}

function neuronsOf(k, sizes) {
  return Array.from({ length: sizes[k] }, (_, j) => {
    const button = h("button.place.neuron", {
      type: "button", "data-column": k, "data-unit": j, "data-key": `neuron${k}-${j}`, "aria-label": neuronName(k, j),
      onpointerenter: () => hover(k, j), onpointerleave: () => hover(null),
      onfocus: () => { nameWithBias(button, k, j); hover(k, j); }, onblur: () => hover(null), onkeydown: moveFocus,
      tabIndex: k === 1 && j === 0 ? 0 : -1,
    });
    if (k > 0) button.addEventListener("click", () => editNeuron(k, j, button, parts.box));
    return button;
  });
}

/** Arrow keys go from neuron to neuron, so that the network is one stop of the Tab key. */
function moveFocus(event) {
  const [k, j] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
  if (!k && !j) return;
  event.preventDefault();
  const { column, unit } = event.currentTarget.dataset, sizes = sizesOf();
  const to = Math.max(0, Math.min(sizes.length - 1, Number(column) + k));
  const next = parts.box.querySelector(`[data-key="neuron${to}-${Math.max(0, Math.min(sizes[to] - 1, Number(unit) + j))}"]`);
  event.currentTarget.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function nameWithBias(button, column, neuron) {
  const bias = store.network[column - 1]?.bias?.[neuron];
  if (column) button.setAttribute("aria-label", t("net.neuron.bias", { name: neuronName(column, neuron), bias: rounded(bias ?? 0) }));
}

function hover(layer, unit) {
  store.hovered = layer === null ? null : { layer, unit };
  emit("hovered");
  redraw(parts.surface);
}

// --- Weights under the pointer --------------------------------------------------------------------------------------

const nameOfWeight = ({ layer }) => `${store.network[layer].name}.weight`;
const valueOf = ({ layer, from, to }) => store.network[layer].weight[from * store.network[layer].units + to];

/** Set one weight or bias of the network, here at once and in the session. */
export function setNumber(name, index, value) {
  const layer = store.network.find((each) => name.startsWith(`${each.name}.`));
  if (index.length === 2) layer.weight[index[0] * layer.units + index[1]] = value;
  else layer.bias[index[0]] = value;
  redraw(parts.surface);
  return send({ type: "weight", name, index, value }, `${name}${index}`);
}

function pointerMoves(event) {
  const { offsetX: x, offsetY: y } = event;
  if (!dragged) return layout && point(lineAt(layout, x, y), x, y);
  dragged.moved = dragged.moved || Math.abs(event.clientY - dragged.y) > 3;
  if (!dragged.moved || store.network[pointed.layer].kernel) return undefined;
  const value = dragged.value + (dragged.y - event.clientY) / 60;
  setNumber(nameOfWeight(pointed), [pointed.from, pointed.to], Number(value.toFixed(2)));
  return point(pointed, x, y);
}

function pointerDown(event) {
  const { offsetX: x, offsetY: y } = event;
  if (event.pointerType === "touch") point(lineAt(layout, x, y, 16), x, y);
  if (!pointed) return;
  dragged = { y: event.clientY, value: valueOf(pointed), moved: false };
  if (event.pointerType !== "touch") parts.canvas.setPointerCapture(event.pointerId);
}

function pointerUp(event) {
  if (dragged && !dragged.moved && pointed && event.type === "pointerup") {
    const { layer, from, to } = pointed;
    editNeuron(layer + 1, to, parts.box.querySelector(`[data-key="neuron${layer + 1}-${to}"]`), parts.box, from);
  }
  dragged = null;
}

function point(line, x, y) {
  pointed = line;
  parts.canvas.style.cursor = line ? "ns-resize" : "";
  parts.tip.hidden = !line;
  if (line) {
    const { kernel } = store.network[line.layer];
    write(parts.tip, `${t(kernel ? "net.sum" : "net.weights")} ${fixed(valueOf(line))} · ${t(kernel ? "net.click" : "net.drag")}`);
    const left = Math.max(4, Math.min(x + 12, parts.surface.width - parts.tip.offsetWidth - 4));
    parts.tip.style.transform = `translate(${left}px, ${Math.max(0, y - 38)}px)`;
  }
  redraw(parts.surface);
}

// --- Drawing --------------------------------------------------------------------------------------------------------

/** Show the last frame. */
export function showNetwork() {
  if (!store.settings || !store.network.length || !parts.surface) return;
  const layers = store.settings.network.layers;
  write(parts.layers, `${layers.length} ${t(layers.length === 1 ? "net.layers.one" : "net.layers")}`);
  write(parts.count, t("net.parameters", { count: store.network.reduce((sum, l) => sum + (l.kernel?.numbers ?? l.weight).length + (l.bias?.length ?? 0), 0) }));
  parts.box.style.minHeight = `${leastHeight(sizesOf())}px`;
  parts.remove.disabled = layers.length === 0;
  parts.add.disabled = layers.length >= store.catalog.limits.layers;
  write(parts.legend, t(store.probe ? "net.legend.path" : areImages() ? "net.legend.images" : inputsOf() === 1 ? "net.legend.curve" : "net.legend"));
  const name = `${t("net.title")}: ${sizesOf().join("–")}`;
  if (parts.canvas.ariaLabel !== name) parts.canvas.ariaLabel = name;
  redraw(parts.surface);
  refreshEditor();
}

function draw(context, width, height) {
  if (!store.settings || !store.data || !store.network.length) return;
  layout = layoutOf(sizesOf(), width, height, roomForNames(context));
  flowing = path();
  placeButtons();
  store.network.forEach((layer, k) => drawLines(context, layer, k));
  layout.columns.forEach((column, k) => column.ys.forEach((y, j) => drawNeuron(context, k, j, column.x, y)));
}

function path() {
  if (!store.probe) return null;
  const known = new Map(store.probe.layers.map(({ layer, values }) => [layer, values]));
  return namesOf().map((name, k) => (k === 0 ? store.probe.at : known.get(name) ?? (k === store.network.length ? store.probe.outputs : null)));
}

function drawLines(context, { inputs, units, weight }, k) {
  const values = flowing?.[k];
  const flows = values ? weight.map((w, n) => w * (values[Math.floor(n / units)] ?? 0)) : weight;
  const most = Math.max(values ? 1e-3 : 1, ...flows.map(Math.abs));
  for (let i = 0; i < inputs; i += 1) {
    for (let j = 0; j < units; j += 1) {
      const flow = flows[i * units + j];
      const size = Math.min(1, Math.abs(flow) / most);
      context.beginPath();
      trace(context, lineOf(layout, k, i, j));
      context.lineWidth = 0.6 + 5.4 * size;
      const lit = isLit(k, i, j);
      context.strokeStyle = color(Math.sign(flow) * (0.35 + 0.65 * size), lit === null ? 0.35 + 0.6 * size : lit ? 1 : 0.1);
      context.stroke();
    }
  }
}

/** Whether a line belongs to what is under the pointer; null if nothing is. */
function isLit(k, i, j) {
  if (pointed) return pointed.layer === k && pointed.from === i && pointed.to === j;
  const { hovered } = store;
  if (!hovered) return null;
  return (hovered.layer === k + 1 && hovered.unit === j) || (hovered.layer === k && hovered.unit === i);
}

function drawNeuron(context, k, j, x, y) {
  const { size } = layout, left = x - size / 2, top = y - size / 2;
  context.save();
  context.beginPath();
  context.roundRect(left, top, size, size, Math.min(9, size / 4));
  context.fillStyle = colors.zero;
  context.fill();
  context.clip();
  drawMap(context, k, j, left, top, size);
  if (k === 1 && store.network[0].kernel && size >= 30) drawFilter(context, store.network[0], j, null, left, top, 0.36 * size);
  context.restore();
  context.beginPath();
  context.roundRect(left, top, size, size, Math.min(9, size / 4));
  context.lineWidth = 1.25;
  context.strokeStyle = colors.soft;
  context.stroke();
  drawBias(context, k, j, left, top);
  drawNames(context, k, j, x, y);
}

function drawBias(context, k, j, left, top) {
  const bias = store.network[k - 1]?.bias?.[j];
  if (bias === undefined || layout.size < 22) return;
  context.beginPath();
  context.arc(left + 1, top + layout.size - 1, 4.2, 0, 2 * Math.PI);
  context.fillStyle = color(Math.max(-1, Math.min(1, bias * 1.2)));
  context.fill();
  context.strokeStyle = colors.soft;
  context.lineWidth = 1;
  context.stroke();
}

/** The names of the inputs and of the outputs. */
function names() {
  const { axes, task } = store.data, last = store.network.at(-1).units;
  return [axes.map((_, k) => short(inputName(k))), Array.from({ length: last }, (_, j) => (task === "classes" ? short(shortName(classOf(j))) : "ŷ"))];
}

function roomForNames(context) {
  context.font = font(12, 500);
  return names().map((each) => Math.max(...each.map((name) => context.measureText(name).width)) + 12);
}

function drawNames(context, k, j, x, y) {
  const half = layout.size / 2;
  context.textBaseline = "middle";
  context.fillStyle = colors.ink;
  context.font = font(12, 500);
  if (k === 0) {
    context.textAlign = "right";
    context.fillText(names()[0][j], x - half - 6, y);
  } else if (k === layout.columns.length - 1) {
    context.textAlign = "left";
    context.fillText(names()[1][j], x + half + 7, y);
  }
  const value = flowing?.[k]?.[j];
  if (value === undefined || value === null) return;
  context.textAlign = "center";
  context.font = font(11, 600);
  context.lineWidth = 3.5;
  context.lineJoin = "round";
  context.strokeStyle = colors.paper;
  context.strokeText(fixed(value), x, y + half + 8);
  context.fillText(fixed(value), x, y + half + 8);
}

const short = (text) => (text.length > 8 ? `${text.slice(0, 7)}…` : text.replace(/^x(\d)$/, (_, d) => `x${"₀₁₂"[d] ?? d}`));

on("settings data probe", showNetwork);
on("frame", (frame) => isFull(frame) && showNetwork());

/** What the picture as SVG needs. */
export const drawing = () => ({ surface: parts.surface, layout });
