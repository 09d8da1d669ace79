// Small marks beside words: the same shapes and colours as in the plot.

import { mark } from "./canvas.js";
import { classColor, colors } from "./colors.js";
import { h } from "./dom.js";

const SIDE = 28;

/** A mark of class k; `hollow` as for test data. The canvas has `repaint`, for another theme. */
export function swatch(k, hollow = false) {
  const canvas = h("canvas.swatch", { width: SIDE, height: SIDE, "aria-hidden": "true" });
  canvas.repaint = () => {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, SIDE, SIDE);
    mark(context, k, SIDE / 2, SIDE / 2 + 1, 9);
    context.fillStyle = hollow ? colors.card : classColor(k);
    context.strokeStyle = classColor(k);
    context.lineWidth = 4;
    context.fill();
    if (hollow) context.stroke();
  };
  canvas.repaint();
  return canvas;
}

/** Paint all marks again. */
export const repaintSwatches = () => document.querySelectorAll(".swatch").forEach((each) => each.repaint());
