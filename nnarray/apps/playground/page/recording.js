// A recording of the plot while the network trains.

import { colors } from "./colors.js";
import { gifOf } from "./gif.js";
import { plotCanvas } from "./output.js";
import { on } from "./store.js";

const SIDE = 360, MOST = 120, APART = 100; // milliseconds between two pictures
let frames = null, last = 0, full = null;

/** Whether it records now. */
export const isRecording = () => frames !== null;

/** Begin to record. `whenFull` is called once, after the most pictures that are kept. */
export function beginRecording(whenFull) {
  frames = [];
  last = 0;
  full = whenFull;
  keep();
}

/** End, and give the bytes of a GIF. */
export function endRecording() {
  const recorded = frames;
  frames = null;
  return gifOf(recorded, SIDE, SIDE, APART / 10);
}

function keep() {
  const now = performance.now();
  if (!frames || now - last < APART) return;
  last = now;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = colors.paper;
  context.fillRect(0, 0, SIDE, SIDE);
  context.drawImage(plotCanvas(), 0, 0, SIDE, SIDE);
  frames.push(context.getImageData(0, 0, SIDE, SIDE).data);
  if (frames.length === MOST) full();
}

on("frame", () => requestAnimationFrame(keep)); // after the plot has been drawn
