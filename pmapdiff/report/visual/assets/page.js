// What makes the page answer. It is in the page together with Vega; it asks nobody for anything, and writes text only as text.

const byId = (id) => document.getElementById(id);
const FOLD = 1 << 30;

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// --- What is packed ---

const added = (differences) => {
  let sum = 0;
  return differences.map((difference) => (sum += difference));
};

// A series: one list of values for each figure, as long as there are snapshots; null where nothing is known.
class Series {
  constructor(lists, size) {
    this.lists = lists;
    this.size = size;
    this.known = [];
  }

  values(figure) {
    const list = this.lists[figure];
    if (typeof list === "number") return this.values(list);
    if (!this.known[figure]) {
      const values = new Array(this.size).fill(null);
      let step = 0;
      let last = 0;
      for (let place = 0; place < list.length; place += 2) {
        step += list[place];
        const value = list[place + 1] === null ? null : (last += list[place + 1]);
        const until = place + 2 < list.length ? step + list[place + 2] : this.size;
        values.fill(value, step, until);
      }
      this.known[figure] = values;
    }
    return this.known[figure];
  }

  at(step, figure) {
    return this.values(figure)[step];
  }
}

class Scope {
  constructor(value, data) {
    Object.assign(this, value);
    const size = data.clock.length;
    this.steps = added(value.steps);
    this.totals = new Series(value.totals, size);
    this.families = value.families.map(([family, series]) => ({ family, name: data.families[family], series: new Series(series, size) }));
    this.rows = value.rows.map(([key, family, name, perms, path, offset, series, spans]) => ({
      key, family, name, perms, path, offset, spans, series: new Series(series, size),
      familyName: family < 0 ? "" : data.families[family],
    }));
  }

  nearest(step) {
    return this.steps.reduce((best, own) => (Math.abs(own - step) < Math.abs(best - step) ? own : best), this.steps[0]);
  }

  // The mappings of a region at a step: [first page, pages, place of the permissions].
  lies(row, step) {
    let flat = [];
    for (let place = 0; place < row.spans.length && row.spans[place] <= step; place += 2) flat = row.spans[place + 1];
    const found = [];
    let page = 0;
    for (let place = 0; place < flat.length; place += 3) {
      page += flat[place];
      found.push([page, flat[place + 1], flat[place + 2]]);
    }
    return found;
  }

  axis(pair) {
    const incarnation = (step) => this.starts.filter((start) => start <= step).length - 1;
    const [one, other] = pair.map(incarnation).map((place) => Math.max(place, 0)).sort((a, b) => a - b);
    const [pages, places, lines, folds] = this.axes[`${one}-${other}`] || this.axes.all;
    return { pages: added(pages), places, lines, folds };
  }
}

// --- Words: the same as everywhere in pmapdiff ---

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"];

function amount(value, figure) {
  if (value === null || value === undefined) return "-";
  if (figure === "mappings") return value.toLocaleString("en-US");
  let size = Math.abs(value);
  let unit = 0;
  while (size >= 1023.95 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || size >= 99.95 ? 0 : 1;
  // What lies in the middle goes to the even side, as it does in Python.
  const scaled = size * 10 ** digits;
  const rounded = scaled - Math.floor(scaled) === 0.5 ? 2 * Math.round(scaled / 2) : Math.round(scaled);
  return `${value < 0 ? "-" : ""}${(rounded / 10 ** digits).toFixed(digits)} ${UNITS[unit]}`;
}

function difference(value, figure) {
  if (value === 0) return "0";
  return value > 0 ? `+${amount(value, figure)}` : amount(value, figure);
}

const clockWords = (ms) => new Date(ms).toISOString().slice(0, 19).replace("T", " ");
const plural = (number, word) => `${number.toLocaleString("en-US")} ${word}${number === 1 ? "" : "s"}`;
const title = (figure) => figure[0].toUpperCase() + figure.slice(1);

// --- The page ---

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function sparkline(values) {
  const known = values.filter((value) => value !== null);
  const low = 2 * Math.min(...known) < Math.max(...known) ? 0 : Math.min(...known);
  const span = Math.max(Math.max(...known) - low, Math.max(...known) / 10, 1);
  let path = "";
  let pen = "M";
  const dot = (text) => (/M[^LMh]*$/.test(text) ? `${text}h1` : text);
  const most = 60;
  const step = Math.max(values.length / most, 1);
  for (let place = 0; place < Math.min(values.length, most); place += 1) {
    const part = values.slice(Math.floor(place * step), Math.floor((place + 1) * step)).filter((value) => value !== null);
    if (!part.length) {
      path = dot(path);
      pen = "M";
      continue;
    }
    const x = values.length === 1 ? 0 : (place * 100) / (Math.min(values.length, most) - 1);
    path += `${pen}${x.toFixed(0)} ${(19 - (18 * (Math.max(...part) - low)) / span).toFixed(1)}`;
    pen = "L";
  }
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 100 20", class: "spark", "aria-hidden": "true", preserveAspectRatio: "none" })) svg.setAttribute(key, value);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", dot(path));
  svg.append(line);
  return svg;
}

class Page {
  constructor(data, specs) {
    this.data = data;
    this.specs = specs;
    data.clock = added(data.moments.clock_ms);
    this.scopes = data.scopes.map((value) => new Scope(value, data));
    // What was asked for last; a process that has no table at such a moment is shown at the nearest that it has.
    this.state = { scope: data.shown, figure: this.scopes[data.shown].figure, wanted: data.pair, grown: false, cursor: -1 };
    this.views = {};
    this.sorting = { column: null, down: true };
  }

  get scope() {
    return this.scopes[this.state.scope];
  }

  get pair() {
    return this.state.wanted.map((step) => this.scope.nearest(step));
  }

  figure(name) {
    return this.data.figures.indexOf(name);
  }

  async start() {
    this.readAddress();
    document.documentElement.classList.add("live");
    for (const hidden of document.querySelectorAll("[data-live]")) hidden.hidden = false;
    this.listen();
    this.showControls();
    await this.drawAll();
    this.showTables();
    performance.mark("ready");
    document.documentElement.dataset.ready = "true";
  }

  listen() {
    byId("scope").addEventListener("change", (event) => this.choose({ scope: Number(event.target.value) }));
    byId("figure").addEventListener("change", (event) => this.choose({ figure: event.target.value }));
    for (const [end, id] of ["from", "to"].entries()) {
      byId(id).addEventListener("input", (event) => {
        const wanted = [...this.pair];
        const step = this.scope.steps[Number(event.target.value)];
        // Neither end goes beyond the other.
        wanted[end] = end ? Math.max(step, wanted[0]) : Math.min(step, wanted[1]);
        this.choose({ wanted });
      });
    }
    byId("whole").addEventListener("click", () => this.choose({ wanted: [this.scope.steps[0], this.scope.steps.at(-1)] }));
    for (const [id, by] of [["back", -1], ["on", 1]]) byId(id).addEventListener("click", () => this.move(by));
    byId("grown").addEventListener("change", (event) => this.choose({ grown: event.target.checked }));
    byId("search").addEventListener("input", () => this.showRegions());
    byId("space").addEventListener("keydown", (event) => this.walk(event));
    for (const button of document.querySelectorAll("[data-choose]")) {
      button.addEventListener("click", () => {
        this.choose({ scope: Number(button.dataset.choose) });
        byId("over-time").scrollIntoView();
      });
    }
    window.addEventListener("hashchange", () => {
      if (this.readAddress()) this.showAll();
    });
    let width = document.body.clientWidth;
    new ResizeObserver(() => {
      if (document.body.clientWidth === width) return;
      width = document.body.clientWidth;
      for (const [id, view] of Object.entries(this.views)) view.width(byId(id).clientWidth).runAsync();
    }).observe(document.body);
  }

  // Both moments of the pair by so many snapshots.
  move(by) {
    const { steps } = this.scope;
    const places = this.pair.map((step) => steps.indexOf(this.scope.nearest(step)) + by);
    if (Math.min(...places) >= 0 && Math.max(...places) < steps.length) this.choose({ wanted: places.map((place) => steps[place]) });
  }

  choose(change) {
    Object.assign(this.state, change);
    this.state.cursor = -1;
    if (!this.scope.known.includes(this.state.figure)) this.state.figure = this.scope.figure;
    this.writeAddress();
    this.showAll();
  }

  showAll() {
    this.showControls();
    this.showTables();
    return this.drawAll();
  }

  // What is looked at is in the address of the page, so that it can be told to others.
  writeAddress() {
    const { scope, figure, wanted } = this.state;
    const address = `#process=${scope}&figure=${figure}&from=${wanted[0]}&to=${wanted[1]}`;
    if (location.hash !== address) history.replaceState(null, "", address);
  }

  readAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const number = (name, most) => (/^\d{1,7}$/.test(wanted.get(name) || "") && Number(wanted.get(name)) < most ? Number(wanted.get(name)) : null);
    const scope = number("process", this.scopes.length);
    if (scope === null) return false;
    this.state.scope = scope;
    if (this.scope.known.includes(wanted.get("figure"))) this.state.figure = wanted.get("figure");
    const pair = [number("from", this.data.clock.length), number("to", this.data.clock.length)];
    if (!pair.includes(null)) this.state.wanted = pair.sort((a, b) => a - b);
    return true;
  }

  showControls() {
    const { scope, state } = this;
    byId("scope").value = String(state.scope);
    for (const option of byId("figure").options) option.disabled = !scope.known.includes(option.value);
    byId("figure").value = state.figure;
    for (const [end, id] of ["from", "to"].entries()) {
      const input = byId(id);
      input.max = String(scope.steps.length - 1);
      input.value = String(scope.steps.indexOf(this.pair[end]));
      input.setAttribute("aria-valuetext", this.momentWords(this.pair[end]));
      byId(`${id}-words`).textContent = this.momentWords(this.pair[end]);
    }
    byId("grown").checked = state.grown;
    for (const part of document.querySelectorAll("[data-scope]")) part.hidden = !scope.is_all && Number(part.dataset.scope) !== state.scope;
    byId("marks").replaceChildren(...scope.marks.map(([kind, , words, when]) => element("li", { class: kind }, `${when}  ${words}`)));
    byId("answer").textContent = scope.answer;
    byId("answer").hidden = scope.answer === document.querySelector("h1").textContent;
    for (const heading of document.querySelectorAll("[data-title]")) heading.textContent = scope.title;
  }

  momentWords(step) {
    const { ids, labels } = this.data.moments;
    const number = ids[step] === null ? "" : `#${ids[step]} of `;
    return `${number}${clockWords(this.data.clock[step] + (this.data.moments.shifts[step] || 0))}${labels[step] ? `, ${labels[step]}` : ""}`;
  }

  // --- Pictures ---

  async draw(id, spec, width) {
    if (this.views[id]) this.views[id].finalize();
    const holder = byId(id);
    const { view } = await vegaEmbed(holder, { ...spec, width: width || holder.clientWidth }, {
      mode: "vega", ast: true, actions: false, defaultStyle: false, tooltip: false, renderer: "svg",
    });
    // The order of reading is that of the page: a picture as such is one thing, and its parts are told beside it.
    holder.querySelector("svg").setAttribute("aria-hidden", "true");
    this.views[id] = view;
    return view;
  }

  async drawAll() {
    await this.drawTimeline();
    await Promise.all([this.drawSpace(), this.drawTreemap()]);
  }

  async drawTimeline() {
    const { scope, state, data } = this;
    byId("over-time").hidden = scope.steps.length < 2;
    if (scope.steps.length < 2) return;
    const spec = structuredClone(this.specs.timeline);
    const figure = this.figure(state.figure);
    const hair = Math.max((data.clock[scope.steps.at(-1)] - data.clock[scope.steps[0]]) / 400, 0.25);
    const line = (series) => {
      const values = series.values(figure);
      const found = [];
      const breaks = new Set(scope.breaks);
      for (const [place, step] of scope.steps.entries()) {
        const t = data.clock[step];
        if (breaks.has(step)) found.push({ t: t - 0.5, v: null });
        found.push({ t, v: values[step] });
        // What has no neighbour is as wide as a hair.
        const alone = (!place || breaks.has(step)) && (place + 1 === scope.steps.length || breaks.has(scope.steps[place + 1]));
        if (alone) found.push({ t: t + hair, v: values[step] });
      }
      return found;
    };
    const times = [data.clock[scope.steps[0]], data.clock[scope.steps.at(-1)], ...scope.marks.filter(([kind]) => kind === "kill").map(([, clock]) => clock)];
    const values = {
      points: scope.families.flatMap((row, order) => line(row.series).map((point) => ({ ...point, f: row.name, order }))),
      sums: line(scope.totals),
      marks: scope.marks.map(([kind, t, words]) => ({ kind, t, words })),
    };
    for (const part of spec.data) if (values[part.name]) part.values = values[part.name];
    const signals = { figure: state.figure, pair: this.pair.map((step) => data.clock[step]), span: [Math.min(...times), Math.max(...times)] };
    for (const signal of spec.signals) if (signal.name in signals) signal.value = signals[signal.name];
    const view = await this.draw("timeline", spec);
    view.addSignalListener("chosen", (_, chosen) => {
      if (!chosen) return;
      const pair = chosen.map((clock) => this.stepAt(clock)).sort((a, b) => a - b);
      if (pair[0] !== pair[1]) this.choose({ wanted: pair });
      else this.drawTimeline();
    });
    view.addSignalListener("hover", (_, clock) => {
      byId("reading").textContent = clock === null ? "" : this.reading(this.stepAt(clock));
    });
  }

  stepAt(clock) {
    const { clock: clocks } = this.data;
    return this.scope.steps.reduce((best, step) => (Math.abs(clocks[step] - clock) < Math.abs(clocks[best] - clock) ? step : best), this.scope.steps[0]);
  }

  reading(step) {
    const { figure } = this.state;
    const index = this.figure(figure);
    const parts = this.scope.families
      .map((row) => [row.series.at(step, index), row.name])
      .filter(([value]) => value)
      .sort((a, b) => b[0] - a[0])
      .map(([value, name]) => `${name} ${amount(value, figure)}`);
    return `${this.momentWords(step)}: ${title(figure)} ${amount(this.scope.totals.at(step, index), figure)}${parts.length ? ` (${parts.slice(0, 6).join(", ")})` : ""}`;
  }

  async drawSpace() {
    const { scope, data } = this;
    byId("address-space").hidden = !scope.axes;
    if (!scope.axes) return;
    const axis = scope.axis(this.pair);
    const spec = structuredClone(this.specs.space);
    const size = this.figure("size");
    const rss = this.figure("rss");
    this.mappings = scope.rows.flatMap((row, number) => {
      const sides = this.pair.map((step) => scope.lies(row, step));
      const differs = data.figures.some((_, figure) => row.series.at(this.pair[0], figure) !== row.series.at(this.pair[1], figure))
        || JSON.stringify(sides[0]) !== JSON.stringify(sides[1]);
      return sides.flatMap((lies, side) => {
        const [whole, resident] = [size, rss].map((figure) => row.series.at(this.pair[side], figure));
        const r = whole && resident !== null ? Math.min(resident / whole, 1) : 1;
        return lies.map(([a, pages, permissions]) => ({ side, a, b: a + pages, f: row.familyName, row: number, d: differs, p: data.permissions[permissions], r }));
      });
    });
    for (const part of spec.data) {
      if (part.name === "mappings") part.values = this.mappings;
      if (part.name === "folds") part.values = axis.folds.map(([place, pages, mapped]) => ({ place, pages, mapped }));
    }
    for (const scale of spec.scales) if (scale.name === "fold") Object.assign(scale, { domain: axis.pages, range: axis.places });
    for (const signal of spec.signals) if (signal.name === "hair") signal.value = spec.usermeta.hair;
    spec.height = axis.lines * spec.usermeta.line_height;
    this.order = [...new Map(this.mappings.map((mapping) => [`${mapping.row}/${mapping.a}`, mapping])).values()].sort((a, b) => a.a - b.a);
    const view = await this.draw("space", spec);
    view.addSignalListener("over", (_, mapping) => {
      if (mapping) byId("mapping").textContent = this.mappingWords(mapping);
    });
  }

  // Through the mappings by the keyboard: one by one, or from one that changed to the next.
  walk(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, Home: -FOLD, End: FOLD }[event.key];
    if (by === undefined || !this.order || !this.order.length) return;
    event.preventDefault();
    const last = this.order.length - 1;
    let place = Math.min(Math.max(this.state.cursor + by, 0), last);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      while (place > 0 && place < last && !this.order[place].d) place += by;
    }
    this.state.cursor = place;
    this.views.space.signal("cursor", this.order[place].row).runAsync();
    byId("mapping").textContent = this.mappingWords(this.order[place]);
  }

  mappingWords(mapping) {
    const row = this.scope.rows[mapping.row];
    if (!row) return "";
    const words = ["size", "rss", "footprint", "dirty"].map((figure) => {
      const [before, after] = this.pair.map((step) => row.series.at(step, this.figure(figure)));
      const change = before === null || after === null || before === after ? "" : ` (${difference(after - before, figure)})`;
      return `${title(figure)} ${amount(mapping.side ? after : before, figure)}${change}`;
    });
    const address = (page) => (BigInt(page) * 4096n).toString(16).padStart(12, "0");
    return `${address(mapping.a)}-${address(mapping.b)} ${mapping.p} ${row.familyName}: ${row.path || row.name}; the region: ${words.join(", ")}`;
  }

  async drawTreemap() {
    const { scope, state } = this;
    const figure = this.figure(state.figure);
    const cells = scope.rows
      .map((row) => {
        const [before, after] = this.pair.map((step) => row.series.at(step, figure) || 0);
        return { f: row.familyName || "other", n: row.name, v: state.grown ? after - before : after };
      })
      .filter((cell) => cell.v > 0);
    byId("no-cells").hidden = cells.length > 0;
    byId("treemap").parentElement.hidden = !cells.length;
    if (!cells.length) return;
    const spec = structuredClone(this.specs.treemap);
    for (const part of spec.data) if (part.name === "cells") part.values = cells;
    for (const signal of spec.signals) if (signal.name === "figure") signal.value = state.figure;
    const view = await this.draw("treemap", spec);
    const all = cells.reduce((sum, cell) => sum + cell.v, 0);
    view.addSignalListener("over", (_, cell) => {
      const share = cell ? ` (${((100 * cell.v) / all).toFixed(1)} %)` : "";
      byId("cell").textContent = cell ? `${cell.f}: ${cell.n}: ${state.grown ? "+" : ""}${amount(cell.v, state.figure)}${share}` : "";
    });
  }

  // --- Tables ---

  showTables() {
    this.showLedger();
    this.showRegions();
  }

  get columns() {
    return ["size", "rss", "footprint", "dirty", "swap", "mappings"].filter((figure) => this.scope.known.includes(figure)
      && (figure !== "swap" || this.scope.totals.values(this.figure("swap")).some((value) => value)));
  }

  differences(series) {
    return this.columns.map((figure) => {
      const [before, after] = this.pair.map((step) => series.at(step, this.figure(figure)));
      return before === null || after === null ? null : after - before;
    });
  }

  showLedger() {
    const { scope, columns } = this;
    const main = Math.max(columns.indexOf(columns.includes("rss") ? "rss" : "size"), 0);
    const line = (words, series, step, kind) => element("tr", { class: kind },
      ...columns.map((figure) => element("td", { class: "n" }, amount(series.at(step, this.figure(figure)), figure))), element("th", { scope: "row" }, words));
    const change = (row, words, kind, extra) => element("tr", { class: kind },
      ...row.map((value, place) => element("td", { class: `n ${value > 0 ? "up" : value < 0 ? "down" : ""}` }, value === null ? "-" : difference(value, columns[place]))),
      element("th", { scope: "row" }, ...(extra || []), words));
    const weight = (values) => [main, ...values.keys()].map((place) => Math.abs(values[place] || 0));
    const heavier = (a, b) => {
      const [one, other] = [weight(a.values), weight(b.values)];
      const place = one.findIndex((value, index) => value !== other[index]);
      return place < 0 ? 0 : other[place] - one[place];
    };
    const rows = [line("before", scope.totals, this.pair[0], "sum")];
    const groups = scope.is_all ? [{ rows: scope.rows, name: "" }] : scope.families.map((row) => ({
      ...row, rows: scope.rows.filter((known) => known.family === row.family),
    }));
    let unchanged = 0;
    for (const group of groups.map((known) => ({ ...known, values: known.series ? this.differences(known.series) : [] })).sort(heavier)) {
      const members = group.rows.map((row) => ({ row, values: this.differences(row.series) })).filter(({ values }) => values.some((value) => value)).sort(heavier);
      unchanged += group.rows.length - members.length;
      if (group.series && !group.values.some((value) => value)) continue;
      if (group.series) rows.push(change(group.values, group.name, "family", [element("span", { class: `swatch f${group.family}` })]));
      for (const { row, values } of members.slice(0, scope.is_all ? 40 : 8)) rows.push(change(values, [this.changeWord(row), row.perms, row.path || row.name].filter(Boolean).join(" "), "region"));
      const rest = members.slice(scope.is_all ? 40 : 8);
      if (rest.length) {
        const sums = columns.map((_, place) => rest.reduce((sum, { values }) => (sum === null || values[place] === null ? null : sum + values[place]), 0));
        rows.push(change(sums, `${plural(rest.length, "smaller change")}`, "region"));
      }
    }
    rows.push(change(this.differences(scope.totals), "in all", "sum total"), line("after", scope.totals, this.pair[1], "sum"));
    const table = byId("ledger");
    table.querySelector("thead tr").replaceChildren(...columns.map((figure) => element("th", { scope: "col", class: "n" }, title(figure))), element("th", { scope: "col" }, scope.is_all ? "Process" : "Family, region"));
    table.querySelector("tbody").replaceChildren(...rows);
    byId("unchanged").textContent = `${plural(unchanged, scope.is_all ? "process" : "region")}`.replace("processs", "processes") + " unchanged";
    byId("ledger-of").textContent = `${this.momentWords(this.pair[0])} → ${this.momentWords(this.pair[1])}`;
  }

  changeWord(row) {
    const [before, after] = this.pair.map((step) => row.series.at(step, this.figure("mappings")));
    if (this.scope.is_all || before === null || after === null) return "";
    if (!before || !after) return before ? "gone" : "new";
    for (const figure of ["size", "rss", "footprint", "dirty", "swap"]) {
      const [low, high] = this.pair.map((step) => row.series.at(step, this.figure(figure)));
      if (low !== high && low !== null && high !== null) return high > low ? "grew" : "shrank";
    }
    return "changed";
  }

  showRegions() {
    const { scope, state } = this;
    const figure = this.figure(state.figure);
    const wanted = byId("search").value.toLowerCase();
    const rows = scope.rows
      .filter((row) => !wanted || [row.name, row.path, row.familyName, row.perms, row.key].some((text) => text.toLowerCase().includes(wanted)))
      .map((row) => {
        const all = row.series.values(figure);
        const values = scope.steps.map((step) => all[step]);
        const known = values.filter((value) => value !== null);
        const [first, last] = [known[0] ?? null, known.at(-1) ?? null];
        const most = known.length ? known.reduce((a, b) => Math.max(a, b)) : null;
        const least = known.length ? known.reduce((a, b) => Math.min(a, b)) : null;
        return { row, values, cells: { family: row.familyName, name: row.path || row.name, perms: row.perms, first, most, last, change: first === null ? null : last - first, swing: most - least } };
      });
    const { column, down } = this.sorting;
    const key = column || "swing";
    const sign = column === null || down ? -1 : 1;
    rows.sort((a, b) => {
      const [one, other] = [a.cells[key], b.cells[key]];
      if (typeof one === "string") return sign * (one < other ? -1 : one > other ? 1 : 0);
      return sign * ((one ?? -Infinity) - (other ?? -Infinity) || 0);
    });
    const most = 500;
    byId("regions").querySelector("tbody").replaceChildren(...rows.slice(0, most).map(({ row, values, cells }) => element("tr", {},
      element("td", {}, ...(row.family < 0 ? [] : [element("span", { class: `swatch f${row.family}` })]), cells.family),
      element("td", {}, row.perms),
      ...["first", "most", "last"].map((name) => element("td", { class: "n" }, amount(cells[name], state.figure))),
      element("td", { class: `n ${cells.change > 0 ? "up" : cells.change < 0 ? "down" : ""}` }, cells.change === null ? "-" : difference(cells.change, state.figure)),
      element("td", {}, sparkline(values)),
      element("td", { class: "name" }, cells.name, ...(row.key && !scope.is_all ? [" ", element("code", {}, row.key)] : [])))));
    for (const button of byId("regions").querySelectorAll("[data-sort]")) {
      button.parentElement.setAttribute("aria-sort", button.dataset.sort !== column ? "none" : down ? "descending" : "ascending");
      button.onclick = () => {
        this.sorting = { column: button.dataset.sort, down: this.sorting.column === button.dataset.sort ? !this.sorting.down : true };
        this.showRegions();
      };
    }
    byId("found").textContent = `${plural(rows.length, "row")}${rows.length > most ? `, ${most} shown` : ""}${scope.left_out ? `; ${plural(scope.left_out, "smaller region")} of this process not in this file` : ""}`;
    byId("regions-figure").textContent = title(state.figure);
  }
}

const page = new Page(await unpack(byId("content").textContent), JSON.parse(byId("pictures").textContent));
await page.start();
