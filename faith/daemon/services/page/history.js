// The last five minutes of a daemon's numbers, and what can be said by comparing them.

/** Seconds that are kept. */
export const WINDOW = 300;
/** Seconds between two reports beyond which nothing is said of the time between them. */
const GAP = 90;

/**
 * Reports of one daemon, oldest first.  A sample is {time, daemon, follows}: it *follows* the one
 * before it if its counters continue that one's, which they do not after a restart or a long gap.
 */
export class History {
  samples = [];

  /** The newest report's daemon, or undefined. */
  get newest() {
    return this.samples.at(-1)?.daemon;
  }

  /** Add a report's *daemon* as of *time* (s); false if there is nothing new in it. */
  add(time, daemon) {
    const last = this.samples.at(-1);
    if (last?.time === time) return false;
    if (last && time < last.time) this.samples = []; // the daemon's clock was set back
    const follows = Boolean(last) && time > last.time && time - last.time < GAP
      && isSame(last.daemon, daemon);
    this.samples.push({ time, daemon, follows });
    while (time - this.samples[0].time > WINDOW) this.samples.shift();
    return true;
  }

  /**
   * Return [{time, value}] of all samples; *counter* picks a number from a daemon, and the value is
   * its growth a second: null where the counter began anew.
   */
  growth(counter) {
    return this.samples.map((sample, index) => ({
      time: sample.time,
      value: sample.follows && index ? perSecond(this.samples[index - 1], sample, counter) : null,
    }));
  }

  /** Return [{time, value}] of all samples; the value is what *number* picks from a daemon. */
  levels(number) {
    return this.samples.map(({ time, daemon }) => ({ time, value: number(daemon) ?? null }));
  }

  /** Return the growth of *counter* a second, now; null if it cannot be said. */
  now(counter) {
    return this.growth(counter).at(-1)?.value ?? null;
  }

  /** Return by how much *counter* grew within the window, since a restart at most. */
  grown(counter) {
    const first = this.samples.findLastIndex((sample) => !sample.follows);
    const before = counter(this.samples[Math.max(first, 0)].daemon) ?? 0;
    return Math.max((counter(this.newest) ?? 0) - before, 0);
  }
}

/** Return whether the counters of *now* continue those of *before*: also across an upgrade. */
export function isSame(before, now) {
  return before.pid === now.pid && before.started === now.started;
}

/** A counter that is not there yet is 0; one that went back began anew. */
function perSecond(before, now, counter) {
  const [from, to] = [counter(before.daemon) ?? 0, counter(now.daemon) ?? 0];
  return to < from ? null : (to - from) / (now.time - before.time);
}
