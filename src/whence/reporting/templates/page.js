"use strict";
// Charts and tables of the page. What stands in it is readable without: this makes it interactive.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("scheme");
  let chosen = null;

  const isDark = () => (chosen === null ? dark.matches : chosen);
  const applyScheme = () => {
    root.classList.toggle("dark", isDark());
    button.textContent = isDark() ? "Light" : "Dark";
  };

  // A script that stands compressed in the page, as an address of its own.
  const unpacked = async (id) => {
    const packed = atob(document.getElementById(id).textContent);
    const bytes = Uint8Array.from(packed, (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = await new Response(stream).arrayBuffer();
    return URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  };
  const loadCharts = async () => {
    const address = await unpacked("charts-script");
    await new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address;
      script.onload = resolve;
      script.onerror = reject;
      document.head.append(script);
    });
    URL.revokeObjectURL(address);
  };
  const loadTables = async () => {
    const address = await unpacked("tables-script");
    const module = await import(address);
    URL.revokeObjectURL(address);
    return module;
  };
  let charts = null;
  let tables = null;

  // "@1/30" is the first colour of the page at 30% opacity.
  const coloured = (value, style) => {
    if (typeof value === "string" && /^@[a-z0-9]+(\/\d+)?$/.test(value)) {
      const [name, opacity] = value.slice(1).split("/");
      const own = /^\d/.test(name) ? `--c${name}` : `--${name}`;
      const colour = style.getPropertyValue(own).trim();
      if (!opacity) return colour;
      const part = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
      return `rgba(${part.join(",")},${opacity / 100})`;
    }
    if (Array.isArray(value)) return value.map((one) => coloured(one, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, style)]));
    }
    return value;
  };
  const merged = (own, usual) => {
    const all = { ...usual, ...own };
    for (const key of Object.keys(usual)) {
      if (own[key] && typeof usual[key] === "object") all[key] = { ...usual[key], ...own[key] };
    }
    return all;
  };
  const layoutOf = (figure, style) => {
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--soft"), linecolor: colour("--line"), exponentformat: "power" };
    return merged(figure.layout, {
      autosize: true,
      margin: { l: 56, r: 16, t: 12, b: 48 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
      colorway: [1, 2, 3, 4, 5, 6].map((n) => colour(`--c${n}`)),
      hoverlabel: { bgcolor: colour("--panel"), font: { color: colour("--ink") } },
      xaxis: axis,
      yaxis: axis,
    });
  };
  // On a narrow page labels take two short lines, so that there is room for what they name.
  const wrapped = (label) => {
    const lines = [""];
    for (const word of label.split(/\s+/)) {
      const longer = `${lines[lines.length - 1]} ${word}`.trim();
      if (longer.length > 16 && lines[lines.length - 1]) lines.push(word);
      else lines[lines.length - 1] = longer;
    }
    return lines.length > 2 ? `${lines.slice(0, 2).join("<br>")}…` : lines.join("<br>");
  };
  const narrowed = (layout) => {
    if (layout.yaxis.ticktext) {
      layout.yaxis.ticktext = layout.yaxis.ticktext.map(wrapped);
      layout.yaxis.tickfont = { size: 11 };
    }
    if (!layout.xaxis.tickvals) layout.xaxis.nticks = 5;
  };
  const draw = (plot) => {
    const style = getComputedStyle(root);
    const figure = coloured(JSON.parse(plot.parentElement.querySelector("script").textContent), style);
    if (plot.clientWidth < 520) narrowed(figure.layout);
    const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
    return Plotly.react(plot, figure.data, layoutOf(figure, style), options);
  };
  const tabulate = (table, module) => {
    const n = table.tBodies[0].rows.length;
    if (n < 2) return;
    new module.default(table, {
      order: [],
      autoWidth: false,
      pageLength: 10,
      lengthMenu: [10, 25, 50, 100, 500],
      paging: n > 10,
      searching: n > 5,
      info: n > 10,
      layout: { topStart: n > 10 ? "pageLength" : null, topEnd: n > 5 ? "search" : null,
                bottomStart: n > 10 ? "info" : null, bottomEnd: n > 10 ? "paging" : null },
      language: { search: "Filter:" },
    });
  };
  const isClosed = (element) => element.closest("details:not([open])") !== null;
  const breath = () => new Promise((resolve) => setTimeout(resolve, 0));
  const isNear = (element) => element.getBoundingClientRect().top < 2 * innerHeight;

  const make = async (element) => {
    if (element.dataset.done || isClosed(element)) return;
    element.dataset.done = "true";
    if (element.tagName === "TABLE") {
      tables = tables || loadTables();
      tabulate(element, await tables);
    } else {
      charts = charts || loadCharts();
      await charts;
      await draw(element);
    }
  };
  // Draw the charts and make the tables of a part of the page: what is in sight first.
  const enhance = async (part, seen = () => {}) => {
    const all = [...part.querySelectorAll(".plot, table")];
    const near = all.filter(isNear);
    for (const element of near) await make(element);
    seen();
    for (const element of all) {
      if (element.dataset.done) continue;
      await breath();
      await make(element);
    }
  };
  document.addEventListener(
    "toggle",
    (event) => {
      for (const table of event.target.querySelectorAll("table")) make(table);
    },
    true,
  );
  const again = async () => {
    applyScheme();
    for (const plot of document.querySelectorAll(".plot.js-plotly-plot")) await draw(plot);
  };

  applyScheme();
  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = !isDark();
    again();
  });
  dark.addEventListener("change", again);
  addEventListener("beforeprint", () => {
    root.classList.remove("dark");
    for (const plot of document.querySelectorAll(".plot[data-done]")) draw(plot);
  });
  addEventListener("afterprint", again);
  window.whence = { enhance };
  // What tests, and other programs that look at the page, may wait for.
  const said = (name) => {
    root.dataset[name] = "true";
  };
  enhance(document, () => said("ready")).then(() => said("complete"));
})();
