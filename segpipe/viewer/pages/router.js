/** Which page is shown, and its filter: all of it is in the address. */

/** The file holds its data itself: its pages are told by what follows the `#`. */
export const isStatic = document.getElementById("segpipe-data") !== null;

const PAGES = { "/": "gallery", "/item": "item", "/rejects": "rejects", "/overview": "overview" };
const PATHS = Object.fromEntries(Object.entries(PAGES).map(([path, page]) => [page, path]));

/**
 * What the address says.
 * @returns {{page: string, params: URLSearchParams}}
 */
export function place() {
  const whole = isStatic ? location.hash.slice(1) || "/" : location.pathname + location.search;
  const mark = whole.indexOf("?");
  const path = mark < 0 ? whole : whole.slice(0, mark);
  const params = new URLSearchParams(mark < 0 ? "" : whole.slice(mark + 1));
  params.delete("token");
  return { page: PAGES[path] ?? "gallery", params };
}

/**
 * The address of a page. It stays with the data set that is looked at, where it names no other.
 * @param {string} page @param {URLSearchParams} [params]
 */
export function address(page, given = new URLSearchParams()) {
  const params = new URLSearchParams(given);
  const dataset = place().params.get("dataset");
  if (dataset !== null && !params.has("dataset")) params.set("dataset", dataset);
  // What may stand in a query as it is stays readable.
  const query = params.toString().replaceAll("%3A", ":").replaceAll("%2F", "/");
  return (isStatic ? "#" : "") + PATHS[page] + (query ? `?${query}` : "");
}

/** Go to a page. @param {boolean} [instead] of the present one, which `back` then passes over */
export function go(page, params, instead = false) {
  history[instead ? "replaceState" : "pushState"](null, "", address(page, params));
  window.dispatchEvent(new Event("segpipe-place"));
}

/** Call a function whenever the address tells another place. @param {() => void} show */
export function onPlace(show) {
  window.addEventListener("segpipe-place", show);
  window.addEventListener("popstate", show);
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (link === null || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const to = link.getAttribute("href");
    if (!to.startsWith(isStatic ? "#/" : "/")) return;
    event.preventDefault();
    history.pushState(null, "", to);
    show();
  });
}
