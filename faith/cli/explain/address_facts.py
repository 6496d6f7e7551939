"""The address that a client connects to, from the name or the number of a question."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from faith.cli.explain import name_answers
from faith.cli.explain.decision_facts import told
from faith.daemon.config import config
from faith.daemon.services.explain_query import name_servers
from faith.dns.service import serves
from faith.errors import FaithError
from faith.translation.address import number, number6, text4, text6
from faith.translation.destination import NOT_GLOBAL_DESTINATIONS
from faith.translation.prefix import Prefix, Prefixes

if TYPE_CHECKING:
    from faith.cli.explain.decision_facts import Asked
    from faith.cli.explain.facts import Facts, NameFacts

_DUMMY = {False: "::", True: "0.0.0.0"}


def find(facts: Facts, asked: Asked) -> Facts:
    """Find the address that the client connects to, by its name or number."""
    destination = facts.question.destination
    if _is_address(destination):
        return _of_address(facts, destination)
    name = _names(facts, asked, destination)
    prefixes = Prefixes(facts.prefixes)
    under = [one for one in name.v6 if prefixes.find(number(one))]
    facts = replace(facts, name=name)
    if facts.from_v4:
        return replace(facts, mapped=name.v4[0]) if name.v4 else facts
    if under:
        return _of_address(facts, under[0])
    if name.v4 and not name.v6:
        return _of_address(facts, name.v4[0])
    return facts


def _is_address(text: str) -> bool:
    try:
        number(text)
    except OSError:
        return False
    return True


def _of_address(facts: Facts, destination: str) -> Facts:
    target = number(destination)
    if facts.from_v4:
        return replace(facts, mapped=text4(target))
    if ":" in destination:
        prefix = Prefixes(facts.prefixes).find(target)
        server = text4(prefix.unmap(target)) if prefix else ""
        return replace(facts, mapped=text6(target), server=server)
    chosen = _prefix_for(facts.prefixes or _guarded(facts), target)
    mapped = text6(chosen.map(target)) if chosen else ""
    return replace(facts, mapped=mapped, server=text4(target))


def _guarded(facts: Facts) -> tuple[Prefix, ...]:
    """Return the prefixes under guard, of which the layout is not known."""
    networks = facts.guard.networks if facts.guard else ()
    return tuple(Prefix(start, length) for start, length in sorted(networks) if length <= 96)


def _prefix_for(prefixes: tuple[Prefix, ...], v4: int) -> Prefix | None:
    """Return the prefix for *v4*: the well-known one maps nothing that is not global."""
    fitting = [one for one in prefixes if not (one.well_known and v4 in NOT_GLOBAL_DESTINATIONS)]
    return next(iter([*fitting, *prefixes]), None)


def _names(facts: Facts, asked: Asked, name: str) -> NameFacts:
    if asked.dns:
        return name_answers.ask(name, [asked.dns], ours=False, configured=False)
    dns = _dns(facts, asked)
    if dns is None:
        return name_answers.ask(name, [], ours=False, configured=False)
    servers, client_is_served = dns
    found = name_answers.ask(name, servers or ["::1"], ours=True, configured=True)
    return replace(found, serves=client_is_served)


def _dns(facts: Facts, asked: Asked) -> tuple[list[str], bool] | None:
    """Return where the daemon answers for names, and whether it does so for the client.

    None without a name service.
    """
    client = facts.question.client
    if asked.config:
        settings = config.load(asked.config)
        servers = name_servers(settings)
        if servers is None or settings.dns is None:
            return None
        return servers, serves(settings.dns, number6(client))
    try:
        found = told(facts, asked, client, _DUMMY[facts.from_v4])
    except FaithError:
        return None
    return (found.dns, found.dns_serves) if found and found.dns is not None else None
