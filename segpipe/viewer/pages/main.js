/** The application: reads the address, shows the page it tells, keeps what all pages share. */

import { button, data, el, fill, icon, shown } from "./dom.js";
import { filterOf } from "./filters.js";
import { Gallery } from "./gallery.js";
import { Item } from "./item.js";
import { Keys } from "./keys.js";
import { failure, notice } from "./notices.js";
import { Overview } from "./overview.js";
import { Rejects } from "./rejects.js";
import { address, go, isStatic, onPlace, place } from "./router.js";
import { Selection } from "./selection.js";
import { openSource } from "./opening.js";
import { Thumbnails } from "./thumbnails.js";

const PAGES = { gallery: Gallery, item: Item, rejects: Rejects, overview: Overview };
const TITLES = { gallery: "Gallery", item: "Item", rejects: "Rejects", overview: "Overview" };
// Milliseconds between looks at the root: usually, and while its index is being made.
const [USUALLY, SOON] = [20000, 1500];

const content = document.getElementById("content");

const app = {
  source: openSource(),
  keys: new Keys(),
  root: null,
  colours: new Map(),
  selection: null,
  thumbnails: null,
  /** The key for searching, on every page but the gallery. */
  searching: {
    keys: ["/"],
    words: "Search in the gallery",
    act: () => { go("gallery", filterOf(place().params)); document.querySelector(".search")?.focus(); },
  },
  /** The title of the window: what is shown, then where. */
  title(words) {
    document.title = `${words} · ${place().params.get("dataset") ?? app.root?.dataset ?? "segpipe"}`;
  },
};
app.selection = new Selection(app.source);
app.thumbnails = new Thumbnails(app.source);

let page = null;

async function load() {
  try {
    app.root = await app.source.root();
  } catch (error) {
    fill(content, failure(error, load));
    return;
  }
  app.colours = new Map(app.root.labels.map((label) => [label.name, label]));
  app.selection.restore(app.root.root);
  header();
  show();
}

function show() {
  if (app.root === null) return;
  const { page: name, params } = place();
  for (const link of document.querySelectorAll("#top [data-page]")) link.href = address(link.dataset.page);
  const select = document.querySelector("#top select.dataset");
  if (select !== null) select.value = params.get("dataset") ?? app.root.dataset;
  for (const link of document.querySelectorAll("#top nav a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (page instanceof PAGES[name]) {
    if (name !== "item") app.title(TITLES[name]); // an item's is its own
    page.update(params);
    return;
  }
  page?.leave();
  page = new PAGES[name](app, params);
  app.title(TITLES[name]);
  fill(content, page.element);
  page.entered();
}

function header() {
  const { root } = app;
  const link = (name) => el("a", { href: address(name), "data-page": name }, TITLES[name]);
  const pages = ["gallery", "rejects", "overview"].filter((name) => !isStatic || name !== "overview");
  const notes = root.notes ?? [];
  fill(
    document.getElementById("top"),
    el("a", { class: "brand", href: address("gallery"), "data-page": "gallery" }, el("span", { class: "logo", "aria-hidden": "true" }), "segpipe"),
    el("nav", { "aria-label": "Pages" }, pages.map(link)),
    root.datasets.length > 1 ? datasets(root) : data(root.dataset ?? "", { class: "dataset" }),
    el("span", { class: "spring" }),
    notes.length > 0 && button(icon("warn"), () => notes.forEach((note) => notice(shown(note), null, 0)), {
      class: "quiet", "aria-label": `${notes.length} notes on what is left out`, title: notes.map(shown).join("\n"),
    }),
    button(icon("theme"), otherTheme, { class: "quiet", "aria-label": "Dark or light", title: "Dark or light" }),
    button(icon("help"), () => app.keys.help(), { class: "quiet", "aria-label": "Help: the keys", title: "Keys (?)" }),
  );
}

function datasets(root) {
  const select = el(
    "select", { class: "dataset", "aria-label": "Data set" },
    root.datasets.map((name) => el("option", { value: name, selected: name === root.dataset }, shown(name))),
  );
  select.addEventListener("change", () => go("gallery", new URLSearchParams({ dataset: select.value })));
  return select;
}

function otherTheme() {
  const { dataset } = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  dataset.theme = (dataset.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("segpipe-theme", dataset.theme);
  } catch {
    // It lasts as long as the page.
  }
}

let offered = null;
let told = null; // the version that was offered last; a notice that was closed comes with the next
let next = 0;

/** Look at the root now and then: offer what is new, and go on showing an index that is made. */
async function look() {
  clearTimeout(next);
  if (!document.hidden && app.root !== null) {
    try {
      const [now, before] = [await app.source.root(), app.root];
      if (before.whole === false) renew(now);
      else if (now.catalog_version !== before.catalog_version && now.catalog_version !== told) {
        offered?.remove();
        offered = notice("The catalog has changed.", button("Show what is new", () => location.reload()), 0);
        told = now.catalog_version;
      }
    } catch {
      // The page tells of a server that is gone when something is asked of it.
    }
  }
  next = setTimeout(look, app.root?.whole === false ? SOON : USUALLY);
}

/** Show more of a root that is being read. */
function renew(root) {
  app.root = root;
  app.colours = new Map(root.labels.map((label) => [label.name, label]));
  header();
  page?.renew?.();
  show();
}

onPlace(show);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  content.focus();
});
load().then(() => {
  if (isStatic) return;
  next = setTimeout(look, SOON);
  document.addEventListener("visibilitychange", look);
});
