"use strict";
// Pages, sorts and searches tables. Reads text and data attributes only; writes no HTML.
(() => {
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });
  const phone = matchMedia("(max-width: 600px)");
  const ROWS = 12;
  const ROWS_ON_A_PHONE = 4;

  for (const table of document.querySelectorAll(".scroll table")) {
    // On a phone rows become cards, where each cell names its column.
    const heads = Array.from(table.tHead.rows[0].cells, (head) => head.textContent.trim());
    const body = table.tBodies[0];
    for (const row of body.rows) for (const cell of row.cells) cell.dataset.head = heads[cell.cellIndex];
    table.classList.add("cards");
    table.classList.toggle("sorted", table.tHead.querySelector("button") !== null);

    const all = Array.from(body.rows, (row, index) => ({ row, index, text: row.textContent.toLocaleLowerCase() }));
    let kept = all;
    let page = 0;

    const pager = element("div", "");
    const back = Object.assign(element("button", "Back"), { type: "button" });
    const more = Object.assign(element("button", "Next"), { type: "button" });
    const place = element("span", "");
    pager.className = "pager";
    pager.append(back, more, place);
    table.closest(".scroll").after(pager);

    const draw = () => {
      const size = Math.min(Number(table.dataset.page ?? ROWS), phone.matches ? ROWS_ON_A_PHONE : ROWS);
      const last = Math.max(0, Math.ceil(kept.length / size) - 1);
      page = Math.min(page, last);
      const seen = new Set(kept.slice(page * size, (page + 1) * size));
      for (const item of all) item.row.hidden = !seen.has(item);
      back.disabled = page === 0;
      more.disabled = page === last;
      pager.hidden = kept.length <= size;
      place.textContent = `${page * size + 1} to ${page * size + seen.size} of ${kept.length}`;
    };
    back.addEventListener("click", () => { page -= 1; draw(); });
    more.addEventListener("click", () => { page += 1; draw(); });
    phone.addEventListener("change", draw);

    const sort = (button) => {
      const head = button.closest("th");
      const number = "number" in button.dataset;
      const rising = head.getAttribute("aria-sort") !== "ascending";
      const value = (item) => {
        const cell = item.row.cells[head.cellIndex];
        return number ? Number(cell.dataset.value) : cell.textContent;
      };
      const order = (a, b) => (number ? value(a) - value(b) : collator.compare(value(a), value(b)));
      const sorted = (items) => items.sort((a, b) => (rising ? 1 : -1) * order(a, b) || a.index - b.index);
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      body.append(...sorted(all).map((item) => item.row));
      kept = all.filter((item) => kept.includes(item));
      page = 0;
      draw();
    };
    for (const button of table.tHead.querySelectorAll("button")) button.addEventListener("click", () => sort(button));

    if (table.id === "questions") {
      const [search, show, shown] = ["search", "show", "shown"].map((id) => document.getElementById(id));
      const filter = () => {
        const words = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
        const fits = (item) => !show.value || item.row.dataset.outcome === show.value;
        kept = all.filter((item) => fits(item) && words.every((word) => item.text.includes(word)));
        page = 0;
        shown.value = `${kept.length} of ${all.length}`;
        draw();
      };
      search.addEventListener("input", filter);
      show.addEventListener("change", filter);
      search.closest(".tools").hidden = false;  // of no use without this script
      filter();
    }
    draw();
  }
})();
