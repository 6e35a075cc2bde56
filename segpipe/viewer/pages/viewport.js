/** One zoom for all panes of an item: where its middle is, and how large a pixel is shown. */

const LARGEST = 64; // screen pixels for one of the mask

export class Viewport {
  /** @param {() => void} changed called when the panes are to be drawn again */
  constructor(changed) {
    this.changed = changed;
    this.fit();
  }

  /** The whole picture. */
  fit() {
    this.zoom = 1; // to the size at which the whole picture is seen
    [this.u, this.v] = [0.5, 0.5]; // of the picture, in the middle of the pane
    this.changed();
  }

  /** One pixel of the picture as one of the screen, in a pane. */
  exact(pane) {
    this.zoom = 1 / (devicePixelRatio * this.fitting(pane));
    this.changed();
  }

  /** CSS pixels for a pixel of the picture, when the whole of it is seen. */
  fitting({ width, height, canvas }) {
    return Math.min(canvas.clientWidth / width, canvas.clientHeight / height) || 1;
  }

  /** How a pane draws: CSS pixels for a pixel, and where the picture's corner is. */
  in(pane) {
    const scale = this.fitting(pane) * this.zoom;
    const x = pane.canvas.clientWidth / 2 - this.u * pane.width * scale;
    const y = pane.canvas.clientHeight / 2 - this.v * pane.height * scale;
    return { scale, x, y };
  }

  /** The point of the picture under a point of the pane, in pixels of the picture. */
  at(pane, left, top) {
    const { scale, x, y } = this.in(pane);
    return [(left - x) / scale, (top - y) / scale];
  }

  /** Zoom so that what is under a point stays there; the middle where none is given. */
  by(factor, pane, left = pane.canvas.clientWidth / 2, top = pane.canvas.clientHeight / 2) {
    const [px, py] = this.at(pane, left, top);
    const largest = Math.max(1, LARGEST / (devicePixelRatio * this.fitting(pane)));
    this.zoom = Math.min(largest, Math.max(1, this.zoom * factor));
    const { scale } = this.in(pane);
    this.u = (px + (pane.canvas.clientWidth / 2 - left) / scale) / pane.width;
    this.v = (py + (pane.canvas.clientHeight / 2 - top) / scale) / pane.height;
    this.hold();
  }

  /** Move the picture by CSS pixels. */
  pan(dx, dy, pane) {
    const { scale } = this.in(pane);
    this.u -= dx / (pane.width * scale);
    this.v -= dy / (pane.height * scale);
    this.hold();
  }

  hold() {
    this.u = Math.min(1, Math.max(0, this.u));
    this.v = Math.min(1, Math.max(0, this.v));
    if (this.zoom === 1) [this.u, this.v] = [0.5, 0.5];
    this.changed();
  }
}

/**
 * Wheel, drag, two fingers and double click on a pane.
 * @param {any} pane @param {Viewport} view
 * @param {(left: number, top: number) => void} hovered
 * @param {() => void} left
 */
export function gestures(pane, view, hovered, left) {
  const { canvas } = pane;
  const fingers = new Map();
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const step = event.deltaMode === 1 ? 20 : 1;
    view.by(Math.exp(-event.deltaY * step * 0.0018), pane, ...place(event));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => {
    if (view.zoom > 1.01) view.fit();
    else view.by(4, pane, ...place(event));
  });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    hovered(...place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = fingers.get(event.pointerId);
    if (before === undefined) {
      hovered(...now);
      return;
    }
    const others = [...fingers].filter(([id]) => id !== event.pointerId);
    fingers.set(event.pointerId, now);
    if (others.length === 1) {
      const [, other] = others[0];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      view.by(apart(now) / Math.max(1, apart(before)), pane, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else view.pan(now[0] - before[0], now[1] - before[1], pane);
    hovered(...now);
  });
  const lifted = (event) => fingers.delete(event.pointerId);
  canvas.addEventListener("pointerup", lifted);
  canvas.addEventListener("pointercancel", lifted);
  canvas.addEventListener("pointerleave", left);
}
