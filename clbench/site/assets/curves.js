// Curves of a benchmark: a line per ticked strategy, in two charts that share the ticks. The state is in the address.
"use strict";
(() => {
  const section = document.getElementById("curves");
  const data = section && clbench.data[section.dataset.name];
  if (!data || typeof uPlot === "undefined") return;
  const tools = document.getElementById("curve-tools");
  const box = document.getElementById("curve-rows");
  const told = document.getElementById("curve-told");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const factor = data.measure.percent ? 100 : 1;
  const first = data.rows.slice(0, Number(section.dataset.first)).map((row) => row.slug);
  const charts = {};
  const samples = [];

  const shade = (row) => row.colour[dark.matches ? 1 : 0];

  // A short line with the colour and the dashes of a strategy.
  function sample(row) {
    const space = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(space, "svg");
    const line = document.createElementNS(space, "path");
    for (const [name, value] of Object.entries({ class: "sample", "aria-hidden": "true", viewBox: "0 0 26 4" })) picture.setAttribute(name, value);
    for (const [name, value] of Object.entries({ d: "M0 2h26", "stroke-width": "2.4", "stroke-dasharray": row.dash.join(" ") || "none" })) line.setAttribute(name, value);
    samples.push([row, line]);
    picture.append(line);
    return picture;
  }

  for (const row of data.rows) {
    const label = clbench.element("label");
    const tick = clbench.element("input", "", { type: "checkbox", value: row.slug });
    label.append(tick, sample(row), clbench.element("span", row.label));
    box.append(label);
  }
  const ticks = [...box.querySelectorAll("input")];

  // Join lines with x values of their own into columns over all x; where a line has no point there, it goes on.
  const joined = (lines) => uPlot.join(lines.map(([x, y]) => [x, y]), lines.map(() => [1]));

  // The texts of a curve hold x in tenths of an iteration and y in ten-thousandths.
  function unpacked([x, y]) {
    return { x: clbench.unpacked(x).map((value) => value / 10), y: clbench.unpacked(y).map((value) => (value === null ? null : value / 10000)) };
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Draw dotted vertical lines at some x.
  const marks = (at) => (plot) => {
    const context = plot.ctx;
    context.save();
    context.strokeStyle = colour("--muted");
    context.setLineDash([2, 4]);
    context.beginPath();
    for (const x of at) {
      const place = Math.round(plot.valToPos(x, "x", true)) + 0.5;
      if (place < plot.bbox.left || place > plot.bbox.left + plot.bbox.width) continue;
      context.moveTo(place, plot.bbox.top);
      context.lineTo(place, plot.bbox.top + plot.bbox.height);
    }
    context.stroke();
    context.restore();
  };

  function draw(name, lines, at, signed) {
    const node = document.getElementById(name);
    if (charts[name]) charts[name].destroy();
    delete charts[name];
    node.hidden = lines.length === 0;
    if (node.hidden) return;
    const digits = signed ? 2 : 1;
    const shown = (value) => (value === null || value === undefined ? "" : (signed && value > 0 ? "+" : "") + value.toFixed(factor === 100 ? digits : 3));
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const columns = joined(lines.map((line) => [line.x, line.y.map((y) => (y === null ? null : y * factor))]));
    charts[name] = new uPlot(
      {
        width: Math.max(240, node.clientWidth),
        height: signed ? 260 : 340,
        scales: { x: { time: false } },
        legend: { live: true },
        cursor: { points: { size: 6 } },
        series: [
          { label: signed ? "iterations since the switch" : "iteration" },
          ...lines.map((line) => ({
            label: line.label,
            stroke: line.colour,
            width: line.thin ? 0.75 : 1.75,
            dash: line.thin ? [] : line.dash,
            spanGaps: true,
            points: { show: line.x.length < 40 && !line.thin, size: 5 },
            value: (_, value) => shown(value),
          })),
        ],
        axes: [axis, { ...axis, size: 56, label: data.measure.name + (factor === 100 ? " in percent" : ""), labelSize: 20 }],
        hooks: { drawAxes: [marks(at)] },
      },
      columns,
      node,
    );
    charts[name].lines = lines;
  }

  function apply(state) {
    const chosen = state.has("rows") ? state.get("rows").split(",") : first;
    tools.curve.value = state.get("curve") || "seen";
    if (tools.curve.selectedIndex < 0) tools.curve.value = "seen";
    tools.low.checked = state.has("low");
    for (const [row, line] of samples) line.setAttribute("stroke", shade(row));
    for (const tick of ticks) tick.checked = chosen.includes(tick.value);
    const rows = data.rows.filter((row) => chosen.includes(row.slug));
    const lines = [];
    for (const row of rows) {
      const curve = row.curves[tools.curve.value];
      if (!curve) continue;
      lines.push({ label: row.label, colour: shade(row), dash: row.dash, ...unpacked(curve.mean) });
      if (tools.low.checked && curve.low)
        lines.push({ label: row.label + ", lowest", colour: shade(row), dash: row.dash, ...unpacked(curve.low), thin: true });
    }
    draw("curve-chart", lines, data.switches, false);
    const gaps = rows.filter((row) => row.gap).map((row) => ({ label: row.label, colour: shade(row), dash: row.dash, ...unpacked(row.gap) }));
    draw("gap-chart", gaps, [0], true);
    for (const id of ["gap-title", "gap-told"]) document.getElementById(id).hidden = gaps.length === 0;
    told.textContent = rows.length + " of " + data.rows.length + " strategies";
  }

  function keep() {
    const chosen = ticks.filter((tick) => tick.checked).map((tick) => tick.value);
    const usual = chosen.join() === first.join();
    const params = { curve: tools.curve.value === "seen" ? "" : tools.curve.value, low: tools.low.checked ? "1" : "", rows: usual ? "" : chosen.join() || "none" };
    clbench.setState(params);
    if (!location.hash) apply(clbench.state());
  }

  tools.hidden = box.hidden = false;
  document.getElementById("curves-picture").hidden = true;
  tools.addEventListener("change", keep);
  box.addEventListener("change", keep);
  tools.addEventListener("submit", (event) => event.preventDefault());
  clbench.onState(apply);
  dark.addEventListener("change", () => apply(clbench.state()));
  addEventListener("resize", () => {
    for (const [name, chart] of Object.entries(charts)) chart.setSize({ width: Math.max(240, document.getElementById(name).clientWidth), height: chart.height });
  });
  clbench.charts = charts;
})();
