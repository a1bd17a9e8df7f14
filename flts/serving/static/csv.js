"use strict";
// Parses CSV text into the columns that a model needs. Mistakes in it are thrown as an Error with one sentence.
const csv = (() => {
  const MOST_ROWS = 20000; // the last ones are kept; no forecast looks back further
  const TIMES = ["time", "timestamp", "date", "datetime", "ds"];
  const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

  const list = names => names.map(name => `'${name}'`).join(", ");

  function records(text, separator) { // the fields of each record, with its line number
    const found = [];
    let fields = [], field = "", quoted = false, line = 1, begun = 1;
    const end = () => {
      fields.push(field);
      if (fields.length > 1 || fields[0].trim()) found.push({line: begun, fields});
      fields = [];
      field = "";
    };
    for (let i = 0; i < text.length; i++) {
      const sign = text[i];
      if (quoted) {
        if (sign === "\n") line++;
        if (sign !== '"') field += sign;
        else if (text[i + 1] === '"') field += text[++i];
        else quoted = false;
      } else if (sign === '"' && !field.trim()) {
        quoted = true;
        field = "";
      } else if (sign === separator) {
        fields.push(field);
        field = "";
      } else if (sign === "\n") {
        end();
        begun = ++line;
      } else if (sign !== "\r") field += sign;
    }
    if (quoted) throw Error(`The quotation mark that opens in row ${begun} is never closed.`);
    end();
    return found;
  }

  function separatorOf(text) { // the one that occurs most often in the first line
    const first = text.trimStart().split("\n", 1)[0];
    return [",", ";", "\t"].map(sign => [first.split(sign).length, sign]).sort((a, b) => b[0] - a[0])[0][1];
  }

  function read(text, model) { // returns {columns, timeColumn, rows}
    text = text.replace(/^\ufeff/, "");
    if (!text.trim()) throw Error("There is no data: the first row must name the columns, and the rows after it must hold values.");
    const [header, ...rows] = records(text, separatorOf(text));
    const names = header.fields.map(name => name.trim());
    const timeColumn = names.find(name => name === model.index_col) ?? names.find(name => TIMES.includes(name.toLowerCase()));
    const missing = model.columns.filter(name => !names.includes(name));
    if (timeColumn === undefined) missing.unshift(model.index_col);
    if (missing.length)
      throw Error(`There is no column ${list(missing)}: the model needs ${list([model.index_col, ...model.columns])}, and the first row names ${list(names.slice(0, 12))}.`);
    const twice = [timeColumn, ...model.columns].find(name => names.indexOf(name) !== names.lastIndexOf(name));
    if (twice !== undefined) throw Error(`Two columns are called '${twice}'.`);
    if (rows.length < model.rows_needed)
      throw Error(`There ${rows.length === 1 ? "is 1 row" : `are ${rows.length} rows`} of values; the model needs at least ${model.rows_needed}.`);
    const columns = {}, last = rows.slice(-MOST_ROWS);
    for (const name of [timeColumn, ...model.columns]) {
      const place = names.indexOf(name);
      columns[name] = last.map(({line, fields}) => {
        const value = (fields[place] ?? "").trim();
        if (name === timeColumn) return moment(value, line, name);
        if (NUMBER.test(value)) return Number(value);
        throw Error(`Row ${line} has no number in column '${name}': ${value ? `it says '${value.slice(0, 60)}'` : "it is empty; fill missing values first"}${/^[+-]?\d+,\d+$/.test(value) ? "; use a point as the decimal separator" : ""}.`);
      });
    }
    return {columns, timeColumn, rows: rows.length};
  }

  function moment(value, line, name) {
    const text = value.replace(" ", "T");
    if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(Date.parse(text.slice(0, 10)))) return value;
    throw Error(`Row ${line} has no time in column '${name}': ${value ? `'${value.slice(0, 60)}'` : "it is empty"}; write it as 2026-01-31 12:00.`);
  }

  return {read};
})();
