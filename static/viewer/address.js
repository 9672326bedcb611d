// What is shown, as a value, and the addresses that follow from it. No document in here.
//
// A view is { n, frame, center, width, window, inverted, zoom }: n and frame count from 1, center and width are
// numbers or null, window is the number of one of the image's own windows or null, zoom is "fit" or "1".

/** The sizes a fitted picture is asked for in, so that browsers of one kind ask for the same addresses. */
const SIZES = [720, 1280, 2048];

/** The view that the page was made with. */
export function viewOf(data) {
  const number = (text) => (text === undefined || text === "" ? null : Number(text));
  return {
    n: Number(data.n),
    frame: Number(data.frame),
    center: number(data.center),
    width: number(data.width),
    window: number(data.window),
    inverted: data.inverted === "true",
    zoom: data.zoom === "1" ? "1" : "fit",
  };
}

/** The address of the page that shows this. */
export function pageAddress(action, series, view) {
  const query = new URLSearchParams();
  query.set("series", series);
  if (view.n !== 1) query.set("n", view.n);
  if (view.frame !== 1) query.set("frame", view.frame);
  if (view.width !== null) {
    query.set("wc", tidy(view.center));
    query.set("ww", tidy(view.width));
  } else if (view.window !== null) {
    query.set("window", view.window);
  }
  if (view.inverted) query.set("invert", "1");
  if (view.zoom !== "fit") query.set("zoom", view.zoom);
  return `${action}?${query}`;
}

/** The address of the picture. `side` is the largest side to fit into, or null for every pixel. */
export function pictureAddress(template, instance, view, side) {
  const query = new URLSearchParams();
  if (view.width !== null) {
    query.set("wc", tidy(view.center));
    query.set("ww", tidy(view.width));
  } else if (view.window !== null) {
    query.set("voi", view.window);
  }
  if (view.inverted) query.set("invert", "1");
  if (side !== null) {
    query.set("w", side);
    query.set("h", side);
  }
  const text = query.toString();
  return filled(template, instance, view.frame) + (text === "" ? "" : `?${text}`);
}

/** Puts an instance and a frame into an address the page gave. */
export function filled(template, instance, frame) {
  return template.replace("{instance}", encodeURIComponent(instance)).replace("{frame}", frame);
}

/** The side to ask for, given what the pane can show and what the image has. Null: the image as it is. */
export function fittingSide(shown, pixels) {
  const side = SIZES.find((size) => size >= shown);
  return side === undefined || pixels <= side ? null : side;
}

/** Two decimals where they say something. */
export function tidy(value) {
  return String(Math.round(value * 100) / 100);
}
