// What can be taken along: a script, the model, pictures, a link.

import { bytes } from "./arrays.js";
import { colors } from "./colors.js";
import { send } from "./connection.js";
import { h, write } from "./dom.js";
import { drawing } from "./network.js";
import { plotCanvas } from "./output.js";
import { beginRecording, endRecording, isRecording } from "./recording.js";
import { emit, on } from "./store.js";
import { networkSVG } from "./svg.js";
import { t } from "./texts.js";

const parts = {};

/** The elements of the panel. */
export function buildTake() {
  const button = (key, action, hint) => h("div.field", {}, h("button", { type: "button", onclick: action }, t(key)), hint ? h("span.hint", {}, t(hint)) : null);
  parts.code = h("code");
  parts.copy = h("button", { type: "button", onclick: () => copy(parts.code.textContent) }, t("take.copy"));
  return [h("div.take", {},
    h("div.stack", {},
      button("take.model", () => take("model"), "take.model.hint"),
      button("take.png", () => picture(plotCanvas(), "output.png")),
      recorder(),
      button("take.network_png", () => picture(drawing().surface.canvas, "network.png")),
      button("take.svg", () => download("network.svg", "image/svg+xml", networkSVG())),
      button("take.link", copyLink, "take.link.hint")),
    h("div.stack", {},
      h("div.head", {}, h("h3", {}, t("take.python")), parts.copy, h("button", { type: "button", onclick: () => download("playground.py", "text/x-python", parts.code.textContent) }, t("take.download"))),
      h("p.small.soft", {}, t("take.python.hint")),
      h("pre", { tabIndex: 0, role: "group", "aria-label": t("take.python") }, parts.code)))];
}

function recorder() {
  const record = h("button", { type: "button", "aria-pressed": "false", onclick: () => (isRecording() ? finish() : begin()) }, t("take.gif"));
  const begin = () => {
    beginRecording(finish);
    show();
  };
  const show = () => {
    record.setAttribute("aria-pressed", String(isRecording()));
    write(record, t(isRecording() ? "take.gif.end" : "take.gif"));
  };
  const finish = async () => {
    const made = endRecording();
    show();
    download("training.gif", "image/gif", await made);
  };
  return h("div.field", {}, record, h("span.hint", {}, t("take.gif.hint")));
}

let visible = false;

/** Write the script when the panel is opened. */
export function takeShown(now) {
  visible = now;
  if (visible) take("python");
}

async function take(what) {
  const events = await send({ type: "take", what }, `take.${what}`);
  return events.find(({ type }) => type === "taken");
}

on("taken", ({ what, name, media, text, data }) => {
  if (what === "python") write(parts.code, text);
  else if (what === "model") download(name, media, bytes(data));
  else if (what === "link") history.replaceState(null, "", location.pathname + (text.startsWith("#") ? text : `#${text}`));
});
on("settings", () => visible && take("python"));

async function copyLink() {
  await take("link");
  copy(location.href);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    emit("say", t("take.copied"));
    emit("toast", t("take.copied"));
  } catch {
    emit("toast", t("take.refused"));
  }
}

function download(name, media, content) {
  const address = URL.createObjectURL(new Blob([content], { type: media }));
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** A canvas on the colour of the page, as PNG. */
function picture(canvas, name) {
  const copy_ = h("canvas", { width: canvas.width, height: canvas.height });
  const context = copy_.getContext("2d");
  context.fillStyle = colors.paper;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(canvas, 0, 0);
  copy_.toBlob((blob) => download(name, "image/png", blob));
}
