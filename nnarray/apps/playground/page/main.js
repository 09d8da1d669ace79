// The start: builds the page in the chosen language and opens a session.

import { buildBar, listenToKeys, showBar } from "./bar.js";
import { buildBelow } from "./below.js";
import { readColors } from "./colors.js";
import { open, send } from "./connection.js";
import { buildData, showData } from "./data.js";
import { byId, h, settled, write } from "./dom.js";
import { icon } from "./icons.js";
import { buildNetwork, showNetwork } from "./network.js";
import { buildOutput, showOutput } from "./output.js";
import { emit, on, store } from "./store.js";
import { chooseLanguage, language, languages, t } from "./texts.js";
import { buildTours } from "./tours.js";

const FRAMES = { grid: 64, units: 20, histograms: false, gradients: true, fps: 32, full: 10 };

/** Build everything in the language that is chosen; what is known stays. */
function build() {
  document.title = t("title");
  for (const each of document.querySelectorAll("[data-text]")) write(each, t(each.dataset.text));
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", t(`${each.dataset.label}.label`));
  buildBar();
  buildData();
  buildNetwork();
  buildOutput();
  buildBelow();
  buildTours();
  if (!store.settings) return;
  showBar();
  showData();
  showNetwork();
  showOutput();
}

function buildLanguages() {
  const select = byId("language");
  select.replaceChildren(...languages().map(([code, name]) => h("option", { value: code, lang: code }, name)));
  select.value = language();
  select.onchange = () => {
    chooseLanguage(select.value);
    build();
    send({ type: "language", to: language() });
  };
}

// --- Light and dark -------------------------------------------------------------------------------------------------

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

function themeChanged() {
  readColors();
  byId("theme").setAttribute("aria-pressed", String(isDark()));
  emit("theme");
}

function buildTheme() {
  const button = byId("theme");
  button.replaceChildren(icon("theme"));
  button.onclick = () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("nnarray-theme", theme);
    } catch { /* storage is off */ }
    themeChanged();
  };
  system.addEventListener("change", themeChanged);
}

// --- Messages to the reader -----------------------------------------------------------------------------------------

const say = settled((text) => write(byId("state"), text), 250); // of several changes, a screen reader hears the last one
let toast = null;

function showToast(text, stays = false) {
  toast?.remove();
  toast = h("div.toast", { role: "alert" }, text);
  document.body.append(toast);
  const mine = toast;
  if (!stays) setTimeout(() => mine.remove(), 6000);
}

on("say", say);
on("toast", (text) => showToast(text));
on("refused", ({ reason, at }) => at?.startsWith("data") || showToast(reason));
on("state", ({ text, reason }) => text && reason !== "diverged" && showToast(text)); // of that, the panel below says more
on("connection", (connected) => showToast(t(connected ? "state.again" : "state.lost"), !connected));

const keepLink = settled(() => send({ type: "take", what: "link" }, "take.link"), 700);
on("settings", keepLink);

addEventListener("hashchange", () => location.hash.startsWith("#s=") && send({ type: "restore", link: location.hash }));

async function start() {
  chooseLanguage();
  buildTheme();
  readColors();
  buildLanguages();
  build();
  themeChanged();
  listenToKeys();
  try {
    await open(location.hash.startsWith("#s=") ? location.hash : "");
  } catch (error) {
    showToast(`${t("state.refused")} ${error.message}`, true);
    return;
  }
  send({ type: "watch", ...FRAMES });
  send({ type: "watch", pace: null }, "pace", true).then((events) => {
    store.paced = events.some(({ type }) => type === "frame");
    emit("paced");
  });
  send({ type: "preview", n: 80 });
  if (language() !== store.hello.language) send({ type: "language", to: language() });
}

start();
