// Arrays of events: {dtype, shape, data in base64}.

const KINDS = { uint8: Uint8Array, float32: Float32Array };

const bytesOf = Uint8Array.fromBase64
  ? (text) => Uint8Array.fromBase64(text)
  : (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** The numbers of an array, in row-major order. */
export const numbers = ({ dtype, data }) => new KINDS[dtype](bytesOf(data).buffer);

/** The bytes of a base64 text. */
export const bytes = bytesOf;

/** The rows of a matrix. */
export function rows(array) {
  const [count, width] = array.shape;
  const all = numbers(array);
  return Array.from({ length: count }, (_, n) => all.subarray(n * width, (n + 1) * width));
}
