// The page: asks for the daemon's numbers every two seconds, and says how old they are.

import { Chart } from "./charts.js";
import * as format from "./format.js";
import { History, isSame } from "./history.js";
import { byPath, fill } from "./tables.js";

/** Without the name and password that may be in the address of the page: fetch() refuses them. */
const SOURCE = new URL("status.json", location.origin + location.pathname);
const SCHEMA = 1;
const PERIOD = 2000;
/** Milliseconds that an answer may take, and that the daemon may be silent before its numbers are old. */
const PATIENCE = 5000;
/** How many changes are listed. */
const MOST_SEEN = 12;
const PATHS = ["relay", "kernel", "udp", "ping"];

const get = (id) => document.getElementById(id);
const history = new History();
const charts = {
  begun: new Chart(get("charts-list"), "New a second", format.rate),
  open: new Chart(get("charts-list"), "Open", format.count),
  octets: new Chart(get("charts-list"), "Octets a second, both ways", format.octetRate),
};
/** The version of the page: that of the first report. */
let version = null;
/** When a new report came last, by this page's clock (ms), and why none comes. */
let heard = performance.now();
let silence = "";
let ready = null;

// -- asking -----------------------------------------------------------------------------------------

async function ask() {
  try {
    const answer = await fetch(SOURCE, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error((await answer.text()).trim() || `HTTP status ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    silence = explained(error);
  }
  showAge();
  setTimeout(ask, PERIOD);
}

/** Return why there is no answer; browsers have no words for it. */
function explained(error) {
  if (error.name === "TimeoutError") return `no answer within ${PATIENCE / 1000} s`;
  return error instanceof TypeError ? "the daemon cannot be reached" : error.message;
}

/** Show *report*, unless it is the one that is shown already. */
function show(report) {
  if (report.schema !== SCHEMA) throw new Error(`its report has schema ${report.schema}, not ${SCHEMA}`);
  const [daemon] = report.daemons;
  if (!daemon) throw new Error("the report has no daemon");
  const before = history.newest;
  if (!history.add(report.time, daemon)) return;
  heard = performance.now();
  silence = "";
  version ??= report.version;
  get("newer").hidden = report.version === version;
  if (before) noteChanges(before, daemon, report);
  showHead(report, daemon);
  showCharts(report.time);
  fill(report, daemon, history);
  document.body.classList.remove("waiting");
}

// -- the head ---------------------------------------------------------------------------------------

function showHead(report, daemon) {
  const title = daemon.service === daemon.ports ? daemon.ports : `${daemon.service} (ports ${daemon.ports})`;
  get("title").textContent = `faithd: ${title}`;
  const up = format.age(report.time - daemon.started);
  get("facts").textContent = `version ${report.version}, up ${up}, PID ${daemon.pid}, `
    + `steering by ${daemon.via || "nothing"}`;
  const words = daemon.ready ? "ready" : `not ready: ${daemon.obstacles.join("; ") || "reason not known"}`;
  showState(words, daemon.ready ? "good" : "bad", daemon.service);
  if (ready !== null && ready !== words) note(report.time, words);
  ready = words;
}

function showState(words, style, service) {
  get("state").textContent = words;
  get("state").className = `state ${style}`;
  document.title = `${style === "good" ? "" : "(!) "}faithd ${service}`;
}

// -- charts -----------------------------------------------------------------------------------------

function showCharts(now) {
  const there = new Set(history.samples.flatMap(({ daemon }) => daemon.traffic.map(({ path }) => path)));
  const names = [...PATHS.filter((path) => there.delete(path)), ...there];
  const curves = (points) => names.map((name) => ({ name, points: points(name) }));
  const octets = (one, path) => sum(byPath(one, path)?.octets_to_server, byPath(one, path)?.octets_to_client);
  charts.begun.draw(curves((path) => history.growth((one) => byPath(one, path)?.begun)), now);
  charts.open.draw(curves((path) => history.levels((one) => byPath(one, path)?.open)), now);
  charts.octets.draw(curves((path) => history.growth((one) => octets(one, path))), now);
}

function sum(...numbers) {
  return numbers.reduce((all, one) => all + (one ?? 0), 0);
}

// -- changes and silence ----------------------------------------------------------------------------

function noteChanges(before, daemon, report) {
  if (!isSame(before, daemon)) {
    note(report.time, "the daemon was restarted; its counters began anew");
  } else if (daemon.programs > before.programs) {
    note(report.time, `the daemon was upgraded, to version ${report.version}`);
  }
  if (daemon.failed > before.failed) note(report.time, "an upgrade failed");
  if (daemon.reload && daemon.reload.when !== before.reload?.when) {
    note(report.time, daemon.reload.good ? "the configuration was read again"
      : `a reload failed: ${daemon.reload.error}`);
  }
}

/** List a change, and have screen readers say it. */
function note(time, text) {
  const entry = document.createElement("li");
  const when = document.createElement("time");
  when.textContent = format.clock(time);
  entry.append(when, text);
  get("seen-list").prepend(entry);
  while (get("seen-list").children.length > MOST_SEEN) get("seen-list").lastElementChild.remove();
  get("seen").hidden = false;
  get("announce").textContent = text;
}

/** Say how old the numbers are once they are old. */
function showAge() {
  const old = performance.now() - heard;
  const is = old > PATIENCE || (silence !== "" && old > PERIOD);
  if (is === get("stale").hidden) {
    get("stale").hidden = !is;
    document.body.classList.toggle("stale", is);
    get("announce").textContent = is ? "There are no new numbers." : "Numbers come again.";
  }
  if (!is) return;
  if (ready !== null) showState(`not known (was ${ready})`, "", history.newest.service);
  const last = history.samples.at(-1);
  get("stale-why").textContent = `No new numbers: ${silence || "the daemon's supervisor does not report"}.`;
  get("stale-for").textContent = last
    ? `What is shown is of ${format.clock(last.time)}, ${format.age(old / 1000)} ago.` : "";
}

// -- colours ----------------------------------------------------------------------------------------

/** Remember the choice of colours where the browser lets a page remember anything. */
function stored(choice) {
  try {
    if (choice === undefined) return localStorage.getItem("scheme") ?? "";
    localStorage.setItem("scheme", choice);
  } catch {
    // It holds until the page is left.
  }
  return choice ?? "";
}

function colour(choice) {
  document.documentElement.dataset.scheme = choice;
}

get("scheme").value = stored();
colour(get("scheme").value);
get("scheme").addEventListener("change", ({ target }) => colour(stored(target.value)));
get("again").addEventListener("click", () => location.reload());
get("seen").hidden = true;
setInterval(showAge, 1000);
ask();
