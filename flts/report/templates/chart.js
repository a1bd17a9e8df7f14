"use strict";
// Draws every .chart of a page from the JSON in it (written by flts/report/charts.py) with uPlot. Drag zooms, a double
// click or Escape shows everything, arrow keys read values; charts over time zoom together and share the cursor.
(() => {
  const SECOND = 1e6, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR; // times are microseconds
  const TIME_STEPS = [
    ...[1, 2, 5, 10, 20, 50, 100, 200, 500].map(n => n * 1000),
    ...[1, 2, 5, 10, 15, 30].flatMap(n => [n * SECOND, n * MINUTE]), ...[1, 2, 3, 6, 12].map(n => n * HOUR),
    ...[1, 2, 4, 7, 14].map(n => n * DAY),
  ].sort((a, b) => a - b);
  const MONTH_STEPS = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400];
  const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
  const WIDTHS = {under: 3, thin: 1.1}, DASHES = {persistence: [4, 3], recursive: [7, 4]};
  const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
  const TOP = 20, LANE = 10, EDGE = 52, TAP = 10;
  const charts = [];

  // Numbers and times as people read them.

  const fixed = (value, decimals, least = decimals) => value.toLocaleString("en", {
    minimumFractionDigits: Math.min(20, least), maximumFractionDigits: Math.min(20, decimals), signDisplay: "negative",
  }).replaceAll(",", "\u202f").replace("-", "\u2212");

  function scientific(value, digits) {
    const [mantissa, exponent] = value.toExponential(digits).split("e");
    const raised = [...String(Number(exponent))].map(sign => sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign]).join("");
    return `${mantissa.replace("-", "\u2212")}×10${raised}`;
  }

  function number(value, decimals) {
    const size = Math.abs(value);
    return size >= 1e15 || (size > 0 && size < 1e-4) ? scientific(value, 3) : fixed(value, decimals, 0);
  }

  function moment(time, axis) { // as fine as the axis' own positions
    const every = size => axis.low % size === 0 && axis.unit % size === 0;
    const text = new Date(time / 1000).toISOString().replace("T", " ");
    return text.slice(0, every(MINUTE) ? 16 : every(SECOND) ? 19 : 23);
  }

  // Ticks at round values: [value, label].

  function roundStep(width) {
    const power = 10 ** Math.floor(Math.log10(width));
    return [1, 2, 5, 10].map(n => n * power).find(step => step >= width * (1 - 1e-9));
  }

  function numberTicks(low, high, count, whole) {
    const step = Math.max(roundStep((high - low) / count), whole ? 1 : 0), values = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) values.push(n * step);
    const largest = Math.max(...values.map(Math.abs));
    const decimals = scale => Math.max(0, -Math.floor(Math.log10(step / scale) + 1e-9));
    if (largest >= 1e15 || largest < 1e-3) {
      const digits = decimals(10 ** Math.floor(Math.log10(largest)));
      return values.map(value => [value, value ? scientific(value, digits) : "0"]);
    }
    const [scale, unit] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]
      .find(([size]) => largest >= size * (size === 1e3 ? 10 : 1)) ?? [1, ""];
    return values.map(value => [value, fixed(value / scale, decimals(scale)) + (unit && value ? `\u202f${unit}` : "")]);
  }

  function logTicks(low, high, count) {
    const within = bases => {
      const values = [];
      for (let power = Math.floor(low); power <= high; power++)
        values.push(...bases.map(base => power + Math.log10(base)).filter(value => value >= low && value <= high));
      return values;
    };
    const chosen = [[1, 2, 5], [1, 3], [1]].map(within);
    const values = chosen.find(list => list.length <= count) ?? chosen[2];
    if (values.length < 2) return numberTicks(10 ** low, 10 ** high, count).map(([value, label]) => [Math.log10(value), label]);
    return values.filter((_, index) => index % Math.ceil(values.length / count) === 0).map(exponent => {
      const value = 10 ** exponent;
      return [exponent, value < 1e-4 || value >= 1e6 ? scientific(value, 0) : String(Number(value.toPrecision(1)))];
    });
  }

  function timeTicks(low, high, count) {
    const wanted = (high - low) / count, step = TIME_STEPS.find(size => size >= wanted), times = [];
    const months = step ? 0 : MONTH_STEPS.find(size => size * 30.5 * DAY >= wanted) ?? MONTH_STEPS.at(-1);
    if (step) {
      const offset = step % (7 * DAY) === 0 ? 4 * DAY : 0; // 1970-01-05 was a Monday
      for (let time = Math.ceil((low - offset) / step) * step + offset; time <= high; time += step) times.push(time);
    } else {
      const first = new Date(low / 1000), since1970 = (first.getUTCFullYear() - 1970) * 12 + first.getUTCMonth();
      const start = month => Date.UTC(1970, month) * 1000;
      for (let month = Math.ceil(since1970 / months) * months; start(month) <= high; month += months)
        if (start(month) >= low) times.push(start(month));
    }
    let shown = "";
    return times.map(time => {
      const date = new Date(time / 1000), clock = date.toISOString().slice(11, -1), year = String(date.getUTCFullYear());
      const month = MONTHS[date.getUTCMonth()], day = `${date.getUTCDate()} ${month}`;
      const [label, context] = months >= 12 ? [year, ""] : months ? [month, year] : step >= DAY ? [day, year]
        : [clock.slice(0, step < SECOND ? 12 : step < MINUTE ? 8 : 5), `${day} ${year}`];
      const text = context && context !== shown ? `${label}\n${context}` : label;
      shown = context;
      return [time, text];
    });
  }

  // Data: positions come as a first one, then steps and how often each comes.

  function positions([first, ...runs]) {
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

  const add = (parent, tag, name, text = "") =>
    parent.appendChild(Object.assign(document.createElement(tag), {className: name, textContent: text}));

  // What one chart does, those with the same meaning of x do too.

  const linked = chart => chart.time ? charts.filter(other => other.time) : [chart];
  const zoom = (chart, range) => linked(chart).forEach(other => other.show(range));
  const point = (chart, at) => linked(chart).forEach(other => other.point(at));

  function keys(chart, element) {
    const scale = factor => {
      const [low, high] = chart.range, middle = chart.at ?? (low + high) / 2;
      zoom(chart, [middle + (low - middle) * factor, middle + (high - middle) * factor]);
    };
    const actions = {
      ArrowLeft: many => chart.step(many ? -10 : -1), ArrowRight: many => chart.step(many ? 10 : 1),
      Home: () => chart.step(-Infinity), End: () => chart.step(Infinity),
      "+": () => scale(1 / 2), "=": () => scale(1 / 2), "-": () => scale(2), Escape: () => zoom(chart, null),
    };
    element.addEventListener("keydown", event => {
      if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      actions[event.key](event.shiftKey);
    });
    element.addEventListener("blur", () => point(chart, null));
  }

  function touch(chart, over) { // one finger reads, or moves what is zoomed; two zoom; a double tap shows everything
    const fingers = new Map();
    let start = null, tapped = 0, moved = false;
    const begin = () => { start = {range: chart.range, at: middle(), apart: apart()}; };
    const middle = () => [...fingers.values()].reduce((sum, at) => sum + at, 0) / fingers.size;
    const apart = () => Math.max(TAP, Math.max(...fingers.values()) - Math.min(...fingers.values()));
    const at = event => event.clientX - over.getBoundingClientRect().left;
    const on = (name, act) => over.addEventListener(name, event => { if (event.pointerType === "touch") act(event); });
    on("pointerdown", event => {
      fingers.set(event.pointerId, at(event));
      moved = fingers.size > 1;
      begin();
    });
    on("pointermove", event => {
      if (!fingers.has(event.pointerId)) return;
      fingers.set(event.pointerId, at(event));
      const [low, high] = start.range, width = over.clientWidth, value = px => low + px / width * (high - low);
      moved ||= Math.abs(middle() - start.at) > TAP;
      if (!moved) return;
      if (fingers.size === 1 && !chart.zoomed) return point(chart, value(middle()));
      const shown = (high - low) * start.apart / apart(), left = value(start.at) - middle() / width * shown;
      zoom(chart, [left, left + shown]);
    });
    on("pointerup", event => {
      if (!moved && event.timeStamp - tapped < 350) zoom(chart, null);
      tapped = moved ? 0 : event.timeStamp;
    });
    for (const name of ["pointerup", "pointercancel"])
      on(name, event => {
        fingers.delete(event.pointerId);
        begin();
      });
  }

  function draw(element, spec) {
    const {x, y, lines} = spec, style = getComputedStyle(element), colour = name => style.getPropertyValue(`--${name}`);
    const tables = lines.map(line => [positions(line.x), ...line.y]), data = uPlot.join(tables);
    const known = data[0].map((_, index) => index).filter(index => data.some((ys, n) => n && ys[index] != null));
    const xs = known.map(index => data[0][index]); // where there is something to read
    const whole = x.size ? [0, x.size] : [-0.5, 0.5], least = 4 * whole[1] / Math.max(8, xs.length);
    const place = value => x.low + value * x.unit, value = n => y.log ? 10 ** (y.low + n * y.unit) : y.low + n * y.unit;
    const xTicks = x.time ? timeTicks : (low, high, count) => numberTicks(low, high, count, Number.isInteger(x.unit));
    let shown = whole, index = null, u = null;

    const axis = (scale, ticks, space) => {
      let labels = [];
      return {
        font: FONT, stroke: () => colour(scale === x ? "soft" : "ink"), grid: {stroke: () => colour("grid"), width: 1},
        ticks: {show: false}, gap: 8,
        incrs: (_, __, low, high) => [Math.max(10, high - low)], // any; the ticks below are at round values of their own
        splits: (_, i, low, high) => {
          const found = ticks(scale.low + low * scale.unit, scale.low + high * scale.unit, Math.floor(space()));
          labels = found.map(tick => tick[1]);
          return found.map(([at]) => (at - scale.low) / scale.unit);
        },
        values: () => labels,
      };
    };
    const lanes = spec.lanes.length && 5 + LANE * spec.lanes.length;
    const below = lanes + 26 + (x.time ? 16 : 0) + (x.label ? 18 : 0);
    const series = [{}], bands = [];
    for (const line of lines) {
      const [name, weight] = line.style.split(" "), grouped = line.y.length > 1;
      const look = {
        pxAlign: 0,
        stroke: () => colour(name), width: WIDTHS[weight] ?? 1.8, dash: DASHES[name], alpha: weight === "under" ? 0.6 : 1,
        points: {size: 5, width: 0, fill: () => colour(name), space: 12, filter: (_, n, all) => all ? null : alone(data[n])},
      };
      if (grouped) bands.push({series: [series.length + 1, series.length], fill: () => colour(name) + fade()});
      for (const _ of line.y) series.push(look);
    }
    const alone = ys => known.filter(n => ys[n] != null && ys[n - 1] == null && ys[n + 1] == null);
    const fade = () => shown[1] - shown[0] < whole[1] / 4 ? "40" : "c0"; // many rows look solid until one looks closer

    function paint(u, paintOn) {
      const {ctx, bbox} = u, ratio = devicePixelRatio, at = n => u.valToPos(n, "x", true);
      const clip = n => Math.min(Math.max(at(n), bbox.left), bbox.left + bbox.width), bottom = bbox.top + bbox.height;
      const write = (text, left, top, align, name = "soft", weight = "") => {
        Object.assign(ctx, {font: `${weight} ${11 * ratio}px ${FONT.slice(5)}`, textAlign: align, fillStyle: colour(name)});
        ctx.fillText(text, left, top);
      };
      ctx.save();
      ctx.textBaseline = "alphabetic";
      paintOn({ctx, bbox, ratio, at, clip, bottom, write});
      ctx.restore();
    }
    const shade = u => paint(u, ({ctx, bbox, ratio, clip, write}) => {
      for (const [start, stop, label, name] of spec.bands) {
        const left = clip(start), right = clip(stop);
        ctx.fillStyle = colour(name);
        ctx.fillRect(left, bbox.top, right - left, bbox.height);
        if (right - left > 7 * ratio * label.length) write(label, (left + right) / 2, bbox.top - 6 * ratio, "center");
      }
      write(y.label, 0, bbox.top - 6 * ratio, "left");
    });
    const mark = u => paint(u, ({ctx, bbox, ratio, at, clip, bottom, write}) => {
      spec.lanes.forEach(({label, style: name, start, stop, levels}, row) => {
        const top = bottom + (7 + row * LANE) * ratio, cell = (stop - start) / levels.length;
        write(label, bbox.left - 6 * ratio, top + 8 * ratio, "right");
        ctx.fillStyle = colour(name);
        [...levels].forEach((level, n) => {
          const left = clip(start + n * cell), right = clip(start + (n + 1) * cell);
          ctx.globalAlpha = [0, 0.5, 0.65, 0.8, 1][level];
          if (level > 0 && right > left) ctx.fillRect(left, top, Math.max(right - left, ratio), (LANE - 3) * ratio);
        });
        ctx.globalAlpha = 1;
      });
      if (x.label) write(x.label, bbox.left + bbox.width / 2, bottom + (below - 4) * ratio, "center");
      ctx.beginPath();
      ctx.rect(bbox.left - 4 * ratio, bbox.top - 4 * ratio, bbox.width + 8 * ratio, bbox.height + 8 * ratio);
      ctx.clip();
      for (const dots of spec.dots) {
        Object.assign(ctx, {fillStyle: colour("paper"), strokeStyle: colour(dots.style), lineWidth: 1.6 * ratio});
        dots.x.forEach((n, i) => {
          if (dots.y[i] === null) return;
          ctx.beginPath();
          ctx.arc(at(n), u.valToPos(dots.y[i], "y", true), 3 * ratio, 0, 7);
          ctx.fill();
          ctx.stroke();
        });
      }
      for (const [n, label] of spec.rules) {
        const left = Math.round(at(n)) + 0.5, after = left < bbox.left + 0.6 * bbox.width;
        Object.assign(ctx, {strokeStyle: colour("ink"), lineWidth: ratio});
        ctx.setLineDash([3 * ratio, 3 * ratio]);
        ctx.beginPath();
        ctx.moveTo(left, bbox.top);
        ctx.lineTo(left, bottom);
        ctx.stroke();
        write(label, left + (after ? 5 : -5) * ratio, bbox.top + 12 * ratio, after ? "left" : "right", "ink", "600");
      }
    });

    const readout = add(element, "div", "readout"), said = add(element, "div", "said");
    const reset = add(element, "button", "reset", "Show all");
    readout.hidden = reset.hidden = true;
    said.setAttribute("aria-live", "polite");

    function read(u) {
      readout.hidden = index === null || u.cursor.left < 0;
      if (readout.hidden) return;
      const n = known[index], decimals = Math.max(0, Math.min(y.decimals, 4 - Math.ceil(Math.log10((u.scales.y.max - u.scales.y.min) * y.unit))));
      const text = v => y.log ? String(Number(value(v).toPrecision(4))) : number(value(v), decimals);
      const heading = x.time ? moment(place(data[0][n]), x) : `${x.label} ${number(place(data[0][n]), 4)}`.trim();
      readout.replaceChildren();
      add(readout, "div", "place", heading);
      readout.classList.toggle("aside", !element.matches(":hover, :focus")); // a linked chart: values only, in one row
      let column = 1;
      for (const line of lines) {
        const [low, high] = line.y.map(() => data[column++][n]);
        if (low == null) continue;
        const row = add(readout, "div", "");
        add(row, "i", `key line ${line.style}`);
        row.append(`${line.name} `);
        add(row, "b", "", high === undefined || high === low ? text(low) : `${text(low)} to ${text(high)}`);
      }
      const left = u.over.offsetLeft + u.cursor.left, width = readout.offsetWidth;
      const side = left > element.clientWidth / 2 ? left - width - 12 : left + 12;
      readout.style.left = readout.matches(".aside") ? "auto" : `${Math.max(0, Math.min(side, element.clientWidth - width))}px`;
    }

    const chart = {
      time: x.time,
      get range() { return shown.map(place); },
      get zoomed() { return shown !== whole; },
      show(range) { // in values of the x axis; null: everything
        let [low, high] = range ? range.map(at => (at - x.low) / x.unit) : whole;
        const width = Math.min(Math.max(high - low, least), whole[1] - whole[0]);
        if (range && (high < whole[0] || low > whole[1])) return; // nothing of this chart is there
        low = Math.max(whole[0], Math.min((low + high - width) / 2, whole[1] - width));
        shown = width < whole[1] - whole[0] ? [low, low + width] : whole;
        reset.hidden = !chart.zoomed;
        u.setScale("x", {min: shown[0], max: shown[1]});
      },
      point(at) { // the cursor; null: hidden
        const n = at === null ? -1 : (at - x.low) / x.unit;
        const inside = at !== null && n >= shown[0] - least && n <= shown[1] + least;
        u.setCursor(inside ? {left: u.valToPos(n, "x"), top: 0} : {left: -10, top: -10});
      },
      step(count) { // by points, from where the cursor is
        const from = index ?? nearest(xs, count > 0 ? shown[0] : shown[1]) - Math.sign(count);
        const next = xs[Math.max(0, Math.min(xs.length - 1, from + count))], width = shown[1] - shown[0];
        if (next < shown[0]) zoom(chart, [next, next + width].map(place));
        if (next > shown[1]) zoom(chart, [next - width, next].map(place));
        queueMicrotask(() => {
          point(chart, place(next));
          said.textContent = [...readout.childNodes].map(part => part.textContent).join("; ");
        });
      },
      get at() { return index === null ? null : place(xs[index]); },
      redraw() { u.redraw(false, true); },
      resize() { u.setSize({width: Math.max(1, element.clientWidth), height: u.height}); },
    };

    u = new uPlot({
      width: Math.max(1, element.clientWidth), height: TOP + spec.height + below, padding: [TOP, 14, 0, 0], legend: {show: false},
      series, bands,
      scales: {
        x: {time: false, min: whole[0], max: whole[1], range: (_, low, high) => [low, high]},
        y: {range: (_, low, high) => {
          if (low === null) return [0, 1];
          const zero = y.zero && !y.log ? -y.low / y.unit : NaN, from = y.zero ? Math.min(low, zero) : low;
          const margin = (high - from) * 0.1 || 5000;
          return [from === zero ? from : from - margin, high + margin];
        }},
      },
      axes: [
        {...axis(x, xTicks, () => Math.max(4, u.bbox.width / devicePixelRatio / 110)), size: below, gap: lanes + 8},
        {
          ...axis(y, y.log ? logTicks : numberTicks, () => spec.height / 36),
          size: (_, labels) => Math.max(EDGE, ...(labels ?? []).map(label => 16 + 7 * label.length)),
        },
      ],
      cursor: {
        y: false, drag: {x: true, y: false, setScale: false, dist: 5}, bind: {dblclick: () => null},
        points: {size: 7},
        move: (u, left, top) => {
          if (left < 0 || !xs.length) return [-10, -10];
          index = nearest(xs, u.posToVal(left, "x"));
          return [u.valToPos(xs[index], "x"), top];
        },
        dataIdx: () => known[index],
      },
      hooks: {
        drawClear: [shade], draw: [mark],
        setCursor: [u => {
          if (u.cursor.left < 0) index = null;
          read(u);
          if (u.over.matches(":hover")) linked(chart).forEach(other => other !== chart && other.point(chart.at));
        }],
        setSelect: [u => {
          const {left, width} = u.select;
          if (width > 0) zoom(chart, [left, left + width].map(px => place(u.posToVal(px, "x"))));
          u.setSelect({left: 0, width: 0}, false);
        }],
      },
    }, data, element);
    reset.addEventListener("click", () => zoom(chart, null));
    u.over.addEventListener("dblclick", () => zoom(chart, null));
    u.over.addEventListener("mouseleave", () => point(chart, null));
    keys(chart, element);
    touch(chart, u.over);
    return chart;
  }

  const resized = new ResizeObserver(entries => entries.forEach(({target}) => target.chart.resize()));
  for (const element of document.querySelectorAll(".chart")) {
    const chart = element.chart = draw(element, JSON.parse(element.querySelector("script").textContent));
    element.tabIndex = 0;
    element.setAttribute("role", "application");
    charts.push(chart);
    resized.observe(element);
  }
  if (charts.length) {
    const hint = "Drag to zoom (pinch on a touch screen), double-click to show all. By keyboard: arrows read, + and \u2212 zoom, Esc shows all.";
    const first = document.querySelector(".chart");
    first.after(Object.assign(document.createElement("p"), {className: "hint", textContent: hint}));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(chart => chart.redraw()));
})();
