/** The gallery: filters, chips, the grid, the selection. */

import { button, data, el, fill, icon, shown } from "./dom.js";
import { changed, described, filterOf, toggled, without } from "./filters.js";
import { FilterPanel } from "./filter_panel.js";
import { Grid } from "./grid.js";
import { Listing, MOST } from "./listing.js";
import { failure, nothing, notice } from "./notices.js";
import { address, go, isStatic } from "./router.js";
import { selectionBar } from "./selection.js";
import { isAbort } from "./source.js";
import { SORTS, count, counted } from "./words.js";

const TYPED = 250; // milliseconds after the last letter
const SIZES = [["Small", 150], ["Medium", 220], ["Large", 330]];
const KEPT_SIZE = "segpipe-card-size";

/** The lists of this tab, by filter: going back shows them as they were. */
const listings = new Map();

export class Gallery {
  /** @param {any} app @param {URLSearchParams} params */
  constructor(app, params) {
    this.app = app;
    this.params = filterOf(params);
    this.counting = new AbortController();
    this.panel = this.newPanel();
    this.grid = new Grid({
      listing: () => this.listing, selection: app.selection, thumbnails: app.thumbnails,
      filters: () => this.params,
      harmless: (rule) => app.root.rules.some(({ id, severity }) => id === rule && severity === "convert"),
    });
    this.search = el("input", {
      type: "search", placeholder: "Search reference ids", "aria-label": "Search reference ids", class: "search",
      oninput: () => this.typed(),
    });
    this.sort = el(
      "select", { "aria-label": "Sorted by", onchange: () => this.go(changed(this.params, "sort", this.sort.value)) },
      SORTS.filter(([value]) => !isStatic || value !== "largest-change").map(([value, words]) => el("option", { value }, words)),
    );
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Filters that apply" });
    this.told = el("p", { class: "found", role: "status" });
    this.state = el("div", { class: "state" });
    this.bar = selectionBar(app.selection);
    // On narrow screens the filters are a drawer over the list.
    const shut = button(icon("close"), () => this.openDrawer(false), { class: "quiet", "aria-label": "Close the filters" });
    this.drawer = el("aside", { class: "sidebar", id: "filters" }, el("div", { class: "drawer-head" }, el("strong", {}, "Filters"), shut), this.panel.element);
    const open = button([icon("filter"), "Filters"], () => this.openDrawer(true), { class: "drawer-button", "aria-expanded": "false", "aria-controls": "filters" });
    this.drawerButtons = { open, shut };
    const scrim = el("div", { class: "scrim", onclick: () => this.openDrawer(false) });
    this.narrow = matchMedia("(max-width: 900px)"); // as in gallery.css
    this.widened = () => { if (!this.narrow.matches) this.closeDrawer(); };
    this.results = el(
      "section", { class: "results", "aria-label": "Results" },
      el("div", { class: "toolbar" }, open, this.search, this.sizes(), this.sort),
      el("div", { class: "under" }, this.told, this.chips), this.state, this.grid.scroller, this.bar.bar,
    );
    this.element = el("div", { class: "gallery" }, el("h1", { class: "unseen" }, "Gallery"), this.drawer, scrim, this.results);
  }

  /** Once the element is in the page. */
  entered() {
    this.app.keys.bind(this.keys());
    this.narrow.addEventListener("change", this.widened);
    this.load();
    if (this.listing.items.length > 0 && this.listing.focused > 0) this.grid.focus(this.listing.focused);
  }

  leave() {
    clearTimeout(this.timer);
    this.narrow.removeEventListener("change", this.widened);
    this.listing.leave();
    this.counting.abort();
    this.grid.leave();
    this.bar.leave();
  }

  /** The address tells another filter. */
  update(params) {
    const next = filterOf(params);
    if (next.toString() === this.params.toString()) return;
    const other = next.get("dataset") !== this.params.get("dataset");
    this.params = next;
    if (other) this.replacePanel();
    this.load();
  }

  /** There is more in the root than before. */
  renew() {
    this.replacePanel();
    listings.clear();
    if (this.listing.scrollTop === 0) this.load(); // what somebody looks at does not move
    else {
      this.panel.update();
      this.count();
    }
  }

  /** The model runs of the data set that is shown. */
  get runs() {
    const { root } = this.app;
    const shownOne = this.params.get("dataset") ?? root.dataset;
    return root.model_runs.filter(({ dataset }) => dataset === shownOne);
  }

  openDrawer(on) {
    this.drawer.classList.toggle("open", on);
    this.results.inert = on; // what the drawer lies over takes neither focus nor keys
    const { open, shut } = this.drawerButtons;
    open.setAttribute("aria-expanded", String(on));
    (on ? shut : open).focus();
  }

  /** Close the drawer where it is open. @returns {boolean} whether it was */
  closeDrawer() {
    const was = this.drawer.classList.contains("open");
    if (was) this.openDrawer(false);
    return was;
  }

  escape() {
    if (!this.closeDrawer()) this.app.selection.clear();
  }

  newPanel() {
    const known = { ...this.app.root, model_runs: this.runs };
    return new FilterPanel(known, () => this.params, (next) => this.go(next));
  }

  replacePanel() {
    const before = this.panel.element;
    this.panel = this.newPanel();
    before.replaceWith(this.panel.element);
  }

  go(params, instead = false) {
    go("gallery", params, instead);
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.go(changed(this.params, "text", this.search.value), true), TYPED);
  }

  load() {
    this.listing?.leave();
    const name = this.params.toString();
    this.listing = listings.get(name) ?? new Listing(this.app.source, this.params, () => {});
    this.listing.told = () => this.show();
    listings.delete(name);
    listings.set(name, this.listing);
    if (listings.size > 8) listings.delete(listings.keys().next().value);
    if (this.search !== document.activeElement) this.search.value = this.params.get("text") ?? "";
    this.sort.value = this.params.get("sort") ?? "id";
    if (this.sort.selectedIndex < 0) this.sort.value = "id";
    this.panel.update();
    this.showChips();
    this.grid.reset();
    this.show();
    this.listing.again();
    this.count();
  }

  async count() {
    this.counting.abort();
    this.counting = new AbortController();
    try {
      this.panel.counted(await this.app.source.counts(this.params, this.counting.signal));
    } catch (error) {
      if (!isAbort(error) && this.listing.error === null && error.status !== 0) notice(`No counts: ${error.message}`);
    }
  }

  showChips() {
    const chips = described(this.params).map(({ name, value, words }) => button(
      [el("bdi", {}, shown(words)), icon("close")], () => this.go(without(this.params, name, value)),
      { class: "chip", "aria-label": shown(`Remove the filter: ${words}`) },
    ));
    const clear = () => this.go(changed(new URLSearchParams(), "sort", this.params.get("sort") ?? ""));
    fill(this.chips, chips, chips.length > 1 && button("Clear all", clear, { class: "quiet" }));
  }

  show() {
    const { total, items, error, notes } = this.listing;
    fill(this.state);
    this.grid.scroller.hidden = error !== null || total === 0;
    if (error !== null) {
      this.told.textContent = "";
      fill(this.state, failure(error, () => { this.listing.again(); this.show(); }));
      return;
    }
    fill(this.told, total === null ? "Loading…" : counted(total, "prediction"));
    const cut = items.length >= MOST && total > MOST ? [`The first ${count(MOST)} are shown: narrow the filter.`] : [];
    for (const note of [...notes, ...cut]) this.told.append(el("span", { class: "note" }, shown(note)));
    if (total === 0) fill(this.state, this.empty());
    this.grid.scroller.setAttribute("aria-busy", String(total === null));
    this.grid.show();
  }

  empty() {
    const { root } = this.app;
    if (root.model_runs.length === 0) {
      return nothing(
        "Nothing is here yet", el("p", {}, "No model run has delivered into this root. Try one of:"),
        el("pre", {}, `segpipe import --guess FOLDER\nsegpipe demo --root NEW-FOLDER\nsegpipe run --root ROOT --all`),
        el("p", {}, "This page shows what arrives: load it again then."),
      );
    }
    if (!root.datasets.includes(this.params.get("dataset") ?? root.dataset) && this.params.has("dataset")) {
      return nothing(
        "There is no such data set",
        el("p", {}, "This root has nothing of ", data(this.params.get("dataset")), "."),
        el("p", { class: "row" }, button("Show what there is", () => this.go(new URLSearchParams({ dataset: root.dataset })), { class: "primary" })),
      );
    }
    if (described(this.params).length > 0) {
      return nothing(
        "No prediction passes all of these filters",
        el("p", {}, "Remove one of the chips above, or all of them."),
        el("p", { class: "row" }, button("Clear all filters", () => this.go(new URLSearchParams()), { class: "primary" })),
      );
    }
    const of = (name) => this.runs.reduce((sum, run) => sum + (run[name] ?? 0), 0);
    const offered = [["accepted", of("validated")], ["rejected", of("rejected")]].filter(([, number]) => number > 0);
    return nothing(
      "Nothing is published yet",
      el("p", {}, "Predictions are validated and published with ", el("code", {}, "segpipe run --root ROOT --all"), "."),
      el("p", { class: "row" }, offered.map(([outcome, number]) => el(
        "a", { class: "button", href: address("gallery", new URLSearchParams({ outcome })) }, `Show ${count(number)} ${outcome}`,
      ))),
    );
  }

  sizes() {
    let kept = 220;
    try {
      kept = Number(localStorage.getItem(KEPT_SIZE)) || kept;
    } catch {
      // Medium, then.
    }
    this.grid.wished = kept;
    const choose = (event) => {
      this.grid.resize(Number(event.target.value));
      try {
        localStorage.setItem(KEPT_SIZE, event.target.value);
      } catch {
        // It lasts as long as the page.
      }
    };
    const select = el(
      "select", { class: "sizes", "aria-label": "Size of the pictures", onchange: choose },
      SIZES.map(([words, value]) => el("option", { value }, words)),
    );
    select.value = String(kept);
    return select;
  }

  keys() {
    const { grid } = this;
    const steps = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -grid.columns, ArrowDown: () => grid.columns };
    return [
      { keys: Object.keys(steps), words: "From picture to picture", act: (key) => grid.move(steps[key]()) },
      { keys: ["Enter"], words: "Open the picture", act: () => false },
      { keys: [" "], words: "Select it, or not any more", act: (_, event) => grid.choose(grid.focused, event.shiftKey) },
      { keys: [..."123456789"], words: "Only with the label of that number, or not any more", act: (key) => this.panel.toggleLabel(key - 1) },
      { keys: ["a"], words: "Select all that are loaded", act: () => this.app.selection.set(this.listing.items, true) },
      { keys: ["/"], words: "Search reference ids", act: () => { this.closeDrawer(); this.search.focus(); } },
      { keys: ["Escape"], words: "Clear the selection", act: () => this.escape() },
      { keys: ["r"], words: "Rejected ones, or not any more", act: () => this.go(toggled(this.params, "outcome", "rejected")) },
    ];
  }
}
