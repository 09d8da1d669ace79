// The top bar: training, and its settings, which may all change while it runs.

import { change, send, set } from "./connection.js";
import { byId, h, rounded, write } from "./dom.js";
import { KERNELS } from "./editor.js";
import { icon } from "./icons.js";
import { areImages } from "./images.js";
import { optionsBox } from "./options.js";
import { emit, isFull, on, store } from "./store.js";
import { t } from "./texts.js";

const RATES = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];
const STRENGTHS = [0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3];
const BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const PACES = [0.5, 1, 2, 5, 10, 30];
const parts = {};
const SOON = 300; // milliseconds in which the first step usually comes
let pace = null, unfolded = false, asked = 0, waiting = 0;

/** Build the bar, once for each language. */
export function buildBar() {
  const button = (key, action, ...content) => h("button", { type: "button", onclick: action, title: t(`${key}.hint`) }, ...content);
  Object.assign(parts, {
    play: h("button.main", { type: "button", onclick: run }),
    epoch: h("strong", {}, "0"),
    batch: h("span.small.soft"),
    settings: h("div.settings"),
    fields: null,
  });
  const reset = h("button.quiet", { type: "button", onclick: () => restart(), "aria-label": t("bar.reset"), title: t("bar.reset.hint") }, icon("reset"));
  byId("bar").setAttribute("aria-label", t("bar.label"));
  byId("bar").firstElementChild.replaceChildren(
    h("div.drive", {},
      parts.play, reset,
      button("bar.batch", () => take({ type: "batch", count: 1 }), t("bar.batch")),
      button("bar.epoch", () => take({ type: "step", epochs: 1 }), t("bar.epoch")),
      h("div.counter", {}, h("span.small.soft", {}, t("bar.count")), h("span", {}, parts.epoch, parts.batch))),
    parts.settings,
  );
}

/** Run or pause. The button changes at once; frames that are still on their way do not change it back. */
async function run() {
  store.wanted = store.running = !store.running;
  showRunning();
  asked += 1;
  const mine = asked;
  const [answer] = await send({ type: store.running ? "run" : "pause" });
  if (mine !== asked) return; // pressed again since
  store.wanted = null;
  store.running = answer?.running ?? false; // refused, or lost
  showRunning();
  if (!store.running) showPaused();
}

function showPaused() {
  const { epoch, loss } = store.frame;
  emit("say", t("state.paused", { epoch, loss: rounded(loss?.train) }));
}

/** Take steps, and wait for them. */
async function take(message) {
  prepare(true);
  await send(message);
  prepare(false);
  showFrame();
}

/** Say why nothing moves, if it lasts: steps that are needed for the first time are compiled first. */
function prepare(now) {
  if (now && waiting) return;
  clearTimeout(waiting);
  waiting = now ? setTimeout(showPreparing, SOON) : 0;
}

function showPreparing() {
  write(parts.batch, ` ${t("bar.preparing")}`);
  emit("say", t("bar.preparing"));
}

/** Draw the first weights again; with a seed, others. */
function restart(seed) {
  send(seed === undefined ? { type: "reset" } : { type: "reset", seed });
  emit("say", t("state.reset"));
}

const USES_SPACE = "input, select, textarea, button, summary, a, [role=application], [tabindex='0']";

/** The space bar starts and pauses, if what has the focus does not use it. */
export function listenToKeys() {
  addEventListener("keydown", (event) => {
    if (event.key !== " " || event.ctrlKey || event.metaKey || event.altKey || event.target.closest(USES_SPACE)) return;
    run();
    event.preventDefault();
  });
}

function choice(key, options, read, change) {
  const select = h("select", { onchange: () => change(options().find(([value]) => String(value) === select.value)[0]) });
  const show = () => {
    const now = read(), all = options();
    if (!all.some(([value]) => String(value) === String(now))) all.push([now, rounded(now)]);
    const texts = JSON.stringify([all, now]);
    if (select.dataset.shown !== texts) {
      select.dataset.shown = texts;
      select.replaceChildren(...all.map(([value, text]) => h("option", { value: String(value) }, String(text))));
    }
    if (select.value !== String(now)) select.value = String(now);
  };
  return { box: h("label.field", {}, h("span", {}, t(key)), select), show };
}

/** A choice that is there for images alone. */
function onlyImages({ box, show }) {
  return { box, show: () => {
    box.hidden = !areImages();
    show();
  } };
}

const named = (names) => names.map((name) => [name, name === "auto" ? t("automatic") : name]);
const numbered = (list) => list.map((x) => [x, x && x < 0.001 ? x.toFixed(4) : String(x)]);
const training = () => store.settings.training;
const network = () => store.settings.network;
const setTraining = (part) => set({ training: part });
const setLayers = (part) => change(() => ({ network: { layers: network().layers.map((layer) => ({ ...layer, ...part })) } }));
const common = (name, other) => network().layers[0]?.[name] ?? other;

function penalty() {
  const { l1, l2 } = training();
  return l1 ? "L1" : l2 ? "L2" : "none";
}

function setPenalty(kind, strength) {
  setTraining({ l1: kind === "L1" ? strength : 0, l2: kind === "L2" ? strength : 0 });
}

function rates() {
  return numbered(RATES);
}

function fieldsOf() {
  const { catalog } = store;
  const first = [
    choice("bar.rate", rates, () => training().options.lr ?? catalog.optimizers[training().optimizer].lr, (lr) => setTraining({ options: { lr } })),
    choice("bar.activation", () => named(catalog.activations), () => common("activation", "tanh"), (activation) => setLayers({ activation })),
    onlyImages(choice("bar.kernel", () => KERNELS.map((size) => [size, `${size} × ${size}`]), () => common("kernel", 3), (kernel) => setLayers({ kernel }))),
    choice("bar.optimizer", () => named(Object.keys(catalog.optimizers)), () => training().optimizer, (optimizer) => setTraining({ optimizer })),
    choice("bar.penalty", () => [["none", t("none")], ["L1", "L1"], ["L2", "L2"]], penalty, (kind) => setPenalty(kind, training().l1 || training().l2 || 0.001)),
    choice("bar.strength", () => numbered([0, ...STRENGTHS]), () => training().l1 || training().l2, (x) => setPenalty(penalty() === "none" ? "L2" : penalty(), x)),
    choice("bar.batch_size", () => [...numbered(BATCHES), [null, t("all")]], () => training().batch_size, (batch_size) => setTraining({ batch_size })),
  ];
  const more = [
    choice("bar.loss", () => named(catalog.losses[store.data?.task ?? "classes"]), () => training().loss, (loss) => setTraining({ loss })),
    choice("bar.schedule", () => named(Object.keys(catalog.schedules)), () => training().schedule, (schedule) => setTraining({ schedule, schedule_options: {} })),
    choice("bar.initializer", () => named(catalog.initializers), () => network().init, (init) => set({ network: { init } })),
    choice("bar.dropout", () => numbered([0, 0.1, 0.2, 0.3, 0.5]), () => common("dropout", 0), (dropout) => setLayers({ dropout })),
    choice("bar.precision", () => named(catalog.precisions), () => network().precision, (precision) => set({ network: { precision } })),
    choice("bar.weights_seed", () => numbered([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), () => network().seed, (seed) => restart(seed)),
    ...(store.paced ? [choice("bar.speed", () => [[null, t("bar.fast")], ...numbered(PACES)], () => pace, setPace)] : []),
  ];
  const option = (name, value) => setTraining({ options: { [name]: value } });
  const ofSchedule = (name, value) => setTraining({ schedule_options: { [name]: value } });
  const options = [
    optionsBox(() => catalog.optimizers[training().optimizer], () => training().options, option, ["lr"]),
    optionsBox(() => catalog.schedules[training().schedule], () => training().schedule_options, ofSchedule),
  ];
  return { first, more: [...more, ...options] };
}

function setPace(epochs) {
  pace = epochs;
  send({ type: "watch", pace });
}

function buildFields() {
  const { first, more } = fieldsOf();
  const rest = h("div.settings", { id: "more-settings", hidden: !unfolded }, ...more.map(({ box }) => box));
  const toggle = h("button.quiet", { type: "button", "aria-expanded": String(unfolded), "aria-controls": "more-settings", onclick: () => {
    unfolded = !unfolded;
    rest.hidden = !unfolded;
    toggle.setAttribute("aria-expanded", String(unfolded));
  } }, t("bar.more"));
  rest.style.flexBasis = "100%";
  parts.settings.replaceChildren(...first.map(({ box }) => box), toggle, rest);
  parts.fields = [...first, ...more];
}

function showRunning() {
  const key = store.running ? "pause" : "play";
  if (parts.play.dataset.shows === key + t(`bar.${key}`)) return;
  parts.play.dataset.shows = key + t(`bar.${key}`);
  parts.play.replaceChildren(icon(key));
  parts.play.setAttribute("aria-label", t(`bar.${key}`));
  parts.play.title = t(`bar.${key}`);
}

function showFrame() {
  const { frame } = store;
  if (!frame) return;
  write(parts.epoch, frame.epoch.toLocaleString("en").replaceAll(",", "\u202f"));
  if (!waiting) write(parts.batch, frame.batch ? ` + ${frame.batch}/${frame.batches}` : "");
  showRunning();
}

/** Show all settings as they are now. */
export function showBar() {
  if (!store.settings || !store.catalog) return;
  if (!parts.fields) buildFields();
  parts.fields.forEach(({ show }) => show());
  showFrame();
}

on("hello paced", () => {
  parts.fields = null;
  showBar();
});
on("settings data refused", showBar);
on("frame", (frame) => {
  prepare(store.preparing);
  if (isFull(frame)) showFrame();
});
on("waiting", (now) => {
  if (now || waiting) prepare(now || store.preparing);
});
on("state", (event) => {
  prepare(store.preparing);
  showRunning();
  if (event.reason === "diverged") return; // the panel below says it
  if (event.text || event.running) emit("say", event.text ?? t("state.training"));
});
