// A small window beside the network: the weights into a neuron, or the settings of a layer.

import { change } from "./connection.js";
import { fixed, h, write } from "./dom.js";
import { areImages, drawFilter } from "./images.js";
import { neuronName, setNumber } from "./network.js";
import { store } from "./store.js";
import { t } from "./texts.js";

/** The sizes of filters. */
export const KERNELS = [1, 3, 5, 7];

let window_ = null, opener = null, refresh = null;

/** Close the window, if one is open, and go back to what opened it. */
export function closeEditor() {
  if (!window_) return;
  const inside = window_.contains(document.activeElement);
  window_.remove();
  opener?.setAttribute("aria-expanded", "false");
  if (inside && opener?.isConnected) opener.focus();
  window_ = opener = refresh = null;
}

/** Show the numbers of the last frame. */
export const refreshEditor = () => refresh?.();

function openAt(button, box, title, content) {
  const again = opener === button;
  closeEditor();
  if (again) return null;
  opener = button;
  button.setAttribute("aria-expanded", "true");
  const close = h("button.quiet.round", { type: "button", "aria-label": t("net.close"), onclick: closeEditor }, "×");
  window_ = h("div.editor", { role: "dialog", "aria-label": title }, h("div.head", {}, h("h3", {}, title), close), ...content);
  window_.querySelector("h3").style.marginRight = "auto";
  window_.addEventListener("keydown", (event) => event.key === "Escape" && closeEditor());
  box.append(window_);
  const at = button.getBoundingClientRect(), around = box.getBoundingClientRect();
  const right = at.right - around.left + 10;
  const fits = at.right + 10 + window_.offsetWidth < document.documentElement.clientWidth;
  const left = !fits ? Math.max(0, at.left - around.left - window_.offsetWidth - 10) : right;
  window_.style.left = `${left}px`;
  window_.style.top = `${Math.max(0, Math.min(at.top - around.top - 40, around.height - window_.offsetHeight))}px`;
  return window_;
}

/** The weights and the bias of a neuron, each with a slider and a number. */
export function editNeuron(column, unit, button, box, from = 0) {
  const layer = () => store.network[column - 1];
  const { name, inputs, bias, kernel } = layer();
  const to = neuronName(column, unit);
  const lines = kernel ? [] : Array.from({ length: inputs }, (_, i) => ({
    label: column === 1 ? neuronName(0, i) : String(i + 1),
    title: t("net.weight", { from: neuronName(column - 1, i), to }),
    read: () => layer()?.weight[i * layer().units + unit] ?? 0,
    write: (value) => setNumber(`${name}.weight`, [i, unit], value),
  }));
  if (bias) {
    const read = () => layer()?.bias?.[unit] ?? 0;
    lines.push({ label: t("net.biasword"), title: t("net.bias", { to }), read, write: (value) => setNumber(`${name}.bias`, [unit], value) });
  }
  const made = lines.map(weightLine), filter = kernel && filterOf(layer, unit, column);
  const zero = h("button", { type: "button", onclick: () => lines.forEach((line) => line.write(0)) }, t("net.zero"));
  const content = [...(kernel ? filter.content : []), ...made.map(({ row }) => row), ...(kernel ? [] : [zero])];
  if (!openAt(button, box, t(kernel ? "net.filter" : "net.edit", { name: to }), content)) return;
  refresh = () => {
    made.forEach((each) => each.refresh());
    filter?.show();
  };
  refresh();
  made[kernel ? 0 : from]?.slider.focus({ preventScroll: true });
}

function weightLine({ label, title, read, write: change }) {
  const number = h("input", { type: "number", step: 0.1, "aria-label": title });
  const slider = h("input", { type: "range", min: -4, max: 4, step: 0.05, "aria-label": title });
  const show = () => {
    if (document.activeElement !== number) number.value = read().toFixed(2);
    if (!slider.matches(":active")) slider.value = read();
  };
  const changed = (text) => {
    const value = Number(text);
    if (text !== "" && Number.isFinite(value)) change(value);
    show();
  };
  number.addEventListener("change", () => changed(number.value));
  slider.addEventListener("input", () => changed(slider.value));
  slider.addEventListener("dblclick", () => changed("0"));
  show();
  return { row: h("div.weight", {}, h("span", { "aria-hidden": "true" }, label), slider, number), slider, refresh: show };
}

const SIDE = 56;

/** The weights of a filter: an image for each of its inputs. */
function filterOf(layer, unit, column) {
  const images = Array.from({ length: layer().inputs }, (_, i) => h("canvas", { width: SIDE, height: SIDE, role: "img", title: neuronName(column - 1, i), "aria-label": t("net.weight", { from: neuronName(column - 1, i), to: neuronName(column, unit) }) }));
  const show = () => layer()?.kernel && images.forEach((each, i) => drawFilter(each.getContext("2d"), layer(), unit, i, 0, 0, SIDE));
  return { content: [h("p.small.soft", {}, t("net.filter.hint")), h("div.filters", {}, images)], show };
}

/** The settings of one layer. */
export function editLayer(k, button, box) {
  const layer = store.settings.network.layers[k];
  const edit = (part) => change(() => ({ network: { layers: store.settings.network.layers.map((each, j) => (j === k ? { ...each, ...part } : each)) } }));
  const activation = h("select", { onchange: () => { edit({ activation: activation.value }); write(button, activation.value); } },
    store.catalog.activations.map((name) => h("option", { value: name, selected: name === layer.activation }, name)));
  const shown = h("output", {}, fixed(layer.dropout));
  const dropout = h("input", { type: "range", min: 0, max: 0.8, step: 0.05, value: layer.dropout,
    oninput: () => write(shown, fixed(Number(dropout.value))), onchange: () => edit({ dropout: Number(dropout.value) }) });
  const normalise = h("input", { type: "checkbox", checked: layer.batch_norm, onchange: () => edit({ batch_norm: normalise.checked }) });
  const kernel = h("select", { onchange: () => edit({ kernel: Number(kernel.value) }) },
    KERNELS.map((size) => h("option", { value: size, selected: size === layer.kernel }, `${size} × ${size}`)));
  const opened = openAt(button, box, t("net.layer", { layer: k + 1 }), [
    h("label.field", {}, h("span", {}, t("bar.activation")), activation),
    h("label.field", {}, h("span", {}, t("bar.dropout"), " ", shown), dropout),
    h("label.check", {}, normalise, t("bar.normalise")),
    ...(areImages() ? [h("label.field", {}, h("span", {}, t("bar.kernel")), kernel)] : []),
  ]);
  if (opened) activation.focus({ preventScroll: true });
}
