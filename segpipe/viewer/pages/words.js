/** Numbers, days and outcomes in words. */

const NUMBERS = new Intl.NumberFormat("en");

/** Outcomes in the order in which they are listed, and what they mean. */
export const OUTCOMES = [
  ["published", "in the catalog"],
  ["replaced", "in the catalog, in place of another"],
  ["accepted", "validated, and not published yet"],
  ["ignored", "differs from what is published, which stayed"],
  ["rejected", "a rule rejected it"],
];

/** What the gallery can be sorted by. */
export const SORTS = [
  ["id", "Reference id"],
  ["least-sure", "Least sure first"],
  ["most-segments", "Most segments first"],
  ["largest-change", "Largest change first"],
  ["rule", "Finding"],
  ["newest", "Newest first"],
];

/** 12345 -> 12,345 @param {number} number */
export function count(number) {
  return NUMBERS.format(number);
}

/** 1 item, 2 items */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** A reference id for showing: a rejected row may have none. @param {string|null} id */
export function named(id) {
  return id === null || id === "" ? "(no reference id)" : id;
}

/** A share of one as a percentage. @param {number|null|undefined} share */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  const of = share * 100;
  if (of > 0 && of < 0.1) return "< 0.1 %";
  return `${of < 10 ? of.toFixed(1) : of.toFixed(0)} %`;
}

/** A probability with two digits. @param {number|null|undefined} value */
export function probability(value) {
  return value === null || value === undefined ? "–" : value.toFixed(2);
}

/** A point in time, shortly; given back as it is where it is none. */
export function time(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return String(text);
  return at.toISOString().replace("T", " ").slice(0, 16) + " UTC";
}
