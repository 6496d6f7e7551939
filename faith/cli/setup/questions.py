"""The questions of ``faith setup``: text, proposal and check of each."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from faith.cli.setup.template import (
    EVERYBODY,
    KERNEL,
    LAYOUT,
    NO,
    NONE,
    SHARED,
    YES,
    render,
    understood,
    words,
)
from faith.daemon.config import config, static_map
from faith.daemon.config.proxy_table import PORT as PROXY_PORT
from faith.daemon.observe.health import ADMIN_PORT
from faith.datagram.ping.ping_server import PingSettings
from faith.errors import ConfigError
from faith.kernel.netlink import routes
from faith.kernel.process.capabilities import default_user
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation.address import text4
from faith.translation.networks import Networks
from faith.translation.prefix import LAYOUTS, RFC6052, Prefix, is_ambiguous
from faith.translation.sources import Addresses, Source
from faith.translation.udp.flows import UdpSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.cli.setup.host_facts import Host
    from faith.cli.setup.template import Answers

LOCAL_USE = "64:ff9b:1::/96"
"""RFC 8215: for translation within a network, without a prefix of one's own."""


@dataclass(frozen=True)
class Question:
    """One question; *about* explains it.

    *proposal* is the answer if the user enters nothing; for a *repeated* question, nothing entered
    means that there are no more.  *check* raises ConfigError for errors that the configuration file
    itself would not show.  The question is asked only if it *applies* after the answers before it.
    """

    name: str
    asks: str
    about: str
    proposal: Callable[[Host, Answers], str] = lambda host, answers: ""
    check: Callable[[Host, str], None] = lambda host, answer: None
    applies: Callable[[Host, Answers], bool] = lambda host, answers: True
    repeated: bool = False

    def accept(self, host: Host, answers: Answers, answer: str) -> Answers:
        """Return *answers* with this one added.  Raises ConfigError if it is not acceptable."""
        answer = understood(" ".join(answer.split()))
        try:
            answer.encode()
        except UnicodeEncodeError:
            raise ConfigError("that is no text in UTF-8; set the locale of this terminal") from None
        self.check(host, answer)
        if self.repeated and self.name in answers:
            answer = f"{answers[self.name]}\n{answer}"
        extended = {**answers, self.name: answer}
        config.read(render(extended), "faith.toml")
        return extended


# -- proposals and checks ------------------------------------------------------------------------


def _known_prefix(host: Host, answers: Answers) -> str:
    return str(host.reserved[0]) if host.reserved else LOCAL_USE


def _check_prefix(host: Host, answer: str) -> None:
    prefix = Prefix.parse(answer, LAYOUT)
    if any((prefix.address, prefix.length) == (one.address, one.length) for one in host.reserved):
        return
    conflict = routes.conflicts(prefix)
    if conflict:
        raise ConfigError(f"{prefix} cannot be reserved here: {conflict}")


def _has_layouts(host: Host, answers: Answers) -> bool:
    return is_ambiguous(Prefix.parse(answers["prefix"], LAYOUT))


def _known_layout(host: Host, answers: Answers) -> str:
    chosen = Prefix.parse(answers["prefix"], LAYOUT)
    for known in host.reserved:
        if (known.address, known.length) == (chosen.address, chosen.length):
            return known.layout
    return RFC6052


def _check_interfaces(host: Host, answer: str) -> None:
    for name in words(answer):
        if name not in host.addresses:
            known = ", ".join(host.addresses) or "none"
            raise ConfigError(f"there is no interface {name}; there are {known}")


def _client_networks(host: Host, answers: Answers) -> str:
    networks = [own.network for own in host.own(words(answers["inside"]), 6)]
    shared = dict.fromkeys(str(one) for one in networks if one.prefixlen < 128)
    return ", ".join(shared) or EVERYBODY


def _check_networks(host: Host, answer: str) -> None:
    if not words(answer):
        raise ConfigError(f"networks, or {EVERYBODY}")
    for word in words(answer):
        if word != EVERYBODY and ":" not in word:
            raise ConfigError(f"{word} is IPv4, and clients of a prefix are IPv6")


def _pool(host: Host, answers: Answers) -> str:
    """Propose all addresses of one interface: servers behind others could not answer to them."""
    found, *others = [host.own([name], 4) for name in words(answers["outside"])] or [[]]
    if any(others) or len(found) < 2:
        return KERNEL
    return ", ".join(str(own.address) for own in found)


def _check_pool(host: Host, answer: str) -> None:
    """Refuse an address that this host does not have: the file may name it, but nobody uses it."""
    if answer == KERNEL:
        return
    pool = Source((), Addresses.parse(words(answer)))
    for missing in pool.absent(Networks(32, routes.local_ipv4())):
        address = text4(missing)
        raise ConfigError(
            f"{address} is no address of this host; add it to an interface first"
            f" (ip address add {address}/32 dev lo)"
        )


def _check_pair(host: Host, answer: str) -> None:
    pair = words(answer)
    if len(pair) != 2:
        raise ConfigError("two addresses, IPv4 and IPv6")
    static_map.of_words(pair[0], pair[1], {})


def _check_lent(host: Host, answer: str) -> None:
    config.read(render({"dns": YES, "pool": answer}), "faith.toml")


def _dns_listen(host: Host, answers: Answers) -> str:
    found = [f"[{own.address}]:53" for own in host.own(words(answers["inside"]), 6)]
    if answers.get("pool", NONE) != NONE:
        found += [f"{own.address}:53" for own in host.own(words(answers["outside"]), 4)]
    return ", ".join(found)


def _yes_or_no(host: Host, answer: str) -> None:
    if answer not in (YES, NO):
        raise ConfigError(f"{YES} or {NO}, y or n")


def _check_server(host: Host, answer: str) -> None:
    try:
        IPv4Address(answer)
    except ValueError:
        if answer != NONE:
            raise ConfigError(f"{answer!r} is not an IPv4 address or {NONE}") from None


def _answers_names(host: Host, answers: Answers) -> bool:
    return answers["dns"] == YES


QUESTIONS = (
    Question(
        "prefix",
        "Prefix",
        "Clients reach the IPv4 address a.b.c.d as PREFIX::a.b.c.d.  Any IPv6 prefix works that"
        " is routed to this host; 64:ff9b:1::/48 is for such use within a network (RFC 8215).",
        _known_prefix,
        _check_prefix,
    ),
    Question(
        "layout",
        "Layout",
        f"Where the IPv4 address sits in that prefix: {' or '.join(LAYOUTS)}.  CLATs, DNS64 servers"
        " and hosts that learn the prefix know rfc6052; KAME's had the last 32 bits.",
        _known_layout,
        applies=_has_layouts,
    ),
    Question(
        "ports",
        "Ports",
        "The TCP services to relay: names, ports and ranges.",
        lambda host, answers: "1-65535",
    ),
    Question(
        "inside",
        "Inside interfaces",
        "The interfaces of the IPv6 clients.",
        lambda host, answers: ", ".join(host.inside()),
        _check_interfaces,
    ),
    Question(
        "clients",
        "Clients",
        f"The IPv6 networks that may use this gateway, or {EVERYBODY}.",
        _client_networks,
        _check_networks,
    ),
    Question(
        "outside",
        "Outside interfaces",
        "The interfaces towards the IPv4 servers.",
        lambda host, answers: ", ".join(host.towards_ipv4()),
        _check_interfaces,
    ),
    Question(
        "addresses",
        "Pool",
        "The IPv4 addresses that servers see: addresses, networks and ranges that this host has, or"
        f" {KERNEL} for the one that the kernel takes.",
        _pool,
        _check_pool,
    ),
    Question(
        "share",
        "Clients of the pool",
        f"{SHARED}: all share the pool.  Or the length of the networks that have an address each:"
        " 128 for hosts, 64 for subnets.",
        lambda host, answers: SHARED,
        applies=lambda host, answers: answers["addresses"] != KERNEL,
    ),
    Question(
        "maps",
        "Static map",
        "For IPv4 clients: an IPv4 address, which this host is to answer for, and the IPv6 address"
        " that it stands for.  One pair at a time, and an empty answer when there are no more.",
        check=_check_pair,
        repeated=True,
    ),
    Question(
        "tcp",
        "TCP timeout",
        "Seconds after which a session ends in which nothing moves.  RFC 5382 asks for 7440.",
        lambda host, answers: f"{RelaySettings().idle_timeout:g}",
    ),
    Question(
        "udp",
        "UDP",
        "Relay UDP, too?  It needs CAP_NET_RAW.",
        lambda host, answers: YES if "CAP_NET_RAW" in host.rights else NO,
        _yes_or_no,
    ),
    Question(
        "udp_idle",
        "UDP timeout",
        "Seconds for which a host may answer after its client's last datagram.  RFC 4787 asks for"
        " 300, and demands 120.",
        lambda host, answers: f"{UdpSettings().idle:g}",
        applies=lambda host, answers: answers["udp"] == YES,
    ),
    Question(
        "ping",
        "Pings",
        "Translate them, so that a mapped address answers if its host does?  It needs CAP_NET_RAW.",
        lambda host, answers: YES if "CAP_NET_RAW" in host.rights else NO,
        _yes_or_no,
    ),
    Question(
        "icmp",
        "ICMP timeout",
        "Seconds for which replies to a series of pings find their way.  RFC 5508 asks for 60.",
        lambda host, answers: f"{PingSettings().timeout:g}",
        applies=lambda host, answers: answers["ping"] == YES,
    ),
    Question(
        "dns",
        "DNS",
        "Serve DNS64, names with addresses under the prefix, on this gateway?",
        lambda host, answers: YES if host.servers and _dns_listen(host, answers) else NO,
        _yes_or_no,
    ),
    Question(
        "pool",
        "DNS pool",
        "For IPv4 clients: addresses and networks that this gateway leases to names which have IPv6"
        f" addresses only, and answers for; or {NONE}.",
        lambda host, answers: NONE,
        _check_lent,
        _answers_names,
    ),
    Question(
        "listen",
        "DNS addresses",
        "The addresses at which clients ask it.",
        _dns_listen,
        applies=_answers_names,
    ),
    Question(
        "forward",
        "DNS servers",
        "The servers that it asks.",
        lambda host, answers: ", ".join(host.servers),
        applies=_answers_names,
    ),
    Question(
        "server",
        "IPv4 DNS server",
        f"One that clients ask through this gateway, or {NONE}; you are told its address for them.",
        lambda host, answers: next((one for one in host.servers if ":" not in one), NONE),
        _check_server,
        applies=lambda host, answers: answers["dns"] == NO,
    ),
    Question(
        "proxy",
        "Proxy",
        "The address and port at which clients ask for servers of both families by SOCKS and HTTP,"
        f" such as :{PROXY_PORT} for every address; or {NONE}.  Hosts on its own links may ask.",
        lambda host, answers: NONE,
    ),
    Question(
        "metrics",
        "Metrics",
        "The address and port at which Prometheus reads metrics, and probes whether this gateway"
        f" serves, over HTTP; or {NONE}.  Whoever can connect can read.",
        lambda host, answers: f"[::1]:{ADMIN_PORT}",
    ),
    Question(
        "user",
        "User",
        "The user of the processes that serve, who needs no rights: one of their own is best, as by"
        " useradd --system faith",
        lambda host, answers: default_user(),
        applies=lambda host, answers: not default_user().isdigit(),
    ),
)
"""All questions, in order."""
