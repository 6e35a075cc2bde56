/** What is under the pointer: beside it, and in the panel for every pane. */

import { data, el, fill, shown, swatch } from "./dom.js";
import { count, percent, probability } from "./words.js";

// Metadata that is shown as bars.
const PDF_KEYS = new Set(["class_pdf", "pdf"]);

/** The words that follow the pointer. */
export class Tip {
  constructor() {
    this.element = el("div", { class: "tip", role: "tooltip", hidden: true });
  }

  /** @param {import("./pane.js").Pane} pane @param {number} value @param {DOMRect} box of the pane's canvas */
  show(pane, value, box, left, top) {
    const segment = pane.segmentOf(value);
    if (pane.prediction.key !== this.key || value !== this.value) {
      [this.key, this.value] = [pane.prediction.key, value];
      fill(this.element, segment === null ? unexplained(value) : told(segment, pane));
    }
    this.element.hidden = false;
    const { offsetWidth: wide, offsetHeight: high } = this.element;
    const x = box.left + left + 18 + wide > innerWidth - 8 ? box.left + left - wide - 14 : box.left + left + 18;
    const y = Math.min(box.top + top + 14, innerHeight - high - 8);
    this.element.style.setProperty("transform", `translate(${Math.max(8, x)}px, ${Math.max(8, y)}px)`);
  }

  hide() {
    this.element.hidden = true;
  }
}

function unexplained(value) {
  return [el("strong", {}, `Value ${value}`), el("p", {}, "no Segment explains it")];
}

function told(segment, pane) {
  return [
    el("p", { class: "tip-title" }, swatch(segment.colour, pane.item.plain(segment.label)), data(segment.label), el("span", { class: "hint" }, `index ${segment.index}`)),
    facts(segment),
    segment.class_pdf?.length > 0 && pdf(segment.class_pdf),
    metadataOf(segment) && el("pre", { class: "metadata" }, shown(metadataOf(segment))),
  ];
}

/** The numbers of a Segment. */
export function facts(segment) {
  const rows = [
    ["Area", typeof segment.pixels === "number" ? `${percent(segment.area_fraction)}, ${count(segment.pixels)} px` : null],
    ["Confidence", segment.confidence === null ? null : probability(segment.confidence)],
    ["Entropy", segment.entropy === null || segment.entropy === undefined ? null : `${segment.entropy.toFixed(2)} nats`],
    ["Margin", segment.margin === null || segment.margin === undefined ? null : probability(segment.margin)],
  ];
  return el("dl", { class: "facts" }, rows.filter(([, value]) => value !== null).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/** A class PDF's likeliest, as bars. @param {[string, number][]} likeliest */
export function pdf(likeliest) {
  return el("ul", { class: "pdf", "aria-label": "Class PDF, likeliest first" }, likeliest.map(([name, p]) => el(
    "li", { style: { "--p": String(Math.min(1, Math.max(0, p))) } }, data(name), el("span", {}, probability(p)),
  )));
}

/** A Segment's metadata for reading, without what is shown beside it; empty where that is all. */
export function metadataOf(segment) {
  const text = segment.metadata ?? "";
  try {
    const members = Object.entries(JSON.parse(text || "{}")).filter(([name, value]) => (
      !(name === "confidence" && value === segment.confidence) && !(PDF_KEYS.has(name) && segment.class_pdf?.length > 0)
    ));
    return members.map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join("\n");
  } catch {
    return text;
  }
}

/** The panel that names the pixel, and what each pane has there. */
export class PixelPanel {
  constructor() {
    this.element = el("div", { class: "pixel" }, el("p", { class: "hint" }, "Point at the picture."));
  }

  /** @param {import("./pane.js").Pane[]} panes @param {number[]|null} colour of the image's pixel */
  show(panes, pointer, colour) {
    const [first] = panes;
    const [x, y] = [Math.floor(pointer.u * first.width), Math.floor(pointer.v * first.height)];
    const rows = panes.map((pane) => {
      const value = pane.valueAt(pointer.u * pane.width, pointer.v * pane.height);
      const segment = value === null ? null : pane.segmentOf(value);
      return el(
        "tr", {}, el("th", { scope: "row" }, data(pane.prediction.model_run)), el("td", {}, value === null ? "–" : String(value)),
        el("td", {}, segment ? [swatch(segment.colour), data(segment.label)] : value === null ? "" : "no Segment"),
        el("td", {}, segment ? probability(segment.confidence) : ""),
      );
    });
    const rgb = colour && `image ${colour.join(", ")}`;
    fill(
      this.element, el("p", {}, el("code", {}, `x ${x}, y ${y}`), " ", rgb && el("span", { class: "hint" }, rgb)),
      el("table", {}, el("thead", {}, el("tr", {}, ["Model run", "Value", "Label", "Conf."].map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows)),
    );
  }
}
