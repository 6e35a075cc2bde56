/** Layers over an image, made from a mask's values: fill, outlines, differences, marks. */

import { colourOf } from "./dom.js";

/** @typedef {import("./png.js").Mask} Mask */

const SEEN = 0xff000000;
const MOST_SPECKS = 120; // more marked pixels are seen without rings
/** Pixels that no Segment explains, and those that differ or offend a rule. */
export const UNEXPLAINED = "#ff2d55";
export const DIFFERENT = "#ff2bd6";
export const OFFENDING = "#ff2d2d";

/** "#rrggbb" as a canvas holds it: a little-endian word with full opacity. */
export function pixelOf(colour) {
  const number = Number.parseInt(colourOf(colour).slice(1), 16);
  const [red, green, blue] = [number >> 16, (number >> 8) & 255, number & 255];
  return (SEEN | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * @typedef {{colours: Uint32Array, hatched: Uint8Array}} Table
 *   value -> pixel, 0 where it is not shown; value -> 1 where it is drawn as a hatch
 */

/**
 * How a mask's values are drawn.
 * @param {any[]} segments of a prediction
 * @param {(segment: any) => boolean} visible
 * @param {(label: string) => boolean} plain whether a label stands for nothing in particular
 * @returns {Table}
 */
export function tableOf(segments, visible, plain) {
  const colours = new Uint32Array(256).fill(pixelOf(UNEXPLAINED));
  const hatched = new Uint8Array(256).fill(1);
  for (const segment of segments) {
    colours[segment.index] = visible(segment) ? pixelOf(segment.colour) : 0;
    hatched[segment.index] = plain(segment.label) ? 1 : 0;
  }
  return { colours, hatched };
}

function painted(width, height, paint) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  paint(new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Each value's pixels in its colour. @param {Mask} mask @param {Table} table */
export function filledLayer({ width, height, values }, { colours, hatched }) {
  const period = Math.max(4, Math.round(Math.max(width, height) / 110));
  const line = Math.max(1, period >> 2);
  return painted(width, height, (pixels) => {
    for (let y = 0, at = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1, at += 1) {
        const value = values[at];
        if (hatched[value] === 0 || (x + y) % period < line) pixels[at] = colours[value];
      }
    }
  });
}

/**
 * The pixels of each value that have another within `reach`, towards the right and below too.
 * @param {Mask} mask @param {Table} table @param {number} reach in pixels of the mask
 */
export function outlineLayer({ width, height, values }, { colours }, reach) {
  return painted(width, height, (pixels) => {
    for (let y = 0, at = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1, at += 1) {
        const value = values[at];
        if (colours[value] === 0) continue;
        const edge = (x >= reach && values[at - reach] !== value)
          || (x + reach < width && values[at + reach] !== value)
          || (y >= reach && values[at - reach * width] !== value)
          || (y + reach < height && values[at + reach * width] !== value);
        if (edge) pixels[at] = colours[value];
      }
    }
  });
}

/** Where a mask has a value that is not 0, in one colour. @param {Mask} mask */
export function markLayer({ width, height, values }, colour) {
  const pixel = pixelOf(colour);
  return painted(width, height, (pixels) => {
    for (let at = 0; at < values.length; at += 1) if (values[at] !== 0) pixels[at] = pixel;
  });
}

/**
 * Where a mask's marks are, one place of those near each other; nothing where they are many.
 * @param {Mask} mask @returns {[number, number][]} x and y
 */
export function specksOf({ width, height, values }) {
  const near = Math.max(1, Math.round(Math.max(width, height) / 60));
  const found = new Map();
  let number = 0;
  for (let at = 0; at < values.length; at += 1) {
    if (values[at] === 0) continue;
    number += 1;
    if (number > MOST_SPECKS) return [];
    const [x, y] = [at % width, Math.floor(at / width)];
    found.set(`${Math.floor(x / near)} ${Math.floor(y / near)}`, [x, y]);
  }
  return [...found.values()];
}

/** One Segment's outline, for telling it. @param {Mask} mask @param {number} index */
export function spotLayer(mask, index, reach) {
  const colours = new Uint32Array(256);
  colours[index] = pixelOf("#ffffff");
  return outlineLayer(mask, { colours, hatched: new Uint8Array(256) }, reach);
}

/**
 * Where two predictions give a pixel another label.
 * @param {{mask: Mask, segments: any[]}} one
 * @param {{mask: Mask, segments: any[]}} other
 * @returns {{mask: Mask, share: number, pairs: {a: string, b: string, share: number}[]}|null}
 *   255 where they differ; null where their sizes do
 */
export function difference(one, other) {
  const { width, height, values } = one.mask;
  if (width !== other.mask.width || height !== other.mask.height) return null;
  const [a, b] = [labelsByValue(one.segments), labelsByValue(other.segments)];
  const numbers = new Uint32Array(65536);
  for (let at = 0; at < values.length; at += 1) numbers[(values[at] << 8) | other.mask.values[at]] += 1;
  const differ = new Uint8Array(65536);
  const pairs = new Map();
  for (let pair = 0; pair < 65536; pair += 1) {
    const [left, right] = [a[pair >> 8], b[pair & 255]];
    if (numbers[pair] === 0 || left === right) continue;
    differ[pair] = 255;
    const name = JSON.stringify([left, right]);
    pairs.set(name, (pairs.get(name) ?? 0) + numbers[pair]);
  }
  const marked = new Uint8Array(values.length);
  let pixels = 0;
  for (let at = 0; at < values.length; at += 1) {
    marked[at] = differ[(values[at] << 8) | other.mask.values[at]];
    if (marked[at] !== 0) pixels += 1;
  }
  const listed = [...pairs].map(([name, number]) => {
    const [left, right] = JSON.parse(name);
    return { a: left, b: right, share: number / values.length };
  });
  listed.sort((x, y) => y.share - x.share);
  return { mask: { width, height, values: marked }, share: pixels / values.length, pairs: listed };
}

function labelsByValue(segments) {
  const labels = new Array(256).fill("no Segment");
  for (const { index, label } of segments) labels[index] = label;
  return labels;
}
