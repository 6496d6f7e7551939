"""The step of a name: which addresses a client gets for it, and by which prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.cli.explain.explanation import note, ok, problem, unknown
from faith.cli.explain.facts import NO_NAME, NOBODY, REFUSED
from faith.translation.address import number, text4
from faith.translation.prefix import LAYOUTS, Prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts, NameFacts


def name(facts: Facts) -> Iterator[Step]:
    """Explain the answer of the name server."""
    found = facts.name
    if found is None:
        return
    server, _, port = found.server.partition("#")
    where = f"dig @{server}{f' -p {port}' if port else ''} {found.name} AAAA"
    if not found.serves:
        yield problem(
            "name",
            "dns-not-serving",
            f"the name service does not answer {facts.question.client}: it refuses clients beyond"
            " those it is for",
            where,
            "add its network to allow in [dns] of faith.toml(5), and reload",
        )
    elif found.error == REFUSED:
        yield unknown(
            "name",
            f"{found.server} does not answer this host: {found.error}",
            f"ask it from the client: {where}",
        )
    elif found.error:
        yield _unanswered(facts, found, where)
    elif not found.v6 and not found.v4:
        yield problem("name", "name-not-found", f"{found.name} has no address", where)
    else:
        yield from _answered(facts, where)


def _unanswered(facts: Facts, found: NameFacts, where: str) -> Step:
    if found.error == NO_NAME:
        return problem("name", "name-not-found", f"there is no name {found.name}", where)
    if found.error == NOBODY and found.configured:
        return problem(
            "name",
            "dns-not-serving",
            f"the name service is configured, but nobody listens at {found.server}",
            where,
            "read faithd's log; ss -lunp sport = :53 shows who has the port",
        )
    daemon = facts.daemon
    return problem(
        "name",
        "dns-servers-dead",
        f"{found.server} gives no answer for {found.name}: {found.error}",
        where,
        "check the servers that it asks: faith status shows them",
        certain=found.ours and bool(daemon and daemon.dead_name_servers),
    )


def _answered(facts: Facts, where: str) -> Iterator[Step]:
    found = facts.name
    assert found
    under = [one for one in found.v6 if facts.prefix_of(one)]
    native = [one for one in found.v6 if one not in under]
    if under:
        yield ok("name", f"{found.server} answers {found.name} with {under[0]}", where)
    elif native and _embeds(native[0], found.v4):
        yield problem(
            "name",
            "dns64-other-prefix",
            f"{found.server} answers {found.name} with {native[0]}, which is under no prefix"
            f" reserved here ({facts.listed_prefixes})",
            where,
            "give the name server the prefix that is reserved here, or reserve its own",
        )
    elif native:
        yield problem(
            "name",
            "name-is-ipv6",
            f"{found.name} has the IPv6 address {native[0]}: clients connect to it without this"
            " gateway",
            where,
            "look for the fault on the IPv6 way to it",
        )
    else:
        yield note(
            "name",
            f"{found.server} answers {found.name} with {', '.join(found.v4)} only: a client needs"
            f" DNS64 (faith dns) to get {facts.mapped or 'a mapped address'}",
            where,
        )


def _embeds(v6: str, v4: tuple[str, ...]) -> bool:
    """Return whether *v6* looks made of one of the IPv4 addresses *v4*, by any prefix."""
    octets = number(v6)
    for length in (32, 40, 48, 56, 64, 96):
        shift = 128 - length
        prefix = Prefix(octets >> shift << shift, length, LAYOUTS[1]) if _fits(v6, length) else None
        if prefix and text4(prefix.unmap(octets)) in v4:
            return True
    return text4(octets & 0xFFFFFFFF) in v4


def _fits(v6: str, length: int) -> bool:
    return length < 96 or not number(v6) >> 56 & 0xFF
