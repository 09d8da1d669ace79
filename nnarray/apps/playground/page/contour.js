// The line on which a function over the plane has one value.

/** Add the line to the path, by marching squares. `values` are the rows of a grid; `place` has the x and y of a grid point. */
export function traceContour(context, values, size, level, place) {
  for (let row = 0; row + 1 < size; row += 1) {
    for (let column = 0; column + 1 < size; column += 1) {
      const points = crossings(values, size, level, row, column);
      for (let k = 0; k + 1 < points.length; k += 2) {
        context.moveTo(...place(...points[k]));
        context.lineTo(...place(...points[k + 1]));
      }
    }
  }
}

const NONE = [];

/** Where the line crosses the edges of a cell, in columns and rows; they come in pairs. */
function crossings(values, size, level, row, column) {
  const from = row * size + column;
  const a = values[from] - level, b = values[from + 1] - level, c = values[from + size + 1] - level, d = values[from + size] - level;
  if (a > 0 === b > 0 && b > 0 === c > 0 && c > 0 === d > 0) return NONE;
  const points = [];
  if (a > 0 !== b > 0) points.push([column + a / (a - b), row]);
  if (b > 0 !== c > 0) points.push([column + 1, row + b / (b - c)]);
  if (c > 0 !== d > 0) points.push([column + d / (d - c), row + 1]);
  if (d > 0 !== a > 0) points.push([column, row + a / (a - d)]);
  return points;
}
