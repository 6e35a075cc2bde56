// Runs before anything is drawn, so that a page does not flash in the other theme.
"use strict";
(() => {
  let kept = null;
  try {
    kept = localStorage.getItem("segpipe-theme");
  } catch {
    // Storage is forbidden here: the system's theme it is.
  }
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
})();
