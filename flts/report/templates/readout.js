"use strict";
// A crosshair that reads a chart's values from its own lines. The page is complete without it.
for (const chart of document.querySelectorAll(".chart[data-axes]")) {
  const axes = JSON.parse(chart.dataset.axes), plot = chart.querySelector(".plot");
  const lines = [...chart.querySelectorAll("path[data-name]")].map(path => {
    const points = new Map(); // x -> [lowest, highest], in the chart's coordinates
    let x = 0;
    for (const [, command, numbers] of path.getAttribute("d").matchAll(/([MLV])([^MLVh]*)/g)) {
      const parts = numbers.split(" ").map(Number), y = parts.at(-1);
      if (command !== "V") x = parts[0];
      const [low, high] = points.get(x) ?? [y, y];
      points.set(x, [Math.max(low, y), Math.min(high, y)]); // y grows downwards
    }
    return {name: path.dataset.name, xs: [...points.keys()], points};
  });
  const nearest = (xs, x) => {
    let low = 0, high = xs.length - 1;
    while (high - low > 1) { const middle = (low + high) >> 1; xs[middle] < x ? low = middle : high = middle; }
    return x - xs[low] < xs[high] - x ? xs[low] : xs[high];
  };
  const unscale = ([low, high], share, log) => log ? low * (high / low) ** share : low + (high - low) * share;
  const rounded = (value, [low, high]) => { // to a thousandth of the axis: what a drawn line can tell
    const exponent = Math.floor(Math.log10(high - low)) - 3, step = 10 ** exponent;
    const text = {minimumFractionDigits: 0, maximumFractionDigits: Math.min(20, Math.max(0, -exponent))};
    return (Math.round(value / step) * step).toLocaleString("en", text).replaceAll(",", "\u202f");
  };
  const number = y => {
    const value = unscale(axes.y, 1 - y / axes.height, axes.log);
    return axes.log ? value.toPrecision(3) : rounded(value, axes.y);
  };
  const place = x => {
    const value = unscale(axes.x, x / 1000, false), length = axes.x[1] - axes.x[0] > 864e8 ? 16 : 19;
    return axes.time ? new Date(value / 1000).toISOString().slice(0, length).replace("T", " ") : rounded(value, axes.x);
  };
  const cursor = chart.appendChild(Object.assign(document.createElement("div"), {className: "cursor", hidden: true}));
  const readout = chart.appendChild(Object.assign(document.createElement("div"), {className: "readout", hidden: true}));
  const hide = () => { cursor.hidden = readout.hidden = true; };
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("pointermove", event => {
    const box = plot.getBoundingClientRect(), x = 1000 * (event.clientX - box.left) / box.width;
    const near = lines.filter(line => line.xs.length).map(line => ({...line, x: nearest(line.xs, x)}));
    if (!near.length || x < -20 || x > 1020) return hide();
    const at = near.reduce((best, line) => Math.abs(line.x - x) < Math.abs(best.x - x) ? line : best).x;
    readout.replaceChildren(place(at), ...near.filter(line => Math.abs(line.x - at) < 2).map(line => {
      const row = document.createElement("div"), value = document.createElement("b");
      const [low, high] = line.points.get(line.x).map(number);
      value.textContent = low === high ? low : `${low} to ${high}`;
      row.append(line.name, value);
      return row;
    }));
    cursor.hidden = readout.hidden = false;
    const offset = box.left - chart.getBoundingClientRect().left + at / 1000 * box.width;
    cursor.style.left = `${offset}px`;
    cursor.style.height = `${axes.height}px`;
    readout.style.left = `${Math.max(0, offset > chart.clientWidth / 2 ? offset - readout.offsetWidth - 10 : offset + 10)}px`;
  });
}
