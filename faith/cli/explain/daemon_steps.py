"""The steps inside the daemon: is it there and able to serve, and which service is it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.cli.explain.explanation import note, ok, problem, unknown
from faith.daemon.config.settings import KERNEL
from faith.daemon.observe.roles import FLOWS, PING, UDP, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import DaemonFacts, Facts
    from faith.daemon.config.decision import Decision

_SPARE = 8
"""Descriptors that a process needs for one more connection and its own work."""
_SETTINGS = {"icmp": ("ping-off", "ping", "[ping]"), "udp": ("udp-off", "UDP", "[udp]")}


def daemon(facts: Facts) -> Iterator[Step]:
    """Explain whether a daemon is there to take the connection."""
    found = facts.daemon
    if found is None:
        yield from _without(facts)
        return
    if facts.silent and facts.question.port not in found.ports:
        yield problem(
            "daemon",
            "daemon-hung",
            f"another faithd, with pid {facts.silent[0]}, does not answer, and may have the port",
            f"ps -o pid,stat,wchan,args -p {facts.silent[0]}",
            f"kill -CONT {facts.silent[0]} if it is stopped; else restart it",
            certain=False,
        )
    if found.draining:
        yield problem(
            "daemon",
            "draining",
            f"faithd {found.service} (pid {found.pid}) takes no more connections: it is draining",
            "faith status",
            "faith undrain has it serve again",
        )
        return
    yield from _workers(facts, found)
    unfed = facts.steered is False or bool(facts.explained and not facts.explained.steered)
    if unfed and facts.question.protocol == "tcp" and not facts.from_v4:
        yield problem(
            "way-in",
            "steering-gone",
            f"nothing leads connections to pid {found.pid}: what “{found.via}” needs is gone",
            "nft list tables; ss -lntp; bpftool link",
            "restart the daemon",
        )


def _without(facts: Facts) -> Iterator[Step]:
    if facts.silent:
        pids = ", ".join(map(str, facts.silent))
        yield problem(
            "daemon",
            "daemon-hung",
            f"the faithd with pid {pids} does not answer",
            f"ps -o pid,stat,wchan,args -p {pids.replace(' ', '')}",
            f"kill -CONT {facts.silent[0]} if it is stopped; else restart it",
        )
    elif facts.hidden:
        yield unknown("daemon", "only root and its user may ask the faithd here", "run it as root")
    elif facts.unannounced:
        pids = ", ".join(map(str, facts.unannounced))
        yield unknown(
            "daemon",
            f"the faithd with pid {pids} cannot be asked: its socket is elsewhere",
            "see its log; FAITH_RUNTIME_DIRECTORY names another directory",
        )
    elif facts.guard and facts.question.port in facts.guard.open_ports and facts.listening:
        yield note(
            "daemon",
            f"no faithd runs; an ordinary listener has port {facts.question.port} (inetd)",
            f"ss -lntp sport = :{facts.question.port}",
        )
    else:
        yield problem(
            "daemon",
            "no-daemon",
            f"no faithd runs here{': the guard refuses connections' if facts.guard else ''}",
            "faith status",
            "start one: systemctl start faithd, or faithd --config FILE",
        )


def _workers(facts: Facts, found: DaemonFacts) -> Iterator[Step]:
    who = f"faithd {found.service}, pid {found.pid}, by {found.via}"
    role, count = _role(facts), found.workers
    stuck = [one for one in found.stuck if one.startswith(role)]
    whole = len(stuck) >= (count if role == WORKER else 1)
    if not stuck:
        yield ok("daemon", f"{who}, workers: {count}", "faith status")
    else:
        yield problem(
            "daemon",
            "workers-hung",
            f"{who}: {', '.join(stuck)} does not answer"
            + ("" if whole else ", so that some connections wait for it"),
            f"ps -o pid,stat,wchan,args --ppid {found.pid}",
            "it is replaced within seconds; if that does not help, restart the daemon",
            certain=whole,
        )
    if others := [one for one in found.stuck if one not in stuck]:
        yield note("daemon", f"{', '.join(others)} does not answer", "faith status")
    used, limit = found.descriptors
    if role != WORKER:
        return
    if found.full or (limit and used >= limit - _SPARE):
        yield problem(
            "daemon",
            "out-of-descriptors",
            f"{found.full or 1} of {found.workers} workers have no room for another session of the"
            f" client: {used} of {limit} descriptors are in use",
            f"grep -r 'open files' /proc/{found.pid}/limits",
            "raise LimitNOFILE= in its unit (or ulimit -n), and restart it; or limit what a client"
            " may have: [limits] sessions_per_prefix",
            certain=not found.full or found.full >= found.workers,
        )


def _role(facts: Facts) -> str:
    """Return the role of the processes that the connection needs."""
    if facts.question.protocol == "tcp":
        return FLOWS if facts.explained and facts.explained.path == KERNEL else WORKER
    return {"udp": UDP, "icmp": PING}[facts.question.protocol]


def service(facts: Facts) -> Iterator[Step]:
    """Explain which service has the port, and by which path it goes."""
    found, daemon = facts.explained, facts.daemon
    question = facts.question
    if found is None:
        if daemon and question.protocol == "tcp" and question.port not in daemon.ports:
            yield _no_service(facts, str(daemon.ports), certain=not facts.from_v4)
        if facts.explain_error:
            yield unknown("service", f"the daemon does not say more: {facts.explain_error}")
        return
    decision = found.decision
    if question.protocol in _SETTINGS:
        yield _datagrams(facts, decision)
    elif not decision.served:
        yield _no_service(facts, decision.ports)
    elif decision.service:
        one = decision.service
        text = f"port {question.port} belongs to service {one.name}, {found.path} path"
        helped = " with the FTP ALG" if one.ftp else " with rsh's" if one.rsh else ""
        workers = (
            f", one of {found.workers} workers" if found.workers and found.path != KERNEL else ""
        )
        yield ok("service", text + helped + workers, "faith check FILE; faith status")
        if found.path_reason and one.path == KERNEL:
            yield problem(
                "service",
                "kernel-path-unavailable",
                "the service must go by the kernel path, which this host does not have:"
                f" {found.path_reason}",
                "faith status",
                'mend that, or have path = "auto" in its [[service]]',
            )
        elif found.path_reason:
            yield note("service", f"not by the kernel path: {found.path_reason}", "faith status")


def proxies(facts: Facts) -> Iterator[Step]:
    """Say that clients of proxies go another way, where there are proxies."""
    places = [proxy.listen for daemon in facts.daemons for proxy in daemon.proxies]
    if places and facts.question.protocol == "tcp":
        yield note(
            "proxy",
            f"this is not about clients of the proxy at {', '.join(places)}: --proxy follows what"
            " they ask for",
            "faith explain --proxy CLIENT DEST",
        )


def _no_service(facts: Facts, ports: str, *, certain: bool = True) -> Step:
    port = facts.question.port
    return problem(
        "service",
        "no-service",
        f"no service has port {port}: the gateway serves {ports or 'none'}",
        "faith status",
        f'add it: [[service]] ports = "{port}" in faith.toml(5), then faith reload',
        certain=certain,
    )


def _datagrams(facts: Facts, decision: Decision) -> Step:
    cause, what, table = _SETTINGS[facts.question.protocol]
    if decision.served:
        return ok("service", f"{what} is on", "faith check FILE")
    return problem(
        "service",
        cause,
        f"{what} is turned off",
        facts.from_file or "faith check FILE",
        f"turn it on: {table} enabled = true in faith.toml(5), then faith reload",
    )
