// Names of classes for a reader.

import { store } from "./store.js";
import { t } from "./texts.js";

/** The name of a class as the data have it: a number or a word. Those of drawn images are known in each language. */
export function shortName(k) {
  const name = String(store.data?.classes[k] ?? k);
  return store.data?.sheet ? t(`data.${name}`) : name;
}

/** The name of an input: an axis, or the colour of a channel. */
export function inputName(k) {
  const name = store.data?.axes[k] ?? `x${k + 1}`;
  return store.data?.sheet ? t(`data.${name}`) : name;
}

/** The name of a class in a sentence: "class 1", or the word of the data. */
export function className(k) {
  const name = shortName(k);
  return /^-?\d+$/.test(name) ? t("out.class", { k: name }) : name;
}
