// Texts of the page in the chosen language. To add a language, copy texts/en.js, translate it and name it here.

import en from "./texts/en.js";
import ja from "./texts/ja.js";

const LANGUAGES = { en, ja };
let chosen = en;

/** The codes of the languages and their own names. */
export const languages = () => Object.entries(LANGUAGES).map(([code, { language }]) => [code, language]);

/** The code of the language that is chosen. */
export const language = () => Object.keys(LANGUAGES).find((code) => LANGUAGES[code] === chosen);

/** Choose a language: the named one, the one of the last visit, or one that the browser asks for. */
export function chooseLanguage(code) {
  const wanted = [code, remembered(), ...navigator.languages.map((each) => each.split("-")[0]), "en"];
  const found = wanted.find((each) => each in LANGUAGES);
  chosen = LANGUAGES[found];
  document.documentElement.lang = found;
  if (code) remember(code);
}

function remembered() {
  try {
    return localStorage.getItem("nnarray-language");
  } catch {
    return null; // storage is off
  }
}

function remember(code) {
  try {
    localStorage.setItem("nnarray-language", code);
  } catch { /* storage is off */ }
}

/** The text of a key such as "bar.play", with {names} filled in. A missing text falls back to English, then to the key. */
export function t(key, values = {}) {
  const text = chosen[key] ?? en[key] ?? key;
  return typeof text === "string" ? text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all) : text;
}

/** The text of a key, or the other text if there is none. */
export const textOr = (key, other) => (chosen[key] ?? en[key] ?? other);
