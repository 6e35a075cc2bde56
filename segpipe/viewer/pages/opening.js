/** Where this page's data are: in the file itself, or with the server it came from. */

import { Embedded } from "./embedded.js";
import { Server } from "./source.js";

/** @returns {Server|Embedded} */
export function openSource() {
  const held = document.getElementById("segpipe-data");
  return held === null ? new Server() : new Embedded(JSON.parse(held.textContent));
}
