/** The selected predictions: kept while the tab is open, and told to the server as they change. */

import { button, el, icon, put } from "./dom.js";
import { copied, notice, openDialog } from "./notices.js";
import { counted } from "./words.js";

const KEPT_AS = "segpipe-selection";
/** The name under which `segpipe.browse(...).selected` reads it. */
const NAME = "selected";
const SETTLED = 300; // milliseconds

export class Selection extends EventTarget {
  /** @param {import("./source.js").Server} source */
  constructor(source) {
    super();
    this.source = source;
    this.chosen = new Map(); // key -> {id, model_run, date}
    this.timer = 0;
    this.keptAs = null;
  }

  /** Take up what was selected in this tab before. @param {string} root whose it was */
  restore(root) {
    this.keptAs = `${KEPT_AS} ${root}`;
    try {
      this.chosen = new Map(JSON.parse(sessionStorage.getItem(this.keptAs) ?? "[]"));
    } catch {
      // Nothing was kept, or nothing may be.
    }
  }

  get size() {
    return this.chosen.size;
  }

  has(key) {
    return this.chosen.has(key);
  }

  /** Add or remove cards. @param {any[]} cards @param {boolean} on */
  set(cards, on) {
    for (const card of cards) {
      if (on) this.chosen.set(card.key, { id: card.id, model_run: card.model_run, date: card.date });
      else this.chosen.delete(card.key);
    }
    this.tell();
  }

  clear() {
    this.chosen.clear();
    this.tell();
  }

  /** Reference ids, each once, in the order of selection. */
  get ids() {
    return [...new Set([...this.chosen.values()].map((one) => one.id))];
  }

  tell() {
    try {
      sessionStorage.setItem(this.keptAs, JSON.stringify([...this.chosen]));
    } catch {
      // It lasts as long as the page, then.
    }
    this.dispatchEvent(new Event("change"));
    if (!this.source.keeps) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(NAME).catch((error) => notice(error.message)), SETTLED);
  }

  save(name) {
    return this.source.saveSelection(name, [...this.chosen.keys()]);
  }
}

/** The bar that tells what is selected and what can be done with it. @param {Selection} selection */
export function selectionBar(selection) {
  const words = el("strong", { "aria-live": "polite" });
  const bar = el(
    "div", { class: "selection-bar", role: "region", "aria-label": "Selection" }, words,
    button([icon("copy"), "Copy reference ids"], () => copied(selection.ids, "reference id")),
    selection.source.keeps && button("Save as…", () => saveAs(selection)),
    button([icon("close"), "Clear"], () => selection.clear(), { class: "quiet" }),
  );
  const show = () => {
    bar.hidden = selection.size === 0;
    words.textContent = `${counted(selection.size, "item")} selected`;
  };
  selection.addEventListener("change", show);
  show();
  return { bar, leave: () => selection.removeEventListener("change", show) };
}

function saveAs(selection) {
  const name = el("input", { type: "text", id: "selection-name", required: true, maxlength: 80, autocomplete: "off" });
  const told = el("p", { class: "told", role: "status" });
  const form = el(
    "form", { method: "dialog" },
    el("label", { for: "selection-name" }, "Name of the selection"), name, told,
    el("p", { class: "row" }, el("button", { type: "submit", class: "primary" }, "Save")),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const kept = await selection.save(name.value.trim());
      told.textContent = "";
      put(
        told, `Kept ${counted(kept.count, "item")} as “${kept.name}”. The gallery shows it with `,
        el("code", {}, `?ids=${kept.name}`),
        "; Copy reference ids gives a list for segpipe export --ids or unpublish --ids.",
      );
    } catch (error) {
      told.textContent = error.message;
    }
  });
  openDialog("Save the selection", form);
  name.focus();
}
