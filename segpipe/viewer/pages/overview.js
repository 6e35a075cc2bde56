/** Per model run and day what came of the rows; areas of labels; confidences. */

import { areaBars, histogram, shareBar } from "./charts.js";
import { data, el, fill } from "./dom.js";
import { failure, nothing } from "./notices.js";
import { address } from "./router.js";
import { isAbort } from "./source.js";
import { count } from "./words.js";

const KINDS = ["accepted", "rejected", "published"];
// What was accepted is published, was ignored, or waits for being published.
const OUTCOMES = { accepted: ["published", "ignored", "accepted"], rejected: ["rejected"], published: ["published"] };

function gallery(kind, params = {}) {
  const filter = new URLSearchParams(params);
  for (const outcome of OUTCOMES[kind]) filter.append("outcome", outcome);
  return address("gallery", filter);
}

export class Overview {
  /** @param {any} app @param {URLSearchParams} params */
  constructor(app, params) {
    this.app = app;
    this.params = params;
    this.abort = new AbortController();
    this.element = el("div", { class: "board overview" });
  }

  entered() {
    this.app.keys.bind([this.app.searching]);
    this.load();
  }

  leave() {
    this.abort.abort();
  }

  update(params) {
    this.params = params;
    this.load();
  }

  /** There is more in the root than before. */
  renew() {
    this.load();
  }

  async load() {
    fill(this.element, el("h1", {}, "Overview"), el("p", { class: "hint", role: "status" }, "Loading…"));
    try {
      this.show(await this.app.source.overview(this.params, this.abort.signal));
    } catch (error) {
      if (!isAbort(error)) fill(this.element, el("h1", {}, "Overview"), failure(error, () => this.load()));
    }
  }

  show({ cells, areas, confidences }) {
    if (cells.length === 0) {
      fill(this.element, el("h1", {}, "Overview"), nothing(
        "Nothing was validated yet",
        el("p", {}, "What lands in the root is validated and published with ", el("code", {}, "segpipe run --root ROOT --all"), "; then it is counted here."),
      ));
      return;
    }
    const byRun = Map.groupBy ? Map.groupBy(areas, ({ model_run: run }) => run) : grouped(areas);
    fill(
      this.element, el("h1", {}, "Overview"), totals(cells),
      el("section", { "aria-label": "Model runs and days" }, el("h2", {}, "Model runs and days"),
        el("p", { class: "hint legend-line" }, KINDS.map((kind) => el("span", { class: `key ${kind}` }, kind)), "Each number leads to its pictures."),
        el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Table of model runs and days" }, table(cells))),
      el("section", { "aria-label": "Areas of labels" }, el("h2", {}, "Areas of labels"),
        el("div", { class: "charts" }, [...byRun].map(([run, shares]) => areaBars(run, shares, this.app.colours)))),
      el("section", { "aria-label": "Confidences" }, el("h2", {}, "Confidences"),
        el("p", { class: "hint" }, "Of all Segments. A bar leads to the items whose least sure Segment is there."),
        el("div", { class: "charts" }, confidences.map(({ model_run: run, bins }) => histogram(run, bins)))),
    );
  }
}

function grouped(areas) {
  const groups = new Map();
  for (const area of areas) groups.set(area.model_run, [...(groups.get(area.model_run) ?? []), area]);
  return groups;
}

function totals(cells) {
  const sum = (kind) => cells.reduce((all, cell) => all + (cell[kind] ?? 0), 0);
  return el("dl", { class: "totals" }, KINDS.map((kind) => el(
    "div", { class: kind }, el("dt", {}, kind), el("dd", {}, el("a", { href: gallery(kind) }, count(sum(kind)))),
  )));
}

function table(cells) {
  const days = [...new Set(cells.map(({ date }) => date))].sort();
  const runs = [...new Set(cells.map(({ model_run: run }) => run))].sort();
  const by = new Map(cells.map((cell) => [JSON.stringify([cell.model_run, cell.date]), cell]));
  return el(
    "table", { class: "matrix" }, el("caption", { class: "unseen" }, "Rows accepted, rejected and published, per model run and day"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Model run"), days.map((day) => el("th", { scope: "col" }, day)))),
    el("tbody", {}, runs.map((run) => el(
      "tr", {}, el("th", { scope: "row" }, el("a", { href: address("gallery", new URLSearchParams({ run })) }, data(run))),
      days.map((day) => cellOf(by.get(JSON.stringify([run, day])), run, day)),
    ))),
  );
}

function cellOf(cell, run, day) {
  if (cell === undefined) return el("td", { class: "none" }, el("span", { "aria-label": "no delivery" }, "·"));
  const number = (kind) => {
    const n = cell[kind] ?? 0;
    const words = `${count(n)} ${kind}`;
    if (n === 0) return el("span", { class: `number ${kind} zero`, title: words }, "0");
    return el("a", { class: `number ${kind}`, title: words, "aria-label": `${words}, ${run}, ${day}`, href: gallery(kind, { run, from: day, to: day }) }, count(n));
  };
  return el("td", {}, shareBar(cell.accepted ?? 0, cell.rejected ?? 0), el("div", { class: "numbers" }, KINDS.map(number)));
}
