// Where the neurons and lines of the network are.

const HEAD = 62; // above the neurons: the name of the layer and its buttons
const LARGEST = 56, SMALLEST = 11, APART = 15; // of neurons, and from one to the next at least

/** Positions for columns of these sizes, with room for names at both ends: { size, columns: [{ x, ys }], narrow }, in CSS pixels. */
export function layoutOf(sizes, width, height, [roomLeft, roomRight] = [22, 26]) {
  const most = Math.max(...sizes);
  const each = (height - HEAD - 12) / most;
  const gapX = width / sizes.length;
  const size = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(each - Math.max(each < 30 ? 4 : 13, each * 0.22)), Math.floor(gapX * 0.56)));
  const left = Math.max(size / 2 + roomLeft, gapX / 3), right = width - Math.max(size / 2 + roomRight, gapX / 3);
  const middle = HEAD + (height - HEAD - 12) / 2;
  const columns = sizes.map((units, k) => {
    const x = left + (sizes.length > 1 ? (k / (sizes.length - 1)) * (right - left) : 0);
    const apart = Math.min(each, size * 1.7);
    return { x, ys: Array.from({ length: units }, (_, j) => middle + (j - (units - 1) / 2) * apart) };
  });
  return { size, columns, narrow: (right - left) / Math.max(1, sizes.length - 1) < 88, head: HEAD };
}

/** The least height in which the neurons of the largest column have room. */
export const leastHeight = (sizes) => HEAD + 12 + APART * Math.max(...sizes);

/** Start and end of the line from neuron i of column k to neuron j of the next. */
export function lineOf({ size, columns }, k, i, j) {
  return [columns[k].x + size / 2, columns[k].ys[i], columns[k + 1].x - size / 2, columns[k + 1].ys[j]];
}

/** Add the curve of a line to the path. */
export function trace(context, [x0, y0, x1, y1]) {
  const middle = (x0 + x1) / 2;
  context.moveTo(x0, y0);
  context.bezierCurveTo(middle, y0, middle, y1, x1, y1);
}

/** The curve as SVG. */
export function svgPath([x0, y0, x1, y1]) {
  const middle = (x0 + x1) / 2;
  return `M${x0} ${y0}C${middle} ${y0} ${middle} ${y1} ${x1} ${y1}`;
}

/** The height of a curve at x. */
function heightAt([x0, y0, x1, y1], x) {
  const wanted = (x - x0) / (x1 - x0);
  let low = 0, high = 1;
  for (let k = 0; k < 14; k += 1) {
    const s = (low + high) / 2;
    if (1.5 * s * (1 - s) + s ** 3 < wanted) low = s;
    else high = s;
  }
  const s = (low + high) / 2;
  return y0 + (y1 - y0) * (3 * s * s - 2 * s ** 3);
}

/** The line at a point, as { layer, from, to }, or null. */
export function lineAt(layout, x, y, reach = 9) {
  const { columns } = layout;
  let best = null, least = reach;
  for (let k = 0; k + 1 < columns.length; k += 1) {
    const [x0, , x1] = lineOf(layout, k, 0, 0);
    if (x < x0 || x > x1) continue;
    for (let i = 0; i < columns[k].ys.length; i += 1) {
      for (let j = 0; j < columns[k + 1].ys.length; j += 1) {
        const away = Math.abs(heightAt(lineOf(layout, k, i, j), x) - y);
        if (away < least) [least, best] = [away, { layer: k, from: i, to: j }];
      }
    }
  }
  return best;
}
