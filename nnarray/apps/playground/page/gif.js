// Pictures that follow each other, as one GIF (CompuServe 1990, GIF89a).

const COLOURS = 256, LARGEST = 4096;

/** Bytes that grow. */
class Bytes {
  constructor() {
    this.all = new Uint8Array(1 << 16);
    this.length = 0;
  }

  push(...values) {
    if (this.length + values.length > this.all.length) {
      const larger = new Uint8Array(2 * this.all.length);
      larger.set(this.all);
      this.all = larger;
    }
    for (const value of values) {
      this.all[this.length] = value;
      this.length += 1;
    }
  }

  text(letters) {
    this.push(...[...letters].map((letter) => letter.charCodeAt(0)));
  }

  short(number) {
    this.push(number & 255, number >> 8);
  }
}

const binOf = (pixels, k) => ((pixels[k] >> 3) << 10) | ((pixels[k + 1] >> 3) << 5) | (pixels[k + 2] >> 3);

/** The most frequent colours of all frames, as means of bins of 5 bits a channel, and the entry of each bin. */
function paletteOf(frames) {
  const counts = new Float64Array(1 << 15), sums = new Float64Array(3 << 15);
  for (const pixels of frames) {
    for (let k = 0; k < pixels.length; k += 4) {
      const bin = binOf(pixels, k);
      counts[bin] += 1;
      for (let c = 0; c < 3; c += 1) sums[3 * bin + c] += pixels[k + c];
    }
  }
  const used = [...counts.keys()].filter((bin) => counts[bin]).sort((a, b) => counts[b] - counts[a]);
  const meanOf = (bin) => [0, 1, 2].map((c) => Math.round(sums[3 * bin + c] / counts[bin]));
  const colours = used.slice(0, COLOURS).map(meanOf), entries = new Uint8Array(1 << 15);
  for (const bin of used) entries[bin] = nearest(colours, meanOf(bin));
  return { colours, entries };
}

function nearest(colours, [r, g, b]) {
  let best = 0, least = Infinity;
  colours.forEach(([x, y, z], k) => {
    const away = (r - x) ** 2 + (g - y) ** 2 + (b - z) ** 2;
    if (away < least) [least, best] = [away, k];
  });
  return best;
}

/** Compress the entries of a frame: a code for each longest run of entries that was seen before (Welch 1984). */
function compress(out, entries) {
  const clear = COLOURS, end = COLOURS + 1;
  let codes = new Map(), next = end + 1, size = 9, bits = 0, held = 0;
  let block = [];
  const emit = (code) => {
    held |= code << bits;
    for (bits += size; bits >= 8; bits -= 8, held >>>= 8) {
      block.push(held & 255);
      if (block.length === 255) flush();
    }
  };
  const flush = () => {
    if (block.length) out.push(block.length, ...block);
    block = [];
  };
  out.push(8);
  emit(clear);
  let run = entries[0];
  for (let k = 1; k < entries.length; k += 1) {
    const key = (run << 8) | entries[k], known = codes.get(key);
    if (known !== undefined) {
      run = known;
      continue;
    }
    emit(run);
    if (next < LARGEST) {
      codes.set(key, next);
      if (next === 1 << size && size < 12) size += 1;
      next += 1;
    } else {
      emit(clear);
      [codes, next, size] = [new Map(), end + 1, 9];
    }
    run = entries[k];
  }
  emit(run);
  emit(end);
  if (bits) block.push(held & 255);
  flush();
  out.push(0);
}

/** The bytes of a GIF. `frames` are the RGBA bytes of pictures of one size; each stays for so many hundredths of a second. */
export async function gifOf(frames, width, height, hundredths = 10) {
  const out = new Bytes(), { colours, entries } = paletteOf(frames);
  out.text("GIF89a");
  out.short(width);
  out.short(height);
  out.push(0xf7, 0, 0);
  for (let k = 0; k < COLOURS; k += 1) out.push(...(colours[k] ?? [0, 0, 0]));
  out.push(0x21, 0xff, 11);
  out.text("NETSCAPE2.0");
  out.push(3, 1, 0, 0, 0); // repeat for ever
  for (const [k, pixels] of frames.entries()) {
    out.push(0x21, 0xf9, 4, 0);
    out.short(k === frames.length - 1 ? 200 : hundredths);
    out.push(0, 0, 0x2c, 0, 0, 0, 0);
    out.short(width);
    out.short(height);
    out.push(0);
    compress(out, Uint8Array.from({ length: width * height }, (_, n) => entries[binOf(pixels, 4 * n)]));
    await new Promise((resolve) => { setTimeout(resolve); }); // the page stays alive
  }
  out.push(0x3b);
  return out.all.slice(0, out.length);
}
