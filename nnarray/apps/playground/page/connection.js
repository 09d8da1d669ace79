// The connection to the session: messages in order, one at a time, and events as they come.

import { apply, emit, store } from "./store.js";

const TOKEN = "nnarray-playground-token";
const queue = [];
let session = "", token = "", sending = false, source = null;

/** The token from the address, which then disappears from it; or that of this tab, after a reload. */
function takeToken() {
  const given = new URLSearchParams(location.search).get("token");
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, "", location.pathname + location.hash);
  }
  return given ?? sessionStorage.getItem(TOKEN) ?? "";
}

async function post(path, body, type = "application/json") {
  const answer = await fetch(path, { method: "POST", body, headers: { "Content-Type": type, "X-Playground-Token": token } });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(content.error ?? answer.statusText), { status: answer.status });
  return content;
}

/** Open a session with the settings of a link, and listen to it. */
export async function open(link) {
  token = takeToken();
  let opened;
  try {
    opened = await post("/open", JSON.stringify(link ? { link } : {}));
  } catch (error) {
    if (!link || error.status !== 400) throw error;
    opened = await post("/open", "{}"); // a damaged link: the first settings
    emit("refused", { reason: error.message, at: "link" });
  }
  session = opened.session;
  opened.events.forEach(apply);
  listen();
  next();
}

function listen() {
  source?.close();
  source = new EventSource(`/session/${session}/events?token=${encodeURIComponent(token)}`);
  source.onmessage = ({ data }) => apply(JSON.parse(data));
  source.onopen = () => {
    if (store.connected) return;
    store.connected = true;
    emit("connection", true);
    send({ type: "hello" });
  };
  source.onerror = () => {
    if (!store.connected) return;
    store.connected = false;
    emit("connection", false);
  };
  store.connected = true;
}

addEventListener("pagehide", () => {
  if (session) navigator.sendBeacon(`/session/${session}/close?token=${encodeURIComponent(token)}`);
});
addEventListener("pageshow", ({ persisted }) => persisted && location.reload()); // from the back button: its session is closed

/** Send a message. Of those that wait, the last one with the same `latest` replaces the others. `quiet` hides a refusal. */
export function send(message, latest, quiet = false) {
  const waiting = latest && queue.find((each) => each.latest === latest);
  if (waiting) {
    waiting.message = message;
    return waiting.done;
  }
  const entry = { message, latest, quiet };
  entry.done = new Promise((resolve) => { entry.resolve = resolve; });
  queue.push(entry);
  if (session && !sending) next(); // before the session is open, messages wait
  return entry.done;
}

const CHANGES = ["set", "restore"]; // of data or the network, for which something may be compiled first

async function next() {
  const entry = queue.shift();
  sending = Boolean(entry);
  if (!entry) return;
  try {
    const message = typeof entry.message === "function" ? entry.message() : entry.message;
    if (CHANGES.includes(message.type)) emit("waiting", true);
    const { events } = await post(`/session/${session}/message`, JSON.stringify(message)).finally(() => emit("waiting", false));
    events.filter(({ type }) => !entry.quiet || type !== "refused").forEach(apply);
    entry.resolve(events);
  } catch (error) {
    if (error.status) emit("refused", { reason: error.message, at: "" });
    entry.resolve([]);
  }
  next();
}

/** Change a part of the settings. */
export const set = (settings, latest) => send({ type: "set", settings }, latest);

/** Change a part that follows from the present settings: `part()` is called when all earlier changes have been answered. */
export const change = (part) => send(() => ({ type: "set", settings: part() }));

/** Send a file. */
export async function sendFile(file) {
  try {
    const path = `/session/${session}/file?name=${encodeURIComponent(file.name)}`;
    (await post(path, file, "application/octet-stream")).events.forEach(apply);
  } catch (error) {
    emit("refused", { reason: error.message, at: "data" });
  }
}
