"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const color = (index) => css(`--s${index % 6}`);
  const shown = (value, digits = 3) => value == null ? "" : (Math.abs(value) >= 1e4 || (value !== 0 && Math.abs(value) < 1e-3)) ? value.toExponential(digits - 2).replace(/\.0+e/, "e") : String(+value.toPrecision(digits));
  // Ticks that lie near each other need more digits to differ.
  const ticked = (ticks) => { for (let digits = 3; ; digits += 1) { const made = ticks.map((tick) => shown(tick, digits)); if (digits > 8 || new Set(made).size === made.length) return made; } };
  const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];
  const element = (name, text, parent) => { const made = document.createElement(name); if (text) made.textContent = text; if (parent) parent.append(made); return made; };
  const drawn = [];
  const LABELS = 3; // rows of labels above a chart
  const font = () => `${11 * devicePixelRatio}px system-ui, sans-serif`;

  // Bands behind the series, and lines at the places of findings, with their labels written once.
  const overlay = (chart) => ({ hooks: { drawClear: [(plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
    for (const band of chart.bands) {
      const from = plot.valToPos(band.from, band.axis, true), to = plot.valToPos(band.to, band.axis, true);
      ctx.fillStyle = css("--band");
      if (band.axis === "x") ctx.fillRect(from, bbox.top, to - from, bbox.height);
      else ctx.fillRect(bbox.left, to, bbox.width, from - to);
      ctx.fillStyle = css("--faint"); ctx.textAlign = "left"; ctx.font = font();
      ctx.fillText(band.label, band.axis === "x" ? from + 3 : bbox.left + 4, (band.axis === "x" ? bbox.top + bbox.height - 4 : Math.min(from, bbox.top + bbox.height) - 4 * devicePixelRatio));
    }
    ctx.restore();
  }], draw: [(plot) => {
    const { ctx, bbox } = plot, written = new Set();
    ctx.save();
    ctx.font = font();
    const line = (x0, y0, x1, y1, style) => { ctx.strokeStyle = style; ctx.lineWidth = devicePixelRatio * 1.5; ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]); ctx.beginPath(); ctx.moveTo(x0, y0); ctx.lineTo(x1, y1); ctx.stroke(); ctx.setLineDash([]); };
    for (const mark of chart.marks) {
      const x = plot.valToPos(mark.x, "x", true), style = css(`--${mark.level}`);
      ctx.globalAlpha = mark.further ? .35 : 1;
      line(x, bbox.top, x, bbox.top + bbox.height, style);
      ctx.globalAlpha = 1;
      if (mark.further || written.has(mark.label)) continue;
      ctx.fillStyle = style;
      const right = x > bbox.left + bbox.width * .6;
      ctx.textAlign = right ? "right" : "left";
      ctx.fillText(mark.label, x, bbox.top - (4 + 12 * (written.size % LABELS)) * devicePixelRatio);
      written.add(mark.label);
    }
    let free = Infinity; // where the label before this one stands: labels of near lines are stacked
    for (const item of chart.lines.filter((item) => !chart.y.log || item.y > 0).sort((first, second) => first.y - second.y)) {
      const y = plot.valToPos(item.y, "y", true);
      line(bbox.left, y, bbox.left + bbox.width, y, css("--faint"));
      ctx.fillStyle = css("--ink"); ctx.textAlign = "right"; ctx.textBaseline = "alphabetic";
      free = Math.min(y - 5 * devicePixelRatio, free - 13 * devicePixelRatio);
      ctx.fillText(item.label, bbox.left + bbox.width - 4, free);
    }
    ctx.restore();
  }] } });

  // Bars of several series stand side by side; edges and widths are shares of the plot.
  const bars = (index, count) => {
    const share = (plot, value) => (value - plot.scales.x.min) / (plot.scales.x.max - plot.scales.x.min);
    return uPlot.paths.bars({ disp: {
      x0: { unit: 2, values: (plot) => plot.data[0].map((x) => share(plot, x - .35 + .7 * index / count)) },
      size: { unit: 2, values: (plot) => plot.data[0].map((x) => share(plot, x + .7 / count) - share(plot, x)) } } });
  };

  const series = (chart, item, index) => {
    const base = { label: item.name, stroke: color(index), width: 2, value: (_, value) => shown(value), spanGaps: true };
    if (item.kind === "points") return { ...base, paths: () => null, points: { show: true, size: 6, fill: color(index) } };
    if (item.kind === "bars") return { ...base, fill: color(index) + "66", paths: bars(index, chart.series.length), points: { show: false } };
    return { ...base, points: { show: item.values.length < 60, size: 5 }, dash: index % 2 ? [8, 3] : undefined };
  };

  const draw = (chart, parent) => {
    const figure = element("figure", "", parent);
    figure.dataset.chart = chart.id;
    element("h4", chart.title, figure);
    const box = element("div", "", figure);
    const caption = element("figcaption", chart.caption, figure);
    for (const finding of chart.findings || []) {
      const link = element("a", finding.label, caption);
      link.className = `tag ${finding.level}`; link.href = finding.href;
    }
    const names = chart.x.names, x = names ? names.map((_, index) => index) : chart.x.values;
    const positive = (values) => chart.y.log ? values.map((value) => value > 0 ? value : null) : values;
    const values = [x, ...chart.series.map((item) => positive(item.values))];
    const axis = { stroke: css("--faint"), grid: { stroke: css("--edge"), width: 1 }, ticks: { stroke: css("--edge") } };
    const range = (plot, low, high) => {
      if (chart.y.limits) return chart.y.limits;
      if (low == null) [low, high] = [1, 1];
      const extra = [...chart.lines.map((item) => item.y), ...chart.bands.flatMap((band) => band.axis === "y" ? [band.from, band.to] : [])].filter((value) => !chart.y.log || value > 0);
      const least = Math.min(low, ...extra), most = Math.max(high, ...extra);
      if (chart.y.log) return [10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(most) + 1e-9)];
      const pad = (most - least || Math.abs(most) || 1) * .08;
      return [chart.y.from_zero ? 0 : least - pad, most + pad];
    };
    const decades = (low, high) => { const ticks = []; for (let power = Math.ceil(Math.log10(low) - 1e-9); power <= Math.log10(high) + 1e-9; power += 1) ticks.push(10 ** power); const every = Math.ceil(ticks.length / 7); return ticks.filter((_, index) => index % every === 0); };
    const splits = (log) => log ? (plot, axis, low, high) => decades(low, high) : undefined;
    const kept = (_, ticks) => ticks;
    const positions = (plot, axis, low, high) => {
      const first = Math.max(0, Math.ceil(low)), last = Math.min(names.length - 1, Math.floor(high));
      const every = Math.max(1, Math.ceil((last - first + 1) * (wide ? 22 : 30) / Math.max(plot.bbox.width / devicePixelRatio, 200)));
      return Array.from({ length: Math.floor((last - first) / every) + 1 }, (_, index) => first + index * every);
    };
    const labels = Math.min(new Set(chart.marks.map((mark) => mark.label)).size, LABELS);
    const short = (name) => name.length <= 15 ? name : name.includes(" ") ? name.slice(0, 14) + "\u2026" : "\u2026" + name.slice(-14);
    const broken = (name) => short(name).replaceAll(" ", "\n"); // a few short words stand below one another
    const crowded = names && 7 * Math.max(...names.map((name) => short(name).length)) > Math.max((box.clientWidth - 80) / names.length, 30);
    const breaks = crowded && names.length <= 4 && names.every((name) => short(name).split(" ").every((word) => word.length <= 10));
    const wide = crowded && !breaks; // such labels are slanted
    const options = {
      padding: [6 + 12 * labels, 12, 0, 0],
      width: Math.max(box.clientWidth, 240), height: 240,
      plugins: [overlay(chart)],
      scales: {
        x: { time: false, distr: chart.x.log ? 3 : 1, ...(names ? { range: [-0.6, names.length - 0.4] } : {}) },
        y: { distr: chart.y.log ? 3 : 1, range },
      },
      axes: [
        { ...axis, size: wide ? 72 : breaks ? 42 : names ? 28 : 40, incrs: !names && x.every(Number.isInteger) ? WHOLE : undefined, label: names ? undefined : chart.x.label, labelSize: 18, rotate: wide ? -40 : 0, splits: names ? positions : splits(chart.x.log), filter: kept,
          values: (_, ticks) => ticks.map((tick) => names ? (Number.isInteger(tick) && names[tick] !== undefined ? (breaks ? broken : short)(names[tick]) : "") : shown(tick)) },
        { ...axis, size: 56, splits: splits(chart.y.log), filter: kept,
          values: (_, ticks) => ticked(ticks) },
      ],
      series: [{ label: chart.x.label, value: (_, value) => value == null ? "" : names ? names[Math.round(value)] : shown(value) }, ...chart.series.map((item, index) => series(chart, item, index))],
      cursor: { drag: { x: true, y: false } },
    };
    const plot = new uPlot(options, values, box);
    drawn.push({ plot, box, chart, figure });
    return figure;
  };

  const histogram = (title, counts) => {
    const edges = counts.map((_, index) => 10 ** (-12 + (index + .5) / 4));
    return { id: `histogram-${title}`, title, caption: "Magnitudes, logarithmic; exact zeros stand at the left edge.", x: { label: "magnitude", values: edges, log: true }, y: { label: "values", from_zero: true }, series: [{ name: "values", values: counts, kind: "line" }], marks: [], lines: [], bands: [] };
  };

  const titles = { activation: "Activations", weight: "Weights", gradient: "Gradients of activations", weight_gradient: "Gradients of weights" };
  const choose = (section, name) => {
    const panel = section.querySelector(".histograms");
    const row = [...section.querySelectorAll("tr[data-histograms]")].find((item) => item.dataset.layer === name);
    if (!panel || !row) return;
    section.querySelectorAll("tr.chosen").forEach((item) => item.classList.remove("chosen"));
    row.classList.add("chosen");
    for (let index = drawn.length - 1; index >= 0; index--) if (panel.contains(drawn[index].figure)) { drawn[index].plot.destroy(); drawn.splice(index, 1); }
    panel.replaceChildren();
    const counts = JSON.parse(row.dataset.histograms);
    for (const kind of Object.keys(titles)) if (counts[kind]) draw(histogram(`${titles[kind]}: ${name}`, counts[kind]), panel);
  };

  for (const holder of document.querySelectorAll("[data-charts]")) for (const chart of data[holder.dataset.charts] || []) draw(chart, holder);
  new ResizeObserver(() => drawn.forEach(({ plot, box }) => { const width = Math.max(box.clientWidth, 240); if (Math.abs(plot.width - width) > 1) plot.setSize({ width, height: 240 }); })).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const item of drawn.splice(0)) { const fresh = draw(item.chart, item.figure.parentNode); item.plot.destroy(); item.figure.replaceWith(fresh); }
  });

  const pressed = new Set(["error", "warning", "info"]);
  const search = document.getElementById("search");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const finding of document.querySelectorAll(".finding")) {
      const text = finding.textContent.toLowerCase();
      finding.hidden = !pressed.has(finding.dataset.level) || !words.every((word) => text.includes(word));
    }
  };
  search.addEventListener("input", filter);
  for (const button of document.querySelectorAll("button[data-level]")) button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    if (on) pressed.add(button.dataset.level); else pressed.delete(button.dataset.level);
    filter();
  });
  for (const module of document.querySelectorAll(".module")) {
    const row = [...module.closest(".target").querySelectorAll("tr[data-histograms]")].find((item) => item.dataset.layer === module.dataset.module);
    if (row) { module.tabIndex = 0; module.setAttribute("role", "button"); }
  }
  document.addEventListener("click", (event) => {
    const show = event.target.closest("button[data-show]");
    if (show) { const section = show.closest(".target"); choose(section, show.dataset.show); section.querySelector(".histograms").scrollIntoView({ block: "center" }); return; }
    const row = event.target.closest("tr[data-histograms]"), module = event.target.closest(".module");
    if (row) choose(row.closest(".target"), row.dataset.layer);
    else if (module) choose(module.closest(".target"), module.dataset.module);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input")) { if (event.key === "Escape") { search.value = ""; filter(); search.blur(); } return; }
    if (event.key === "/") { event.preventDefault(); search.focus(); return; }
    const chosen = event.target.closest && event.target.closest("tr[data-histograms], .module[tabindex]");
    if (chosen && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); choose(chosen.closest(".target"), chosen.dataset.layer || chosen.dataset.module); return; }
    if (event.key !== "j" && event.key !== "k") return;
    const findings = [...document.querySelectorAll(".finding:not([hidden])")];
    const at = findings.indexOf(document.activeElement);
    const next = findings[at < 0 ? 0 : Math.min(Math.max(at + (event.key === "j" ? 1 : -1), 0), findings.length - 1)];
    if (next) { next.focus(); next.scrollIntoView({ block: "center" }); }
  });
  for (const graph of document.querySelectorAll(".graph")) graph.scrollLeft = graph.querySelector(".here").offsetLeft - graph.clientWidth / 2 + 60;
  document.documentElement.dataset.ready = "yes";
})();
