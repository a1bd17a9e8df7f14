"use strict";
// Numbers and times as people read them, and the round values at which an axis has its ticks. Times are microseconds.
const ticks = (() => {
  const SECOND = 1e6, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR, MONTH = 30.5 * DAY;
  const STEPS = [
    ...[1, 2, 5, 10, 20, 50, 100, 200, 500].map(n => n * 1000),
    ...[1, 2, 5, 10, 15, 30].map(n => n * SECOND), ...[1, 2, 5, 10, 15, 30].map(n => n * MINUTE),
    ...[1, 2, 3, 6, 12].map(n => n * HOUR), ...[1, 2, 4, 7, 14].map(n => n * DAY),
  ];
  const MONTH_STEPS = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000];
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const GROUP = "\u202f", MINUS = "\u2212"; // a narrow space between thousands is never taken for a decimal sign

  function fixed(value, most, least = most) {
    const digits = {minimumFractionDigits: Math.min(20, least), maximumFractionDigits: Math.min(20, most)};
    return value.toLocaleString("en", {...digits, signDisplay: "negative"}).replaceAll(",", GROUP).replace("-", MINUS);
  }

  function scientific(value, digits) {
    const [mantissa, exponent] = value.toExponential(digits).split("e");
    const raised = String(Number(exponent)).replace(/./g, sign => "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign] ?? "⁻");
    return `${mantissa.replace("-", MINUS)}×10${raised}`;
  }

  function number(value, decimals) {
    const size = Math.abs(value);
    return size >= 1e15 || (size > 0 && size < 1e-4) ? scientific(value, 3) : fixed(value, decimals, 0);
  }

  function moment(time, {low, unit}) { // as fine as the positions low, low + unit, ..
    const every = size => low % size === 0 && unit % size === 0;
    return new Date(time / 1000).toISOString().replace("T", " ").slice(0, every(MINUTE) ? 16 : every(SECOND) ? 19 : 23);
  }

  // Each of these returns ticks within [low, high] as pairs of value and label, about `count` of them.

  function linear(low, high, count, whole = false) {
    const width = (high - low) / count, power = 10 ** Math.floor(Math.log10(width)), values = [];
    const round = [1, 2, 5, 10].map(n => n * power).find(step => step >= width * (1 - 1e-9));
    const step = whole ? Math.max(1, round) : round;
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) values.push(n * step);
    const largest = Math.max(...values.map(Math.abs));
    const decimals = scale => Math.max(0, -Math.floor(Math.log10(step / scale) + 1e-9));
    if (largest >= 1e15 || largest < 1e-3) {
      const digits = decimals(10 ** Math.floor(Math.log10(largest)));
      return values.map(value => [value, value ? scientific(value, digits) : "0"]);
    }
    const [scale, suffix] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]
      .find(([size]) => largest >= (size === 1e3 ? 1e4 : size)) ?? [1, ""];
    const label = value => fixed(value / scale, decimals(scale)) + (suffix && value ? GROUP + suffix : "");
    return values.map(value => [value, label(value)]);
  }

  function logarithmic(low, high, count) { // of the exponents of ten
    const within = bases => {
      const found = [];
      for (let power = Math.floor(low); power <= high; power++)
        found.push(...bases.map(base => power + Math.log10(base)).filter(value => value >= low && value <= high));
      return found;
    };
    const choices = [[1, 2, 5], [1, 3], [1]].map(within);
    const values = choices.find(found => found.length <= count) ?? choices.at(-1);
    if (values.length < 2) // too narrow for round powers
      return linear(10 ** low, 10 ** high, count).map(([value, text]) => [Math.log10(value), text]);
    const label = value => value < 1e-4 || value >= 1e6 ? scientific(value, 0) : String(Number(value.toPrecision(1)));
    const every = Math.ceil(values.length / count);
    return values.filter((_, n) => n % every === 0).map(value => [value, label(10 ** value)]);
  }

  function time(low, high, count) {
    const wanted = (high - low) / count, step = STEPS.find(size => size >= wanted);
    const months = step ? 0 : MONTH_STEPS.find(size => size * MONTH >= wanted) ?? MONTH_STEPS.at(-1);
    const values = step ? clockTimes(low, high, step) : monthStarts(low, high, months);
    let shown = "";
    return values.map(value => {
      const [label, context] = timeLabel(new Date(value / 1000), step, months);
      const text = context && context !== shown ? `${label}\n${context}` : label;
      shown = context;
      return [value, text];
    });
  }

  function clockTimes(low, high, step) {
    const offset = step % (7 * DAY) === 0 ? 4 * DAY : 0, values = []; // 1970-01-05 was a Monday
    for (let value = Math.ceil((low - offset) / step) * step + offset; value <= high; value += step) values.push(value);
    return values;
  }

  function monthStarts(low, high, months) {
    const date = new Date(low / 1000), first = (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth(), values = [];
    const start = month => Date.UTC(1970, month) * 1000;
    for (let month = Math.ceil(first / months) * months; start(month) <= high; month += months)
      if (start(month) >= low) values.push(start(month));
    return values;
  }

  function timeLabel(date, step, months) { // and the coarser part of the time, which is shown where it changes
    const year = String(date.getUTCFullYear()), month = MONTHS[date.getUTCMonth()];
    const day = `${date.getUTCDate()} ${month}`;
    if (months) return months >= 12 ? [year, ""] : [month, year];
    if (step >= DAY) return [day, year];
    return [date.toISOString().slice(11, step < SECOND ? 23 : step < MINUTE ? 19 : 16), `${day} ${year}`];
  }

  return {linear, logarithmic, time, number, moment};
})();
