/** One model run's prediction: its image and the layers over it, drawn at the common zoom. */

import { data, el, fill, shown } from "./dom.js";
import { DIFFERENT, OFFENDING, difference, filledLayer, markLayer, outlineLayer, specksOf, spotLayer, tableOf } from "./layers.js";
import { greyPng } from "./png.js";
import { isAbort } from "./source.js";
import { gestures } from "./viewport.js";
import { counted } from "./words.js";

const GROUND = "#50555e"; // where there is no image
// Outlines of so many pixels take long enough to be noticed: they wait until nobody zooms, this long.
const AT_ONCE = 2_000_000;
const SETTLES = 160; // milliseconds
const DIMMED = "rgba(10, 12, 16, 0.62)"; // where a difference is shown and there is none

export class Pane {
  /**
   * @param {any} prediction of /api/item
   * @param {any} item the page: its settings, its viewport, its image
   */
  constructor(prediction, item) {
    this.prediction = prediction;
    this.item = item;
    this.mask = null;
    // Without a mask the image is all there is.
    const size = prediction.mask === null ? item.known.image ?? prediction : prediction;
    [this.width, this.height] = [size.width || 4, size.height || 3];
    this.layers = {};
    this.specks = {}; // rule -> places
    this.canvas = el("canvas", { role: "img", "data-run": prediction.model_run });
    this.canvas.setAttribute("aria-label", this.description());
    this.words = el("p", { class: "pane-words", role: "status" }, "Loading…");
    const outcome = prediction.outcome;
    this.element = el(
      "figure", { class: "pane", "data-key": prediction.key },
      el(
        "figcaption", {}, data(item.named(prediction), { class: "pane-run" }), el("span", { class: "hint" }, shown(prediction.date)),
        el("span", { class: outcome === "rejected" ? "badge rejected" : "badge" }, shown(outcome)),
      ),
      el("div", { class: "stage" }, this.canvas, this.words),
    );
    gestures(this, item.view, (left, top) => item.hover(this, left, top), () => item.unhover());
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.canvas);
  }

  description() {
    const { model_run: run, segments } = this.prediction;
    const labels = [...new Set(segments.map(({ label }) => label))].slice(0, 8).join(", ");
    return shown(`${run}: ${counted(segments.length, "segment")}${labels ? ` of ${labels}` : ""}`);
  }

  /** Load the mask; what goes wrong stands in the pane. */
  async load(signal) {
    const { mask, findings } = this.prediction;
    if (mask === null) {
      const [first] = findings;
      this.say(first ? `No mask can be shown: ${first.message}` : "No mask can be shown.");
      return;
    }
    try {
      const blob = await this.item.app.source.picture(mask, signal);
      this.mask = await greyPng(await blob.arrayBuffer());
      [this.width, this.height] = [this.mask.width, this.mask.height];
      this.measure();
      this.say("");
      this.draw();
    } catch (error) {
      if (!isAbort(error)) this.say(error.message);
    }
  }

  /** Of a rejected row no table has the areas: they are counted here. */
  measure() {
    const { segments } = this.prediction;
    if (segments.every(({ pixels }) => typeof pixels === "number")) return;
    const numbers = new Uint32Array(256);
    for (const value of this.mask.values) numbers[value] += 1;
    for (const segment of segments) {
      segment.pixels = numbers[segment.index];
      segment.area_fraction = segment.pixels / this.mask.values.length;
    }
  }

  /** Load the pixels that offend a rule. */
  async mark(rule, address, signal) {
    try {
      const blob = await this.item.app.source.picture(address, signal);
      const marks = await greyPng(await blob.arrayBuffer());
      this.layers[`offending ${rule}`] = markLayer(marks, OFFENDING);
      this.specks[rule] = specksOf(marks);
      this.draw();
    } catch (error) {
      if (!isAbort(error)) this.say(`The pixels of ${rule} cannot be shown: ${error.message}`);
    }
  }

  say(words) {
    fill(this.words, words && el("span", {}, shown(words)));
  }

  /** The value under a point of the picture; null where there is none. */
  valueAt(x, y) {
    if (this.mask === null || x < 0 || y < 0 || x >= this.width || y >= this.height) return null;
    return this.mask.values[Math.floor(y) * this.width + Math.floor(x)];
  }

  segmentOf(value) {
    return this.prediction.segments.find(({ index }) => index === value) ?? null;
  }

  /** What the settings show has changed: layers are made again when next drawn. */
  stale() {
    for (const name of ["fill", "outline", "spot"]) delete this.layers[name];
    this.draw();
  }

  /** The difference to another pane's prediction; null takes the layer away. */
  differ(other) {
    this.layers.difference = null;
    this.differing = null;
    if (other !== null && this.mask !== null && other.mask !== null) {
      this.differing = difference(
        { mask: other.mask, segments: other.prediction.segments }, { mask: this.mask, segments: this.prediction.segments },
      );
      if (this.differing !== null) this.layers.difference = markLayer(this.differing.mask, DIFFERENT);
    }
    this.draw();
  }

  get table() {
    const { item, prediction } = this;
    return tableOf(prediction.segments, (s) => item.visible(prediction, s), (label) => item.plain(label));
  }

  /** A layer, made where it is not there. */
  layer(name, make) {
    this.layers[name] ??= make();
    return this.layers[name];
  }

  draw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const { canvas, item } = this;
    const ratio = devicePixelRatio;
    const [wide, high] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (wide === 0 || high === 0) return;
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, high);
    const { scale, x, y } = item.view.in(this);
    context.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
    context.imageSmoothingEnabled = scale * ratio < 1; // above, a pixel is a square
    context.imageSmoothingQuality = "high";
    this.paint(context, 2 ** Math.max(0, Math.min(4, Math.round(Math.log2(1.2 / (scale * ratio))))));
    // A finger scrolls the page while there is nothing of the picture to be moved to.
    canvas.style.setProperty("touch-action", item.view.zoom > 1 ? "none" : "pan-y");
    if (item.panes[0] === this) item.tools.zoomed(); // only now it is known how large the pane is
    canvas.dataset.at = [scale, x, y].join(" "); // where the picture is, for who measures
  }

  /** @param {number} reach of outlines, in pixels of the mask, so that they are seen when small */
  paint(context, reach) {
    const { item, mask, width, height } = this;
    const { settings } = item;
    const over = (layer, opacity) => {
      context.globalAlpha = opacity;
      context.drawImage(layer, 0, 0, width, height);
    };
    context.globalAlpha = 1;
    if (settings.image && item.image !== null) over(item.image, 1);
    else if (mask !== null || item.image !== null) {
      context.fillStyle = GROUND;
      context.fillRect(0, 0, width, height);
    }
    if (mask === null) return;
    this.reachOut(reach);
    if (settings.mask && settings.mode !== "outline") over(this.layer("fill", () => filledLayer(mask, this.table)), settings.opacity);
    if (settings.mask && settings.mode !== "fill") over(this.layer("outline", () => outlineLayer(mask, this.table, reach)), 1);
    if (this.layers.difference) {
      context.globalAlpha = 1;
      context.fillStyle = DIMMED;
      context.fillRect(0, 0, width, height);
      over(this.layers.difference, 1);
    }
    for (const rule of item.marked(this.prediction)) {
      if (this.layers[`offending ${rule}`]) over(this.layers[`offending ${rule}`], 0.9);
      this.ring(context, this.specks[rule] ?? []);
    }
    const told = item.told;
    if (told !== null && told.key === this.prediction.key) {
      if (this.spotted !== told.index) delete this.layers.spot;
      this.spotted = told.index;
      over(this.layer("spot", () => spotLayer(mask, told.index, reach)), 1);
    }
    this.cross(context);
  }

  /** Outlines of a reach from now on; while a large picture is zoomed those that are there stay. */
  reachOut(reach) {
    clearTimeout(this.settling);
    if (reach === this.reach) return;
    if (this.mask.values.length > AT_ONCE && this.layers.outline !== undefined && !this.settled) {
      this.settling = setTimeout(() => {
        this.settled = true;
        this.draw();
      }, SETTLES);
      return;
    }
    delete this.layers.outline;
    delete this.layers.spot;
    [this.reach, this.settled] = [reach, false];
  }

  /** Rings around the marks of a rule that are so few that they are overlooked. */
  ring(context, places) {
    const unit = devicePixelRatio / context.getTransform().a;
    context.globalAlpha = 1;
    for (const [style, thick] of [["#fff", 5], [OFFENDING, 2.5]]) {
      context.strokeStyle = style;
      context.lineWidth = thick * unit;
      for (const [x, y] of places) {
        context.beginPath();
        context.arc(x + 0.5, y + 0.5, Math.max(9 * unit, 1.5), 0, 2 * Math.PI);
        context.stroke();
      }
    }
  }

  /** Where the pointer is in another pane. */
  cross(context) {
    const { pointer } = this.item;
    if (pointer === null || pointer.pane === this) return;
    const [px, py] = [Math.floor(pointer.u * this.width) + 0.5, Math.floor(pointer.v * this.height) + 0.5];
    const { a: unit } = context.getTransform();
    const arm = (9 * devicePixelRatio) / unit;
    context.globalAlpha = 1;
    for (const [style, thick] of [["#000", 3], ["#fff", 1.2]]) {
      context.strokeStyle = style;
      context.lineWidth = (thick * devicePixelRatio) / unit;
      context.beginPath();
      context.moveTo(px - arm, py);
      context.lineTo(px + arm, py);
      context.moveTo(px, py - arm);
      context.lineTo(px, py + arm);
      context.stroke();
    }
  }

  leave() {
    cancelAnimationFrame(this.asked);
    clearTimeout(this.settling);
    this.resized.disconnect();
  }
}
