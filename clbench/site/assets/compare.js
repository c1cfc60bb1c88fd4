// Two rows of a benchmark side by side. The rows are in the address; their data are loaded from a script beside the page.
"use strict";
(() => {
  const tools = document.getElementById("compare-tools");
  const told = document.getElementById("compare-told");
  const place = document.getElementById("compared");
  const sources = new Map([...document.querySelectorAll("#compare-places a")].map((link) => [link.dataset.slug, link.getAttribute("href")]));
  const PRINT = 2;
  let asked = 0;

  function load(slug) {
    if (clbench.data["rows/" + slug]) return Promise.resolve(clbench.data["rows/" + slug]);
    return new Promise((resolve, reject) => {
      const script = clbench.element("script", "", { src: sources.get(slug) });
      script.onload = () => resolve(clbench.data["rows/" + slug]);
      script.onerror = () => reject(new Error("missing"));
      document.body.append(script);
    });
  }

  const slugOf = (path) => (path || "").split("/")[1] || "";

  function table(caption, headings, lines) {
    const section = clbench.element("section");
    section.append(clbench.element("h2", caption));
    const box = clbench.element("div", "", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption });
    const made = clbench.element("table", "", { class: "board" });
    const head = clbench.element("tr");
    headings.forEach((text, k) => head.append(clbench.element("th", text, { scope: "col", class: k ? "n" : "name" })));
    const top = clbench.element("thead");
    top.append(head);
    const body = clbench.element("tbody");
    for (const line of lines) {
      const row = clbench.element("tr");
      line.forEach((text, k) => row.append(k ? clbench.element("td", text, { class: "n" }) : clbench.element("th", text, { scope: "row", class: "name" })));
      body.append(row);
    }
    made.append(top, body);
    box.append(made);
    section.append(box);
    return section;
  }

  const number = (value) => (value === undefined ? "—" : Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4))));
  const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(4);

  // Student's t for 95 % two-sided with 1 to 30 degrees of freedom; more have nearly that of the normal distribution.
  const T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042];

  function summary(values) {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    if (values.length < 3) return signed(mean);
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
    return signed(mean) + " ± " + ((T[values.length - 2] || 1.96 + 2.4 / values.length) * Math.sqrt(variance / values.length)).toFixed(4);
  }

  function parts(data, one, other) {
    const seeds = Object.keys(one.prints).filter((seed) => seed in other.prints);
    return seeds.map((seed) => {
      const [a, b] = [one.prints[seed], other.prints[seed]];
      const [length, width] = [a.marks.length / PRINT, b.marks.length / PRINT];
      const count = Math.min(length, width);
      for (let k = 0; k < count; k++) {
        if (a.marks.slice(PRINT * k, PRINT * (k + 1)) !== b.marks.slice(PRINT * k, PRINT * (k + 1)))
          return ["seed " + seed, "evaluation " + k, "iteration " + data.steps[a.steps].slice(0, k + 1).reduce((sum, step) => sum + step, 0)];
      }
      return ["seed " + seed, length === width ? "equal" : "equal up to evaluation " + (count - 1), ""];
    });
  }

  function show(data, one, other) {
    const seeds = [...new Set(data.metrics.flatMap((metric) => Object.keys(one.values[metric.name] || {}).filter((seed) => seed in (other.values[metric.name] || {}))))].sort((a, b) => a - b);
    const differences = [];
    for (const metric of data.metrics) {
      const [a, b] = [one.values[metric.name] || {}, other.values[metric.name] || {}];
      const shared = seeds.filter((seed) => seed in a && seed in b);
      if (!shared.length) continue;
      const values = shared.map((seed) => a[seed] - b[seed]);
      differences.push([metric.title, summary(values), ...seeds.map((seed) => (seed in a && seed in b ? signed(a[seed] - b[seed]) : "—"))]);
    }
    const names = [...new Set([...Object.keys(one.settings), ...Object.keys(other.settings)])].filter((name) => one.settings[name] !== other.settings[name]);
    const costs = [...new Set([...Object.keys(one.cost), ...Object.keys(other.cost)])];
    place.replaceChildren(
      table("Differences by seed: first minus second", ["Metric", "mean ± 95 % interval", ...seeds.map((seed) => "seed " + seed)], differences),
      table("Settings that differ", ["Setting", one.label, other.label], names.map((name) => [name, one.settings[name] || "—", other.settings[name] || "—"])),
      table("Where their runs part", ["Seed", "first different evaluation", "at"], parts(data, one, other)),
      table("Mean cost", ["Cost", one.label, other.label], costs.map((name) => [name.replaceAll("_", " "), number(one.cost[name]), number(other.cost[name])])),
    );
    told.replaceChildren("", linked(one), " compared with ", linked(other), " on ", clbench.element("a", data.benchmark, { href: data.path }), ".");
  }

  const linked = (row) => clbench.element("a", row.label, { href: row.path });

  function fill(select, rows, chosen) {
    select.replaceChildren(...rows.map((row) => clbench.element("option", row.label, { value: row.path })));
    if (rows.some((row) => row.path === chosen)) select.value = chosen;
  }

  async function apply(state) {
    const slug = sources.has(slugOf(state.get("a"))) ? slugOf(state.get("a")) : sources.has(state.get("benchmark")) ? state.get("benchmark") : sources.keys().next().value;
    if (slug === undefined) return;
    const mine = ++asked;
    let data;
    try {
      data = await load(slug);
    } catch {
      told.textContent = "The data of this benchmark are not beside the page.";
      return;
    }
    if (mine !== asked) return;
    tools.hidden = false;
    tools.benchmark.value = slug;
    fill(tools.a, data.rows, state.get("a"));
    fill(tools.b, data.rows, state.get("b"));
    if (!data.rows.some((row) => row.path === state.get("b")) && data.rows.length > 1) tools.b.selectedIndex = tools.a.selectedIndex === 1 ? 0 : 1;
    show(data, data.rows[tools.a.selectedIndex], data.rows[tools.b.selectedIndex]);
  }

  tools.addEventListener("change", (event) => {
    if (event.target === tools.benchmark) clbench.setState({ benchmark: tools.benchmark.value });
    else clbench.setState({ a: tools.a.value, b: tools.b.value });
  });
  tools.addEventListener("submit", (event) => event.preventDefault());
  clbench.onState(apply);
})();
