// Enhancements of the list and of forms. Every page works without this file: it finds its elements by data-*
// attributes, takes addresses from the page, and only saves a person steps.

// The study list: the same address is fetched again and its [data-list] put in place of the one shown.

const list = () => document.querySelector("[data-list]");
const rows = () => [...document.querySelectorAll("[data-rows] [data-study]")];

let loading = null;

async function show(address, { arrived = new Set(), remember = false, again = false } = {}) {
  loading?.abort();
  const mine = new AbortController();
  loading = mine;
  try {
    const headers = { Accept: "text/html", ...(again && { "X-Refresh": "1" }) };
    const response = await fetch(address, { headers, signal: mine.signal });
    // Signed out meanwhile: the page goes where a person would be sent.
    if (response.redirected) location.reload();
    if (!response.ok || response.redirected) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.querySelector("[data-list]");
    const old = list();
    if (!fresh || !old || mine.signal.aborted) return;
    const known = new Set(rows().map((row) => row.dataset.study));
    const focused = document.activeElement?.closest?.("[data-study]")?.dataset.study;
    const named = old.contains(document.activeElement) && document.activeElement.id;
    const ticked = new Set([...old.querySelectorAll("input[name=study]:checked")].map((box) => box.value));
    for (const box of fresh.querySelectorAll("input[name=study]")) box.checked = ticked.has(box.value);
    old.replaceWith(document.adoptNode(fresh));
    if (remember) history.replaceState(null, "", address);
    welcome(rows().filter((row) => arrived.has(row.dataset.study) && !known.has(row.dataset.study)));
    if (named) document.getElementById(named)?.focus({ preventScroll: true });
    if (focused) rows().find((row) => row.dataset.study === focused)?.querySelector("a")?.focus();
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

// Until when a study is marked as new: it may be read again several times while it is being received.
const marked = new Map();

function mark() {
  for (const row of rows()) row.classList.toggle("arrived", marked.get(row.dataset.study) > Date.now());
}

function welcome(fresh) {
  for (const row of fresh) {
    marked.set(row.dataset.study, Date.now() + 6000);
    row.classList.add("arriving");
  }
  mark();
  if (fresh.length === 0) return;
  setTimeout(mark, 6100);
  const names = fresh.slice(0, 3).map((row) => row.querySelector("a").textContent.trim());
  const more = fresh.length > names.length ? ` and ${fresh.length - names.length} more` : "";
  document.querySelector("[data-announce]").textContent = `New: ${names.join("; ")}${more}`;
}

// Searching while one types and chooses.

function addressOf(form) {
  const all = new FormData(form);
  const isRange = all.get("date") === "range";
  const isAsked = ([name, value]) => value !== "" && (isRange || (name !== "from" && name !== "to"));
  const fields = [...all].filter(isAsked);
  const query = new URLSearchParams(fields).toString();
  return form.getAttribute("action") + (query ? `?${query}` : "");
}

function search(form) {
  let typed;
  const go = () => show(addressOf(form), { remember: true });
  form.addEventListener("input", (event) => {
    clearTimeout(typed);
    typed = setTimeout(go, event.target.matches("[type=radio], [type=checkbox]") ? 0 : 250);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typed);
    go();
  });
  // A chosen range with nothing in it yet: show where to type.
  form.querySelector("[data-range]")?.addEventListener("change", () => form.elements.from.focus());
}

// What arrives. A hidden tab does not listen: browsers allow few connections to one server.

function listen(address) {
  let source = null;
  let later = null;
  const arrived = new Set();

  const open = () => {
    source = new EventSource(address);
    source.addEventListener("receiving", (event) => {
      const line = document.querySelector("[data-receiving]");
      if (!line) return;
      line.textContent = event.data;
      line.hidden = event.data === "";
    });
    source.addEventListener("associations", () => (later ??= setTimeout(refresh, 0)));
    source.addEventListener("stored", (event) => {
      for (const uid of event.data.split(" ")) arrived.add(uid);
      // One reading of the list for many instances, and not while a person turns pages.
      later ??= setTimeout(refresh, 1000);
    });
  };
  const refresh = () => {
    later = null;
    if (new URLSearchParams(location.search).has("page")) return;
    const fresh = new Set(arrived);
    arrived.clear();
    // Where a form was answered with the page, the page has an address of its own.
    const address = list().dataset.address ?? location.pathname + location.search;
    show(address, { arrived: fresh, again: true });
  };
  const close = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
    } else if (!source) {
      open();
      refresh();
    }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => {
    if (event.persisted && !source) open();
  });
  if (!document.hidden) open();
}

// Keys: / to search, j and k to move, Enter opens because the link has the focus.

function move(step) {
  const all = rows();
  if (all.length === 0) return;
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
  const link = all[next].querySelector("a");
  link.focus({ preventScroll: true });
  all[next].scrollIntoView({ block: "nearest" });
}

function keys(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
  const field = document.querySelector("[data-search-field]");
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape" && event.target === field) field.blur();
    return;
  }
  if (event.key === "/" && field) {
    event.preventDefault();
    field.focus();
    field.select();
  } else if (event.key === "j") {
    move(1);
  } else if (event.key === "k") {
    move(-1);
  }
}

// A page of jobs looks again while something is under way.

async function lookAgain() {
  const shown = document.querySelector("[data-again]");
  if (!shown) return;
  if (!document.hidden) {
    try {
      const response = await fetch(location.pathname, { headers: { Accept: "text/html", "X-Refresh": "1" } });
      if (response.redirected) return location.reload();
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      // Once everything is over the mark is gone, and so is the reason to look again.
      const fresh = page.querySelector("main");
      const focused = document.activeElement?.closest?.("form")?.getAttribute("action");
      if (response.ok && fresh) document.querySelector("main").replaceWith(document.adoptNode(fresh));
      if (focused) document.querySelector(`form[action="${focused}"] button`)?.focus();
    } catch (error) {
      // The server is away for a moment, and will be back.
      if (!(error instanceof TypeError)) throw error;
    }
  }
  setTimeout(lookAgain, 2000);
}

// A UID is copied whole, though its middle is cut out on the page.

function copyWhole(event) {
  const cut = [...document.querySelectorAll("[data-copy]")].find((uid) => getSelection().containsNode(uid, true));
  if (!cut || getSelection().toString().trim() !== cut.textContent.trim()) return;
  event.preventDefault();
  event.clipboardData.setData("text/plain", cut.dataset.copy);
}

const form = document.querySelector("[data-search]");
if (form) search(form);
const events = list()?.dataset.events;
if (events) listen(events);
setTimeout(lookAgain, 2000);
document.addEventListener("keydown", keys);
document.addEventListener("copy", copyWhole);
