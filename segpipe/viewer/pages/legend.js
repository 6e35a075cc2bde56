/** The layers of the predictions: labels, and their Segments, each on or off. */

import { button, data, el, fill, icon, shown, swatch } from "./dom.js";
import { facts, metadataOf, pdf } from "./inspector.js";
import { percent, probability } from "./words.js";

export class Legend {
  /** @param {any} item the page */
  constructor(item) {
    this.item = item;
    this.element = el("div", { class: "legend" });
    this.labels = [];
    this.opened = new Set();
  }

  /** Fill it for the panes that are shown. */
  show() {
    const { item } = this;
    const areas = new Map();
    for (const { prediction } of item.panes) {
      for (const segment of prediction.segments) {
        const entry = areas.get(segment.label) ?? { name: segment.label, colour: segment.colour, area: 0, parts: [] };
        entry.area = Math.max(entry.area, prediction.segments.reduce((sum, s) => sum + (s.label === segment.label ? s.area_fraction : 0), 0));
        entry.parts.push({ prediction, segment });
        areas.set(segment.label, entry);
      }
    }
    this.labels = [...areas.values()].sort((a, b) => b.area - a.area);
    const all = (on) => {
      for (const { name } of this.labels) item.hidden[on ? "delete" : "add"](name);
      item.hiddenSegments.clear();
      item.repaint();
      this.mark();
    };
    fill(
      this.element,
      el("p", { class: "row" }, button("All on", () => all(true), { class: "quiet" }), button("All off", () => all(false), { class: "quiet" })),
      this.labels.map((entry, place) => this.row(entry, place)),
      this.labels.length === 0 && el("p", { class: "hint" }, "No Segments."),
    );
    this.mark();
  }

  row(entry, place) {
    const { item } = this;
    const label = item.app.colours.get(entry.name);
    const box = el("input", { type: "checkbox", onchange: () => this.toggle(place) });
    entry.box = box;
    const opened = this.opened.has(entry.name);
    const parts = el("div", { class: "parts", hidden: !opened });
    const open = button(icon("down"), () => {
      parts.hidden = !parts.hidden;
      this.opened[parts.hidden ? "delete" : "add"](entry.name);
      open.setAttribute("aria-expanded", String(!parts.hidden));
      if (!parts.hidden) this.fillParts(entry, parts);
    }, { class: "quiet expand", "aria-expanded": String(opened), "aria-label": shown(`Segments of ${entry.name}`) });
    if (opened) this.fillParts(entry, parts);
    return el(
      "div", { class: "legend-label" },
      el(
        "div", { class: "legend-row" },
        el(
          "label", {}, box, swatch(label?.colour ?? entry.colour, item.plain(entry.name)), data(entry.name),
          place < 9 && el("kbd", { "aria-hidden": "true" }, String(place + 1)),
          el("span", { class: "count" }, percent(entry.area)),
        ), open,
      ),
      parts,
    );
  }

  fillParts(entry, parts) {
    const { item } = this;
    entry.boxes = [];
    const several = item.panes.length > 1;
    fill(parts, entry.parts.map(({ prediction, segment }) => {
      const name = `${prediction.key} ${segment.index}`;
      const box = el("input", { type: "checkbox", checked: !item.hiddenSegments.has(name) });
      box.addEventListener("change", () => {
        item.hiddenSegments[box.checked ? "delete" : "add"](name);
        item.repaint();
      });
      entry.boxes.push([name, box]);
      const tell = (on) => () => item.tell(on ? { key: prediction.key, index: segment.index } : null);
      return el(
        "details", { class: "part", onmouseenter: tell(true), onmouseleave: tell(false), onfocusin: tell(true), onfocusout: tell(false) },
        el(
          "summary", {}, el("label", { onclick: (event) => event.stopPropagation() }, box, el("span", { class: "unseen" }, shown(`Show segment ${segment.index}`))),
          swatch(segment.colour, item.plain(segment.label)), el("span", {}, `index ${segment.index}`),
          several && data(item.named(prediction), { class: "hint" }),
          el("span", { class: "count" }, segment.confidence === null ? percent(segment.area_fraction) : probability(segment.confidence)),
        ),
        facts(segment), segment.class_pdf?.length > 0 && pdf(segment.class_pdf),
        metadataOf(segment) && el("pre", { class: "metadata" }, shown(metadataOf(segment))),
      );
    }));
  }

  /** Turn the label at a place on or off. */
  toggle(place) {
    const entry = this.labels[place];
    if (entry === undefined) return;
    const { hidden } = this.item;
    hidden[hidden.has(entry.name) ? "delete" : "add"](entry.name);
    this.item.repaint();
    this.mark();
  }

  mark() {
    for (const entry of this.labels) {
      entry.box.checked = !this.item.hidden.has(entry.name);
      for (const [name, box] of entry.boxes ?? []) box.checked = !this.item.hiddenSegments.has(name);
    }
  }
}
