// The viewer with a script: the same addresses as without one, reached by wheel, keys and dragging.
//
// The page is complete as it came. This takes what it needs from its data attributes, keeps one view (see
// address.js), and after each change shows the picture, the words around it and the address that belong to it.

import { fittingSide, filled, pageAddress, pictureAddress, tidy, viewOf } from "./address.js";
import { Film } from "./film.js";
import { onDrag, onKeys, onWheel } from "./gestures.js";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

closeMenusOutside();
rememberStrip();
const main = one("main[data-stack]");
if (main !== null) start(main);

async function start(main) {
  const data = main.dataset;
  const pane = one("[data-pane]", main);
  const image = one("[data-image]", main);
  const film = new Film(image, one("[data-progress]", main));
  const slider = one("[data-slider] input[type=range]", main);
  const captions = new Map();
  const initial = viewOf(data);
  let view = initial;
  let stack = null;
  let caption = null;
  let playing = null;
  let direction = 1;
  let settling = 0;

  const answer = await fetch(data.stack);
  if (!answer.ok) return; // every control still works as a link
  stack = await answer.json();
  if (stack[view.n - 1] === undefined) return;

  document.documentElement.classList.add("scripted");
  all("[data-needs-script]").forEach((element) => (element.hidden = false));
  one("[data-small]", main)?.remove();

  const instance = (v = view) => stack[v.n - 1];
  const frames = () => instance().frames;
  const isClip = () => frames() > 1;
  const hasWindow = () => caption?.has_window ?? data.hasWindow === "true";
  const side = (v) => {
    if (v.zoom === "1") return null;
    const item = instance(v);
    const shown = Math.max(pane.clientWidth, pane.clientHeight) * window.devicePixelRatio;
    return fittingSide(shown, Math.max(item.rows, item.columns));
  };
  const address = (v) => pictureAddress(data.picture, instance(v).uid, v, side(v));

  function change(part) {
    const next = { ...view, ...part };
    if (instance(next) === undefined) return;
    next.frame = Math.min(Math.max(next.frame, 1), Math.max(instance(next).frames, 1));
    view = next;
    redraw();
  }

  function redraw() {
    const shown = view;
    film.show(address(shown), () => {
      if (shown.n === view.n && shown.frame === view.frame) settle();
    });
    places();
  }

  // The words that are known at once: where we are, and what the controls lead to.
  function places() {
    const clip = isClip();
    const series = data.series;
    const images = `Image ${view.n} of ${stack.length}`;
    text("place", clip ? `${stack.length > 1 ? `${images}, frame` : "Frame"} ${view.frame} of ${frames()}` : images);
    text("short-place", clip ? `${view.frame} / ${frames()}` : `${view.n} / ${stack.length}`);
    if (slider !== null) {
      slider.max = clip ? frames() : stack.length;
      slider.value = clip ? view.frame : view.n;
    }
    pane.classList.toggle("pane-actual", view.zoom === "1");
    const to = (part) => pageAddress(data.action, series, { ...view, ...part });
    for (const step of all("[data-step]", main)) {
      const target = targetOf(step.dataset.step);
      if (target === null) {
        step.removeAttribute("href");
        step.setAttribute("aria-disabled", "true");
      } else {
        step.href = to(target);
        step.removeAttribute("aria-disabled");
      }
    }
    pressed(one("[data-invert]"), view.inverted, to({ inverted: !view.inverted }));
    for (const zoom of all("[data-zoom]:not(main)")) pressed(zoom, zoom.dataset.zoom === view.zoom, to({ zoom: zoom.dataset.zoom }));
    for (const link of all("[data-instance-link]")) link.href = filled(link.dataset.instanceLink, instance().uid, view.frame);
    for (const link of all(".window-list a")) {
      const part = windowOf(link);
      link.href = to(part);
      const current = part.window === view.window && part.center === view.center && part.width === view.width;
      if (current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    windowLine();
    zoomLine();
  }

  // What needs the server or is worth doing only when the hand rests.
  function settle() {
    clearTimeout(settling);
    settling = setTimeout(async () => {
      history.replaceState(null, "", pageAddress(data.action, data.series, view));
      const shown = view;
      const got = await captionOf(shown);
      if (got !== null && shown.n === view.n && shown.frame === view.frame) {
        caption = got;
        words();
      }
      if (playing === null) film.prefetch(neighbours(3).map(address));
    }, playing === null ? 90 : 400);
  }

  async function captionOf(v) {
    const where = filled(data.caption, instance(v).uid, v.frame);
    if (!captions.has(where)) {
      const answer = await fetch(where);
      captions.set(where, answer.ok ? await answer.json() : null);
    }
    return captions.get(where);
  }

  function words() {
    text("position", caption.position);
    text("size", caption.size);
    for (const edge of all("[data-edge]", main)) edge.textContent = caption.letters[edge.dataset.edge];
    one("[data-problem]", main).hidden = caption.problem === null;
    one("[data-problem-text]", main).textContent = caption.problem ?? "";
    const scale = one("[data-scale]", main);
    scale.setAttribute("viewBox", `0 0 ${caption.width} ${caption.height}`);
    if (caption.scale === null) {
      scale.replaceChildren();
    } else if (one("path", scale) !== null) {
      one("path", scale).setAttribute("d", caption.scale.path);
      for (const label of all("text", scale)) {
        label.textContent = caption.scale.label;
        label.setAttribute("x", caption.scale.x);
        label.setAttribute("y", caption.scale.text_y);
        label.setAttribute("font-size", label.matches(".scale-wide") ? caption.scale.size_wide : caption.scale.size_narrow);
      }
    }
    windowLine();
    zoomLine();
  }

  function text(name, words) {
    for (const element of all(`[data-text="${name}"]`, main)) element.textContent = words;
  }

  function currentWindow() {
    if (view.width !== null) return [view.center, view.width];
    const named = caption?.windows?.[(view.window ?? 1) - 1];
    if (named !== undefined) return [named.center, named.width];
    return caption?.window_range ?? (data.rangeWidth === undefined ? null : [Number(data.rangeCenter), Number(data.rangeWidth)]);
  }

  function windowLine() {
    if ((view === initial && caption === null) || !hasWindow()) return;
    const [center, width] = currentWindow() ?? [null, null];
    text("window", width === null ? (caption?.window_line ?? "") : `C ${tidy(center)}  W ${tidy(width)}`);
    const form = one("[data-window-form]");
    if (form !== null && width !== null && !form.contains(document.activeElement)) {
      form.elements.wc.value = tidy(center);
      form.elements.ww.value = tidy(width);
    }
  }

  function zoomLine() {
    const wide = caption?.width ?? image.width;
    const high = caption?.height ?? image.height;
    const factor = view.zoom === "1" ? 1 : Math.min(pane.clientWidth / wide, pane.clientHeight / high);
    if (Number.isFinite(factor)) text("zoom", `Zoom ${Math.round(factor * 100)} %`);
    const label = one(".scale-wide", main);
    if (label !== null && factor > 0) {
      all(".scale text", main).forEach((element) => element.setAttribute("font-size", 12 / factor));
    }
  }

  function neighbours(reach) {
    const found = [];
    for (let distance = 1; distance <= reach; distance += 1) {
      for (const sign of [direction, -direction]) {
        const next = { ...view, ...moved(distance * sign) };
        if (next.n !== view.n || next.frame !== view.frame) found.push(next);
      }
    }
    return found;
  }

  // Frames within a clip, images in a stack. Never past an end.
  function moved(count) {
    const clamp = (value, max) => Math.min(Math.max(value, 1), max);
    return isClip() ? { frame: clamp(view.frame + count, frames()) } : { n: clamp(view.n + count, stack.length), frame: 1 };
  }

  function targetOf(name) {
    const target = {
      first: moved(-Infinity),
      previous: moved(-1),
      next: moved(1),
      last: moved(Infinity),
      "previous-image": { n: Math.max(view.n - 1, 1), frame: 1 },
      "next-image": { n: Math.min(view.n + 1, stack.length), frame: 1 },
    }[name];
    const next = { ...view, ...target };
    const same = name.endsWith("-image") ? next.n === view.n : next.n === view.n && next.frame === view.frame;
    return same ? null : target;
  }

  function windowOf(link) {
    const { window: index, center, width } = link.dataset;
    return {
      window: index === undefined ? null : Number(index),
      center: center === undefined ? null : Number(center),
      width: width === undefined ? null : Number(width),
    };
  }

  function play(on) {
    clearTimeout(playing);
    playing = null;
    const button = one("[data-play]", main);
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? "Pause" : "Play";
    if (!on) {
      settle();
      return;
    }
    const tick = () => {
      const rate = Math.min(Math.max(Number(one("[data-rate]", main).value) || 1, 1), 60);
      playing = setTimeout(tick, 1000 / rate);
      if (!film.busy) change({ frame: (view.frame % frames()) + 1 });
    };
    tick();
  }

  const actions = {
    step(count) {
      if (playing !== null) play(false);
      direction = Math.sign(count);
      change(moved(count));
    },
    leap: (sign) => (isClip() ? change({ n: view.n + sign, frame: 1 }) : actions.step(sign * 10)),
    first: () => change(moved(-Infinity)),
    last: () => change(moved(Infinity)),
    invert: () => change({ inverted: !view.inverted }),
    zoom: () => change({ zoom: view.zoom === "1" ? "fit" : "1" }),
    reset: () => change({ center: null, width: null, window: null, inverted: false, zoom: "fit" }),
    play: () => isClip() && play(playing === null),
    preset: (key) => one(`.window-list [data-key="${key}"]`)?.click(),
    close: closeMenus,
    windowStart: () => currentWindow() ?? [128, 256],
    window([center, width], dx, dy) {
      if (!hasWindow()) return;
      const speed = Math.max(width, 2) / 300;
      const whole = (value) => (Math.abs(width) > 20 ? Math.round(value) : value);
      change({ center: whole(center + dy * speed), width: Math.max(whole(width + dx * speed), 1), window: null });
    },
    settled: settle,
  };

  onWheel(pane, actions);
  onDrag(pane, actions);
  onKeys(actions);
  slider?.addEventListener("input", () => {
    const value = Number(slider.value);
    change(isClip() ? { frame: value } : { n: value, frame: 1 });
  });
  one("[data-play]", main).addEventListener("click", () => play(playing === null));
  one("[data-cine]", main).hidden = !isClip();
  const onClick = (selector, act) => {
    for (const element of all(selector)) {
      element.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab is asked for
        event.preventDefault();
        act(element);
      });
    }
  };
  onClick("[data-step]", (step) => {
    const target = targetOf(step.dataset.step);
    if (playing !== null) play(false);
    if (target !== null) change(target);
    one("[data-cine]", main).hidden = !isClip();
  });
  onClick("[data-invert]", actions.invert);
  onClick("[data-zoom]:not(main)", (zoom) => change({ zoom: zoom.dataset.zoom }));
  onClick("[data-reset]", actions.reset);
  onClick(".window-list a", (link) => {
    change(windowOf(link));
    closeMenus();
  });
  one("[data-window-form]")?.addEventListener("submit", (event) => {
    const fields = event.target.elements;
    const center = Number(fields.wc.value.replace(",", "."));
    const width = Number(fields.ww.value.replace(",", "."));
    if (!Number.isFinite(center) || !(width > 0)) return; // the server says what is wrong
    event.preventDefault();
    change({ center, width, window: null });
    closeMenus();
  });
  window.addEventListener("resize", () => (playing === null ? redraw() : zoomLine()));
  redraw();
}

function pressed(link, on, href) {
  if (link === null) return;
  link.setAttribute("aria-pressed", String(on));
  link.href = href;
}

function closeMenus() {
  for (const menu of all("[data-menu][open]")) menu.open = false;
}

function closeMenusOutside() {
  document.addEventListener("pointerdown", (event) => {
    for (const menu of all("[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
  });
}

// A closed strip stays closed from series to series. On a phone it starts closed, to leave the image its room.
function rememberStrip() {
  const strip = one("[data-strip]");
  if (strip === null) return;
  const kept = sessionStorage.getItem("series-strip");
  if (kept !== null) strip.open = kept === "open";
  strip.addEventListener("toggle", () => sessionStorage.setItem("series-strip", strip.open ? "open" : "closed"));
  const current = one("[aria-current=true]", strip);
  current?.scrollIntoView({ block: "nearest", inline: "nearest" });
}
