// Fields for the further options of a dataset, an optimizer or a schedule, by the names that they have in Python.

import { h } from "./dom.js";

const kindOf = (value) => (typeof value === "boolean" ? "switch" : typeof value === "number" || value === null ? "number" : "none");

/** A box of fields: `known` gives the default values by name, `chosen` those that are set, `change(name, value)` sets one. */
export function optionsBox(known, chosen, change, leftOut = []) {
  const box = h("div.options");
  let names = "";
  const show = () => {
    const now = Object.entries(known()).filter(([name, value]) => !leftOut.includes(name) && kindOf(value) !== "none");
    const values = { ...known(), ...chosen() };
    const next = now.map(([name]) => name).join();
    if (next !== names) box.replaceChildren(...now.map(([name, value]) => fieldOf(name, kindOf(value), change)));
    names = next;
    box.hidden = now.length === 0;
    for (const input of box.querySelectorAll("input")) {
      if (input.type === "checkbox") input.checked = values[input.name];
      else if (document.activeElement !== input) input.value = values[input.name] ?? "";
    }
  };
  return { box, show };
}

function fieldOf(name, kind, change) {
  if (kind === "switch") {
    const input = h("input", { type: "checkbox", name, onchange: () => change(name, input.checked) });
    return h("label.check", {}, input, h("code", {}, name));
  }
  const input = h("input", { type: "number", name, step: "any", onchange: () => change(name, input.value === "" ? null : Number(input.value)) });
  return h("label.field", {}, h("span", {}, h("code", {}, name)), input);
}
