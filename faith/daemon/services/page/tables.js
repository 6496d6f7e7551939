// The sections of the page but for the charts: each is filled from the newest report.

import * as format from "./format.js";

const PROCESS_STATES = { serving: "good", late: "bad", restarting: "bad" };
/** The part of a limit in use from which it is shown as a warning, and as bad. */
const [MUCH, TOO_MUCH] = [0.8, 0.95];

/** Fill all sections from *report* and what *history* has of its *daemon*. */
export function fill(report, daemon, history) {
  for (const show of [findings, traffic, processes, reasons, prefixes, paths, proxies, uses, dialling,
    names, probes, upkeep]) {
    show(report, daemon, history);
  }
  for (const region of document.querySelectorAll(".scroll")) letKeysScroll(region);
}

function findings(report) {
  const list = document.getElementById("findings-list");
  const found = report.findings.map(({ severity, text, action }) => JSON.stringify([severity, text, action]));
  document.getElementById("fine").hidden = found.length > 0;
  if (list.dataset.shown === found.join()) return;
  list.dataset.shown = found.join();
  list.replaceChildren(...report.findings.map(finding));
}

function finding({ severity, text, action }) {
  const entry = document.createElement("li");
  entry.append(labelled("span", `severity ${severity}`, severity), ` ${text}`);
  if (action) {
    const line = labelled("span", "action", "");
    line.append(labelled("code", "", action));
    entry.append(line);
  }
  return entry;
}

function traffic(report, daemon, history) {
  const of = (path, field) => (one) => byPath(one, path)?.[field];
  rows("traffic", daemon.traffic.map(({ path, open, begun }) => [
    path,
    number(format.count(open)),
    number(format.rate(history.now(of(path, "begun")))),
    number(format.octetRate(history.now(of(path, "octets_to_server")))),
    number(format.octetRate(history.now(of(path, "octets_to_client")))),
    number(format.count(begun)),
  ]));
}

/** Return the traffic of *path* in a daemon's report, or undefined. */
export function byPath(daemon, path) {
  return daemon.traffic.find((one) => one.path === path);
}

function processes(report, daemon, history) {
  rows("processes", daemon.processes.map(({ role, pid, state, heard, restarts, open }) => {
    const begun = (one) => one.processes.find((other) => other.role === role)?.begun;
    return [
      role,
      { text: state, style: PROCESS_STATES[state] ?? "warn" },
      number(pid ? `${heard.toFixed(1)} s ago` : "–"),
      number(format.count(open)),
      number(format.rate(history.now(begun))),
      { ...number(format.count(restarts)), style: restarts ? "number warn" : "number" },
      number(pid ? String(pid) : "–"),
    ];
  }));
}

function reasons(report, daemon, history) {
  const found = daemon.traffic.flatMap(({ path, ends, refusals }) => [
    ...Object.entries(ends).map((one) => [...one, path, "ends", "ended"]),
    ...Object.entries(refusals).map((one) => [...one, path, "refusals", "refused"]),
  ]);
  found.sort(([a, x], [b, y]) => y - x || a.localeCompare(b));
  rows("reasons", found.map(([reason, all, path, field, what]) => [
    reason,
    path,
    { text: what, style: what === "refused" ? "warn" : "" },
    number(format.count(history.grown((one) => byPath(one, path)?.[field][reason]))),
    number(format.count(all)),
  ]));
}

function prefixes(report, daemon) {
  const guard = report.guard;
  const line = document.getElementById("guard");
  line.hidden = !guard;
  if (guard) {
    const open = guard.open_ports ? ` Ordinary listeners at ports ${guard.open_ports} stay open.` : "";
    const state = !guard.present ? "There is no guard." : guard.intact ? "The guard is as it should be."
      : "The guard was altered.";
    put(line, { text: state + open, style: guard.present && guard.intact ? "" : "bad" });
  }
  const known = report.prefixes.length ? report.prefixes
    : daemon.prefixes.map((prefix) => ({ prefix, layout: "", guarded: null }));
  rows("prefixes", known.map(({ prefix, layout, guarded }) => [
    prefix,
    layout,
    guarded === null ? { text: "not known", style: "" }
      : { text: guarded ? "yes" : "no", style: guarded ? "good" : "bad" },
  ]), Boolean(guard));
}

function paths(report, daemon) {
  const flows = daemon.flows;
  rows("paths", daemon.paths.map(({ ports, path, reason }) => [ports, path, reason]), Boolean(flows));
  const line = document.getElementById("flows");
  line.hidden = !flows;
  if (!flows) return;
  const outlives = flows.outlives ? "; they go on when the daemon is killed" : "";
  put(line, `Kernel path: ${format.count(flows.open)} flows open of at most ${format.count(flows.slots)}`
    + ` at ${flows.interfaces.join(", ") || "no interface"}, ${format.count(flows.dropped)} SYNs dropped`
    + `${outlives}.`);
}

/** Show the proxies, and below them what all their clients do: *proxied* is null where nobody ever asked. */
function proxies(report, daemon, history) {
  const { proxies: served = [], proxied = null } = daemon;
  rows("proxies", served.map(({ listen, tls, methods, clients, users }) => [
    listen,
    tls ? "yes" : "no",
    methods.join(", "),
    clients.join(", ") || "on the gateway's links",
    number(users ? format.count(users) : "no login"),
  ]), Boolean(proxied));
  pairs("proxies-numbers", !proxied ? [] : [
    ["open sessions", format.count(proxied.open)],
    ["that send datagrams", format.count(proxied.associations)],
    ...counted("asked by", "asked", proxied.asked, history),
    ...counted("refused:", "refusals", proxied.refusals, history),
  ]);
}

/** Return a line for each of *counts*, the *field* of what clients of proxies did. */
function counted(what, field, counts, history) {
  return Object.entries(counts).map(([name, all]) => {
    const grown = history.grown((one) => one.proxied?.[field][name]);
    return [`${what} ${name}`, `${format.count(grown)} in five minutes, ${format.count(all)} in all`];
  });
}

/** Show of each limit the process that is nearest to it. */
function uses(report, daemon) {
  const part = ({ used, limit }) => (limit ? used / limit : null);
  const nearest = new Map();
  for (const use of daemon.uses) {
    const other = nearest.get(use.name);
    if (!other || part(use) > part(other)) nearest.set(use.name, use);
  }
  rows("uses", [...nearest.values()].map((use) => {
    const style = part(use) >= TOO_MUCH ? "bad" : part(use) >= MUCH ? "warn" : "";
    const shown = { text: format.percent(use.used, use.limit), style: `part ${style}`.trim(), part: part(use) };
    return [
      use.name,
      use.process || "all",
      number(format.count(use.used)),
      number(use.limit === null ? "none" : format.count(use.limit)),
      use.limit ? shown : "",
    ];
  }));
}

function dialling(report, daemon) {
  const dials = daemon.dialling;
  rows("dialling", dials ? [
    ["the last minute", number(format.delay(dials.recent_p50)), number(format.delay(dials.recent_p95))],
    [`all ${format.count(dials.count)}`, number(format.delay(dials.p50)), number(format.delay(dials.p95))],
  ] : []);
}

function names(report, daemon, history) {
  const dns = daemon.names;
  rows("names", (dns?.servers ?? []).map(({ address, healthy, error }) => [
    address, { text: healthy ? "answers" : "fails", style: healthy ? "good" : "bad" }, error,
  ]), Boolean(dns));
  if (!dns) return;
  const grown = (field) => history.grown((one) => one.names?.[field]);
  const queries = history.now((one) => one.names?.queries);
  pairs("names-numbers", [
    ["queries", `${format.rate(queries)} a second, ${format.count(dns.queries)} in all`],
    ["answered at once", `${format.percent(grown("at_once"), grown("queries"))} in five minutes, `
      + `${format.percent(dns.at_once, dns.queries)} of all`],
    ["looked up", format.count(dns.looked_up)],
    ["past their time", format.count(dns.stale)],
    ["failed", `${format.count(grown("failed"))} in five minutes, ${format.count(dns.failed)} in all`],
    ["synthesised", format.count(dns.synthesised)],
  ]);
}

function probes(report, daemon) {
  rows("probes", daemon.probes.map(({ name, good, error }) => [
    name, { text: good ? "good" : "fails", style: good ? "good" : "bad" }, error,
  ]));
}

function upkeep(report, daemon) {
  const { repairs, reload } = daemon;
  const reloaded = !reload ? "none" : `${reload.good ? "good" : "failed"}, ${format.date(reload.when)}`;
  pairs("upkeep-numbers", [
    ["repairs", `${format.count(repairs.good)} good, ${format.count(repairs.failed)} failed`],
    ["last reload", { text: reloaded, style: reload && !reload.good ? "bad" : "" }],
    ...(reload?.error ? [["its error", reload.error]] : []),
    ["upgrades", `${format.count(daemon.programs - 1)} done, ${format.count(daemon.failed)} failed`],
    ["log lines lost", { text: format.count(daemon.log_lines_lost), style: daemon.log_lines_lost ? "bad" : "" }],
  ]);
}

// -- elements ---------------------------------------------------------------------------------------

/** Show *lines*, lists of cells, in the table of a section, which hides if empty unless *always*. */
function rows(section, lines, always = false) {
  const place = document.getElementById(section);
  place.hidden = !lines.length && !always;
  place.querySelector(".scroll").hidden = !lines.length;
  const body = place.querySelector("tbody");
  while (body.rows.length > lines.length) body.deleteRow(-1);
  lines.forEach((cells, index) => {
    const row = body.rows[index] ?? body.insertRow();
    cells.forEach((cell, column) => put(row.cells[column] ?? added(row, column), cell));
  });
  alignHeads(place, lines[0] ?? []);
}

/** Add a cell to *row*; its first says what the row is about. */
function added(row, column) {
  const cell = document.createElement(column ? "td" : "th");
  if (!column) cell.scope = "row";
  row.append(cell);
  return cell;
}

function alignHeads(place, cells) {
  cells.forEach((cell, column) => {
    place.querySelectorAll("thead th")[column].classList.toggle("number", cell.style?.startsWith("number") ?? false);
  });
}

function pairs(id, lines) {
  const list = document.getElementById(id);
  while (list.children.length > 2 * lines.length) list.lastElementChild.remove();
  while (list.children.length < 2 * lines.length) list.append(labelled("dt", "", ""), labelled("dd", "", ""));
  lines.flat().forEach((cell, index) => put(list.children[index], cell));
}

/** Show *cell* in *element*: a text, or {text, style, part}.  What is as it was is left alone. */
function put(element, cell) {
  const { text, style = "", part } = typeof cell === "string" ? { text: cell } : cell;
  if (element.className !== style) element.className = style;
  if (part === undefined) {
    if (element.textContent !== text) element.textContent = text;
    return;
  }
  if (element.children.length !== 2) {
    const bar = labelled("span", "bar", "");
    bar.append(document.createElement("span"));
    element.replaceChildren(labelled("span", "", ""), bar);
  }
  const [words, bar] = element.children;
  if (words.textContent !== text) words.textContent = text;
  bar.firstElementChild.style.width = `${Math.min(100 * part, 100)}%`;
}

function number(text) {
  return { text, style: "number" };
}

function labelled(name, style, text) {
  const made = document.createElement(name);
  if (style) made.className = style;
  made.textContent = text;
  return made;
}

/** Let the keyboard scroll a table that is wider than its place. */
function letKeysScroll(region) {
  const needed = region.scrollWidth > region.clientWidth;
  if (needed === region.hasAttribute("tabindex")) return;
  if (needed) {
    region.tabIndex = 0;
    region.setAttribute("role", "group");
    region.setAttribute("aria-labelledby", region.closest("section").getAttribute("aria-labelledby"));
  } else {
    for (const name of ["tabindex", "role", "aria-labelledby"]) region.removeAttribute(name);
  }
}
