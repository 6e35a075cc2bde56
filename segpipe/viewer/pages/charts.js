/** Charts as SVG, drawn by calls; each mark is a link into the gallery. */

import { colourOf, el, shown, svg } from "./dom.js";
import { address } from "./router.js";
import { count, counted, percent } from "./words.js";

const WIDE = 400;
const HIGH = 96;
/** Labels of a run that have a bar. */
const MOST_LABELS = 20;

/**
 * A histogram of confidences from 0 to 1.
 * @param {string} run @param {number[]} bins
 */
export function histogram(run, bins) {
  const most = Math.max(1, ...bins);
  const wide = WIDE / bins.length;
  const total = bins.reduce((sum, one) => sum + one, 0);
  const bars = bins.map((number, at) => {
    const [low, high] = [at / bins.length, (at + 1) / bins.length].map((edge) => edge.toFixed(2));
    const tall = number === 0 ? 0 : Math.max(2, (number / most) * HIGH);
    const words = `${low} to ${high}: ${count(number)}`;
    const bar = svg("rect", { x: at * wide + 1, y: HIGH - tall, width: wide - 2, height: tall, rx: 1.5, class: "bar" });
    if (number === 0) return bar;
    const href = address("gallery", new URLSearchParams({ run, confidence: `${low}..${high}`, sort: "least-sure" }));
    const whole = svg("rect", { x: at * wide, y: 0, width: wide, height: HIGH, class: "hit" });
    return svg("a", { href, "aria-label": shown(`${run}, confidence ${words}`) }, svg("title", {}, words), whole, bar);
  });
  const ticks = [0, 0.5, 1].map((tick) => svg("text", { x: tick * WIDE, y: HIGH + 16, "text-anchor": tick === 0 ? "start" : tick === 1 ? "end" : "middle" }, tick.toFixed(1)));
  return el(
    "figure", { class: "chart" }, el("figcaption", {}, el("bdi", {}, shown(run)), el("span", { class: "hint" }, `${count(total)} segments`)),
    total === 0 ? el("p", { class: "hint" }, "No Segment has a confidence.")
      : svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH + 22}`, class: "histogram", role: "group", "aria-label": shown(`Confidences of ${run}`) }, svg("line", { x1: 0, x2: WIDE, y1: HIGH, y2: HIGH, class: "axis" }), bars, ticks),
  );
}

/**
 * How large a share of the pixels each label has.
 * @param {string} run
 * @param {{label: string, share: number}[]} areas
 * @param {Map<string, any>} colours
 */
export function areaBars(run, areas, colours) {
  const largest = Math.max(0.0001, ...areas.map(({ share }) => share));
  const sorted = [...areas].sort((a, b) => b.share - a.share);
  return el(
    "figure", { class: "chart" }, el("figcaption", {}, el("bdi", {}, shown(run)), el("span", { class: "hint" }, "share of the pixels")),
    el("ul", { class: "areas" }, sorted.slice(0, MOST_LABELS).map(({ label, share }) => {
      const href = address("gallery", new URLSearchParams({ run, label }));
      const bar = svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", class: "area-bar", "aria-hidden": "true" }, svg("rect", { width: Math.max(0.5, (share / largest) * 100), height: 8, rx: 1, fill: colourOf(colours.get(label)?.colour) }));
      return el("li", {}, el("a", { href }, el("bdi", {}, shown(label)), bar, el("span", { class: "count" }, percent(share))));
    })),
    sorted.length > MOST_LABELS && el("p", { class: "hint" }, `and ${counted(sorted.length - MOST_LABELS, "smaller one")}`),
  );
}

/** Accepted beside rejected, as one bar. */
export function shareBar(accepted, rejected) {
  const total = Math.max(1, accepted + rejected);
  return svg(
    "svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", class: "share-bar", "aria-hidden": "true" },
    svg("rect", { width: (100 * accepted) / total, height: 6, class: "accepted" }),
    svg("rect", { x: (100 * accepted) / total, width: (100 * rejected) / total, height: 6, class: "rejected" }),
  );
}
