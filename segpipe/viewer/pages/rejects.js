/** What was rejected, by rule: why, what to do, and which items. */

import { button, data, el, fill, icon, shown } from "./dom.js";
import { described } from "./filters.js";
import { itemAddress, sizeFor } from "./grid.js";
import { copied, failure, nothing, notice } from "./notices.js";
import { address } from "./router.js";
import { isAbort } from "./source.js";
import { count, counted, named } from "./words.js";

const WIDTH = 200; // of a card in CSS pixels, about
const AT_ONCE = 500;
const MOST_IDS = 100000;

export class Rejects {
  /** @param {any} app @param {URLSearchParams} params */
  constructor(app, params) {
    this.app = app;
    this.params = params;
    this.abort = new AbortController();
    this.element = el("div", { class: "board rejects" });
  }

  entered() {
    this.app.keys.bind([this.app.searching]);
    this.load();
  }

  leave() {
    this.abort.abort();
    this.app.thumbnails.leave();
  }

  update(params) {
    if (params.toString() === this.params.toString()) return;
    this.params = params;
    this.load();
  }

  /** There is more in the root than before. */
  renew() {
    this.load();
  }

  async load() {
    this.abort.abort();
    this.abort = new AbortController();
    fill(this.element, el("h1", {}, "Rejects"), el("p", { class: "hint", role: "status" }, "Loading…"));
    try {
      this.show((await this.app.source.rejects(this.params, this.abort.signal)).rules);
    } catch (error) {
      if (!isAbort(error)) fill(this.element, el("h1", {}, "Rejects"), failure(error, () => this.load()));
    }
  }

  show(rules) {
    if (rules.length === 0) {
      const chosen = described(this.params).length > 0; // more than a data set
      fill(this.element, el("h1", {}, "Rejects"), nothing(
        "Nothing was rejected", el("p", {}, chosen ? "At least not in this selection of runs and days." : "Every row that was validated was accepted."),
        el("p", { class: "row" }, chosen && el("a", { class: "button", href: address("rejects") }, "All rejects"), el("a", { class: "button", href: address("gallery") }, "Gallery")),
      ));
      return;
    }
    const anchor = ({ rule }) => button([shown(rule), el("span", { class: "count" }, count(this.number(rules, rule)))], () => {
      this.element.querySelector(`[data-rule="${CSS.escape(rule)}"]`).scrollIntoView();
    }, { class: "chip" });
    fill(
      this.element, el("h1", {}, "Rejects"),
      el("p", { class: "lead" }, "What did not pass, by the rule that rejected it. The other rows of the same manifests went through."),
      el("div", { class: "chips", role: "group", "aria-label": "Rules" }, rules.map(anchor)),
      rules.map((rule) => this.section(rule)),
    );
  }

  number(rules, name) {
    return rules.find(({ rule }) => rule === name).count;
  }

  /** The filter that leaves a rule's rejected items. */
  filter(rule) {
    const params = new URLSearchParams(this.params);
    params.set("outcome", "rejected");
    params.set("rule", rule);
    return params;
  }

  section(rule) {
    const filters = this.filter(rule.rule);
    const rest = rule.count - rule.items.length;
    return el(
      "section", { class: "rule-section", "data-rule": rule.rule, "aria-label": shown(rule.rule) },
      el("div", { class: "rule-head" }, el("h2", {}, shown(rule.rule)), el("span", { class: "badge rejected" }, counted(rule.count, "row")), el("span", { class: "spring" }),
        button([icon("copy"), "Copy reference ids"], () => this.copy(filters)),
        el("a", { class: "button", href: address("gallery", filters) }, "Show in the gallery")),
      el("p", {}, shown(rule.meaning)), rule.remedy && el("p", { class: "remedy" }, shown(rule.remedy)),
      el("ul", { class: "strip" }, rule.items.map((item) => this.card(item, filters))),
      rest > 0 && el("p", { class: "hint" }, `and ${counted(rest, "more", "more")}, in the gallery`),
    );
  }

  card(item, filters) {
    const picture = el("img", { alt: "" });
    const words = el("span", { class: "card-words" });
    picture.addEventListener("thumbnail-failed", (event) => { words.textContent = shown(event.detail); });
    this.app.thumbnails.show(picture, item, sizeFor(WIDTH));
    return el("li", {}, el(
      "a", { class: "strip-card", href: itemAddress(item, filters) }, el("span", { class: "strip-picture" }, picture, words), data(named(item.id), { class: "card-id" }),
      data(`${item.model_run} · ${item.date}`, { class: "card-run" }),
    ));
  }

  /** Copy the ids of all items a filter leaves, page by page. */
  async copy(filters) {
    const ids = new Set();
    let after = null;
    try {
      do {
        const page = await this.app.source.items(filters, after, AT_ONCE, this.abort.signal);
        page.items.forEach(({ id }) => ids.add(id));
        after = page.next;
      } while (after && ids.size < MOST_IDS);
    } catch (error) {
      if (!isAbort(error)) notice(`Nothing was copied: ${error.message}`);
      return;
    }
    await copied([...ids], "reference id");
    if (after) notice(`There are more: only the first ${count(MOST_IDS)} were copied.`);
  }
}
