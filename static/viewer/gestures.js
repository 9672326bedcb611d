// Wheel, pointer and keys, turned into what they mean. Knows nothing of pictures.

const WHEEL_STEP = 60; // pixels of wheel travel for one image: a notch of a mouse is about 100, a touchpad sends many small ones
const DRAG_STEP = 10; // pixels of dragging for one image

/** Calls `actions.step(count)` as the wheel turns over the pane. */
export function onWheel(pane, actions) {
  let travel = 0;
  pane.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey || pane.classList.contains("pane-actual")) return;
      event.preventDefault();
      const pixels = event.deltaMode === 0 ? event.deltaY : event.deltaY * 40;
      if (Math.sign(pixels) !== Math.sign(travel)) travel = 0;
      travel += pixels;
      const steps = Math.abs(pixels) >= WHEEL_STEP ? Math.sign(pixels) : Math.trunc(travel / WHEEL_STEP);
      if (steps !== 0) {
        travel = 0;
        actions.step(steps);
      }
    },
    { passive: false },
  );
}

/** Right or Shift drag: window. Any other drag: through the images when fitted, the film itself at 1:1. */
export function onDrag(pane, actions) {
  let drag = null;
  pane.addEventListener("contextmenu", (event) => event.preventDefault());
  pane.addEventListener("pointerdown", (event) => {
    if (event.target.closest("a")) return;
    const windowing = event.button === 2 || (event.button === 0 && event.shiftKey);
    const actual = pane.classList.contains("pane-actual");
    if (!windowing && (event.button !== 0 || (actual && event.pointerType === "touch"))) return;
    if (event.pointerType === "mouse") event.preventDefault();
    const kind = windowing ? "window" : actual ? "pan" : "step";
    drag = { kind, id: event.pointerId, x: event.clientX, y: event.clientY, start: actions.windowStart() };
    drag.left = pane.scrollLeft;
    drag.top = pane.scrollTop;
    pane.setPointerCapture(event.pointerId);
  });
  pane.addEventListener("pointermove", (event) => {
    if (drag === null || event.pointerId !== drag.id) return;
    const dx = event.clientX - drag.x;
    const dy = event.clientY - drag.y;
    if (drag.kind === "window") {
      actions.window(drag.start, dx, dy);
    } else if (drag.kind === "pan") {
      pane.scrollTo(drag.left - dx, drag.top - dy);
    } else if (Math.abs(dy) >= DRAG_STEP) {
      const steps = Math.trunc(dy / DRAG_STEP);
      drag.y += steps * DRAG_STEP;
      actions.step(steps);
    }
  });
  const end = (event) => {
    if (drag !== null && event.pointerId === drag.id) {
      drag = null;
      actions.settled();
    }
  };
  pane.addEventListener("pointerup", end);
  pane.addEventListener("pointercancel", end);
}

/** Keys, wherever the focus is, except where it types. */
export function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, textarea")) return;
    const action = {
      ArrowUp: () => actions.step(-1),
      ArrowLeft: () => actions.step(-1),
      ArrowDown: () => actions.step(1),
      ArrowRight: () => actions.step(1),
      PageUp: () => actions.leap(-1),
      PageDown: () => actions.leap(1),
      Home: () => actions.first(),
      End: () => actions.last(),
      i: () => actions.invert(),
      f: () => actions.zoom(),
      r: () => actions.reset(),
      Escape: () => actions.close(),
    }[event.key];
    if (action !== undefined) {
      event.preventDefault();
      action();
    } else if (event.key === " " && !event.target.closest("button, a, summary")) {
      event.preventDefault();
      actions.play();
    } else if (/^[1-9]$/.test(event.key)) {
      actions.preset(event.key);
    }
  });
}
