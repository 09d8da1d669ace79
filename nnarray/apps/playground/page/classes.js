// Names of classes for a reader.

import { store } from "./store.js";
import { t } from "./texts.js";

/** The name of a class as the data have it: a number or a word. */
export const shortName = (k) => String(store.data?.classes[k] ?? k);

/** The name of a class in a sentence: "class 1", or the word of the data. */
export function className(k) {
  const name = shortName(k);
  return /^-?\d+$/.test(name) ? t("out.class", { k: name }) : name;
}
