// What the page knows: the last events, and the history of the training.

import { numbers, rows } from "./arrays.js";

export const store = {
  connected: false, running: false, preparing: false, wanted: null, // what the reader asked for, until the session has answered
  catalog: null, hello: null, settings: null, data: null, frame: null, table: null, probe: null, explanation: null, previews: {},
  network: [], // of each layer: name, inputs, units, weight, bias; of filters, weight is their sum over the rows and columns of kernel
  image: 0, // the image that the neurons show
  paced: false, // whether the session can train slowly, too
  explained: null, // the number of the example that is explained
  sketch: null, // drawn points that are not enough yet
  history: emptyHistory(),
  hovered: null, // the neuron under the pointer: { layer, unit }
};

const listeners = new Map();

/** Call a function at each event of a kind: those of the protocol, and "connection", "hovered", "language", "theme". */
export function on(kind, action) {
  for (const each of kind.split(" ")) listeners.set(each, [...(listeners.get(each) ?? []), action]);
}

/** Call what listens. */
export const emit = (kind, value) => (listeners.get(kind) ?? []).forEach((action) => action(value));

function emptyHistory() {
  return { seen: [], norms: new Map(), epochs: [] };
}

const KEPT = {
  hello: (event) => { Object.assign(store, { hello: event, catalog: event.catalog }); },
  settings: (event) => { store.settings = event.settings; },
  state: (event) => { Object.assign(store, { running: store.wanted ?? event.running, preparing: event.preparing ?? false }); },
  data: keepData,
  frame: keepFrame,
  curve: (event) => { store.history = { ...emptyHistory(), seen: event.seen }; },
  probe: (event) => { store.probe = event; },
  explanation: (event) => { store.explanation = event; },
  sketch: (event) => { store.sketch = event.points; },
  previews: keepPreviews,
  table: (event) => { store.table = event; },
};

/** Whether a frame has all parts, and not the predictions alone. */
export const isFull = (frame) => Boolean(frame?.words);

/** Take an event in, and then call what listens to its kind. */
export function apply(event) {
  if (event.type === "frame" && event.number <= store.frame?.number) return; // one that was overtaken
  KEPT[event.type]?.(event);
  emit(event.type, event);
}

function keepData(event) {
  store.data = { ...event, train: rows(event.train), test: rows(event.test), truth: event.truth && numbers(event.truth), sheet: sheetOf(event) };
  Object.assign(store, { probe: null, sketch: null, image: 0 });
}

const sheetOf = ({ sheet }) => sheet && { ...sheet, numbers: numbers(sheet.images) };

function layerOf({ layer, weight, bias }) {
  const [inputs, units] = weight.shape.slice(-2), all = numbers(weight), size = inputs * units;
  const kernel = weight.shape.length === 4 ? { rows: weight.shape[0], columns: weight.shape[1], numbers: all } : null;
  const sums = kernel ? new Float32Array(size) : all;
  if (kernel) all.forEach((w, n) => { sums[n % size] += w; });
  return { name: layer, inputs, units, weight: sums, kernel, bias: bias && numbers(bias) };
}

function keepFrame(frame) {
  Object.assign(store, { running: store.wanted ?? frame.running, preparing: frame.preparing ?? false });
  if (frame.weights) store.network = frame.weights.map(layerOf);
  const parts = { ...frame };
  if (frame.grid) parts.grid = { ...frame.grid, numbers: numbers(frame.grid) };
  if (frame.units) parts.units = new Map(frame.units.map((each) => [each.layer, { ...each, numbers: numbers(each.maps) }]));
  store.frame = { ...(store.frame ?? {}), ...parts };
  remember(frame);
}

function keepPreviews({ previews }) {
  store.previews = Object.fromEntries(Object.entries(previews).map(([kind, event]) => [kind, { task: event.task, rows: rows(event.points), sheet: sheetOf(event) }]));
}

const MOST = 3000; // points of a curve

function remember(frame) {
  const last = store.history.seen.at(-1);
  if (frame.epoch === 0 && frame.step === 0) store.history = emptyHistory();
  else if (last && frame.epoch < last[0]) store.history = emptyHistory();
  const { seen, norms, epochs } = store.history;
  for (const row of frame.curve?.seen ?? []) {
    while (seen.length && seen.at(-1)[0] >= row[0]) seen.pop();
    seen.push(row);
  }
  if (frame.gradients) {
    epochs.push(frame.epoch + (frame.batches ? frame.batch / frame.batches : 0));
    for (const { layer, norm } of frame.gradients) {
      if (!norms.has(layer)) norms.set(layer, Array(epochs.length - 1).fill(NaN));
      norms.get(layer).push(norm ?? NaN);
    }
  }
  if (seen.length > MOST) store.history.seen = seen.filter((_, k) => k % 2 === 0 || k > MOST - 200);
  if (epochs.length > MOST) {
    const half = (list) => list.filter((_, k) => k % 2 === 0);
    store.history.epochs = half(epochs);
    store.history.norms = new Map([...norms].map(([layer, list]) => [layer, half(list)]));
  }
}
