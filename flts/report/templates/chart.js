"use strict";
// Draws every .chart of a page with uPlot from the JSON in it, which flts/report/charts.py writes. A drag zooms, a
// double click or Escape shows everything, arrow keys move the cursor; charts over time zoom and point together.
// The forecast server's page draws charts of its own with `charting`.
const charting = (() => {
  const WIDTHS = {under: 3, thin: 1.1}, DASHES = {persistence: [4, 3], recursive: [7, 4]};
  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
  const TOP = 20, RIGHT = 24, LEFT = 52, LANE = 10, TAP = 10; // pixels
  const HINT = matchMedia("(pointer: coarse)").matches ? "Touch to read, pinch to zoom, double-tap to show all."
    : "Drag to zoom, double-click to show all. Keyboard: arrow keys read values, + and \u2212 zoom, Esc shows all.";
  const charts = [];

  // Charts with the same meaning of x act together. A range and a place are values of x; null: all, none.

  const linked = chart => chart.x.time ? charts.filter(other => other.x.time) : [chart];
  const point = (chart, place) => linked(chart).forEach(other => other.point(place));

  function zoom(chart, range) {
    const at = chart.at;
    linked(chart).forEach(other => other.show(range));
    queueMicrotask(() => point(chart, at)); // again, after uPlot has drawn the range
  }

  function add(parent, tag, name, text = "") {
    return parent.appendChild(Object.assign(document.createElement(tag), {className: name, textContent: text}));
  }

  function positions([first, ...runs]) { // a first one, then each step and how often it comes
    const xs = first === undefined ? [] : [first];
    for (let i = 0; i < runs.length; i += 2)
      for (let n = 0; n < runs[i + 1]; n++) xs.push(xs.at(-1) + runs[i]);
    return xs;
  }

  function nearest(xs, x) {
    let low = 0, high = xs.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle; else high = middle;
    }
    return x - xs[low] < xs[high] - x ? low : high;
  }

  class Chart {
    constructor(element, spec) {
      const {x, y, lines} = spec;
      Object.assign(this, {element, spec, x, y, lines, style: getComputedStyle(element)});
      this.data = uPlot.join(lines.map(line => [positions(line.x), ...line.y]));
      const [all, ...series] = this.data;
      this.rows = all.map((_, row) => row).filter(row => series.some(ys => ys[row] != null)); // with a value
      this.xs = this.rows.map(row => all[row]);
      this.whole = this.shown = x.size ? [0, x.size] : [-0.5, 0.5];
      this.index = null; // of the cursor, in rows and xs
      this.readout = add(element, "div", "readout");
      this.announcement = add(element, "div", "announcement");
      this.announcement.setAttribute("aria-live", "polite");
      this.reset = add(element, "button", "reset", "Show all");
      this.readout.hidden = this.reset.hidden = true;
      this.u = new uPlot(this.options(), this.data, element);
      this.listen();
    }

    get range() { return this.shown.map(n => this.place(n)); }
    get at() { return this.index === null ? null : this.place(this.xs[this.index]); }
    get zoomed() { return this.shown !== this.whole; }

    place(n) { return this.x.low + n * this.x.unit; }
    position(place) { return (place - this.x.low) / this.x.unit; }
    colour(name) { return this.style.getPropertyValue(`--${name}`); }

    // Actions of readers.

    show(range) {
      const [first, last] = this.whole, [low, high] = range ? range.map(place => this.position(place)) : this.whole;
      if (high < first || low > last) return; // outside this chart
      const width = Math.min(Math.max(high - low, 4 * last / Math.max(8, this.xs.length)), last - first);
      const start = Math.max(first, Math.min((low + high - width) / 2, last - width));
      this.shown = width < last - first ? [start, start + width] : this.whole;
      this.reset.hidden = !this.zoomed;
      this.u.setScale("x", {min: this.shown[0], max: this.shown[1]});
    }

    point(place) {
      const n = place === null ? NaN : this.position(place), inside = n >= this.shown[0] && n <= this.shown[1];
      this.u.setCursor(inside ? {left: this.u.valToPos(n, "x"), top: 0} : {left: -10, top: -10});
    }

    step(count) { // by points, from where the cursor is
      if (!this.xs.length) return;
      const from = this.index ?? nearest(this.xs, this.shown[count > 0 ? 0 : 1]) - Math.sign(count);
      const next = this.xs[Math.max(0, Math.min(this.xs.length - 1, from + count))];
      const [low, high] = this.shown, width = high - low, start = Math.max(Math.min(low, next), next - width);
      if (start !== low) zoom(this, [start, start + width].map(n => this.place(n)));
      queueMicrotask(() => {
        point(this, this.place(next));
        this.announcement.textContent = [...this.readout.children].map(row => row.textContent).join("; ");
      });
    }

    listen() {
      const {u, element} = this, all = () => zoom(this, null);
      this.reset.addEventListener("click", all);
      u.over.addEventListener("dblclick", all);
      for (const [target, name] of [[u.over, "mouseleave"], [element, "blur"]])
        target.addEventListener(name, () => point(this, null));
      element.addEventListener("keydown", event => press(this, event));
      touch(this, u.over);
    }

    moved(u) { // the cursor, here
      if (u.cursor.left < 0) this.index = null;
      this.read();
      if (u.over.matches(":hover")) linked(this).forEach(other => other === this || other.point(this.at));
    }

    read() {
      const {readout, u, x, y, element} = this, row = this.rows[this.index];
      readout.hidden = this.index === null;
      if (readout.hidden) return;
      const height = (u.scales.y.max - u.scales.y.min) * y.unit;
      const decimals = Math.max(0, Math.min(y.decimals, 4 - Math.ceil(Math.log10(height)))); // that can be seen
      const value = n => y.low + n * y.unit;
      const text = n => y.log ? String(Number((10 ** value(n)).toPrecision(4))) : ticks.number(value(n), decimals);
      readout.replaceChildren();
      add(readout, "div", "place", x.time ? ticks.moment(this.at, x) : `${x.label} ${ticks.number(this.at, 4)}`.trim());
      let column = 1;
      for (const line of this.lines) {
        const [low, high = low] = line.y.map(() => this.data[column++][row]);
        if (low == null) continue;
        const entry = add(readout, "div", "");
        add(entry, "i", `key line ${line.style}`);
        entry.append(`${line.name} `);
        add(entry, "b", "", low === high ? text(low) : `${text(low)} to ${text(high)}`);
      }
      const aside = !element.matches(":hover, :focus"); // a linked chart shows its values in one row
      readout.classList.toggle("aside", aside);
      const cursor = u.over.offsetLeft + u.cursor.left, width = readout.offsetWidth;
      const left = cursor > element.clientWidth / 2 ? cursor - width - 12 : cursor + 12;
      readout.style.left = aside ? "auto" : `${Math.max(0, Math.min(left, element.clientWidth - width))}px`;
    }

    // The options of uPlot.

    options() {
      const {x, y, spec} = this, lanes = spec.lanes.length ? 5 + LANE * spec.lanes.length : 0;
      const below = this.below = lanes + 26 + (x.time ? 16 : 0) + (x.label ? 18 : 0);
      const whole = !x.time && Number.isInteger(x.unit);
      const xTicks = x.time ? ticks.time : (low, high, count) => ticks.linear(low, high, count, whole);
      const yTicks = y.log ? ticks.logarithmic : ticks.linear;
      const across = u => Math.max(4, u.bbox.width / devicePixelRatio / 90), up = () => Math.max(5, spec.height / 36);
      return {
        ...this.series(), width: this.width(), height: TOP + spec.height + below, padding: [TOP, RIGHT, 0, 0],
        legend: {show: false},
        scales: {
          x: {time: false, min: this.whole[0], max: this.whole[1], range: (_, low, high) => [low, high]},
          y: {range: (_, low, high) => this.yRange(low, high)},
        },
        axes: [
          {...this.axis(x, "soft", xTicks, across), size: below, gap: lanes + 8},
          {
            ...this.axis(y, "ink", yTicks, up), gap: 8,
            size: (_, labels) => Math.max(LEFT, ...(labels ?? []).map(label => 16 + 7 * label.length)),
          },
        ],
        cursor: {
          y: false, points: {size: 7}, bind: {dblclick: () => null},
          drag: {x: true, y: false, setScale: false, dist: 5},
          move: (u, left, top) => this.snap(u, left, top), dataIdx: () => this.rows[this.index],
        },
        hooks: {
          drawClear: [u => this.paint(u, brush => this.under(brush))],
          draw: [u => this.paint(u, brush => this.over(brush))],
          setCursor: [u => this.moved(u)],
          setSelect: [u => {
            const {left, width} = u.select;
            if (width > 0) zoom(this, [left, left + width].map(px => this.place(u.posToVal(px, "x"))));
            u.setSelect({left: 0, width: 0}, false);
          }],
        },
      };
    }

    width() { return Math.max(1, this.element.clientWidth); }

    snap(u, left, top) { // the cursor, to the nearest point
      if (left < 0 || !this.xs.length) return [-10, -10];
      this.index = nearest(this.xs, u.posToVal(left, "x"));
      return [u.valToPos(this.xs[this.index], "x"), top];
    }

    yRange(low, high) {
      if (low === null) return [0, 1];
      const zero = this.y.zero ? -this.y.low / this.y.unit : Infinity, from = Math.min(low, zero);
      const margin = (high - from) * 0.1 || 5000; // a constant, in the middle of its axis
      return [from === zero ? from : from - margin, high + margin];
    }

    axis(scale, colour, round, count) {
      let labels = [];
      return {
        font: `12px ${FONT}`, stroke: () => this.colour(colour), ticks: {show: false},
        grid: {stroke: () => this.colour("grid"), width: 1},
        incrs: (_, __, low, high) => [Math.max(10, high - low)], // any value is accepted: splits computes its own steps
        splits: (u, _, low, high) => {
          const found = round(scale.low + low * scale.unit, scale.low + high * scale.unit, Math.floor(count(u)));
          labels = found.map(tick => tick[1]);
          return found.map(([value]) => (value - scale.low) / scale.unit);
        },
        values: () => labels,
      };
    }

    series() { // a line with several rows a point is two, lowest and highest, with a band between; so is an area
      const series = [{}], bands = [];
      for (const line of this.lines) {
        const [name, weight] = line.style.split(" "), stroke = () => this.colour(name), area = name === "interval";
        const filter = (_, n, shown) => shown ? null : this.alone(this.data[n]);
        const look = {
          stroke, pxAlign: 0, width: area ? 0 : WIDTHS[weight] ?? 1.8, dash: DASHES[name], alpha: weight === "under" ? 0.6 : 1,
          points: area ? {show: false} : {size: 5, width: 0, space: 12, fill: stroke, filter},
        };
        const between = [series.length + 1, series.length];
        if (line.y.length > 1) bands.push({series: between, fill: () => stroke() + (area ? "" : this.density())});
        series.push(...line.y.map(() => look));
      }
      return {series, bands};
    }

    alone(ys) { return this.rows.filter(row => ys[row] != null && ys[row - 1] == null && ys[row + 1] == null); }

    density() { // many rows look solid until the chart is zoomed
      return this.shown[1] - this.shown[0] < this.whole[1] / 4 ? "40" : "c0";
    }

    // Drawing around the plot, on its canvas.

    paint(u, draw) {
      const {ctx, bbox} = u, ratio = devicePixelRatio, right = bbox.left + bbox.width, bottom = bbox.top + bbox.height;
      const x = n => u.valToPos(n, "x", true), y = n => u.valToPos(n, "y", true);
      const within = n => Math.min(Math.max(x(n), bbox.left), right);
      const write = (text, left, top, textAlign, colour = "soft", weight = "") => {
        Object.assign(ctx, {font: `${weight} ${11 * ratio}px ${FONT}`, textAlign, fillStyle: this.colour(colour)});
        ctx.fillText(text, left, top);
      };
      ctx.save();
      ctx.textBaseline = "alphabetic";
      draw({ctx, bbox, ratio, right, bottom, x, y, within, write});
      ctx.restore();
    }

    under({ctx, bbox, ratio, within, write}) {
      for (const [start, stop, label, colour] of this.spec.bands) {
        const left = within(start), width = within(stop) - left;
        ctx.fillStyle = this.colour(colour);
        ctx.fillRect(left, bbox.top, width, bbox.height);
        if (width > 7 * ratio * label.length) write(label, left + width / 2, bbox.top - 6 * ratio, "center");
      }
      write(this.y.label, 0, bbox.top - 6 * ratio, "left");
    }

    over(brush) {
      const {ctx, bbox, ratio, bottom, write} = brush;
      this.spec.lanes.forEach((lane, row) => this.lane(brush, lane, bottom + (7 + row * LANE) * ratio));
      write(this.x.label, bbox.left + bbox.width / 2, bottom + (this.below - 4) * ratio, "center");
      ctx.beginPath();
      ctx.rect(bbox.left - 4 * ratio, bbox.top - 4 * ratio, bbox.width + 8 * ratio, bbox.height + 8 * ratio);
      ctx.clip();
      this.spec.dots.forEach(dots => this.rings(brush, dots));
      this.spec.rules.forEach(rule => this.rule(brush, ...rule));
    }

    lane({ctx, bbox, ratio, within, write}, {label, style, start, stop, levels}, top) {
      write(label, bbox.left - 6 * ratio, top + 8 * ratio, "right");
      ctx.fillStyle = this.colour(style);
      const cell = (stop - start) / levels.length;
      [...levels].forEach((level, n) => {
        const left = within(start + n * cell), right = within(start + (n + 1) * cell);
        ctx.globalAlpha = [0, 0.5, 0.65, 0.8, 1][level];
        if (level > 0 && right > left) ctx.fillRect(left, top, Math.max(right - left, ratio), (LANE - 3) * ratio);
      });
      ctx.globalAlpha = 1;
    }

    rings({ctx, ratio, x, y}, dots) {
      const colours = {fillStyle: this.colour("paper"), strokeStyle: this.colour(dots.style)};
      Object.assign(ctx, {...colours, lineWidth: 1.6 * ratio});
      dots.x.forEach((n, i) => {
        if (dots.y[i] === null) return;
        ctx.beginPath();
        ctx.arc(x(n), y(dots.y[i]), 3 * ratio, 0, 2 * Math.PI);
        ctx.fill();
        ctx.stroke();
      });
    }

    rule({ctx, bbox, ratio, bottom, x, write}, n, label) {
      const left = Math.round(x(n)) + 0.5, after = left < bbox.left + 0.6 * bbox.width;
      Object.assign(ctx, {strokeStyle: this.colour("ink"), lineWidth: ratio});
      ctx.setLineDash([3 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bottom);
      ctx.stroke();
      write(label, left + (after ? 5 : -5) * ratio, bbox.top + 12 * ratio, after ? "left" : "right", "ink", "600");
    }
  }

  function press(chart, event) {
    const scale = factor => {
      const [low, high] = chart.range, middle = chart.at ?? (low + high) / 2;
      zoom(chart, [low, high].map(place => middle + (place - middle) * factor));
    };
    const many = event.shiftKey ? 10 : 1;
    const action = {
      ArrowLeft: () => chart.step(-many), ArrowRight: () => chart.step(many),
      Home: () => chart.step(-Infinity), End: () => chart.step(Infinity),
      "+": () => scale(1 / 2), "=": () => scale(1 / 2), "-": () => scale(2), Escape: () => zoom(chart, null),
    }[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  }

  function touch(chart, over) { // one finger reads, or pans a zoomed chart; two zoom; a double tap shows all
    const fingers = new Map();
    let start = null, tapped = 0, moved = false;
    const middle = () => [...fingers.values()].reduce((sum, px) => sum + px, 0) / fingers.size;
    const apart = () => Math.max(TAP, Math.max(...fingers.values()) - Math.min(...fingers.values()));
    const put = event => fingers.set(event.pointerId, event.clientX - over.getBoundingClientRect().left);
    const begin = () => { start = {range: chart.range, middle: middle(), apart: apart()}; };
    const on = (name, act) => over.addEventListener(name, event => { if (event.pointerType === "touch") act(event); });
    const lift = event => {
      fingers.delete(event.pointerId);
      begin();
    };
    on("pointerdown", event => {
      put(event);
      moved = fingers.size > 1;
      begin();
    });
    on("pointermove", event => {
      if (!fingers.has(event.pointerId)) return;
      put(event);
      moved ||= Math.abs(middle() - start.middle) > TAP;
      if (!moved) return;
      const [low, high] = start.range, place = px => low + px / over.clientWidth * (high - low);
      if (fingers.size === 1 && !chart.zoomed) return point(chart, place(middle()));
      const width = (high - low) * start.apart / apart();
      const left = place(start.middle) - middle() / over.clientWidth * width;
      zoom(chart, [left, left + width]);
    });
    on("pointerup", event => {
      if (!moved && event.timeStamp - tapped < 350) zoom(chart, null);
      tapped = moved ? 0 : event.timeStamp;
      lift(event);
    });
    on("pointercancel", lift);
  }

  const resized = new ResizeObserver(entries => {
    for (const chart of charts.filter(({element}) => entries.some(entry => entry.target === element))) {
      chart.point(null); // its position would be wrong
      chart.u.setSize({width: chart.width(), height: chart.u.height});
    }
  });

  function draw(element, spec) {
    charts.push(new Chart(element, spec));
    element.tabIndex = 0;
    element.setAttribute("role", "application"); // so that screen readers leave it the arrow keys
    resized.observe(element);
  }

  function discard(element) {
    const place = charts.findIndex(chart => chart.element === element);
    if (place < 0) return;
    resized.unobserve(element);
    charts.splice(place, 1)[0].u.destroy();
  }

  for (const element of document.querySelectorAll(".chart"))
    draw(element, JSON.parse(element.querySelector("script").textContent));
  if (charts.length) add(charts[0].element.parentElement, "p", "hint", HINT);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(({u}) => u.redraw(false)));
  return {draw, discard, HINT};
})();
