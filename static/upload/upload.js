// Uploading with progress. Each file goes by itself, in pieces: after a lost connection the server is asked how much of
// it has come, and the rest is sent.

import { chosen, dropped, isOfTheSystem } from "./files.js";

const PIECE = 8 * 1024 * 1024;
const AT_ONCE = 3;
// In milliseconds; the last one again and again, for about ten minutes.
const PAUSES = [500, 1000, 2000, 4000, 8000, 15000];
const ATTEMPTS = 45;
const MOST_SHOWN = 500;
// For a large ZIP about an hour.
const MOST_WAITS = 400;

const form = document.querySelector("[data-upload]");
const report = document.querySelector("[data-upload-report]");
const part = (name) => document.querySelector(`[data-upload-${name}]`);

const state = { waiting: [], running: 0, all: 0, bytes: 0, sent: 0, counts: {}, studies: new Set(), failed: [], shown: 0 };

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

class Refused extends Error {}

async function ask(address, options) {
  const response = await fetch(address, { ...options, headers: { "X-Form-Token": form.dataset.token } });
  if (response.ok || response.status === 409) return response.json();
  const words = (await response.text()).slice(0, 300);
  // What is busy or away may be there again; what is wrong stays wrong.
  if (response.status >= 500 || response.status === 429) throw new Error(words);
  throw new Refused(response.status === 401 ? "You are signed out. Sign in in another tab and try again." : words);
}

// Sends one file to its end, whatever happens to the connection, and returns what became of it.
async function send(job) {
  const address = form.dataset.upload + job.id;
  let failures = 0;
  let waits = 0;
  let offset = 0;
  let isKnown = true;
  for (;;) {
    try {
      if (!isKnown) {
        const now = await ask(address);
        if (now.done) return now.done;
        if (now.busy) {
          waits += 1;
          if (waits > MOST_WAITS) throw new Refused("The archive has not finished it. Look in the list of studies.");
          await pause(Math.min(1000 + waits * 100, 10000));
          continue;
        }
        waits = 0;
        if (now.received < offset) {
          // It has been forgotten meanwhile: that is a failure too, or this would never end.
          failures += 1;
          progress(job, now.received);
          await pause(PAUSES[Math.min(failures, PAUSES.length) - 1]);
        }
        offset = now.received;
        isKnown = true;
      }
      const query = new URLSearchParams({ offset, size: job.file.size, name: job.name });
      const body = job.file.slice(offset, offset + PIECE);
      const answer = await ask(`${address}?${query}`, { method: "POST", body });
      if (answer.done) return answer.done;
      if (answer.busy || answer.received <= offset) {
        isKnown = false;
        if (!answer.busy) failures += 1;
        if (failures > ATTEMPTS) throw new Error("it is forgotten again and again");
        continue;
      }
      failures = 0;
      offset = answer.received;
      progress(job, offset);
      trouble(null);
    } catch (error) {
      if (error instanceof Refused || error.name === "NotReadableError" || error.name === "NotFoundError") throw error;
      failures += 1;
      if (failures > ATTEMPTS) throw error;
      trouble("The connection is lost. It goes on by itself when it is back.");
      isKnown = false;
      await pause(PAUSES[Math.min(failures, PAUSES.length) - 1]);
    }
  }
}

function trouble(words) {
  part("trouble").textContent = words ?? "";
  part("trouble").hidden = !words;
}

function progress(job, sent) {
  state.sent += sent - job.sent;
  job.sent = sent;
  part("progress").value = state.bytes > 0 ? state.sent / state.bytes : 1;
}

const WORDS = [
  ["stored", "stored"],
  ["here", "here already"],
  ["quarantined", "in quarantine"],
  ["refused", "not stored"],
  ["lost", "not sent"],
];

function summarize() {
  const isRunning = state.running > 0 || state.waiting.length > 0;
  const counted = WORDS.filter(([name]) => state.counts[name]).map(([name, words]) => `${state.counts[name]} ${words}`);
  const left = state.waiting.length + state.running;
  const parts = isRunning ? [`${left} ${left === 1 ? "file" : "files"} to go`, ...counted] : counted;
  part("summary").textContent = parts.join(", ") || "There was no file in it";
  part("progress").hidden = !isRunning;
  part("again").hidden = isRunning || state.failed.length === 0;
}

function lead(study) {
  if (state.studies.has(study)) return;
  state.studies.add(study);
  const link = document.createElement("a");
  link.href = `/studies/${encodeURIComponent(study)}`;
  link.textContent = "Open the study";
  const uid = document.createElement("code");
  uid.className = "uid";
  uid.textContent = study.length > 24 ? `${study.slice(0, 10)}…${study.slice(-10)}` : study;
  uid.title = study;
  const item = document.createElement("li");
  item.append(link, " ", uid);
  part("studies").append(item);
}

function count(name, more) {
  if (more > 0) state.counts[name] = (state.counts[name] ?? 0) + more;
}

// What did not go well stands at the top and is always shown.
function list(row) {
  const isWell = row.outcome === "stored" || row.outcome === "here";
  if (isWell && state.shown >= MOST_SHOWN) {
    part("more").hidden = false;
    part("more").textContent = `The first ${MOST_SHOWN} are listed, and all that did not go well.`;
    return;
  }
  const item = document.createElement("li");
  item.className = "upload-file";
  item.dataset.outcome = row.outcome;
  if (row.again) item.dataset.again = "";
  for (const [name, text] of [["upload-name", row.name], ["upload-words", row.words]]) {
    const cell = document.createElement("span");
    cell.className = name;
    cell.textContent = text;
    if (name === "upload-name") cell.dir = "auto";
    item.append(cell);
  }
  if (isWell) {
    state.shown += 1;
    part("list").append(item);
  } else {
    part("list").prepend(item);
  }
}

async function run(job) {
  let tally;
  try {
    tally = await send(job);
  } catch (error) {
    const words = error instanceof Refused ? error.message : `Not sent: ${error.message}`;
    tally = { lost: 1, files: [{ name: job.name, words, outcome: "lost", again: true }], studies: [] };
  }
  progress(job, job.file.size);
  for (const [name] of WORDS) count(name, tally[name] ?? 0);
  for (const study of tally.studies) lead(study);
  if (tally.files.some((row) => row.again)) state.failed.push(job);
  for (const row of tally.files) list(row);
}

async function work() {
  state.running += 1;
  for (let job = state.waiting.shift(); job; job = state.waiting.shift()) {
    await run(job);
    summarize();
  }
  state.running -= 1;
  summarize();
}

function begin() {
  report.hidden = false;
  while (state.running < AT_ONCE && state.waiting.length > state.running) work();
  summarize();
}

function put(file, name) {
  state.waiting.push({ file, name, sent: 0, id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`.replace(".", "") });
  state.bytes += file.size;
}

async function take(files) {
  report.hidden = false;
  try {
    for await (const { file, name } of files) {
      if (isOfTheSystem(name)) continue;
      put(file, name);
      begin();
    }
  } catch (error) {
    count("lost", 1);
    list({ name: "", words: `Some files cannot be read: ${error.message}`, outcome: "lost" });
  }
  summarize();
}

function again() {
  const failed = state.failed.splice(0);
  for (const item of part("list").querySelectorAll("[data-again]")) {
    state.counts[item.dataset.outcome] -= 1;
    item.remove();
  }
  for (const job of failed) put(job.file, job.name);
  begin();
}

if (form) {
  for (const plain of document.querySelectorAll("[data-upload-plain]")) plain.hidden = true;
  part("drop").hidden = false;
  part("folder").hidden = !("webkitdirectory" in HTMLInputElement.prototype);
  for (const choice of form.querySelectorAll("[data-upload-choice]")) choice.classList.add("button");
  for (const input of form.querySelectorAll("input[type=file]")) {
    input.classList.add("visually-hidden");
    input.addEventListener("change", () => {
      take(chosen([...input.files]));
      input.value = "";
    });
  }
  part("again").addEventListener("click", again);
  const target = part("target");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      target.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) target.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    target.classList.remove("over");
    take(dropped(event.dataTransfer));
  });
  addEventListener("beforeunload", (event) => {
    if (state.running > 0) event.preventDefault();
  });
}
