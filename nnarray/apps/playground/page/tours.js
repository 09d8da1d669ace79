// Guided tours: each step has a text, something to look at, and settings or messages to begin with.

import { openTab } from "./below.js";
import { send } from "./connection.js";
import { byId, h } from "./dom.js";
import { probeAt } from "./output.js";
import { on } from "./store.js";
import { t } from "./texts.js";

const layers = (units, activation) => units.map((each) => ({ units: each, activation, dropout: 0, batch_norm: false }));

/** Messages that begin an experiment: settings, the first weights, and perhaps the training. */
function experiment({ data = {}, units = [4], activation = "tanh", training = {}, seed = 0, run = false }) {
  const usual = { loss: "auto", optimizer: "adam", options: { lr: 0.01 }, schedule: "constant", batch_size: 32, l1: 0, l2: 0 };
  const settings = {
    data: { kind: "moons", n: 200, noise: 0.1, seed: 0, test: 0.25, options: {}, ...data },
    network: { layers: layers(units, activation), init: "auto", precision: "float32" },
    training: { ...usual, ...training },
  };
  return [{ type: "pause" }, { type: "set", settings }, { type: "reset", seed }, ...(run ? [{ type: "run" }] : [])];
}

const SINE = { kind: "sine", n: 100, noise: 0.1 };
const MOONS = { kind: "moons", noise: 0.1 };
const PETS = { data: { kind: "pets", n: 400 }, activation: "elu" };

// Of each step: what to look at, and the messages or the tab of the panels below.
const TOURS = {
  neuron: [
    { look: "network", messages: experiment({ data: { kind: "blobs", noise: 0.3, options: { classes: 2 } }, units: [1] }) },
    { look: "network" },
    { look: "network" },
    { look: "bar", messages: [{ type: "run" }] },
    { look: "output", messages: experiment({ data: { kind: "xor" }, units: [1], run: true }) },
    { look: "network" },
  ],
  approximation: [
    { look: "output", messages: experiment({ data: SINE, units: [], run: true }) },
    { look: "network", messages: experiment({ data: SINE, units: [1], run: true }) },
    { look: "network", messages: experiment({ data: SINE, units: [3], run: true }) },
    { look: "output", messages: experiment({ data: SINE, units: [8, 8], run: true }) },
    { look: "data" },
  ],
  forward: [
    { look: "network", messages: experiment({ data: MOONS, units: [3] }) },
    { look: "output", messages: [{ type: "probe", at: [0, 0.5] }] },
    { look: "network" },
    { look: "below", tab: "explain" },
  ],
  training: [
    { look: "output", messages: experiment({ data: MOONS, units: [5], training: { optimizer: "sgd", options: { lr: 0.1 } } }) },
    { look: "bar", messages: [{ type: "batch", count: 1 }] },
    { look: "output", messages: [{ type: "run" }] },
    { look: "bar", messages: experiment({ data: MOONS, units: [5], training: { optimizer: "sgd", options: { lr: 0.001 } }, run: true }) },
    { look: "below", tab: "happening", messages: experiment({ data: { ...MOONS, noise: 0.2 }, units: [5], training: { optimizer: "sgd", options: { lr: 10 }, batch_size: 8 }, run: true }) },
    { look: "output", messages: experiment({ data: { ...MOONS, n: 40, noise: 0.4, test: 0.5 }, units: [32, 32], run: true }) },
  ],
  boundary: [1, 2, 3, 5, 20, 50].map((size) => ({ look: "output", messages: experiment({ data: { ...MOONS, noise: 0.2 }, units: [size], run: true }) })),
  images: [
    { look: "output", messages: experiment({ ...PETS, units: [8, 8, 8] }) },
    { look: "network" },
    { look: "output", messages: [{ type: "run" }] },
    { look: "network" },
    { look: "output" },
    { look: "network", messages: experiment({ ...PETS, units: [8], run: true }) },
  ],
};

let tour = null; // the tour that runs: { name, step, window, from }

/** Build the menu, once for each language. */
export function buildTours() {
  const list = h("ul", { hidden: true }, Object.keys(TOURS).map((name) => h("li", {}, h("button", { type: "button", onclick: () => start(name) },
    h("b", {}, t(`tour.${name}`).title), h("small", {}, t(`tour.${name}`).lead)))));
  const toggle = h("button", { type: "button", "aria-expanded": "false", onclick: () => show(list.hidden) }, t("tours.menu"));
  const show = (visible) => {
    list.hidden = !visible;
    toggle.setAttribute("aria-expanded", String(visible));
  };
  const menu = byId("tours");
  menu.replaceChildren(toggle, list);
  menu.onfocusout = ({ relatedTarget }) => relatedTarget && !menu.contains(relatedTarget) && show(false);
  menu.onkeydown = ({ key }) => {
    if (key !== "Escape" || list.hidden) return;
    show(false);
    toggle.focus();
  };
  const start = (name) => {
    show(false);
    begin(name, toggle);
  };
  if (tour) open();
}

addEventListener("click", ({ target }) => {
  const menu = byId("tours");
  if (!menu.contains(target) && menu.lastElementChild) menu.lastElementChild.hidden = true;
});

function begin(name, from) {
  end();
  tour = { name, step: 0, from, window: null };
  enter();
}

function move(by) {
  tour.step += by;
  if (tour.step >= TOURS[tour.name].length) end();
  else enter();
}

/** Begin the step: first its messages, then its text. */
function enter() {
  const { messages = [], tab } = TOURS[tour.name][tour.step];
  messages.forEach((message) => (message.type === "probe" ? probeAt(message.at) : send(message)));
  if (tab) openTab(tab);
  open();
  tour.window.focus();
}

function open() {
  tour.window?.remove();
  const { name, step } = tour, { title, steps } = t(`tour.${name}`), last = step === steps.length - 1;
  const button = (key, action, kind = "") => h(`button${kind}`, { type: "button", onclick: action }, t(key));
  const back = button("tours.back", () => move(-1));
  back.disabled = step === 0;
  tour.window = h("aside.tour", { tabIndex: -1, role: "region", "aria-label": title },
    h("div.head", {}, h("h2", {}, title), h("span.small.soft", {}, t("tours.step", { step: step + 1, steps: steps.length }))),
    ...steps[step].split("\n").map((text) => h("p", {}, text)),
    h("div.row", {}, button("tours.end", end, ".quiet"), h("span.spring"), back, button(last ? "tours.done" : "tours.next", () => move(1), ".main")));
  tour.window.onkeydown = ({ key }) => key === "Escape" && end();
  tour.window.classList.toggle("right", ["data", "below"].includes(TOURS[name][step].look)); // beside what it speaks of
  document.body.append(tour.window);
  light(TOURS[name][step].look);
}

function light(id) {
  for (const each of document.querySelectorAll(".lit")) each.classList.remove("lit");
  if (!id) return;
  const section = byId(id), behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  section.classList.add("lit");
  section.scrollIntoView({ block: section.offsetHeight < 0.8 * innerHeight ? "nearest" : "start", behavior });
}

function end() {
  light(null);
  tour?.window?.remove();
  if (tour?.from.isConnected) tour.from.focus();
  tour = null;
}

on("connection", (connected) => connected || end());
