/** Keys: each page names its own, and the help lists them. */

import { el } from "./dom.js";
import { openDialog } from "./notices.js";

const TYPING = "input:not([type=checkbox]):not([type=range]), select, textarea";

export class Keys {
  constructor() {
    /** @type {{keys: string[], words: string, act: (key: string, event: KeyboardEvent) => any}[]} */
    this.bound = [];
    this.general = [{ keys: ["?"], words: "This help", act: () => this.help() }];
    document.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** The keys of a page instead of those of the page before. */
  bind(bound) {
    this.bound = bound;
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]") !== null) return;
    const target = event.target instanceof Element ? event.target : document.body;
    const typing = target.matches(TYPING) || (target.matches("input[type=range]") && event.key.startsWith("Arrow"));
    if (typing && event.key === "Escape") target.blur();
    if (typing) return;
    // A button or a link that has the focus acts itself.
    if (["Enter", " "].includes(event.key) && target.matches("button, a, summary, input")) {
      if (!(event.key === " " && target.matches("a.card-link"))) return;
    }
    for (const { keys, act } of [...this.bound, ...this.general]) {
      if (keys.includes(event.key)) {
        if (act(event.key, event) !== false) event.preventDefault();
        return;
      }
    }
  }

  help() {
    const rows = [...this.bound, ...this.general].map(({ keys, words }) => el(
      "tr", {}, el("th", { scope: "row" }, keyNames(keys)), el("td", {}, words),
    ));
    openDialog("Keys", el("table", { class: "keys" }, el("tbody", {}, ...rows)));
  }
}

const NAMES = {
  " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc",
};

function keyNames(keys) {
  const several = keys.length > 4 ? [keys[0], "–", keys[keys.length - 1]] : keys;
  return several.map((key) => (key === "–" ? key : el("kbd", {}, NAMES[key] ?? key)));
}
