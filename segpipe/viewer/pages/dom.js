/**
 * Elements made by calls. Text is only ever set as text: nothing that comes from data is parsed as
 * HTML, and there is no function here that could.
 */

const SVG = "http://www.w3.org/2000/svg";
const HEX = /^#[0-9a-f]{6}$/i;
// Control characters, zero-width ones, and those that turn the direction of what follows.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * @param {Element} element
 * @param {Record<string, any>} properties attributes; `onNAME` listeners; `style` as an object
 * @param {any[]} children nodes and texts; null, undefined and false are left out
 */
function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") {
      for (const [property, set] of Object.entries(value)) element.style.setProperty(property, set);
    } else element.setAttribute(name, value === true ? "" : String(value));
  }
  put(element, ...children);
  return element;
}

/** An HTML element. @returns {any} */
export function el(tag, properties, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** An SVG element. @returns {any} */
export function svg(tag, properties, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

/** Append nodes and texts; null, undefined and false are left out. */
export function put(element, ...children) {
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  return put(element, ...children);
}

/** A button. `label` names it where its content is a sign. */
export function button(content, onclick, properties = {}) {
  return el("button", { type: "button", onclick, ...properties }, content);
}

/** Text of data for showing: what cannot be seen is written out. @param {any} text */
export function shown(text) {
  return String(text).replace(UNSEEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A text of data, whose direction does not leak into what is beside it. */
export function data(text, properties = {}) {
  return el("bdi", { title: shown(text), ...properties }, shown(text));
}

/** A colour of data; grey where it is none. @param {any} colour */
export function colourOf(colour) {
  return typeof colour === "string" && HEX.test(colour) ? colour : "#888888";
}

/** A small patch of a label's colour. */
export function swatch(colour, plain = false) {
  const style = { "--swatch": colourOf(colour) };
  return el("span", { class: plain ? "swatch plain" : "swatch", style, "aria-hidden": "true" });
}

const ICONS = {
  back: "M15 5l-7 7 7 7",
  check: "M5 12.5l4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h10v10H9zM15 9V5H5v10h4",
  down: "M6 9l6 6 6-6",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9a3 3 0 1 0 .01 0",
  filter: "M4 6h16M7 12h10M10 18h4",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  help: "M9 9a3 3 0 1 1 4.2 2.7c-.8.4-1.2 1-1.2 2.1M12 17.5v.5",
  left: "M15 5l-7 7 7 7",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7L12 7M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7L12 17",
  minus: "M5 12h14",
  plus: "M12 5v14M5 12h14",
  right: "M9 5l7 7-7 7",
  search: "M10.5 4a6.5 6.5 0 1 0 .01 0M15.5 15.5L20 20",
  theme: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  warn: "M12 4l9 16H3zM12 10v4M12 17v.5",
};

/** A drawn sign; the words are beside it or in the button's name. @param {keyof ICONS} name */
export function icon(name) {
  const properties = { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" };
  return svg("svg", properties, svg("path", { d: ICONS[name] }));
}
