// The front page: search, filters, columns and order of the table of all rows. Its state is in the address.
"use strict";
(() => {
  const node = document.getElementById("rows");
  const form = document.getElementById("tools");
  const fields = form.elements;
  const told = document.getElementById("told");
  const headings = [...node.tHead.rows[0].cells].map((cell) => cell.dataset.name);
  const usual = [...node.tHead.rows[0].cells].filter((cell) => cell.dataset.hidden === undefined).map((cell) => cell.dataset.name);
  const place = (name) => headings.indexOf(name);
  const ticks = [...form.querySelectorAll("[name=column]")];
  const fixed = usual.filter((name) => !ticks.some((tick) => tick.value === name));
  const rows = [...node.tBodies[0].rows].map((row) => ({
    benchmark: row.querySelector("td a").getAttribute("href").slice("benchmarks/".length, -".html".length),
    memory: amount(row.cells[place("memory")].dataset.order),
    steps: amount(row.cells[place("steps")].dataset.order),
    front: row.cells[place("front")].textContent.trim() !== "",
    status: row.cells[place("status")].textContent.trim(),
    path: row.querySelector("th a").getAttribute("href").slice("rows/".length, -".html".length),
  }));

  function amount(text) {
    return text === undefined || text.trim() === "" ? NaN : Number(text);
  }

  // Two rows of a benchmark can be compared: a box in front of each name, and a link when two are ticked.
  const compare = document.getElementById("compare");
  let picked = [];
  [...node.tBodies[0].rows].forEach((row, index) => {
    const box = clbench.element("input", "", { type: "checkbox", class: "pick", "aria-label": `compare ${row.querySelector("th a").textContent}`, value: rows[index].path });
    row.querySelector("th").prepend(box, " ");
  });
  const boxes = [...node.querySelectorAll(".pick")];

  function showPicked() {
    for (const box of boxes) box.checked = picked.includes(box.value);
    const benchmarks = new Set(picked.map((path) => path.split("/")[0]));
    const ready = picked.length === 2 && benchmarks.size === 1;
    compare.hidden = picked.length === 0;
    compare.textContent = ready ? "Compare the two ticked rows" : benchmarks.size > 1 ? "Tick two rows of one benchmark to compare them" : "Tick another row of this benchmark to compare them";
    if (ready) compare.setAttribute("href", `compare.html#${picked.map((path, place) => `${"ab"[place]}=rows/${path}.html`).join("&")}`);
    else compare.removeAttribute("href");
  }

  const table = clbench.table(node, {
    pageLength: 50,
    layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: "paging" },
    language: { info: "_START_ to _END_ of _TOTAL_ rows", infoEmpty: "no rows", infoFiltered: "(of _MAX_)", zeroRecords: "No row fits the filters." },
  });
  table.search.fixed("filters", (_text, _data, index) => {
    const row = rows[index];
    const within = (limit, value) => Number.isNaN(limit) || value <= limit;
    return (
      (!fields.benchmark.value || fields.benchmark.value === row.benchmark) &&
      (!fields.status.value || fields.status.value === row.status) &&
      (!fields.front.checked || row.front) &&
      within(amount(fields.memory.value), row.memory) &&
      within(amount(fields.steps.value), row.steps)
    );
  });

  let applying = false;

  // Set everything as the address says.
  function apply(state) {
    applying = true;
    for (const name of ["q", "benchmark", "memory", "steps", "status"]) fields[name].value = state.get(name) || "";
    fields.front.checked = state.has("front");
    const chosen = state.has("columns") ? state.get("columns").split(",") : usual;
    for (const tick of ticks) tick.checked = chosen.includes(tick.value);
    const [name, way] = (state.get("sort") || "").split(":");
    table.order(place(name) >= 0 ? [[place(name), way === "desc" ? "desc" : "asc"]] : []);
    picked = (state.get("pick") || "").split(",").filter((path) => rows.some((row) => row.path === path));
    showPicked();
    show();
    applying = false;
  }

  function show() {
    for (const tick of ticks) table.column(place(tick.value)).visible(tick.checked, false);
    for (const name of ["memory", "steps"]) fields[name].setAttribute("aria-invalid", fields[name].value.trim() !== "" && Number.isNaN(amount(fields[name].value)));
    table.search(fields.q.value).draw();
    const count = table.rows({ search: "applied" }).count();
    told.textContent = count === rows.length ? "" : `${count} of ${rows.length} rows`;
  }

  // Write to the address what differs from the page as it is opened.
  function keep(replace) {
    const shown = ticks.filter((tick) => tick.checked).map((tick) => tick.value);
    const same = shown.join() === ticks.map((tick) => tick.value).filter((name) => usual.includes(name)).join();
    const [order] = table.order();
    clbench.setState({
      q: fields.q.value,
      benchmark: fields.benchmark.value,
      memory: fields.memory.value.trim(),
      steps: fields.steps.value.trim(),
      status: fields.status.value,
      front: fields.front.checked ? "1" : "",
      columns: same ? "" : [...fixed, ...shown].join(","),
      pick: picked.join(","),
      sort: order && order[1] ? `${headings[order[0]]}:${order[1]}` : "",
    }, replace);
  }

  form.addEventListener("input", (event) => {
    show();
    keep(event.target.matches("[type=search], [inputmode]")); // a step back undoes a choice, not a letter
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    location.hash = "";
    apply(clbench.state());
  });
  table.on("order", () => {
    if (!applying) keep(false);
  });
  node.addEventListener("change", (event) => {
    if (!event.target.matches(".pick")) return;
    const path = event.target.value;
    picked = event.target.checked ? [...picked, path].slice(-2) : picked.filter((other) => other !== path);
    showPicked();
    keep(false);
  });
  const menu = form.querySelector(".columns");
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  form.hidden = false;
  clbench.onState(apply);
})();
