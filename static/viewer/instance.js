// Filters the attributes as one types, where the page holds all of them. The form asks the server otherwise.

const form = document.querySelector("[data-attribute-search][data-live]");
const table = document.querySelector("[data-attributes]");
if (form !== null && table !== null) {
  const input = form.querySelector("input[type=search]");
  const count = document.querySelector("[data-attribute-count]");
  const whole = count.textContent;
  const rows = [...table.tBodies[0].rows].map((row) => ({
    row,
    text: `${row.textContent} ${row.querySelector("[data-keyword]")?.dataset.keyword ?? ""}`.toLowerCase(),
    tag: row.cells[0].textContent.replace(/[(),\s]/g, "").toLowerCase(),
  }));
  input.addEventListener("input", () => {
    const query = input.value.trim().toLowerCase();
    const digits = query.replace(/[(),\s]/g, "");
    const isTag = /^[0-9a-f]{4,8}$/.test(digits);
    let shown = 0;
    for (const { row, text, tag } of rows) {
      row.hidden = !(query === "" || text.includes(query) || (isTag && tag.startsWith(digits)));
      if (!row.hidden) shown += 1;
    }
    count.textContent = query === "" ? whole : `${shown} of ${rows.length} rows`;
  });
}
