// The network as an SVG.

import { color, colors } from "./colors.js";
import { lineOf, svgPath } from "./layout.js";
import { drawMap } from "./maps.js";
import { drawing, neuronName } from "./network.js";
import { store } from "./store.js";

const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const short = (x) => Number(x.toFixed(1));

/** The text of the picture. */
export function networkSVG() {
  const { surface, layout } = drawing(), { width, height } = surface;
  const lines = store.network.flatMap(({ inputs, units, weight }, k) => {
    const most = Math.max(1, ...weight.map(Math.abs));
    return Array.from({ length: inputs * units }, (_, n) => lineText(k, Math.floor(n / units), n % units, weight[n], most, layout));
  });
  const neurons = layout.columns.flatMap(({ x, ys }, k) => ys.map((y, j) => neuronText(k, j, x, y, layout.size)));
  const names = [0, layout.columns.length - 1].flatMap((k) => layout.columns[k].ys.map((y, j) => nameText(k, j, layout.columns[k].x, y, layout.size)));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${short(width)} ${short(height)}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="${colors.paper}"/>
<g fill="none">${lines.join("\n")}</g>
${neurons.join("\n")}
<g fill="${colors.ink}">${names.join("\n")}</g>
</svg>
`;
}

function lineText(k, i, j, weight, most, layout) {
  const size = Math.min(1, Math.abs(weight) / most), path = svgPath(lineOf(layout, k, i, j).map(short));
  const stroke = color(Math.sign(weight) * (0.35 + 0.65 * size), short(0.35 + 0.6 * size));
  return `<path d="${path}" stroke="${stroke}" stroke-width="${short(0.6 + 5.4 * size)}"><title>${short(1000 * weight) / 1000}</title></path>`;
}

function neuronText(k, j, x, y, size) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  drawMap(canvas.getContext("2d"), k, j, 0, 0, 64);
  const box = `x="${short(x - size / 2)}" y="${short(y - size / 2)}" width="${size}" height="${size}"`;
  return `<image ${box} href="${canvas.toDataURL()}"/><rect ${box} rx="3" fill="none" stroke="${colors.soft}"/>`;
}

function nameText(k, j, x, y, size) {
  const left = k === 0;
  return `<text x="${short(left ? x - size / 2 - 6 : x + size / 2 + 7)}" y="${short(y + 4)}" text-anchor="${left ? "end" : "start"}">${escaped(neuronName(k, j))}</text>`;
}
