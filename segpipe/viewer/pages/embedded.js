/** Where the data come from in a file that holds them all: the same questions, answered here. */

import { limits } from "./filters.js";
import { ApiError } from "./source.js";

const PAGE = 60;
const ORDERS = {
  "least-sure": (card) => card.confidence ?? Infinity,
  "most-segments": (card) => -card.segments,
  "largest-change": () => 0,
  rule: (card) => card.rules[0] ?? "\uffff",
  newest: (card) => card.date.split("").map((c) => String.fromCharCode(200 - c.charCodeAt(0))).join(""),
};

const within = (value, text) => {
  const [low, high] = limits(text);
  return value !== null && (low === "" || value >= Number(low)) && (high === "" || value <= Number(high));
};
const TESTS = {
  run: (card, values) => values.includes(card.model_run),
  from: (card, [day]) => card.date >= day,
  to: (card, [day]) => card.date <= day,
  label: (card, values) => values.every((label) => Object.hasOwn(card.areas, label)),
  confidence: (card, [text]) => within(card.confidence, text),
  entropy: (card, [text]) => within(card.entropy, text),
  // No table has Segments of rejected rows: no number of them passes, as on the server.
  segments: (card, [text]) => card.outcome !== "rejected" && within(card.segments, text),
  area: (card, values) => card.outcome !== "rejected" && values.every((value) => {
    const at = value.lastIndexOf(":");
    return within(card.areas[value.slice(0, at)] ?? 0, value.slice(at + 1));
  }),
  rule: (card, values) => values.some((rule) => card.rules.includes(rule)),
  outcome: (card, values) => values.some((value) => value === card.outcome || (value === "accepted" && card.outcome !== "rejected")),
  text: (card, [text]) => card.id.toLowerCase().includes(text.toLowerCase()),
};

export class Embedded {
  /** Nothing is kept beside the file. */
  keeps = false;

  /** @param {{root: any, cards: any[], items: Record<string, any>, rules: any[], notes: string[],
   *   pictures: Record<string, string>}} held */
  constructor(held) {
    this.held = held;
  }

  async root() {
    return this.held.root;
  }

  found(filters) {
    const asked = [];
    for (const name of new Set(filters.keys())) {
      if (["sort", "key", "dataset", "limit", "after"].includes(name)) continue;
      if (TESTS[name] === undefined) throw new ApiError(400, `This file cannot filter by ${name}.`);
      asked.push([TESTS[name], filters.getAll(name)]);
    }
    const found = this.held.cards.filter((card) => asked.every(([test, values]) => test(card, values)));
    const order = ORDERS[filters.get("sort")];
    const named = (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
    const by = (a, b) => (order(a) < order(b) ? -1 : order(a) > order(b) ? 1 : named(a, b));
    return found.sort(order === undefined ? named : by);
  }

  async items(filters, after, limit) {
    const found = this.found(filters);
    const from = Number(after ?? 0);
    const to = from + (limit || PAGE);
    return { total: found.length, items: found.slice(from, to), next: to < found.length ? String(to) : null, notes: this.held.notes };
  }

  async counts(filters) {
    const none = () => Object.create(null); // any text may be a label, `__proto__` too
    const counts = { labels: none(), runs: none(), outcomes: none(), rules: none() };
    const add = (of, name) => { of[name] = (of[name] ?? 0) + 1; };
    for (const card of this.found(filters)) {
      Object.keys(card.areas).forEach((label) => add(counts.labels, label));
      add(counts.runs, card.model_run);
      add(counts.outcomes, card.outcome);
      card.rules.forEach((rule) => add(counts.rules, rule));
    }
    return counts;
  }

  async item(params) {
    const { items, cards } = this.held;
    const key = params.get("key") ?? cards.find((card) => card.id === params.get("id"))?.key;
    const item = items[key];
    if (item === undefined) throw new ApiError(404, "This file does not hold that item.");
    const found = this.found(params.has("key") ? params : new URLSearchParams());
    const at = found.findIndex((card) => card.key === key);
    return { ...item, neighbours: { previous: found[at - 1]?.key ?? null, next: at < 0 ? null : found[at + 1]?.key ?? null } };
  }

  async rejects() {
    return { rules: this.held.rules.map((rule) => ({ ...rule, items: this.held.cards.filter((card) => card.outcome === "rejected" && card.rules.includes(rule.rule)).slice(0, 12) })) };
  }

  async overview() {
    throw new ApiError(404, "This file has no overview.");
  }

  /** A picture the file holds, as base64 by name. @returns {Promise<Blob>} */
  async picture(name) {
    const held = this.held.pictures[name];
    if (held === undefined) throw new ApiError(404, "It could not be drawn.");
    const [type, text] = held.split(",");
    return new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type });
  }

  async thumbnail(card) {
    if (card.undrawn) throw new ApiError(404, card.undrawn);
    return this.picture(card.thumb);
  }
}
