/** The panel of filters: facets with counts, ranges, days, carried columns. */

import { button, data, el, fill, shown, swatch } from "./dom.js";
import { changed, limits, range, toggled } from "./filters.js";
import { OUTCOMES, count } from "./words.js";

const SHOWN = 12;

export class FilterPanel {
  /**
   * @param {any} root what /api/root says
   * @param {() => URLSearchParams} params the filter as it is
   * @param {(params: URLSearchParams) => void} change
   */
  constructor(root, params, change) {
    this.params = params;
    this.change = change;
    this.facets = [
      new Facet("Label", "label", root.labels.map(({ name, colour, plain }) => ({ name, colour, plain })), this, true),
      new Facet("Model run", "run", root.model_runs.map(({ name }) => ({ name })), this),
      new Facet("Outcome", "outcome", OUTCOMES.map(([name, title]) => ({ name, title })), this),
      new Facet("Finding", "rule", root.rules.map((rule) => ({ name: rule.id, title: rule.meaning })), this),
    ];
    const [labels, runs, outcomes, rules] = this.facets;
    this.ranges = [
      new Range("Least confidence", "confidence", { min: 0, max: 1, step: 0.01 }, this),
      new Range("Highest entropy, nats", "entropy", { min: 0, step: 0.01 }, this),
      new Range("Segments", "segments", { min: 0, step: 1 }, this),
    ];
    this.days = new Days(root, this);
    this.area = new Area(root, this);
    this.columns = root.columns.length > 0 ? new Columns(root, this) : null;
    this.element = el(
      "form", { class: "filters", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() },
      labels.element, runs.element, this.days.element, outcomes.element, rules.element,
      ...this.ranges.map((one) => one.element), this.area.element, this.columns?.element,
    );
  }

  /** Show the filter as it is. */
  update() {
    for (const part of [...this.facets, ...this.ranges, this.days]) part.update(this.params());
  }

  /** Show how many items there are for each value. @param {any} counts of /api/counts */
  counted(counts) {
    const of = { label: counts.labels, run: counts.runs, outcome: counts.outcomes, rule: counts.rules };
    for (const facet of this.facets) facet.counted(of[facet.name] ?? {});
  }

  /** Turn the label at a place of the list on or off. @param {number} place from 0 */
  toggleLabel(place) {
    const [labels] = this.facets;
    const entry = labels.order[place];
    if (entry) this.change(toggled(this.params(), "label", entry.name));
  }
}

class Facet {
  constructor(title, name, entries, panel, numbered = false) {
    this.name = name;
    this.order = entries;
    this.numbered = numbered;
    this.whole = false;
    this.sought = "";
    this.ordered = false;
    for (const entry of entries) {
      const box = el("input", { type: "checkbox" });
      box.addEventListener("change", () => panel.change(toggled(panel.params(), name, entry.name)));
      entry.box = box;
      entry.number = el("span", { class: "count" });
      entry.key = numbered ? el("kbd", { "aria-hidden": "true" }) : null;
      entry.row = el(
        "label", { class: "facet-row", title: entry.title && shown(entry.title) }, box,
        entry.colour && swatch(entry.colour, entry.plain), data(entry.name), entry.key, entry.number,
      );
    }
    this.list = el("div", { class: "facet-list" });
    this.more = button("", () => { this.whole = !this.whole; this.show(); }, { class: "quiet more" });
    const seek = entries.length > SHOWN && el("input", {
      type: "search", placeholder: `Find among ${count(entries.length)}`, "aria-label": `Find: ${title}`, class: "seek",
      oninput: (event) => { this.sought = event.target.value.toLowerCase(); this.show(); },
    });
    this.element = el(
      "details", { class: "facet", open: name !== "rule", "data-facet": name }, el("summary", {}, title),
      seek, this.list, this.more,
    );
    if (entries.length === 0) fill(this.list, el("p", { class: "hint" }, "none in this root"));
    this.show();
  }

  show() {
    const found = this.order.filter(({ name }) => name.toLowerCase().includes(this.sought));
    const shownOnes = found.filter((entry, at) => this.whole || at < SHOWN || entry.box.checked);
    if (this.order.length > 0) fill(this.list, shownOnes.map((entry) => entry.row));
    this.order.forEach((entry, at) => { if (entry.key) entry.key.textContent = at < 9 ? String(at + 1) : ""; });
    this.more.hidden = found.length <= SHOWN;
    this.more.textContent = this.whole ? "Show fewer" : `Show all ${count(found.length)}`;
  }

  update(params) {
    const chosen = new Set(params.getAll(this.name));
    for (const entry of this.order) entry.box.checked = chosen.has(entry.name);
  }

  counted(numbers) {
    for (const entry of this.order) {
      const number = Object.hasOwn(numbers, entry.name) ? numbers[entry.name] : 0;
      entry.count = number;
      entry.number.textContent = count(number);
      entry.row.classList.toggle("none", number === 0 && !entry.box.checked);
    }
    // Most frequent first, once: a list that moves under the pointer is no help.
    if (!this.ordered && this.name !== "outcome") this.order.sort((a, b) => b.count - a.count);
    if (this.name === "rule") {
      for (const entry of this.order) entry.row.hidden = entry.count === 0 && !entry.box.checked;
    }
    const had = document.activeElement;
    this.show();
    if (had !== document.activeElement && this.list.contains(had)) had.focus();
    this.ordered = true;
  }
}

function numberInput(label, settings, onchange) {
  return el("input", { type: "number", "aria-label": label, onchange, ...settings, step: "any" });
}

class Range {
  constructor(title, name, settings, panel) {
    this.name = name;
    const commit = () => panel.change(changed(panel.params(), name, range(this.low.value, this.high.value)));
    this.low = numberInput(`${title}, from`, { ...settings, placeholder: settings.min ?? "" }, commit);
    this.high = numberInput(`${title}, to`, { ...settings, placeholder: settings.max ?? "any" }, commit);
    this.element = el(
      "fieldset", { class: "range" }, el("legend", {}, title), this.low, el("span", {}, "to"), this.high,
    );
  }

  update(params) {
    [this.low.value, this.high.value] = limits(params.get(this.name));
  }
}

class Days {
  constructor(root, panel) {
    const days = root.days;
    const settings = { type: "date", min: days[0], max: days[days.length - 1] };
    const commit = (name) => (event) => panel.change(changed(panel.params(), name, event.target.value));
    this.from = el("input", { ...settings, onchange: commit("from") });
    this.to = el("input", { ...settings, onchange: commit("to") });
    this.element = el(
      "fieldset", { class: "range days" }, el("legend", {}, "Days"),
      el("label", {}, el("span", {}, "from"), this.from), el("label", {}, el("span", {}, "to"), this.to),
    );
  }

  update(params) {
    this.from.value = params.get("from") ?? "";
    this.to.value = params.get("to") ?? "";
  }
}

class Area {
  constructor(root, panel) {
    const label = el(
      "select", { "aria-label": "Label whose area counts" },
      root.labels.map(({ name }) => el("option", { value: name }, shown(name))),
    );
    const low = numberInput("Least area, %", { min: 0, max: 100, placeholder: 0 });
    const high = numberInput("Largest area, %", { min: 0, max: 100, placeholder: 100 });
    const add = () => {
      const share = (input) => (input.value === "" ? "" : String(Number(input.value) / 100));
      const limit = range(share(low), share(high));
      if (limit === "" || !label.value) return;
      panel.change(changed(panel.params(), "area", `${label.value}:${limit}`));
    };
    this.element = el(
      "fieldset", { class: "range area" }, el("legend", {}, "Area of a label, %"), label, low,
      el("span", {}, "to"), high, button("Apply", add),
    );
  }
}

class Columns {
  constructor(root, panel) {
    const column = el(
      "select", { "aria-label": "Carried column" },
      root.columns.map(({ name }) => el("option", { value: name }, shown(name))),
    );
    const value = el("input", { type: "text", "aria-label": "Value of the column", placeholder: "value" });
    const add = () => {
      if (value.value !== "") panel.change(toggled(panel.params(), "column", `${column.value}:${value.value}`));
    };
    value.addEventListener("keydown", (event) => event.key === "Enter" && add());
    this.element = el(
      "fieldset", { class: "range column" }, el("legend", {}, "Carried column"), column, value, button("Apply", add),
    );
  }
}
