"""The decision about a connection that the policy and the settings of a daemon come to, in full.

It is made by the same code as for a real connection, with the reasons beside it: which rule, which
service, which source address.  Addresses are texts.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from faith.relay.tcp.routing import Routing
from faith.translation.address import number, text4, text6
from faith.translation.map import ICMP, TCP, UDP
from faith.translation.reasons import DENIED, NO_PREFIX, NO_RULE, NOT_MAPPED
from faith.translation.v4_to_v6 import admit_from_v4, in_rules, standing_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Service, Settings
    from faith.translation.access import Rule
    from faith.translation.destination import LeaseLookup, Policy
    from faith.translation.map import Map

PROTOCOLS = (TCP, UDP, ICMP)
MOST_RULES = 8
"""Rules that are reported of those which come too late."""


class DecidingRule(Struct, frozen=True):
    """An access rule as it is written, with the *line* of its file."""

    text: str
    line: int
    permit: bool = False


class ServiceOfPort(Struct, frozen=True):
    """The service that a port belongs to; *path* is what it asks for: relay, kernel or auto."""

    name: str
    ports: str
    path: str
    ftp: bool = False
    rsh: bool = False
    proxy: str | None = None


class Decision(Struct, frozen=True):
    """The fate of a connection by policy and settings.

    *refused* is a reason of `faith.translation.reasons`, or None.  The connection goes to *server*
    from *source*, None for the kernel's choice, which comes from a *source_from*: "rule", "map",
    "source" ([[source]]), "client" (the address that stands for it) or "kernel"; *source_absent*
    says that this host does not have it.  *rule* decided; *later_permits* are rules of *rules_file*
    that would permit it, and that no connection ever comes to.  *map* is the static map in use,
    with the file and line it is from; *leased* says that it is a lease, *in_pool* that it could be
    one.  Connections are made as *user*.
    """

    mapped: str
    port: int
    protocol: str
    from_v4: bool
    refused: str | None = None
    server: str = ""
    server_port: int = 0
    source: str | None = None
    source_from: str = "kernel"
    source_absent: bool = False
    rule: DecidingRule | None = None
    rules: int = 0
    rules_file: str = ""
    later_permits: list[DecidingRule] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    layouts: list[str] = field(default_factory=list)
    served: bool = False
    service: ServiceOfPort | None = None
    ports: str = ""
    map: str = ""
    map_file: str = ""
    leased: bool = False
    in_pool: bool = False
    user: str = ""


def decide(
    inputs: PolicyInputs,
    settings: Settings,
    client: str,
    mapped: str,
    port: int,
    protocol: str,
    leased_host: LeaseLookup | None = None,
) -> Decision:
    """Decide about *protocol* from *client* to *port* of *mapped*, addresses of one family.

    *port* is 0 for a ping.  *leased_host* looks up leases, and must not renew them.
    """
    policy = inputs.policy(leased_host) if leased_host else inputs.policy()
    known = {
        "mapped": mapped,
        "port": port,
        "protocol": protocol,
        "prefixes": [str(prefix) for prefix in inputs.prefixes],
        "layouts": [prefix.layout for prefix in inputs.prefixes],
        "rules": len(policy.access.rules),
        "rules_file": inputs.rules.file,
        "ports": str(settings.ports),
        "user": settings.user,
        **_served(settings, port, protocol, from_v4=":" not in mapped),
    }
    if ":" in mapped:
        return Decision(**_to_v4(inputs, policy, client, mapped, protocol), **known)
    return Decision(**_to_v6(inputs, policy, client, mapped, port, protocol, settings), **known)


def _served(settings: Settings, port: int, protocol: str, *, from_v4: bool) -> dict[str, Any]:
    if protocol == ICMP:
        return {"served": settings.ping is not None}
    if protocol == UDP:
        return {"served": settings.udp is not None}
    service = next((one for one in settings.services if port in one.ports), None)
    found = _service(service, port) if service and not from_v4 else None
    return {"served": from_v4 or service is not None, "service": found}


def _service(service: Service, port: int) -> ServiceOfPort:
    return ServiceOfPort(
        service.name,
        str(service.ports),
        service.path,
        port in service.ftp,
        port in service.rsh,
        service.proxy,
    )


def _to_v4(
    inputs: PolicyInputs, policy: Policy, client: str, mapped: str, protocol: str
) -> dict[str, Any]:
    target = number(mapped)
    prefix = policy.prefixes.find(target)
    if prefix is None:
        return {"from_v4": False, "refused": NO_PREFIX}
    destination, asking = prefix.unmap(target), number(client)
    verdict = policy.admit(asking, destination, prefix, protocol)
    rule = policy.access.decide(asking, destination)
    return {
        "from_v4": False,
        "refused": verdict.refused,
        "server": text4(destination),
        **source_fields(policy, rule, asking, verdict.source4, protocol),
        **rule_fields(inputs, policy, rule, verdict.refused, asking, destination),
    }


def source_fields(
    policy: Policy, rule: Rule | None, client: int, source: int | None, protocol: str
) -> dict[str, Any]:
    """Return the fields of a `Decision` about *source*, the IPv4 address that the policy has for
    *client* (128 bits) by *rule*; none where the kernel chooses."""
    if source is None:
        return {}
    whose = "source"
    if rule and rule.source4 is not None:
        whose = "rule"
    elif policy.maps.to_v4(client, protocol) is not None:
        whose = "map"
    absent = source not in policy.own and whose != "map"
    return {"source": text4(source), "source_from": whose, "source_absent": absent}


def rule_fields(
    inputs: PolicyInputs,
    policy: Policy,
    rule: Rule | None,
    refused: str | None,
    client: int,
    destination: int,
    bits: int = 32,
) -> dict[str, Any]:
    """Return the fields of a `Decision` about the rule that decides, and the permits after it that
    fit but are never reached.

    *client* has 128 bits, *destination* so many *bits*.
    """
    lines = inputs.rules.text.split("\n")

    def shown(one: Rule) -> DecidingRule:
        line = one.line or 0
        return DecidingRule(lines[line - 1].strip() if line else "", line, one.permit)

    found: dict[str, Any] = {"rule": shown(rule) if rule and rule.line else None}
    if refused in (DENIED, NO_RULE) and rule:
        late = _shadowed(policy.access.rules, client, destination, bits)
        found["later_permits"] = [shown(one) for one in islice(late, MOST_RULES)]
    return found


def _shadowed(rules: Sequence[Rule], client: int, destination: int, bits: int) -> Iterator[Rule]:
    """Yield the rules that would permit it, and never can: one before each decides all it names."""
    fitting = [one for one in rules if one.bits == bits and _fits(one, client, destination)]
    for place, one in enumerate(fitting):
        # Of two networks that have an address in common, the shorter prefix has all of the other.
        if one.permit and any(
            other.clients[1] <= one.clients[1] and other.destinations[1] <= one.destinations[1]
            for other in fitting[:place]
        ):
            yield one


def _fits(rule: Rule, client: int, destination: int) -> bool:
    (network, length), (start, width) = rule.clients, rule.destinations
    wide = rule.bits - width
    return (client ^ network) >> 128 - length == 0 and (destination ^ start) >> wide == 0


def place(one: Map) -> str:
    """Return the file and line that the map *one* is from, "" for one that is in no file."""
    return ":".join(str(part) for part in (one.file, one.line) if part)


def _to_v6(
    inputs: PolicyInputs,
    policy: Policy,
    client: str,
    mapped: str,
    port: int,
    protocol: str,
    settings: Settings,
) -> dict[str, Any]:
    target, asking = number(mapped), number(client)
    verdict = admit_from_v4(policy, asking, target, port, protocol)
    one = policy.maps.find(target, protocol, port)
    in_pool = any((target ^ start) >> 32 - length == 0 for start, length in inputs.pool)
    refused, source = verdict.refused, verdict.source
    if protocol == TCP and not refused:
        route = Routing(policy, settings.relay.v4_to_v6.source).find(client, mapped, port)
        refused, source = route.refused, number(route.source) if route.source else None
    elif not refused and standing_for(asking, policy.prefixes) is None:
        refused = NO_PREFIX
    rule = policy.access.decide(in_rules(asking), target) if refused != NOT_MAPPED else None
    return {
        "from_v4": True,
        "refused": refused,
        "server": text6(verdict.server) if verdict.server else "",
        "server_port": verdict.port,
        "source": None if source is None else text6(source),
        "source_from": "kernel" if source is None else "client",
        "map": str(one) if one else "",
        "map_file": place(one) if one else "",
        "leased": verdict.leased,
        "in_pool": in_pool,
        **rule_fields(inputs, policy, rule, refused, in_rules(asking), target),
    }
