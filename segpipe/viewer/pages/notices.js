/** Dialogs, passing notices, and what is shown where there is nothing to show. */

import { button, el, fill, icon, put } from "./dom.js";
import { address } from "./router.js";
import { counted } from "./words.js";

const LASTS = 6000; // milliseconds

/** A notice at the page's lower edge. @param {any} [action] a button beside the words */
export function notice(words, action = null, lasts = LASTS) {
  const box = el("div", { class: "notice" }, el("span", {}, words), action);
  put(box, button(icon("close"), () => box.remove(), { class: "quiet", "aria-label": "Close this notice" }));
  put(document.getElementById("notices"), box);
  if (lasts > 0) setTimeout(() => box.remove(), lasts);
  return box;
}

/** A dialog over the page; Esc closes it. @returns {HTMLDialogElement} */
export function openDialog(title, ...content) {
  const close = () => dialog.close();
  const dialog = el(
    "dialog", { "aria-labelledby": "dialog-title" },
    el(
      "div", { class: "dialog-head" }, el("h2", { id: "dialog-title" }, title),
      button(icon("close"), close, { class: "quiet", "aria-label": "Close" }),
    ),
    ...content,
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && close());
  put(document.body, dialog);
  dialog.showModal();
  return dialog;
}

/** Copy texts, one a line; where the browser forbids it, show them to be copied. */
export async function copied(texts, what) {
  const text = texts.join("\n");
  try {
    await navigator.clipboard.writeText(text);
    notice(`Copied ${counted(texts.length, what)}.`);
  } catch {
    const area = el("textarea", { rows: 12, readonly: true, "aria-label": "To be copied" });
    area.value = text;
    openDialog(
      "Copy", el("p", {}, `This browser copies only at a secure address. ${counted(texts.length, what)}:`), area,
    );
    area.select();
  }
}

/** What stands where nothing can be shown: what is so, and what to do next. */
export function nothing(title, ...content) {
  return el("div", { class: "nothing" }, el("h2", {}, title), ...content);
}

/**
 * An error in words, with what can be done.
 * @param {Error & {status?: number}} error
 * @param {() => void} again
 */
export function failure(error, again) {
  const box = nothing(
    error.status === 400 ? "This address cannot be read" : "This cannot be shown",
    el("p", { role: "alert" }, error.message),
    el(
      "p", { class: "row" }, button("Try again", again, { class: "primary" }),
      el("a", { class: "button", href: address("gallery") }, "Gallery without a filter"),
    ),
  );
  if (error.status === 401 || error.status === 403) fill(box, tokenForm(error.message));
  return box;
}

/** Asks for the token that `segpipe browse` has printed. */
function tokenForm(words) {
  const token = el("input", { type: "password", id: "token", autocomplete: "off", required: true });
  const form = el(
    "form", { class: "token" }, el("h2", {}, "This page needs its token"),
    el("p", { role: "alert" }, words),
    el("label", { for: "token" }, "The token that segpipe browse has printed"), token,
    el("button", { type: "submit", class: "primary" }, "Open"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.assign(`/?token=${encodeURIComponent(token.value.trim())}`);
  });
  return form;
}
