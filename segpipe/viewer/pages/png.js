/**
 * Masks from PNG: 8 bits of grey, read here and not through a canvas, so that no colour management
 * and no protection against fingerprinting changes a value.
 */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * @typedef {{width: number, height: number, values: Uint8Array}} Mask  values row by row
 */

/**
 * The values of a grey 8-bit PNG.
 * @param {ArrayBuffer} buffer
 * @returns {Promise<Mask>}
 * @throws {Error} where it is another kind of file, or damaged
 */
export async function greyPng(buffer) {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  if (!SIGNATURE.every((byte, at) => bytes[at] === byte)) throw new Error("The mask is no PNG.");
  const width = view.getUint32(16);
  const height = view.getUint32(20);
  const [depth, colour, , , interlaced] = bytes.subarray(24, 29);
  if (depth !== 8 || colour !== 0 || interlaced !== 0) throw new Error("The mask is no plain grey 8-bit PNG.");
  const parts = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    if (String.fromCharCode(...bytes.subarray(at + 4, at + 8)) === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const filtered = new Uint8Array(await new Response(stream).arrayBuffer());
  if (filtered.length < height * (width + 1)) throw new Error("The mask's file is cut.");
  return { width, height, values: unfiltered(filtered, width, height) };
}

/** PNG's filters undone: one byte a pixel, each row after a byte that names its filter. */
function unfiltered(filtered, width, height) {
  const values = new Uint8Array(width * height);
  for (let row = 0; row < height; row += 1) {
    const from = row * (width + 1) + 1;
    const to = row * width;
    const kind = filtered[from - 1];
    const above = row > 0 ? to - width : -1;
    for (let x = 0; x < width; x += 1) {
      const left = x > 0 ? values[to + x - 1] : 0;
      const up = above >= 0 ? values[above + x] : 0;
      let guess = 0;
      if (kind === 1) guess = left;
      else if (kind === 2) guess = up;
      else if (kind === 3) guess = (left + up) >> 1;
      else if (kind === 4) guess = paeth(left, up, x > 0 && above >= 0 ? values[above + x - 1] : 0);
      values[to + x] = filtered[from + x] + guess;
    }
  }
  return values;
}

function paeth(left, up, corner) {
  const towards = left + up - corner;
  const a = Math.abs(towards - left);
  const b = Math.abs(towards - up);
  const c = Math.abs(towards - corner);
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
