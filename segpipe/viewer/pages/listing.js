/** The items a filter leaves, page by page as they are asked for. */

import { isAbort } from "./source.js";

const PAGE = 60;
/** Beyond this the gallery asks for a narrower filter: a list this long is no use to anyone. */
export const MOST = 60000;

export class Listing {
  /**
   * @param {import("./source.js").Server} source
   * @param {URLSearchParams} filters
   * @param {() => void} told called when there is something new to show
   */
  constructor(source, filters, told) {
    this.source = source;
    this.filters = filters;
    this.told = told;
    this.items = [];
    this.total = null;
    this.notes = [];
    this.error = null;
    this.loading = false;
    this.scrollTop = 0;
    this.focused = 0;
    this.next = null;
    this.abort = new AbortController();
  }

  /** Whether there are more to ask for. */
  get open() {
    return this.total === null || (this.next !== null && this.items.length < MOST);
  }

  /** Ask for the next page, where there is one and nothing is asked for already. */
  async more() {
    if (this.loading || !this.open || this.error !== null) return;
    this.loading = true;
    try {
      const answer = await this.source.items(this.filters, this.next, PAGE, this.abort.signal);
      this.items.push(...answer.items);
      this.total = answer.total;
      this.next = answer.next ?? null;
      this.notes = answer.notes ?? [];
    } catch (error) {
      if (isAbort(error)) return;
      this.error = error;
    } finally {
      this.loading = false;
    }
    this.told();
  }

  /** Try again after an error. */
  again() {
    this.error = null;
    return this.more();
  }

  /** Nobody waits for it any more: what is under way is cancelled. */
  leave() {
    this.abort.abort();
    this.abort = new AbortController();
  }
}
