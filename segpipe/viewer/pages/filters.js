/** The filter of a gallery: query parameters, the same in the address and to the server. */

import { SORTS } from "./words.js";

const NAMES = [
  "dataset", "run", "from", "to", "label", "confidence", "entropy", "segments", "area", "rule",
  "outcome", "text", "column", "sort", "ids",
];

/** The filter in a page's parameters, without what is not of the filter (an item's key). */
export function filterOf(params) {
  const kept = new URLSearchParams();
  for (const [name, value] of params) if (!["key", "id", "date"].includes(name)) kept.append(name, value);
  return kept;
}

/** The filter with a value set; removed where the value is empty. */
export function changed(params, name, value) {
  const next = new URLSearchParams(params);
  if (value === null || value === "") next.delete(name);
  else next.set(name, value);
  return next;
}

/** The filter with one of a parameter's values added, or removed where it is there. */
export function toggled(params, name, value) {
  const next = without(params, name, value);
  if (next.size === params.size) next.append(name, value);
  return next;
}

/** The filter without one value of a parameter. */
export function without(params, name, value) {
  const next = new URLSearchParams();
  for (const [n, v] of params) if (n !== name || v !== value) next.append(n, v);
  return next;
}

/** LOW..HIGH in two texts; either may be empty. @param {string|null} value */
export function limits(value) {
  const [low = "", high = ""] = (value ?? "").split("..");
  return [low, high];
}

/** Two texts as LOW..HIGH; empty where both are. */
export function range(low, high) {
  return low === "" && high === "" ? "" : `${low}..${high}`;
}

function rangeWords(what, value) {
  const [low, high] = limits(value);
  if (low && high) return low === high ? `${what} ${low}` : `${what} ${low} to ${high}`;
  if (high) return `${what} up to ${high}`;
  return `${what} from ${low}`;
}

const WORDS = {
  run: (value) => `Model run ${value}`,
  from: (value) => `From ${value}`,
  to: (value) => `Until ${value}`,
  label: (value) => `Has ${value}`,
  confidence: (value) => rangeWords("Confidence", value),
  entropy: (value) => rangeWords("Entropy", value),
  segments: (value) => rangeWords("Segments", value),
  area: (value) => {
    const at = value.lastIndexOf(":");
    const shares = limits(value.slice(at + 1)).map((one) => (one === "" ? "" : String(Number((100 * Number(one)).toPrecision(12)))));
    return `${rangeWords(`Area of ${value.slice(0, at)}`, range(...shares))} %`;
  },
  rule: (value) => `Finding ${value}`,
  outcome: (value) => value[0].toUpperCase() + value.slice(1),
  text: (value) => `Id contains “${value}”`,
  column: (value) => {
    const at = value.indexOf(":");
    return `${value.slice(0, at)} is ${value.slice(at + 1)}`;
  },
  ids: (value) => `Saved selection ${value}`,
  sort: (value) => `Sorted by ${(SORTS.find(([name]) => name === value) ?? [value, value])[1].toLowerCase()}`,
};

/**
 * What the filter leaves, one entry a chip; neither the sorting nor the data set is among them.
 * @param {URLSearchParams} params
 * @returns {{name: string, value: string, words: string}[]}
 */
export function described(params) {
  const chips = [];
  for (const [name, value] of params) {
    if (["sort", "dataset"].includes(name) || value === "") continue;
    const words = NAMES.includes(name) ? WORDS[name](value) : `${name}: ${value}`;
    chips.push({ name, value, words });
  }
  return chips;
}
