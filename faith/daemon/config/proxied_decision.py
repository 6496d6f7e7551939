"""The decision about what a client asks a proxy for, that policy and settings come to, in full.

It is made by the same code as for a real client, with the reasons beside it.  Addresses are texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from faith.daemon.config.decision import Decision, place, rule_fields, source_fields

# msgspec looks the annotations up when it decodes.
from faith.daemon.config.worker_settings import NameSettings
from faith.proxy.proxy_events import METHODS
from faith.translation.address import IPV4_MAPPED, number, number6, text4, text6, text_as_written
from faith.translation.map import TCP
from faith.translation.networks import Networks
from faith.translation.proxied_destination import admit_proxied
from faith.translation.reasons import NOT_GLOBAL, SOURCE_MAPPED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.relay.proxy.proxy_settings import ProxySettings
    from faith.translation.destination import LeaseLookup, Policy

_BEFORE_RULES = (NOT_GLOBAL, SOURCE_MAPPED)
"""Reasons that no rule has a part in."""


class ProxyForClient(Struct, frozen=True):
    """A proxy that listens at *port* of *host*, "::" for all addresses, as one client finds it.

    It *serves* that client or not: *clients* are its networks as text, those on the gateway's links
    where none are named (*by_links*).  *users* is how many may log in, 0 where nobody has to.
    *methods* and *connect_ports* are as in `faith.daemon.observe.status_report.ServedProxy`.
    *expires* is the Unix time at which its certificate ends, None without TLS.
    """

    host: str
    port: int
    serves: bool
    clients: list[str] = field(default_factory=list)
    by_links: bool = False
    methods: list[str] = field(default_factory=list)
    connect_ports: str = ""
    users: int = 0
    tls: bool = False
    expires: float | None = None


class ProxiedExplained(Struct, frozen=True):
    """The answer of a daemon about a client of its *proxies*: a decision for each address.

    *limit* is the reason of the limit that refuses the client now, or None.  *names* is how names
    are looked up.  Connections are made as *user*.
    """

    proxies: list[ProxyForClient]
    decisions: list[Decision] = field(default_factory=list)
    limit: str | None = None
    limits: dict[str, float] = field(default_factory=dict)
    names: NameSettings = NameSettings()
    workers: int = 0
    user: str = ""


def proxies_for(inputs: PolicyInputs, settings: Settings, client: str) -> list[ProxyForClient]:
    """Return the proxies of *settings* as they are for *client*."""
    policy, asking = inputs.policy(), number6(client)
    expires = {(one.host, one.port): one.files.expires for one in settings.proxy_tls}
    return [
        ProxyForClient(
            one.host,
            one.port,
            _serves(one, policy, asking),
            [text_as_written(*network) for network in one.clients or inputs.connected],
            one.clients is None,
            [method for method in METHODS if method in one.methods],
            str(one.connect_ports),
            len(one.users),
            one.tls,
            expires.get((one.host, one.port)),
        )
        for one in settings.proxies
    ]


def _serves(proxy: ProxySettings, policy: Policy, client: int) -> bool:
    if proxy.clients is None:
        return policy.is_connected(client)
    return client in Networks(128, proxy.clients)


def decide_each(
    inputs: PolicyInputs,
    settings: Settings,
    client: str,
    addresses: Sequence[str],
    port: int,
    leased_host: LeaseLookup | None = None,
) -> list[Decision]:
    """Decide about a connection for *client* to *port* of each of *addresses*.

    *leased_host* looks up leases, and must not renew them.
    """
    policy = inputs.policy(leased_host) if leased_host else inputs.policy()
    asking = number6(client)
    return [_decision(inputs, settings, policy, asking, one, port) for one in addresses]


def _decision(
    inputs: PolicyInputs, settings: Settings, policy: Policy, client: int, address: str, port: int
) -> Decision:
    verdict = admit_proxied(policy, client, address, port)
    destination, bits = _destination(policy, address)
    source = None if verdict.source is None else number(verdict.source)
    one = policy.maps.find(destination, TCP, port) if bits == 32 else None
    before = verdict.refused in _BEFORE_RULES
    rule = None if before else policy.access.decide(client, destination, bits)
    known: dict[str, Any] = {
        **source_fields(policy, rule, client, source, TCP),
        **rule_fields(inputs, policy, rule, verdict.refused, client, destination, bits),
    }
    return Decision(
        address,
        port,
        TCP,
        from_v4=False,
        refused=verdict.refused,
        server=verdict.server or (text4 if bits == 32 else text6)(destination),
        server_port=verdict.port or port,
        rules=len(policy.access.rules),
        rules_file=inputs.rules.file,
        served=True,
        map=str(one) if one else "",
        map_file=place(one) if one else "",
        leased=one is None and bits == 32 and ":" in verdict.server,
        user=settings.user,
        **known,
    )


def _destination(policy: Policy, address: str) -> tuple[int, int]:
    """Return what *address* is judged as, and its bits: IPv4 where it is that in another form."""
    target = number(address)
    if ":" not in address:
        return target, 32
    if target >> 32 == IPV4_MAPPED >> 32:
        return target & 0xFFFFFFFF, 32
    prefix = policy.prefixes.find(target)
    return (prefix.unmap(target), 32) if prefix else (target, 128)
