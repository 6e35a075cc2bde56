/** The gallery's grid: only the cards that can be seen are in the page, and they are used again. */

import { button, data, el, fill, icon, shown } from "./dom.js";
import { address } from "./router.js";
import { counted, named, probability } from "./words.js";

const GAP = 12;
const CAPTION = 56;
const BEYOND = 2; // rows above and below what can be seen
const SIZES = [160, 320, 640]; // of thumbnails, their longest side in pixels

export class Grid {
  /**
   * @param {{listing: () => import("./listing.js").Listing, selection: any, thumbnails: any,
   *   filters: () => URLSearchParams, harmless: (rule: string) => boolean}} given
   */
  constructor(given) {
    Object.assign(this, given);
    this.wished = 220;
    this.columns = 1;
    this.list = el("ul", { class: "cards", "aria-label": "Predictions" });
    this.scroller = el("div", { class: "grid", tabindex: "-1" }, this.list);
    this.cards = new Map(); // index -> element
    this.spare = [];
    this.anchor = 0;
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.resized = new ResizeObserver(() => this.arrange());
    this.resized.observe(this.scroller);
    this.marked = () => this.cards.forEach((card, index) => this.mark(card, index));
    this.selection.addEventListener("change", this.marked);
  }

  leave() {
    this.resized.disconnect();
    this.selection.removeEventListener("change", this.marked);
    this.thumbnails.leave();
  }

  /** Show a listing from its first item, or from where it was left. */
  reset() {
    for (const [index] of this.cards) this.drop(index);
    this.arrange();
    this.scroller.scrollTop = this.listing().scrollTop;
    this.show();
  }

  /** How wide a card should be, in pixels. */
  resize(wished) {
    this.wished = wished;
    for (const [index] of this.cards) this.drop(index);
    this.arrange();
  }

  scrolled() {
    this.listing().scrollTop = this.scroller.scrollTop;
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.show();
    });
  }

  arrange() {
    const width = this.scroller.clientWidth - 2 * GAP;
    if (width <= 0) return;
    this.columns = Math.max(width < 500 ? 2 : 1, Math.floor((width + GAP) / (this.wished + GAP)));
    this.width = (width - GAP * (this.columns - 1)) / this.columns;
    this.picture = Math.round((this.width - 2) * 0.75); // inside its border
    this.row = this.picture + CAPTION + GAP;
    this.list.style.setProperty("--card-width", `${this.width}px`);
    this.list.style.setProperty("--picture-height", `${this.picture}px`);
    for (const [index, card] of this.cards) this.place(card, index);
    this.show();
  }

  place(card, index) {
    const left = GAP + (index % this.columns) * (this.width + GAP);
    const top = GAP + Math.floor(index / this.columns) * this.row;
    card.style.setProperty("transform", `translate(${left}px, ${top}px)`);
  }

  /** Put the cards that can be seen into the page, and ask for more where the end is near. */
  show() {
    const listing = this.listing();
    if (!this.row) return;
    const { scrollTop, clientHeight } = this.scroller;
    const rows = Math.ceil(listing.items.length / this.columns);
    this.list.style.setProperty("height", `${rows * this.row + GAP + (listing.open ? 80 : 0)}px`);
    const first = Math.max(0, Math.floor(scrollTop / this.row) - BEYOND) * this.columns;
    const last = Math.ceil((scrollTop + clientHeight) / this.row + BEYOND) * this.columns;
    const end = Math.min(listing.items.length, last);
    for (const [index, card] of this.cards) {
      const focused = card.contains(document.activeElement);
      if ((index < first || index >= end) && !focused) this.drop(index);
    }
    for (let index = first; index < end; index += 1) if (!this.cards.has(index)) this.add(index);
    if (last + 4 * this.columns >= listing.items.length) listing.more();
  }

  drop(index) {
    const card = this.cards.get(index);
    this.cards.delete(index);
    this.thumbnails.hide(card.picture);
    card.remove();
    if (this.spare.length < 60) this.spare.push(card);
  }

  add(index) {
    const card = this.spare.pop() ?? newCard(this);
    this.cards.set(index, card);
    fillCard(card, this.listing().items[index], this, index);
    this.place(card, index);
    this.mark(card, index);
    this.list.append(card);
    this.thumbnails.show(card.picture, this.listing().items[index], sizeFor(this.width));
  }

  mark(card, index) {
    const chosen = this.selection.has(this.listing().items[index]?.key);
    card.classList.toggle("chosen", chosen);
    card.check.setAttribute("aria-checked", String(chosen));
  }

  indexOf(card) {
    for (const [index, one] of this.cards) if (one === card) return index;
    return -1;
  }

  /** The card that has the focus, or had it last. */
  get focused() {
    for (const [index, card] of this.cards) if (card.contains(document.activeElement)) return index;
    return this.listing().focused;
  }

  /** Give a card the focus, scrolled into view. */
  focus(index) {
    const listing = this.listing();
    const at = Math.max(0, Math.min(index, listing.items.length - 1));
    if (listing.items.length === 0) return;
    listing.focused = at;
    const top = Math.floor(at / this.columns) * this.row;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.row + GAP > scrollTop + clientHeight) {
      this.scroller.scrollTop = top + this.row + GAP - clientHeight;
    }
    this.show();
    this.cards.get(at)?.link.focus({ preventScroll: true });
  }

  /** Move the focus by so many cards; without one that has it, take the first. */
  move(by) {
    const has = [...this.cards.values()].some((card) => card.contains(document.activeElement));
    this.focus(has ? this.focused + by : this.listing().focused);
  }

  /** Select or unselect a card; with Shift all from the one before. */
  choose(index, through = false) {
    const { items } = this.listing();
    if (items[index] === undefined) return;
    const on = through || !this.selection.has(items[index].key);
    const [from, to] = through ? [this.anchor, index].sort((a, b) => a - b) : [index, index];
    this.anchor = index;
    this.listing().focused = index;
    this.selection.set(items.slice(from, to + 1), on);
  }
}

/** The thumbnails' size that fills so many CSS pixels. */
export function sizeFor(width) {
  return SIZES.find((size) => size >= 0.85 * width * devicePixelRatio) ?? SIZES[SIZES.length - 1];
}

function newCard(grid) {
  const picture = el("img", { alt: "", draggable: "false", decoding: "async" });
  const words = el("span", { class: "card-words" });
  const link = el("a", { class: "card-link" }, picture, words);
  const check = button(icon("check"), null, { class: "card-check", role: "checkbox", "aria-checked": "false" });
  const badges = el("span", { class: "card-badges" });
  const caption = el("span", { class: "card-caption", "aria-hidden": "true" });
  const card = el("li", { class: "card" }, link, check, badges, caption);
  Object.assign(card, { picture, words, link, check, badges, caption });
  picture.addEventListener("thumbnail-failed", (event) => { words.textContent = shown(event.detail); });
  const choose = (event) => {
    event.preventDefault();
    event.stopPropagation();
    grid.choose(grid.indexOf(card), event.shiftKey);
  };
  check.addEventListener("click", choose);
  link.addEventListener("click", (event) => {
    if (event.shiftKey || event.ctrlKey || event.metaKey) choose(event);
  });
  link.addEventListener("focus", () => { grid.listing().focused = grid.indexOf(card); });
  return card;
}

/** The parameters that tell a card's item, beside the filter it was found with. */
export function itemAddress(card, filters) {
  const params = new URLSearchParams(filters);
  params.set("key", card.key);
  return address("item", params);
}

function fillCard(card, item, grid, index) {
  const { total } = grid.listing();
  card.setAttribute("aria-posinset", String(index + 1));
  card.setAttribute("aria-setsize", String(total));
  card.words.textContent = "";
  card.link.href = itemAddress(item, grid.filters());
  const sure = item.confidence === null ? "" : `, least confidence ${probability(item.confidence)}`;
  const found = item.rules.length ? `, findings ${item.rules.join(", ")}` : "";
  const segments = item.outcome === "rejected" ? "" : `, ${counted(item.segments, "segment")}`; // no table has them
  card.link.setAttribute("aria-label", shown(
    `${named(item.id)}, ${item.model_run}, ${item.date}, ${item.outcome}${segments}${sure}${found}`,
  ));
  card.link.title = shown(item.labels.join(", "));
  card.check.setAttribute("aria-label", shown(`Select ${named(item.id)}`));
  const told = item.rules.filter((rule) => !grid.harmless(rule)); // conversions lose nothing
  fill(
    card.badges, item.outcome !== "published" && el("span", { class: `badge ${outcomeClass(item.outcome)}` }, shown(item.outcome)),
    told.slice(0, 2).map((rule) => el("span", { class: "badge rule" }, shown(rule))),
    told.length > 2 && el("span", { class: "badge rule" }, `+${told.length - 2}`),
  );
  fill(
    card.caption, data(named(item.id), { class: "card-id" }),
    item.confidence !== null && el("span", { class: "card-sure", title: "Least confidence of its segments" }, probability(item.confidence)),
    data(`${item.model_run} · ${item.date}`, { class: "card-run" }),
  );
}

function outcomeClass(outcome) {
  return ["rejected", "ignored", "replaced", "accepted"].includes(outcome) ? outcome : "";
}
