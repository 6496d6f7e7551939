"""The doctor: checks of the whole set-up, each good or amiss, with the command to mend it."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from faith.cli import control_client, status
from faith.cli.explain import process_facts, proxied_names
from faith.daemon.config.proxied_decision import ProxiedExplained
from faith.daemon.config.worker_settings import NameSettings
from faith.daemon.host import discovery
from faith.daemon.observe.checked_decoding import checked
from faith.errors import FaithError, SetupError
from faith.kernel.flow import flow_conditions
from faith.kernel.netlink import interfaces, route_query
from faith.kernel.sockets import tcp_sysctls
from faith.translation.address import ANY, V4, V6

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.daemon.observe.status_report import Daemon, Report, ServedProxy

State = Literal["ok", "note", "amiss", "unknown"]
_STATES: dict[str, State] = {
    "failure": "amiss",
    "warning": "amiss",
    "advice": "note",
    "unseen": "unknown",
}
_LEAST_DESCRIPTORS = 4096
_LEAST_PORTS = 10_000
_FULL = 0.8
"""The share of a table beyond which it is nearly full."""
_OLDEST_CLOCK = 1_700_000_000
"""A Unix time before this program was written."""
_TIMEX, _TIME_ERROR = 256, 5
"""Octets that struct timex fits into, and the answer of adjtimex(2) without synchronisation."""
_NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_NET_BIND_SERVICE": 10}


class Check(Struct, frozen=True):
    """A check: *state* ok, note, amiss, or unknown where it could not be made.

    *action* is the command that mends it.
    """

    check: str
    state: State
    text: str
    action: str = ""


def examine() -> list[Check]:
    """Make all checks of this host."""
    return [check for each in CHECKS for check in each()]


def _sysctls() -> Iterator[Check]:
    advice = tcp_sysctls.advice()
    for line in advice:
        command, _, why = line.partition(": ")
        name = command.split()[-1].partition("=")[0]
        yield Check(
            "tcp", "amiss", f"{name} is {why.removeprefix('at ').replace(', ', ': ', 1)}", command
        )
    if not advice:
        yield Check("tcp", "ok", "tcp_mtu_probing and tcp_tw_reuse are as they should be")
    first, last = map(int, (_sysctl("net.ipv4.ip_local_port_range") or "32768 60999").split())
    ports = last - first + 1
    if ports < _LEAST_PORTS:
        yield Check(
            "ports",
            "amiss",
            f"{ports} source ports ({first}-{last}) towards each server",
            'sysctl -w net.ipv4.ip_local_port_range="32768 60999"',
        )
    else:
        yield Check("ports", "ok", f"{ports} source ports towards each server")


def _sysctl(name: str) -> str:
    return process_facts.sysctl(name)


def _forwarding() -> Iterator[Check]:
    if _sysctl("net.ipv6.conf.all.forwarding") == "1" and _accepts_no_routes():
        yield Check(
            "forwarding",
            "note",
            "IPv6 forwarding is on: interfaces with accept_ra = 1 ignore router advertisements",
            "sysctl -w net.ipv6.conf.IFACE.accept_ra=2, where routes come by them",
        )
    else:
        yield Check("forwarding", "ok", "the relay needs no forwarding, and it hides no routes")
    if _sysctl("net.ipv6.conf.all.disable_ipv6") == "1":
        yield Check("ipv6", "amiss", "IPv6 is off", "sysctl -w net.ipv6.conf.all.disable_ipv6=0")


def _accepts_no_routes() -> bool:
    links = [link for link in route_query.links().values() if not link.loopback]
    return any(_sysctl(f"net.ipv6.conf.{link.name}.accept_ra") == "1" for link in links)


def _reverse_path() -> Iterator[Check]:
    strict = [
        link.name
        for link in route_query.links().values()
        if not link.loopback and process_facts.rp_filter(link.name) == 1
    ]
    dropped = process_facts.reverse_path_drops()
    if strict and dropped:
        yield Check(
            "rp_filter",
            "amiss",
            f"reverse path filtering is strict on {', '.join(strict)}, and dropped {dropped}"
            " packets on this host",
            f"sysctl -w net.ipv4.conf.{strict[0]}.rp_filter=2",
        )
    elif strict and len(strict) > 1:
        yield Check(
            "rp_filter",
            "note",
            f"strict on {', '.join(strict)}: answers that come by another of them are dropped",
            f"sysctl -w net.ipv4.conf.{strict[0]}.rp_filter=2, if ways are not symmetric",
        )
    else:
        yield Check("rp_filter", "ok", "reverse path filtering is in nobody's way")


def _set_up() -> Iterator[Check]:
    """Return the prefixes, and what ``faith status`` finds amiss."""
    found = status.read()
    if not found.prefixes:
        yield _without_prefix(found)
    for prefix in found.prefixes:
        yield Check("prefix", "ok", f"{prefix.prefix}{', guarded' if prefix.guarded else ''}")
    for one in found.findings:
        if one.id != "sysctl":  # which has a check of its own
            yield Check("status", _STATES[one.severity], one.text, one.action)


def _without_prefix(found: Report) -> Check:
    if any(daemon.proxies for daemon in found.daemons):
        return Check("prefix", "note", "no prefix is reserved: only proxies are served")
    return Check("prefix", "amiss", "no prefix is reserved", "faith -e -p PREFIX")


def _proxies() -> Iterator[Check]:
    """Check what proxies depend on, besides what is among the findings of ``faith status``."""
    serving = [faithd for faithd in discovery.running() if faithd.proxies]
    for faithd in serving:
        for one in faithd.proxies:
            yield from _strangers(one)
        yield from _name_servers(faithd)


def _strangers(proxy: ServedProxy) -> Iterator[Check]:
    """Check that the links whose hosts may use *proxy*, where no clients are named, are the
    site's own."""
    if proxy.clients or proxy.users:
        return
    host = proxy.listen.rpartition(":")[0].strip("[]")
    on_all = host in (ANY[V4], ANY[V6])
    public = {
        str(own.network): own.network
        for own in interfaces.addresses()
        if own.network.is_global
        and own.network.version == 4
        and own.network.num_addresses > 1
        and (on_all or str(own.address) == host)
    }
    if public:
        yield Check(
            "proxy",
            "amiss",
            f"the proxy at {proxy.listen} names no clients, so that every host in"
            f" {', '.join(public)} may use it: are they all yours?",
            "name your networks in clients of its [[proxy]], then faith reload",
        )
    else:
        yield Check("proxy", "ok", f"no strangers are on the links of the proxy at {proxy.listen}")


def _name_servers(faithd: Daemon) -> Iterator[Check]:
    """Ask each name server that the proxies of *faithd* ask."""
    servers = proxied_names.servers(_names(faithd))
    dead = [one for one in servers if one.error]
    for one in dead:
        yield Check(
            "proxy",
            "amiss",
            f"the name server {one.address}, which proxies ask, gives no answer: {one.error}",
            "check it, or name others: forward in [dns], or else /etc/resolv.conf",
        )
    if not servers:
        text = "there is no name server for proxies to ask"
        yield Check("proxy", "amiss", text, "name one in /etc/resolv.conf, or forward in [dns]")
    elif not dead:
        yield Check("proxy", "ok", "the name servers that proxies ask give answers")


def _names(faithd: Daemon) -> NameSettings:
    """Return how the proxies of *faithd* look names up; as a daemon without ``[dns]`` does, where
    it cannot be asked."""
    if faithd.control is None:
        return NameSettings()
    words = {"client": "::1", "addresses": [], "port": 1}
    try:
        answer = control_client.ask(Path(faithd.control), "explain-proxy", patience=5.0, **words)
        return checked(msgspec.convert)(answer, ProxiedExplained).names
    except (FaithError, ValueError):
        return NameSettings()


def _links() -> Iterator[Check]:
    links = [link for link in route_query.links().values() if not link.loopback]
    for link in links:
        if link.up and not link.works:
            yield Check(
                "link",
                "amiss",
                f"{link.name} is up, but has no carrier",
                f"connect its cable, or ip link set {link.name} down",
            )
    uses_flows = any(faithd.flows for faithd in discovery.running())
    damaging = flow_conditions.offloads(link.name for link in links)
    for line in damaging:
        what, _, command = line.rpartition(": ")
        yield Check("offloads", "amiss" if uses_flows else "note", what, command)
    if not damaging:
        yield Check("offloads", "ok", "no offload is in the way of the kernel path")


def _capabilities() -> Iterator[Check]:
    mask = _effective()
    missing = [name for name, bit in _NEEDED.items() if not mask >> bit & 1]
    if missing:
        yield Check(
            "rights",
            "unknown",
            f"this process lacks {', '.join(missing)}: it does not see everything",
            "run it as root",
        )
    else:
        yield Check("rights", "ok", "the capabilities that faithd needs are there")


def _effective() -> int:
    from faith.kernel import text_file

    try:
        lines = text_file.read_proc("/proc/self/status").splitlines()
    except SetupError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff")), 0)


def _clock() -> Iterator[Check]:
    now = time.time()
    if now < _OLDEST_CLOCK:
        when = time.strftime("%Y-%m-%d", time.gmtime(now))
        yield Check(
            "clock",
            "amiss",
            f"the clock says {when}: records and certificates go by it",
            "timedatectl set-ntp true",
        )
    elif _is_unsynchronised():
        yield Check(
            "clock",
            "note",
            "the kernel knows of nothing that synchronises the clock, by which records have times",
            "timedatectl set-ntp true",
        )
    else:
        yield Check("clock", "ok", "the clock is synchronised")


def _is_unsynchronised() -> bool:
    """Return whether adjtimex(2) says so; asking changes nothing."""
    answer = ctypes.create_string_buffer(_TIMEX)
    return bool(ctypes.CDLL(None).adjtimex(answer) == _TIME_ERROR)


def _descriptors() -> Iterator[Check]:
    running = discovery.running()
    for faithd in running:
        used, limit = process_facts.daemon(faithd).descriptors
        if not limit:
            continue
        if limit < _LEAST_DESCRIPTORS or used > limit * _FULL:
            yield Check(
                "descriptors",
                "amiss",
                f"a worker of pid {faithd.pid} has {used} of {limit} descriptors in use; a session"
                " takes two or more",
                "LimitNOFILE=1048576 in its unit (systemctl edit), then restart it",
            )
        else:
            yield Check("descriptors", "ok", f"pid {faithd.pid}: {used} of {limit} in use at most")


def _conntrack() -> Iterator[Check]:
    count, most = (_sysctl(f"net.netfilter.nf_conntrack_{one}") for one in ("count", "max"))
    if not count or not most:
        yield Check("conntrack", "ok", "connection tracking is not in use")
    elif int(count) > int(most) * _FULL:
        yield Check(
            "conntrack",
            "amiss",
            f"connection tracking has {count} of {most} entries: beyond them packets are dropped",
            f"sysctl -w net.netfilter.nf_conntrack_max={int(most) * 4}",
        )
    else:
        yield Check("conntrack", "ok", f"{count} of {most} entries of connection tracking")


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _set_up,
    _proxies,
    _links,
    _sysctls,
    _forwarding,
    _reverse_path,
    _conntrack,
    _descriptors,
    _capabilities,
    _clock,
)
"""The checks in the order they are shown in."""
