// Which files somebody means: chosen, or dropped, with all that is in folders.

const file = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));

// A folder gives its entries in portions.
function portion(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

async function* below(entry, path) {
  if (entry.isFile) {
    yield { file: await file(entry), name: path + entry.name };
  } else if (entry.isDirectory) {
    const reader = entry.createReader();
    for (let entries = await portion(reader); entries.length > 0; entries = await portion(reader)) {
      for (const one of entries) yield* below(one, `${path}${entry.name}/`);
    }
  }
}

// The entries have to be taken out of the event before anything is waited for.
export function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = entries.length > 0 ? [] : [...transfer.files];
  return (async function* () {
    for (const entry of entries) yield* below(entry, "");
    for (const one of files) yield { file: one, name: one.name };
  })();
}

export async function* chosen(files) {
  for (const one of files) yield { file: one, name: one.webkitRelativePath || one.name };
}

// What systems put beside the files of their users; the server passes over the same inside a ZIP.
export function isOfTheSystem(name) {
  const last = name.split("/").pop();
  return last.startsWith("._") || [".DS_Store", "Thumbs.db", "desktop.ini"].includes(last);
}
