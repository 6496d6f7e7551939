"""The status report: what a daemon is, does and lacks.

``faith status --json``, ``/status.json``, ``faith top`` and the page show it.  A later version may
add fields; whoever reads ignores those it does not know.  `SCHEMA` grows when a field goes or
changes its meaning.  Times are Unix times in seconds, durations seconds, sizes octets.  Addresses
are the gateway's own and those of its servers and settings, never a client's.
"""

from __future__ import annotations

import socket
from typing import Literal

from msgspec import Struct, field

from faith.translation.ports import NO_PORTS, Ports

SCHEMA = 1
"""The version of the schema."""

PROBE = "probe"
"""The beginning of an obstacle that is a probe of readiness."""
WORKER = "worker"
"""The beginning of the roles of the processes that relay."""

Severity = Literal["failure", "warning", "advice", "unseen"]
"""A failure keeps clients from being served, a warning some of them or may do so later; advice is
about settings that had better be others; unseen is what could not be found out."""

ProcessState = Literal["starting", "serving", "late", "draining", "restarting"]
"""*late*: it does not answer, or lags behind the newest rules; *restarting*: it died, and another
takes its place soon."""


class Finding(Struct, frozen=True):
    """Something amiss: *id* is a stable name listed in docs/status.rst, *text* a sentence.

    *action* says what to do about it, as a command where there is one.
    """

    severity: Severity
    id: str
    text: str
    action: str = ""


class Process(Struct, frozen=True):
    """A process of a daemon: *role* is as in its title, such as ``worker 2`` or ``dns 1``.

    *heard* is the seconds since it answered last, *restarts* how often its place was taken by
    another.  *open* are the sessions, flows or look-ups it has, *begun* all those of its place.
    *replaced* is the seconds since it took the place of a process that died, None if it did not.
    """

    role: str
    pid: int
    state: ProcessState
    heard: float = 0.0
    restarts: int = 0
    open: int = 0
    begun: int = 0
    replaced: float | None = None


class Reload(Struct, frozen=True):
    """The last reload: *when* it ended, whether it was *good*, and its *error* if not."""

    when: float
    good: bool
    error: str = ""


class ServedPath(Struct, frozen=True):
    """The *path*, "kernel" or "relay", that connections to *ports* (as text) go by.

    *reason* says why it is not the kernel path that was asked for, or is "".
    """

    ports: str
    path: str
    reason: str = ""


class ServedProxy(Struct, frozen=True):
    """A proxy that listens at *listen*, ``address:port``.

    *methods* are those by which clients may ask, *clients* their networks, or empty for those on
    the gateway's links; *users* is how many may log in, 0 where nobody has to.  CONNECT leads to
    *connect_ports*, as text.  With *tls* clients come by TLS only.
    """

    listen: str
    methods: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    users: int = 0
    connect_ports: str = ""
    tls: bool = False


class Proxied(Struct, frozen=True):
    """The clients of all proxies together: *open* sessions, *associations* that send datagrams.

    *asked* are counts of what they asked for, by method, and *refusals* of what a proxy alone
    refuses, by reason; counts of 0 are left out.
    """

    open: int = 0
    associations: int = 0
    asked: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)


class FlowTable(Struct, frozen=True):
    """The kernel path at a moment: flows translated at *interfaces*, *open* of at most *slots*.

    *dropped* are SYNs beyond the rates, since the program was loaded.  With *outlives*, flows go on
    when the daemon is killed.
    """

    interfaces: list[str]
    open: int
    slots: int
    dropped: int
    outlives: bool


class Traffic(Struct, frozen=True):
    """The traffic that went by one *path*: "relay", "kernel", "udp" or "ping".

    *ends* and *refusals* are counts by reason; reasons with a count of 0 are left out.
    """

    path: str
    open: int = 0
    begun: int = 0
    octets_to_server: int = 0
    octets_to_client: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)


class Dialling(Struct, frozen=True):
    """Seconds until servers accepted: quantiles of all connections since the start, and of the last
    minute or so (``recent``), interpolated in the buckets of the histogram; None without any."""

    count: int = 0
    p50: float | None = None
    p95: float | None = None
    recent_p50: float | None = None
    recent_p95: float | None = None


class Use(Struct, frozen=True):
    """How much of a limit is *used*: *name* as in docs/status.rst, such as ``sessions``.

    *limit* is None where there is none, *process* the role of the process whose limit it is, or "".
    """

    name: str
    used: int
    limit: int | None = None
    process: str = ""


class NameServer(Struct, frozen=True):
    """A server that ``faith dns`` asks, by its *address*; *error* is its last failure, or ""."""

    address: str
    healthy: bool
    error: str = ""


class Names(Struct, frozen=True):
    """The name service: *queries*, those answered *at_once* (from the cache, or refused)."""

    queries: int
    at_once: int
    looked_up: int
    stale: int
    failed: int
    synthesised: int
    servers: list[NameServer] = field(default_factory=list)


class Probe(Struct, frozen=True):
    """A probe of readiness, *name* as in the configuration; *error* is "" when it is *good*."""

    name: str
    good: bool
    error: str = ""

    @property
    def obstacle(self) -> str:
        """Why it keeps the daemon from being ready, as ``/readyz`` says it; "" if it is good."""
        return "" if self.good else f"{PROBE} {self.name}: {self.error}"


class Repairs(Struct, frozen=True):
    """Repairs of kernel state since the start."""

    good: int = 0
    failed: int = 0


class Daemon(Struct, frozen=True):
    """A running faithd: *service* and *ports* as texts.

    *prefixes* are those it relays from, *sets_up* those it reserved itself (``-P``), *control* the
    path of its control socket.
    """

    pid: int
    service: str
    ports: str
    via: str
    started: float
    prefixes: list[str]
    sets_up: list[str]
    version: str = ""
    sessions: int = 0
    ready: bool = True
    obstacles: list[str] = field(default_factory=list)
    """Why new connections should not come here, as ``/readyz`` says it."""
    draining: bool = False
    lame_duck: bool = False
    control: str | None = None
    programs: int = 1
    """How many programs have served in this process: one more after each upgrade."""
    failed: int = 0
    """The upgrades that have failed since this program began."""
    reload: Reload | None = None
    processes: list[Process] = field(default_factory=list)
    paths: list[ServedPath] = field(default_factory=list)
    """The paths of its services; empty where all are relayed because nothing else was asked for."""
    proxies: list[ServedProxy] = field(default_factory=list)
    proxied: Proxied | None = None
    """The clients of the proxies; None where there are no proxies, and never were clients."""
    flows: FlowTable | None = None
    traffic: list[Traffic] = field(default_factory=list)
    dialling: Dialling | None = None
    uses: list[Use] = field(default_factory=list)
    names: Names | None = None
    probes: list[Probe] = field(default_factory=list)
    repairs: Repairs = field(default_factory=Repairs)
    log_lines_lost: int = 0
    findings: list[Finding] = field(default_factory=list)
    """Its own defects and obstacles, of the ids in `faith.daemon.observe.findings`."""

    @property
    def served(self) -> Ports:
        """The ports as a set."""
        return Ports.parse(self.ports, socket.getservbyname) if self.ports else NO_PORTS

    @property
    def workers(self) -> int:
        """The number of workers that relay; 0 where the program does not say."""
        return sum(process.role.startswith(WORKER) for process in self.processes)


class PrefixReport(Struct, frozen=True):
    """A reserved prefix; *guarded* is None when the guard could not be read."""

    prefix: str
    layout: str
    guarded: bool | None = None


class Guard(Struct, frozen=True):
    """The guard: *intact* if it is as it should be, *open_ports* those of ordinary listeners."""

    present: bool
    intact: bool
    open_ports: str = ""


class Listener(Struct, frozen=True):
    """A socket of no daemon that listens on *port* for the hosts under the prefixes.

    *holder* is a process that has it, such as ``systemd (pid 1)``, or "" where it cannot be seen.
    """

    port: int
    holder: str = ""


class Report(Struct, frozen=True):
    """The status of a host (``faith status``), or of one daemon on it (``/status.json``).

    It is *good* if there is no failure and no warning among the *findings*, which include those of
    the daemons.
    """

    time: float
    version: str
    good: bool
    prefixes: list[PrefixReport] = field(default_factory=list)
    guard: Guard | None = None
    daemons: list[Daemon] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    schema: int = SCHEMA
