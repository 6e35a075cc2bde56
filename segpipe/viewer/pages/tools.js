/** The tools above an item's pictures: zoom, opacity, fill or outline, runs, difference. */

import { button, data, el, fill, icon, shown } from "./dom.js";

const KEPT = "segpipe-layers";
const MODES = [["fill", "Fill"], ["outline", "Outline"], ["both", "Both"]];

/** How layers were shown last. @returns {{opacity: number, mode: string, mask: boolean, image: boolean}} */
export function keptSettings() {
  const usual = { opacity: 0.55, mode: "both", mask: true, image: true };
  try {
    const { opacity, mode } = { ...usual, ...JSON.parse(localStorage.getItem(KEPT) ?? "{}") };
    return { ...usual, opacity: Number(opacity), mode: MODES.some(([name]) => name === mode) ? mode : "both" };
  } catch {
    return usual;
  }
}

export class Tools {
  /** @param {any} item the page */
  constructor(item) {
    this.item = item;
    const { settings, view } = item;
    const first = () => item.panes[0];
    this.level = el("output", { class: "zoom", "aria-label": "Zoom" });
    this.opacity = el("input", {
      type: "range", min: 0, max: 100, step: 5, id: "opacity", value: settings.opacity * 100,
      oninput: () => { settings.opacity = this.opacity.value / 100; this.keep(); item.redraw(); },
    });
    this.modes = el("div", { class: "segmented", role: "group", "aria-label": "How segments are drawn" }, MODES.map(([mode, words]) => button(
      words, () => this.mode(mode), { "data-mode": mode },
    )));
    this.flips = ["mask", "image"].map((name) => button(
      [icon("eye"), name === "mask" ? "Mask" : "Image"], () => this.flip(name), { "data-flip": name, class: "flip" },
    ));
    this.runs = el("div", { class: "runs", role: "group", "aria-label": "Predictions that are shown" });
    this.against = el("select", { id: "against", onchange: () => item.compare(this.against.value || null) });
    this.comparing = el("span", { class: "tool" }, el("label", { for: "against" }, "Difference to"), this.against);
    this.element = el(
      "div", { class: "tools", role: "toolbar", "aria-label": "Picture" },
      el(
        "span", { class: "tool" }, button(icon("minus"), () => view.by(1 / 1.5, first()), { class: "quiet", "aria-label": "Smaller" }), this.level,
        button(icon("plus"), () => view.by(1.5, first()), { class: "quiet", "aria-label": "Larger" }),
        button("Fit", () => view.fit(), { class: "quiet" }), button("1:1", () => view.exact(first()), { class: "quiet", "aria-label": "1:1, a pixel for a pixel" }),
      ),
      el("span", { class: "tool" }, this.flips),
      el("span", { class: "tool" }, el("label", { for: "opacity" }, "Opacity"), this.opacity), this.modes, this.comparing, this.runs,
    );
    this.marked();
  }

  /** Show what there is to choose among. */
  show() {
    const { item } = this;
    if (!item.all) return;
    const several = item.all.length > 1;
    this.runs.hidden = !several;
    this.comparing.hidden = !several;
    const named = ({ prediction }) => `${item.named(prediction)} ${prediction.date}`;
    fill(this.runs, several && item.all.map((pane) => button(
      data(item.named(pane.prediction)), () => item.togglePane(pane), { "aria-pressed": String(item.panes.includes(pane)), title: shown(named(pane)) },
    )));
    fill(
      this.against, el("option", { value: "" }, "nothing"),
      item.panes.map((pane) => el("option", { value: pane.prediction.key }, shown(named(pane)))),
    );
    this.against.value = item.base ?? "";
  }

  zoomed() {
    const [pane] = this.item.panes;
    if (pane === undefined) return;
    this.level.textContent = `${Math.round(this.item.view.in(pane).scale * devicePixelRatio * 100)} %`;
  }

  mode(mode) {
    this.item.settings.mode = mode;
    this.keep();
    this.marked();
    this.item.redraw();
  }

  nextMode() {
    const at = MODES.findIndex(([mode]) => mode === this.item.settings.mode);
    this.mode(MODES[(at + 1) % MODES.length][0]);
  }

  flip(name) {
    this.item.settings[name] = !this.item.settings[name];
    this.marked();
    this.item.redraw();
  }

  marked() {
    const { settings } = this.item;
    for (const one of this.modes.children) one.setAttribute("aria-pressed", String(one.dataset.mode === settings.mode));
    for (const one of this.flips) one.setAttribute("aria-pressed", String(settings[one.dataset.flip]));
  }

  keep() {
    const { opacity, mode } = this.item.settings;
    try {
      localStorage.setItem(KEPT, JSON.stringify({ opacity, mode }));
    } catch {
      // It lasts as long as the page.
    }
  }
}
