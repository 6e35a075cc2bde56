/** One dataset item: its model runs side by side, with layers, and what is known of it. */

import { button, data, el, fill, icon, shown } from "./dom.js";
import { differences, findings, history, manifestRow } from "./details.js";
import { filterOf } from "./filters.js";
import { PixelPanel, Tip } from "./inspector.js";
import { Legend } from "./legend.js";
import { copied, failure } from "./notices.js";
import { Pane } from "./pane.js";
import { address, go } from "./router.js";
import { isAbort } from "./source.js";
import { Tools, keptSettings } from "./tools.js";
import { Viewport } from "./viewport.js";
import { named } from "./words.js";

/** Panes that are shown at first; the others by their buttons. */
const PANES = 4;
/** Labels that are off stay off from item to item. */
const hiddenLabels = new Set();

export class Item {
  /** @param {any} app @param {URLSearchParams} params */
  constructor(app, params) {
    this.app = app;
    this.params = params;
    this.settings = keptSettings();
    this.hidden = hiddenLabels;
    this.hiddenSegments = new Set();
    this.marks = new Set();
    this.panes = [];
    this.image = null;
    this.told = null;
    this.pointer = null;
    this.base = null;
    this.loading = new AbortController();
    this.view = new Viewport(() => this.viewed());
    this.tip = new Tip();
    this.pixel = new PixelPanel();
    this.legend = new Legend(this);
    this.tools = new Tools(this);
    this.probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    this.element = el("div", { class: "item" });
  }

  entered() {
    this.load();
    this.bindKeys();
  }

  leave() {
    this.loading.abort();
    this.panes.forEach((pane) => pane.leave());
    this.resized?.disconnect();
    this.tip.element.remove();
    this.image?.close();
  }

  update(params) {
    if (params.toString() === this.params.toString()) return;
    this.params = params;
    this.load();
  }

  plain(label) {
    return this.app.colours.get(label)?.plain === true;
  }

  /** What a prediction is called beside the others: its model run; of versions of a row, the row too. */
  named({ model_run: run, manifest, manifest_row: row }) {
    const several = this.known.predictions.filter((one) => one.model_run === run).length > 1;
    return several && manifest ? `${run} · ${manifest.split("/").pop()} row ${row}` : run;
  }

  visible(prediction, { label, index }) {
    return !this.hidden.has(label) && !this.hiddenSegments.has(`${prediction.key} ${index}`);
  }

  async load() {
    this.loading.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    this.element.setAttribute("aria-busy", "true");
    if (this.panes.length === 0) fill(this.element, el("p", { class: "loading", role: "status" }, "Loading…"));
    try {
      const known = await this.app.source.item(this.params, signal);
      if (signal.aborted) return;
      this.show(known, signal);
    } catch (error) {
      if (!isAbort(error)) fill(this.element, failure(error, () => this.load()));
    }
    this.element.removeAttribute("aria-busy");
  }

  show(known, signal) {
    this.known = known;
    this.app.title(shown(named(known.id)));
    this.panes.forEach((pane) => pane.leave());
    this.image?.close();
    [this.image, this.base, this.told, this.pointer] = [null, null, null, null];
    this.hiddenSegments.clear();
    this.marks.clear();
    const asked = known.key ?? this.params.get("key");
    const first = known.predictions.findIndex(({ key }) => key === asked);
    const ordered = [...known.predictions];
    if (first > 0) ordered.unshift(...ordered.splice(first, 1));
    this.all = ordered.map((prediction) => new Pane(prediction, this));
    this.panes = this.all.slice(0, PANES);
    this.stage = el("div", { class: "panes" });
    this.resized?.disconnect();
    this.resized = new ResizeObserver(() => this.columns());
    this.resized.observe(this.stage);
    this.side = {
      findings: el("div"), differences: el("div"), row: el("div"),
    };
    const section = (title, content, open = true) => el("details", { class: "side-section", open }, el("summary", {}, el("h2", {}, title)), content);
    const found = known.predictions.some((one) => one.findings.some(({ severity }) => severity !== "convert"));
    fill(
      this.element, this.head(),
      el(
        "div", { class: "item-main" },
        el("section", { class: "item-stage", "aria-label": "Picture" }, this.tools.element, this.imageWords(), this.stage),
        el(
          "aside", { class: "item-side", "aria-label": "What is known" },
          found && section("Findings", this.side.findings), section("Layers", this.legend.element), this.side.differences,
          section("Pixel", this.pixel.element), !found && section("Findings", this.side.findings, false),
          section("History", history(known.history), false), section("Manifest row", this.side.row, false),
        ),
      ),
    );
    document.body.append(this.tip.element);
    this.view.fit();
    this.arranged();
    for (const pane of this.panes) pane.load(signal).then(() => this.loaded(pane));
    this.loadImage(signal);
    this.markFirst();
  }

  imageWords() {
    const { image_words: words, notes = [] } = this.known;
    return [words, ...notes].filter(Boolean).map((one) => el("p", { class: "image-words" }, shown(one)));
  }

  head() {
    const { id, neighbours } = this.known;
    const back = address("gallery", filterOf(this.params));
    const step = (key, sign, words) => {
      const to = key && this.addressOf(key);
      return el("a", { class: "button step", href: to ?? undefined, "aria-disabled": to ? null : "true", "aria-label": words, title: words }, icon(sign));
    };
    return el(
      "div", { class: "item-head" }, el("a", { class: "button", href: back }, icon("back"), "Gallery"), el("h1", {}, data(named(id))),
      button(icon("copy"), () => copied([id], "reference id"), { class: "quiet", "aria-label": "Copy the reference id", title: "Copy the reference id" }),
      button(icon("link"), () => copied([this.link()], "link"), { class: "quiet", "aria-label": "Copy a link to this item", title: "Copy a link to this item" }),
      el("span", { class: "spring" }), this.selector(),
      step(neighbours?.previous, "left", "Previous item (←)"), step(neighbours?.next, "right", "Next item (→)"),
    );
  }

  selector() {
    const { selection } = this.app;
    const { id } = this.known;
    const [first] = this.known.predictions;
    const key = this.known.key ?? first?.key;
    const of = this.known.predictions.find((one) => one.key === key) ?? first;
    if (of === undefined) return null;
    this.choose = () => {
      selection.set([{ key: of.key, id, model_run: of.model_run, date: of.date }], !selection.has(of.key));
      show();
    };
    const choose = button("", () => this.choose(), { class: "select" });
    const show = () => {
      const on = selection.has(of.key);
      choose.setAttribute("aria-pressed", String(on));
      fill(choose, icon("check"), on ? "Selected" : "Select");
    };
    show();
    return choose;
  }

  addressOf(key) {
    const params = filterOf(this.params);
    params.set("key", key);
    return address("item", params);
  }

  /** An address that names the item by its id, not by a key. */
  link() {
    const [{ prediction }] = this.panes;
    const params = new URLSearchParams({ dataset: this.known.dataset, id: this.known.id, run: prediction.model_run, date: prediction.date });
    return new URL(address("item", params), location.href).href;
  }

  /** The panes, and what tells of them, in the page. */
  arranged() {
    fill(this.stage, this.panes.map(({ element }) => element));
    this.columns();
    this.tools.show();
    this.legend.show();
    fill(this.side.findings, findings(this));
    fill(this.side.row, this.panes.map(({ prediction }) => manifestRow(prediction)));
    this.compare(this.base);
  }

  /** As many panes in a row as make the pictures largest. */
  columns() {
    const { clientWidth: wide, clientHeight: high } = this.stage;
    const [{ width, height }] = this.panes;
    const number = this.panes.length;
    const scale = (columns) => Math.min(wide / columns / width, high / Math.ceil(number / columns) / height);
    const all = Array.from({ length: number }, (_, at) => at + 1);
    const best = all.reduce((one, other) => (scale(other) > scale(one) ? other : one));
    this.stage.style.setProperty("--columns", String(best));
  }

  /** Show a model run's pane, or take it away; one always stays. */
  togglePane(pane) {
    if (!this.panes.includes(pane)) {
      this.panes = this.all.filter((one) => one === pane || this.panes.includes(one));
      if (pane.mask === null) pane.load(this.loading.signal).then(() => this.loaded(pane));
    } else if (this.panes.length > 1) this.panes = this.panes.filter((one) => one !== pane);
    this.arranged();
  }

  loaded(pane) {
    if (pane.prediction.outcome === "rejected") this.legend.show(); // with areas now
    if (this.base !== null) this.compare(this.base);
  }

  async loadImage(signal) {
    if (this.known.image === null) return;
    try {
      const bitmap = await createImageBitmap(await this.app.source.picture(this.known.image.url, signal));
      if (signal.aborted) bitmap.close();
      else this.image = bitmap;
    } catch (error) {
      if (!isAbort(error)) this.stage.before(el("p", { class: "image-words" }, `The image cannot be shown: ${shown(error.message)}`));
    }
    this.redraw();
  }

  /** Compare the panes with one of them; null for none. */
  compare(key) {
    this.base = key;
    const base = this.panes.find(({ prediction }) => prediction.key === key) ?? null;
    if (base === null) this.base = null;
    for (const pane of this.panes) pane.differ(pane === base ? null : base);
    fill(this.side.differences, this.base === null ? null : [el("h2", { class: "side-title" }, "Differences"), ...differences(this)]);
    this.tools.show();
  }

  /** The rules whose pixels are marked in a prediction. */
  marked(prediction) {
    return prediction.findings.map(({ rule }) => rule).filter((rule) => this.marks.has(`${prediction.key} ${rule}`));
  }

  mark(prediction, finding, on) {
    const name = `${prediction.key} ${finding.rule}`;
    this.marks[on ? "add" : "delete"](name);
    const pane = this.all.find((one) => one.prediction === prediction);
    if (on && !pane.layers[`offending ${finding.rule}`]) pane.mark(finding.rule, finding.offending, this.loading.signal);
    else pane.draw();
  }

  /** What rejected a row is marked from the start. */
  markFirst() {
    for (const { prediction } of this.panes) {
      const first = prediction.findings.find(({ severity, offending }) => severity === "reject" && offending);
      if (first) this.mark(prediction, first, true);
    }
    fill(this.side.findings, findings(this));
  }

  hover(pane, left, top) {
    const [x, y] = this.view.at(pane, left, top);
    const value = pane.valueAt(x, y);
    if (value === null) {
      this.unhover();
      return;
    }
    this.pointer = { pane, u: x / pane.width, v: y / pane.height };
    this.tip.show(pane, value, pane.canvas.getBoundingClientRect(), left, top);
    this.pixel.show(this.panes, this.pointer, this.imagePixel());
    for (const other of this.panes) if (other !== pane) other.draw();
  }

  unhover() {
    if (this.pointer === null) return;
    this.pointer = null;
    this.tip.hide();
    this.redraw();
  }

  /** Red, green and blue of the image under the pointer. */
  imagePixel() {
    if (this.image === null) return null;
    const { u, v } = this.pointer;
    this.probe.canvas.width = 1;
    this.probe.canvas.height = 1;
    this.probe.drawImage(this.image, -Math.floor(u * this.image.width), -Math.floor(v * this.image.height));
    return [...this.probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  }

  /** Outline one Segment; null for none. @param {{key: string, index: number}|null} told */
  tell(told) {
    this.told = told;
    this.redraw();
  }

  viewed() {
    this.tools?.zoomed();
    this.redraw();
  }

  redraw() {
    this.panes?.forEach((pane) => pane.draw());
  }

  repaint() {
    this.panes.forEach((pane) => pane.stale());
  }

  bindKeys() {
    const to = (key) => { if (key) go("item", new URLSearchParams(this.addressOf(key).split("?")[1])); };
    const { tools } = this;
    this.app.keys.bind([
      { keys: ["ArrowLeft"], words: "Previous item of the gallery", act: () => to(this.known?.neighbours?.previous) },
      { keys: ["ArrowRight"], words: "Next item of the gallery", act: () => to(this.known?.neighbours?.next) },
      { keys: ["Escape"], words: "Back to the gallery", act: () => go("gallery", filterOf(this.params)) },
      { keys: [" "], words: "Select the item, or not any more", act: () => this.choose?.() },
      { keys: [..."123456789"], words: "Label of that number on or off", act: (key) => this.legend.toggle(key - 1) },
      { keys: ["m"], words: "Mask on or off", act: () => tools.flip("mask") },
      { keys: ["i"], words: "Image on or off", act: () => tools.flip("image") },
      { keys: ["o"], words: "Fill, outline, both", act: () => tools.nextMode() },
      { keys: ["d"], words: "Difference on or off", act: () => this.compare(this.base === null ? this.panes[0]?.prediction.key : null) },
      { keys: ["+", "="], words: "Larger", act: () => this.view.by(1.5, this.panes[0]) },
      { keys: ["-"], words: "Smaller", act: () => this.view.by(1 / 1.5, this.panes[0]) },
      { keys: ["0"], words: "The whole picture", act: () => this.view.fit() },
      this.app.searching,
    ]);
  }
}
