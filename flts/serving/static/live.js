"use strict";
// Shows the model being served and its forecasts. All data comes from `model` and `predict`, as for other clients.
(() => {
  const LOOK_SECONDS = 10, WAIT_SECONDS = 3, CHART_ROWS = 300, TABLE_ROWS = 1000, MOST_BYTES = 64e6;
  const at = id => document.getElementById(id);
  let model = null, own = null, shown = null, asking = null, timer = null;

  // Small helpers.

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  const sentence = text => /[.!?]$/.test(text) ? text[0].toUpperCase() + text.slice(1) : `${text[0].toUpperCase()}${text.slice(1)}.`;
  const tell = (id, text) => { at(id).textContent = text ? sentence(text) : ""; at(id).hidden = !text; };
  const micros = ts => Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(ts) ? ts : `${ts.replace(" ", "T")}Z`) * 1000;
  const when = ts => ticks.moment(micros(ts), {low: 0, unit: 60e6});
  const amount = value => value == null ? "–" : ticks.number(value, value && Math.abs(value) < 1e4 ? Math.max(0, 4 - Math.ceil(Math.log10(Math.abs(value)))) : 0);
  const plural = (n, word) => `${n.toLocaleString("en").replaceAll(",", "\u202f")} ${word}${n === 1 ? "" : "s"}`;

  function span(seconds) {
    const [size, word] = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]].find(([each]) => seconds >= each * 1.5 || seconds === each) ?? [1, "second"];
    return plural(Number((seconds / size).toPrecision(3)), word);
  }

  async function ask(path, options) { // returns the document; throws an Error with one sentence and the response's status
    let answer, document;
    try {
      answer = await fetch(path, options);
      document = await answer.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw Object.assign(Error("the server does not answer; this page keeps trying"), {status: 0});
    }
    if (answer.ok) return document;
    const again = Number(answer.headers.get("Retry-After")) || 0;
    throw Object.assign(Error(document.detail ?? `the server answered with ${answer.status}`), {status: answer.status, again});
  }

  // The model.

  async function look() {
    let seconds = LOOK_SECONDS;
    try {
      const found = await ask("model"), other = !model || found.run_id !== model.run_id || found.promotion_time !== model.promotion_time;
      const fresh = other || JSON.stringify(found.promotions) !== JSON.stringify(model.promotions) || found.problem !== model.problem || found.scores.persistence_rmse !== model.scores.persistence_rmse;
      model = found;
      if (fresh) showModel();
      if (other) forecast();
    } catch (error) {
      seconds = WAIT_SECONDS;
      if (!model) {
        at("title").textContent = error.status === 503 ? "No model yet" : "The server does not answer";
        tell("lead", error.message);
      } else tellProblem(error.message);
    }
    setTimeout(look, seconds * 1000);
  }

  function tellProblem(text) {
    at("problem").hidden = !text;
    at("problem").querySelector("p").textContent = text ? sentence(text) : "";
  }

  function skill({rmse, persistence_rmse: naive}) {
    if (naive == null || !naive) return ["–", "the score of persistence is unknown"];
    const share = 1 - rmse / naive, text = `${ticks.number(Math.abs(share) * 100, 1)} %`;
    if (Math.abs(share) < 5e-4) return ["as good as", "repeating the last value"];
    return [`${text} ${share > 0 ? "better" : "worse"}`, "than repeating the last value (RMSE, one step)"];
  }

  function showModel() {
    const {targets, scores, interval_level: level} = model, name = model.dataset_name || "The dataset";
    document.title = `${name}: live forecasts`;
    at("title").textContent = `${name}: ${targets.join(", ")}`;
    tell("lead", `${model.model_type}, promoted ${when(model.promotion_time)} UTC for identifier ${model.identifier}`);
    const [better, than] = skill(scores);
    const facts = [
      ["Model", model.model_type, `uses ${plural(model.input_seq_len, "row")} of history, one every ${span(model.sampling_seconds).replace(/^1 /, "")}`],
      ["Against persistence", better, than],
      ["RMSE", amount(scores.rmse), scores.persistence_rmse == null ? "min-max units" : `persistence ${amount(scores.persistence_rmse)}, min-max units`],
      ["Interval", level == null ? "none" : `${ticks.number(level * 100, 1)} %`, level == null ? "the model has no intervals" : "of measured values should lie inside"],
    ];
    at("facts").replaceChildren(...facts.map(([term, value, detail]) =>
      make("div", {}, make("dt", {textContent: term}), make("dd", {textContent: value}, make("small", {textContent: detail})))));
    at("needed").textContent = `CSV with a header line and at least ${plural(model.rows_needed, "row")} without missing values. Columns: ${[model.index_col, ...model.columns].join(", ")}; others are ignored.`;
    at("length").max = model.max_inference_length;
    tell("notice", model.notice);
    tellProblem(model.problem);
    showPromotions();
    const links = make("a", {href: "openapi.json", textContent: "openapi.json"});
    at("trail").replaceChildren(...[["run", model.run_id], ["configuration", model.config_hash]].filter(([, value]) => value)
      .map(([term, value]) => make("div", {}, `${term} `, make("code", {textContent: value}))), make("div", {}, "API: ", links));
    at("facts").hidden = at("served").hidden = false;
  }

  function showPromotions() {
    const [body] = at("promotions").tBodies;
    at("no-promotions").hidden = model.promotions.length > 0;
    at("promotions").hidden = at("promotions-note").hidden = !model.promotions.length;
    body.replaceChildren(...model.promotions.map(each => {
      const held = each.status === "HELD", back = each.operation === "Rollback";
      const [word, style] = held ? ["held", "filled"] : each.current ? ["served now", "best"] : back ? ["rollback", "muted"] : ["promoted", "muted"];
      const decision = make("td", {className: "why"}, make("span", {className: `tag state ${style}`, textContent: word}));
      if (each.reason) decision.append(` ${each.reason}`);
      return make("tr", {className: each.current ? "chosen" : ""},
        make("th", {scope: "row", textContent: when(each.promotion_time)}), make("td", {textContent: each.model_type}), decision,
        make("td", {className: "n", textContent: amount(each.test_rmse)}), make("td", {className: "n", textContent: amount(each.composite_score)}),
        make("td", {}, make("code", {textContent: each.run_id.slice(0, 12), title: each.run_id})));
    }));
  }

  // Forecasts.

  function length() {
    const steps = Number(at("length").value);
    if (Number.isInteger(steps) && steps >= 1 && steps <= model.max_inference_length) return steps;
    throw Error(`the number of steps must be a whole number from 1 to ${model.max_inference_length}`);
  }

  function levels() { // quantiles that are asked for, each once
    const numbers = [...new Set(at("quantiles").value.split(",").filter(part => part.trim()).map(Number))];
    if (numbers.every(each => each > 0 && each < 1)) return numbers;
    throw Error("quantiles must be numbers between 0 and 1, separated by commas");
  }

  async function forecast() {
    clearTimeout(timer);
    asking?.abort();
    const mine = asking = new AbortController();
    try {
      const steps = length(), quantiles = levels(), body = {inference_length: steps, ...(quantiles.length && {quantiles})};
      at("span").textContent = span(steps * model.sampling_seconds);
      if (own) Object.assign(body, {data: own.columns, index_col: own.timeColumn});
      at("charts").classList.add("waiting");
      const answer = await ask("predict", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body), signal: mine.signal});
      shown = {answer, own};
      tell("forecast-error", "");
      showForecast();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 400 && own) { // errors in the rows are shown next to their input
        own = shown?.own === own ? null : shown?.own ?? null;
        tell("own-error", error.message);
      } else {
        tell("forecast-error", error.message);
        if (error.again || error.status === 0) timer = setTimeout(forecast, Math.max(1, error.again || WAIT_SECONDS) * 1000);
      }
    } finally {
      if (mine === asking) at("charts").classList.remove("waiting");
    }
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(forecast, 150);
  }

  function actuals() { // measured values before the forecast: {ts, columns}
    if (!shown.own) return model.recent ?? {ts: [], columns: {}};
    const {columns, timeColumn} = shown.own;
    return {ts: columns[timeColumn], columns};
  }

  function showForecast() {
    const {answer} = shown, {predictions} = answer, {ts} = actuals(), last = ts.at(-1);
    at("source").textContent = last === undefined ? "From the end of the stored data."
      : `From the end of ${shown.own ? `your ${plural(shown.own.rows, "row")}` : "the stored data"}; the last row is from ${when(last)} UTC.`;
    at("stored").hidden = !shown.own;
    at("download").disabled = false;
    for (const chart of at("charts").querySelectorAll(".chart")) charting.discard(chart);
    at("charts").replaceChildren(...model.targets.map(figure), make("p", {className: "hint", textContent: charting.HINT}));
    at("charts").querySelectorAll(".chart").forEach((chart, n) => charting.draw(chart, specOf(model.targets[n], predictions)));
    showSteps();
  }

  // Areas [name, column below, column above]: between quantiles that lie opposite each other, the outer ones first, or the interval.
  function areas(target) {
    const [first] = shown.answer.predictions, start = `${target}_q`;
    const names = Object.keys(first).filter(name => name.startsWith(start) && Number(name.slice(start.length)) > 0);
    const pairs = names.slice(0, names.length >> 1).map((low, n) => [low, names.at(-1 - n)]);
    if (pairs.length) return pairs.map(([low, high]) => [`${low.slice(start.length)} to ${high.slice(start.length)}`, low, high]);
    const lower = `${target}_lower`, upper = `${target}_upper`;
    return model.interval_level == null || first[lower] == null ? [] : [[`${ticks.number(model.interval_level * 100, 1)} % interval`, lower, upper]];
  }

  function figure(target) {
    const legend = [["actual under", "measured"], ["model", `${model.model_type} forecast`], ...areas(target).map(([name]) => ["interval", name])];
    return make("figure", {}, ...(model.targets.length > 1 ? [make("h3", {textContent: target})] : []),
      make("ul", {className: "legend"}, ...legend.map(([style, name]) => make("li", {}, make("i", {className: `key line ${style}`}), name))),
      make("div", {className: "chart", ariaLabel: `${target}: recent measured values, and the forecast of ${plural(shown.answer.predictions.length, "step")} with its interval.`}));
  }

  function specOf(target, predictions) { // as flts/report/charts.py describes charts
    const {ts, columns} = actuals(), known = Math.max(CHART_ROWS, 2 * predictions.length);
    const past = ts.slice(-known).map(micros), values = (columns[target] ?? []).slice(-known);
    const ahead = predictions.map(each => micros(each.ts)), pick = name => predictions.map(each => each[name]);
    const shades = areas(target).map(([name, low, high]) => ({name, low: pick(low), high: pick(high)}));
    const all = [...values, ...pick(target), ...shades.flatMap(each => [...each.low, ...each.high])].filter(value => value != null);
    const low = all.reduce((a, b) => Math.min(a, b)), high = all.reduce((a, b) => Math.max(a, b));
    const first = past[0] ?? ahead[0], unit = [...past, ...ahead].reduce((common, x) => gcd(common, x - first), 0) || 1;
    const yUnit = (high - low) / 1e4 || Math.abs(low) / 1e4 || 1;
    const xs = moments => runs(moments.map(x => (x - first) / unit)), ys = numbers => numbers.map(y => y == null ? null : (y - low) / yUnit);
    const lines = [
      ...shades.map(each => ({name: each.name.endsWith("interval") ? "interval" : each.name, style: "interval", x: xs(ahead), y: [ys(each.low), ys(each.high)]})),
      {name: "measured", style: "actual under", x: xs(past), y: [ys(values)]},
      {name: "forecast", style: "model", x: xs(ahead), y: [ys(pick(target))]},
    ];
    return {
      height: 280, lines, dots: [], bands: [], lanes: [], rules: past.length ? [[(past.at(-1) - first) / unit, "last measured"]] : [],
      x: {low: first, unit, size: (ahead.at(-1) - first) / unit, time: true, label: ""},
      y: {low, unit: yUnit, decimals: 4, log: false, zero: false, label: target},
    };
  }

  function gcd(a, b) {
    while (b) [a, b] = [b, a % b];
    return a;
  }

  function runs(xs) { // the first value, then each step and how often it repeats
    const found = xs.slice(0, 1);
    for (let i = 1; i < xs.length; i++) {
      const step = xs[i] - xs[i - 1];
      if (found.length > 1 && found.at(-2) === step) found[found.length - 1]++;
      else found.push(step, 1);
    }
    return found;
  }

  const header = () => Object.keys(shown.answer.predictions[0]);

  function showSteps() {
    const {predictions} = shown.answer, names = header(), table = at("steps").querySelector("table");
    const words = {ts: "Time", mode: "Kind"};
    const cell = (each, name) => name === "ts" ? make("th", {scope: "row", textContent: when(each.ts)})
      : make("td", name === "mode" ? {textContent: each.mode} : {className: "n", textContent: amount(each[name])});
    table.tHead.replaceChildren(make("tr", {}, ...names.map(name =>
      make("th", {scope: "col", className: name in words ? "" : "n", textContent: words[name] ?? name.replace(/_(lower|upper|q0\.\d+)$/, ", $1")}))));
    table.tBodies[0].replaceChildren(...predictions.slice(0, TABLE_ROWS).map(each => make("tr", {}, ...names.map(name => cell(each, name)))));
    const more = predictions.length > TABLE_ROWS ? ` (the first ${TABLE_ROWS} of ${predictions.length})` : "";
    at("steps").querySelector("summary").textContent = `Values of each step${more}`;
  }

  function download() {
    const quoted = value => /[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? "");
    const lines = [header(), ...shown.answer.predictions.map(each => Object.values(each))].map(row => row.map(quoted).join(","));
    const url = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], {type: "text/csv"}));
    const name = `forecast-${(model.dataset_name || model.identifier).replace(/[^\w.-]+/g, "_")}-${shown.answer.predictions[0].ts.replace(/[:-]/g, "")}.csv`;
    make("a", {href: url, download: name}).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  // The user's own rows.

  function use(text) {
    try {
      own = csv.read(text, model);
      tell("own-error", "");
      forecast();
      at("forecast-title").scrollIntoView({behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "nearest"});
    } catch (error) {
      tell("own-error", error.message);
    }
  }

  async function take(file) {
    if (!file) return;
    if (file.size > MOST_BYTES) return tell("own-error", `${file.name} is larger than ${MOST_BYTES / 1e6} MB: the last few thousand rows are enough`);
    use(await file.text());
  }

  function listen() {
    at("slider").addEventListener("input", () => {
      at("length").value = at("slider").value;
      later();
    });
    at("length").addEventListener("input", () => {
      at("slider").value = at("length").value;
      later();
    });
    at("quantiles").addEventListener("input", later);
    at("download").addEventListener("click", download);
    at("stored").addEventListener("click", () => {
      own = null;
      tell("own-error", "");
      forecast();
    });
    at("file").addEventListener("change", event => {
      take(event.target.files[0]);
      event.target.value = ""; // so that the same file can be chosen again
    });
    at("use").addEventListener("click", () => use(at("rows").value));
    for (const name of ["dragenter", "dragover", "dragleave", "drop"])
      addEventListener(name, event => {
        event.preventDefault(); // a file dropped outside the box must not replace the page
        at("drop").classList.toggle("over", name === "dragover" || name === "dragenter");
        if (name === "drop" && model) take(event.dataTransfer?.files[0]);
      });
  }

  listen();
  look();
})();
