"use strict";
// Sorts and searches the table of held-out questions. Reads text and data attributes only; writes no HTML.
(() => {
  const table = document.getElementById("questions");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows).map((row, index) => ({
    row, index, text: row.textContent.toLocaleLowerCase(), outcome: row.dataset.outcome,
  }));
  const search = document.getElementById("search");
  const show = document.getElementById("show");
  const shown = document.getElementById("shown");

  const filter = () => {
    const words = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const item of rows) {
      const keep = (!show.value || item.outcome === show.value) && words.every((word) => item.text.includes(word));
      item.row.hidden = !keep;
      if (keep) count += 1;
    }
    shown.value = `${count} of ${rows.length}`;
  };

  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const sort = (button) => {
    const head = button.closest("th");
    const number = "number" in button.dataset;
    const was = head.getAttribute("aria-sort");
    const next = was === "ascending" ? "descending" : "ascending";
    const sign = next === "ascending" ? 1 : -1;
    const column = head.cellIndex;
    const value = (item) => {
      const cell = item.row.cells[column];
      return number ? Number(cell.dataset.value) : cell.textContent;
    };
    const keyed = rows.map((item) => [value(item), item]);
    keyed.sort(([a, x], [b, y]) => sign * (number ? a - b : collator.compare(a, b)) || x.index - y.index);
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", next);
    const fragment = document.createDocumentFragment();
    for (const [, item] of keyed) fragment.append(item.row);
    body.append(fragment);
  };

  search.addEventListener("input", filter);
  show.addEventListener("change", filter);
  for (const button of table.tHead.querySelectorAll("button")) button.addEventListener("click", () => sort(button));
  filter();
})();
