/** What is known of an item beside its pixels: findings, history, the manifest's row, receipts. */

import { data, el, icon, shown } from "./dom.js";
import { percent, time } from "./words.js";

/**
 * The findings of the predictions that are shown, with what to do.
 * @param {any} item the page
 */
export function findings(item) {
  const told = new Set(); // one finding about several rows is told once
  const all = item.panes.flatMap(({ prediction }) => prediction.findings.map((finding) => ({ prediction, finding }))).filter(({ prediction, finding }) => {
    const name = JSON.stringify([finding.rule, finding.message, prediction.model_run, finding.offending]);
    return !told.has(name) && told.add(name);
  });
  if (all.length === 0) return el("p", { class: "hint" }, "Nothing was found in these rows.");
  const several = item.panes.length > 1;
  return el("ul", { class: "findings" }, all.map(({ prediction, finding }) => el(
    "li", { class: `finding ${["reject", "warn"].includes(finding.severity) ? finding.severity : ""}` },
    el("p", { class: "finding-head" }, icon("warn"), el("strong", {}, shown(finding.rule)), el("span", { class: "badge" }, shown(finding.severity)), several && data(prediction.model_run, { class: "hint" })),
    el("p", {}, shown(finding.message)), finding.remedy && el("p", { class: "remedy" }, shown(finding.remedy)),
    finding.offending && marker(item, prediction, finding),
  )));
}

function marker(item, prediction, finding) {
  const box = el("input", { type: "checkbox", checked: item.marks.has(`${prediction.key} ${finding.rule}`) });
  box.addEventListener("change", () => item.mark(prediction, finding, box.checked));
  return el("label", { class: "marker" }, box, "Mark the offending pixels");
}

/** How the panes differ from the one they are compared with. */
export function differences(item) {
  return item.panes.filter((pane) => pane.prediction.key !== item.base).map((pane) => {
    const found = pane.differing;
    const name = data(item.named(pane.prediction));
    if (found === null || found === undefined) {
      return el("p", {}, name, ": no difference can be shown; ", pane.mask === null ? "a mask is missing." : "their sizes differ.");
    }
    return el(
      "div", { class: "difference" }, el("p", {}, name, found.share === 0 ? " has the same label at every pixel." : ` differs in ${percent(found.share)} of the pixels:`),
      found.pairs.length > 0 && el("table", {}, el("tbody", {}, found.pairs.slice(0, 8).map((pair) => el(
        "tr", {}, el("td", {}, data(pair.a)), el("td", { "aria-label": "became" }, "→"), el("td", {}, data(pair.b)), el("td", {}, percent(pair.share)),
      )))),
      found.pairs.length > 8 && el("p", { class: "hint" }, `and ${found.pairs.length - 8} smaller ones`),
    );
  });
}

/** What became of the item in each version of the catalog. @param {any[]} versions */
export function history(versions) {
  if (versions.length === 0) return el("p", { class: "hint" }, "The catalog has no version with this item.");
  return el("ol", { class: "history" }, versions.map((one) => el(
    "li", {}, el("strong", {}, `Version ${one.version}`), " ", el("span", { class: "badge" }, shown(one.outcome ?? one.operation)),
    el("p", { class: "hint" }, one.time && time(one.time), one.model_run && [" · ", data(one.model_run)]),
    one.fingerprint && el("p", { class: "hint" }, "fingerprint ", short(one.fingerprint), one.previous_fingerprint && [", before it ", short(one.previous_fingerprint)]),
  )));
}

function short(text) {
  return el("code", { title: shown(text) }, shown(String(text).slice(0, 12)));
}

/** The manifest's row as it was carried. @param {any} prediction */
export function manifestRow(prediction) {
  const rows = Object.entries(prediction.row ?? {});
  return el(
    "div", { class: "manifest" },
    el("p", {}, data(prediction.model_run, { class: "pane-run" })),
    prediction.manifest && el("p", { class: "hint" }, data(prediction.manifest), prediction.manifest_row !== null && `, row ${prediction.manifest_row}`),
    rows.length > 0 && pairs(rows),
    prediction.receipt && el("details", {}, el("summary", {}, "Receipt"), pairs(Object.entries(prediction.receipt))),
  );
}

function pairs(entries) {
  return el("dl", { class: "pairs" }, entries.map(([name, value]) => [
    el("dt", {}, data(name)), el("dd", {}, shown(typeof value === "object" && value !== null ? JSON.stringify(value) : String(value ?? "–"))),
  ]));
}
