// Numbers as texts.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const NONE = "–";
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Return a count, such as 12,345. */
export function count(number) {
  return number === null || number === undefined ? NONE : whole.format(number);
}

/** Return a rate, such as 12.3. */
export function rate(number) {
  if (number === null || number === undefined) return NONE;
  return number >= 1000 ? whole.format(number) : short.format(number);
}

/** Return octets in decimal units, such as 1.23 MB. */
export function octets(number) {
  if (number === null || number === undefined) return NONE;
  let unit = 0;
  for (; number >= 999.5 && unit < UNITS.length - 1; unit++) number /= 1000;
  return `${short.format(number)} ${UNITS[unit]}`;
}

/** Return octets a second. */
export function octetRate(number) {
  return number === null || number === undefined ? NONE : `${octets(number)}/s`;
}

/** Return a short time, such as 12 ms. */
export function delay(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  return seconds < 1 ? `${short.format(seconds * 1000)} ms` : `${short.format(seconds)} s`;
}

/** Return a long time, such as 3 d 4 h. */
export function age(seconds) {
  const [days, hours, minutes] = [86400, 3600, 60].map((one) => Math.floor(seconds / one));
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min` : `${Math.max(Math.floor(seconds), 0)} s`;
}

/** Return a part of a whole, such as 42 %. */
export function percent(part, all) {
  if (!all) return NONE;
  const share = (100 * part) / all;
  return share > 0 && share < 1 ? "< 1 %" : `${whole.format(share)} %`;
}

/** Return the time of day of a Unix time. */
export function clock(time) {
  return new Date(time * 1000).toLocaleTimeString("en-GB");
}

/** Return the day and the time of day of a Unix time. */
export function date(time) {
  const day = new Date(time * 1000);
  return `${day.toLocaleDateString("en-CA")} ${clock(time)}`;
}
