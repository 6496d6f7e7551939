"""Ways to break a site, each of which does it for real and mends it at the end of its block.

A `Break` takes the `Site` and is a context manager.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from faith.datagram import icmp
from faith.kernel.bpf import bpf
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX
from tests.netns import legacy_rules
from tests.netns.explain_site import MAPPED, RELAYED, Question, Site
from tests.netns.flow_lab import OTHER_CLIENT

if TYPE_CHECKING:
    from collections.abc import Iterator

Break = Callable[[Site], AbstractContextManager[object]]

CROWD = "2001:db8:8::/48"
"""The networks of many clients, which the client's host has all."""
HELD = 10
"""Seconds for which a worker that hangs is waited for, before it is killed and replaced."""


def commands(host: str, do: str, undo: str) -> Break:
    """Run the command *do* on *host*, and *undo* in the end."""

    @contextmanager
    def broken(site: Site) -> Iterator[None]:
        of_site = getattr(site, host)
        of_site.run(do.split())
        try:
            yield
        finally:
            of_site.run(undo.split())

    return broken


no_route_to_other_client = commands(
    "gateway",
    "ip -6 route del 2001:db8:7::/64",
    f"ip -6 route add 2001:db8:7::/64 via {CLIENT}",
)
"""The gateway has no way to the network of `OTHER_CLIENT`."""


def rule_to_blackhole(family: str, rule: str) -> Break:
    """Have a routing *rule* of *family*, ``-4`` or ``-6``, lead to a table with a blackhole."""
    ip, route = f"ip {family}", "blackhole default table 77"
    return together(
        commands("gateway", f"{ip} route add {route}", f"{ip} route del {route}"),
        commands("gateway", f"{ip} rule add pref 50 {rule} lookup 77", f"{ip} rule del pref 50"),
    )


def sysctl(host: str, name: str, value: object) -> Break:
    """Have *name* be *value* on *host*."""

    @contextmanager
    def broken(site: Site) -> Iterator[None]:
        before = getattr(site, host).sysctl(name)
        getattr(site, host).sysctl(name, value)
        try:
            yield
        finally:
            getattr(site, host).sysctl(name, before)

    return broken


def together(*breaks: Break) -> Break:
    """Do all of *breaks*: one fault that takes several commands."""

    @contextmanager
    def broken(site: Site) -> Iterator[None]:
        with ExitStack() as undo:
            for each in breaks:
                undo.enter_context(each(site))
            yield

    return broken


# -- firewalls -----------------------------------------------------------------------------------


def chain(
    hook: str,
    rules: str,
    host: str = "gateway",
    policy: str = "accept",
    priority: str = "0",
    table: str = "site",
) -> Break:
    """Have a chain with *rules* in a *table* of the family ``inet`` of *host*."""

    @contextmanager
    def broken(site: Site) -> Iterator[None]:
        of_site = getattr(site, host)
        kind = "nat" if "nat to" in rules or "nat ip" in rules else "filter"
        head = f"type {kind} hook {hook} priority {priority}; policy {policy};"
        text = f"table inet {table} {{\nchain c {{\n{head}\n{rules}\n}}\n}}\n"
        of_site.run(["nft", "-f", "-"], stdin=text)
        try:
            yield
        finally:
            of_site.run(["nft", "delete", "table", "inet", table])

    return broken


def legacy(hook: str, destination: str) -> Break:
    """Have a rule of the old iptables drop packets to *destination* in the chain *hook*."""

    @contextmanager
    def broken(site: Site) -> Iterator[None]:
        site.gateway.call(legacy_rules.replace, hook, destination)
        try:
            yield
        finally:
            site.gateway.call(legacy_rules.replace, "", destination)

    return broken


# -- the kernel's way in and out -----------------------------------------------------------------


@contextmanager
def route_deleted(site: Site) -> Iterator[None]:
    """Delete the AnyIP route of a prefix that `faith -e` has reserved; its guard stays."""
    site.gateway.run(["ip", "-6", "route", "del", "local", PREFIX, "dev", "lo", "table", "local"])
    try:
        yield
    finally:
        site.reserve()


@contextmanager
def guard_altered(site: Site) -> Iterator[None]:
    """Put a rule into the guard that `faith -e` made, while no faithd looks after it."""
    site.halt()
    listed = site.gateway.run(["nft", "list", "table", "ip6", "faith"]).stdout
    first = next(line.split()[1] for line in listed.splitlines() if "chain " in line)
    rule = f"insert rule ip6 faith {first} tcp dport {RELAYED} drop"
    site.gateway.run(["nft", *rule.split()])
    site.resume()
    try:
        yield
    finally:
        site.stop()


@contextmanager
def steering_detached(site: Site) -> Iterator[None]:
    """Detach the program that steers connections, as bpftool(8) can: link detach."""
    assert site.gateway.call(_detach)
    try:
        yield
    finally:
        site.stop()


_LINK_BY_ID, _INFO_BY_FD, _NEXT_LINK, _LINK_DETACH = 30, 15, 31, 34
_NETNS = 5  # BPF_LINK_TYPE_NETNS


def _detach() -> int:
    """Detach the links of sk_lookup in this network namespace; return how many there were."""
    here = os.stat("/proc/thread-self/ns/net").st_ino
    number, detached = 0, 0
    while True:
        request = bytearray(struct.pack("II", number, 0) + bytes(8))
        try:
            bpf._bpf(_NEXT_LINK, request)
        except FileNotFoundError:
            return detached
        number = struct.unpack_from("I", request, 4)[0]
        fd = bpf._bpf(_LINK_BY_ID, struct.pack("I", number) + bytes(12))
        try:
            info = ctypes.create_string_buffer(64)
            bpf._bpf(_INFO_BY_FD, struct.pack("IIQ", fd, 64, ctypes.addressof(info)))
            kind, inode = (struct.unpack_from("I", info, offset)[0] for offset in (0, 16))
            if (kind, inode) == (_NETNS, here & 0xFFFFFFFF):
                bpf._bpf(_LINK_DETACH, struct.pack("I", fd) + bytes(12))
                detached += 1
        finally:
            os.close(fd)


@contextmanager
def gateway_known(site: Site) -> Iterator[None]:
    """Have the server know the gateway's link address: what it asks by ARP may be filtered too."""
    shown = site.gateway.run(["ip", "-o", "link", "show", "to-server"]).stdout.split()
    entry = GATEWAY_V4, "dev", "bridge", "lladdr", shown[shown.index("link/ether") + 1]
    site.server.run(["ip", "neigh", "replace", *entry, "nud", "permanent"])
    try:
        yield
    finally:
        site.server.run(["ip", "neigh", "replace", *entry, "nud", "stale"])


# -- processes -----------------------------------------------------------------------------------


@contextmanager
def workers_stopped(site: Site) -> Iterator[None]:
    """Stop every worker; wait until the supervisor knows of it, which kills them later."""
    assert site.daemon
    for pid in site.workers():
        os.kill(pid, signal.SIGSTOP)
    wait_until(site.late, HELD, "late workers")
    try:
        yield
    finally:
        site.kill()


@contextmanager
def all_stopped(site: Site) -> Iterator[None]:
    """Stop the supervisor and all its processes, as a frozen control group is."""
    assert site.daemon
    pids = [site.daemon.process.pid, *site.daemon.workers]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        site.kill()


@contextmanager
def killed(site: Site) -> Iterator[None]:
    """Kill the supervisor, whose workers end then: route and guard stay."""
    site.kill()
    try:
        yield
    finally:
        site.stop()


@contextmanager
def ended(site: Site) -> Iterator[None]:
    """Stop the faithd."""
    site.halt()
    yield


@contextmanager
def drained(site: Site) -> Iterator[None]:
    """Drain the faithd, as before maintenance; a session keeps it from ending."""
    with ExitStack() as sessions:
        site.hold(sessions, OTHER_CLIENT)
        site.faith("drain", "--forever")
        yield
        site.faith("undrain")


@contextmanager
def many_clients(site: Site) -> Iterator[None]:
    """Have clients of many networks keep sessions, until no more are accepted."""
    site.client.sysctl("net.ipv6.ip_nonlocal_bind", 1)
    site.client.run(["ip", "-6", "route", "add", "local", CROWD, "dev", "lo"])
    site.gateway.run(["ip", "-6", "route", "add", CROWD, "via", CLIENT])
    try:
        with ExitStack() as sessions:
            with pytest.raises(ConnectionError):
                site.hold(sessions, *(f"2001:db8:8:{number:x}::1" for number in range(200)))
            yield
    finally:
        site.client.run(["ip", "-6", "route", "del", "local", CROWD, "dev", "lo"])
        site.gateway.run(["ip", "-6", "route", "del", CROWD])


# -- clients and servers -------------------------------------------------------------------------


def held(client: str, count: int, port: int = RELAYED) -> Break:
    """Have *client* keep *count* sessions to *port*."""

    @contextmanager
    def broken(site: Site) -> Iterator[None]:
        with ExitStack() as sessions:
            for _ in range(count):  # the session before may still count
                wait_until(lambda: site.holds(sessions, client, port), 5, f"a session of {client}")
            yield

    return broken


def used_up(question: Question) -> Break:
    """Ask for *question* until it is not answered any more."""

    @contextmanager
    def broken(site: Site) -> Iterator[None]:
        wait_until(lambda: site.outcome(question) != "works", 10, "the limit")
        yield

    return broken


@contextmanager
def pinged(site: Site) -> Iterator[None]:
    """Have the client send hundreds of echo requests a second."""
    over = threading.Event()
    request = icmp.echo(icmp.ECHO_V6, 4711, 1, b"hello")
    with site.client.inside():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    sock.bind((CLIENT, 0))

    def send() -> None:
        while not over.wait(0.002):
            sock.sendto(request, (site.lab.mapped(), 0))

    thread = threading.Thread(target=send)
    with sock:
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def names_unanswered(site: Site) -> Iterator[None]:
    """Have the name server gone."""
    site.names.close()
    try:
        yield
    finally:
        site.answer_names()


@contextmanager
def another_has_it(site: Site) -> Iterator[None]:
    """Give the neighbour the mapped address, which it announces (RFC 5227)."""
    site.neighbour.links.add_address("to-server", f"{MAPPED}/32")
    mac = site.neighbour.call(_announce, MAPPED)
    # of the two that answer for it, this client has heard the neighbour last
    entry = ["ip", "neigh", "replace", MAPPED, "lladdr", mac, "nud", "permanent"]
    site.server.run([*entry, "dev", "bridge"])
    assert site.daemon
    site.daemon.wait_said("duplicate address")
    try:
        yield
    finally:
        site.neighbour.run(["ip", "addr", "del", f"{MAPPED}/32", "dev", "to-server"])
        site.server.run(["ip", "neigh", "del", MAPPED, "dev", "bridge"])


def _announce(address: str) -> str:
    """Announce *address*, as RFC 5227 says; return the link address that has it."""
    packed = ip_address(address).packed
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
        sock.bind(("to-server", 0x0806))
        own: bytes = sock.getsockname()[4]
        packet = bytes.fromhex("0001080006040001") + own + packed + bytes(6) + packed
        sock.sendto(packet, ("to-server", 0x0806, 0, 0, b"\xff" * 6))
    return own.hex(":")
