/** Thumbnails: few requests at a time, the latest first; those scrolled past are cancelled. */

import { isAbort } from "./source.js";

const AT_ONCE = 6;
const KEPT = 500;

export class Thumbnails {
  /** @param {import("./source.js").Server} source */
  constructor(source) {
    this.source = source;
    this.kept = new Map(); // address -> object URL, the longest unused first
    this.waiting = []; // of {image, card, size, name}
    this.running = new Map(); // image -> AbortController
  }

  /**
   * Show a card's thumbnail in an image.
   * @param {HTMLImageElement} image @param {any} card @param {number} size of its longer side
   */
  show(image, card, size) {
    this.hide(image);
    const name = `${card.thumb}|${size}`;
    const ready = this.kept.get(name);
    if (ready !== undefined) {
      this.kept.delete(name);
      this.kept.set(name, ready);
      this.set(image, ready);
      return;
    }
    this.waiting.push({ image, card, size, name });
    this.proceed();
  }

  /** The image shows something else from now on: what was asked for it is not wanted any more. */
  hide(image) {
    this.waiting = this.waiting.filter((one) => one.image !== image);
    this.running.get(image)?.abort();
    this.running.delete(image);
    image.removeAttribute("src");
    image.dataset.state = "waiting";
  }

  /** Cancel everything. */
  leave() {
    this.waiting = [];
    for (const abort of this.running.values()) abort.abort();
    this.running.clear();
  }

  proceed() {
    while (this.running.size < AT_ONCE && this.waiting.length > 0) this.fetch(this.waiting.pop());
  }

  async fetch({ image, card, size, name }) {
    const abort = new AbortController();
    this.running.set(image, abort);
    try {
      const blob = await this.source.thumbnail(card, size, abort.signal);
      const url = URL.createObjectURL(blob);
      this.keep(name, url);
      if (this.running.get(image) === abort) this.set(image, url);
    } catch (error) {
      if (!isAbort(error) && this.running.get(image) === abort) {
        image.dataset.state = "failed";
        image.dispatchEvent(new CustomEvent("thumbnail-failed", { detail: error.message }));
      }
    } finally {
      if (this.running.get(image) === abort) this.running.delete(image);
      this.proceed();
    }
  }

  set(image, url) {
    image.src = url;
    image.dataset.state = "shown";
  }

  keep(name, url) {
    this.kept.set(name, url);
    if (this.kept.size <= KEPT) return;
    const [oldest, unused] = this.kept.entries().next().value;
    this.kept.delete(oldest);
    URL.revokeObjectURL(unused);
  }
}
