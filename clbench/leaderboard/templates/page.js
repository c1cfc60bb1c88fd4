// Sorting: a click (or Enter, Space) on a column's heading; a second one turns the order. What has no value stays last.
for (const board of document.querySelectorAll("table.board")) {
  const body = board.tBodies[0];
  const headings = [...board.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = heading.querySelector("button");
    button.addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      const order = !now ? button.dataset.first : now === "ascending" ? "descending" : "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => row.cells[column].dataset.sort;
      const compare = (a, b) => {
        if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
        const difference = Number(key(a)) - Number(key(b));
        return sign * (Number.isNaN(difference) ? key(a).localeCompare(key(b)) : difference);
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
// Settings are folded where room is short.
if (matchMedia("(min-width: 800px)").matches) document.querySelectorAll("details.cards").forEach((cards) => { cards.open = true; });
