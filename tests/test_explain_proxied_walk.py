"""The walk of what a client asks a proxy for: one address that works is enough."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace as changed

from faith.cli.explain.explanation import Question
from faith.cli.explain.facts import Dial, Facts, PathProbe
from faith.cli.explain.proxied_walk import walk
from faith.kernel.netlink.route_query import Answer
from faith.translation.reasons import DENIED, OWN
from tests.explained import BY_PROXY, PROXIED, PROXY, decided, states, told

if TYPE_CHECKING:
    from faith.cli.explain.explanation import Explanation
    from faith.cli.explain.proxied_facts import ProxiedFacts

V6 = "2001:db8:99::1"
ANSWERS = Dial("connected")
WIDE = PathProbe(1500, True, True)


def target(address: str = V6, **changes: object) -> Facts:
    """Return the facts about another address of the server."""
    question = changed(BY_PROXY.question, destination=address)
    facts = replace(BY_PROXY, question=question, mapped=address, server=address)
    return replace(decided(facts, mapped=address, server=address), **changes)  # type: ignore[arg-type]


DEAD = target(dial=Dial("unreachable", "No route to host"))
NO_ROUTE = target(route_out=Answer(errno.ENETUNREACH))
GOOD = replace(BY_PROXY, dial=ANSWERS, probe=WIDE)


def with_targets(*targets: Facts) -> ProxiedFacts:
    return replace(PROXIED, targets=targets)


def end(found: Explanation) -> tuple[bool | None, str | None, bool]:
    return found.verdict.works, found.verdict.cause, found.verdict.certain


def test_nothing_is_in_the_way() -> None:
    found = walk(PROXIED)
    assert end(found) == (True, None, False)
    assert "the server was not asked" in found.verdict.text
    steps = [step.step for step in found.steps]
    assert steps.index("proxy") < steps.index("way-in") < steps.index("daemon")
    assert steps.index("clients") < steps.index("port") < steps.index("access")
    assert {step.address for step in found.steps if step.step == "access"} == {"192.0.2.80"}
    assert end(walk(with_targets(GOOD))) == (True, None, True)
    assert end(walk(with_targets(replace(GOOD, probe=PathProbe(1500))))) == (True, None, False)


def test_what_the_client_needs_is_not_known_here() -> None:
    proxy = changed(PROXY, users=2, tls=True, expires=4e9)
    found = walk(replace(with_targets(GOOD), proxy=proxy)).verdict
    assert (found.works, found.certain) == (True, False)
    assert "if the client trusts the certificate and has a right password" in found.text


def test_one_address_is_enough() -> None:
    found = walk(with_targets(NO_ROUTE, GOOD))
    assert end(found) == (True, None, True)
    (note,) = [step for step in found.steps if step.text.startswith("not by")]
    assert (note.state, note.address, note.cause) == ("note", V6, None)


@pytest.mark.parametrize(
    ("targets", "cause", "certain"),
    [
        ([NO_ROUTE], "no-route-out", True),
        ([DEAD, NO_ROUTE], "server-unreachable", True),
        ([NO_ROUTE, told(decided(target("192.0.2.9"), refused=DENIED))], "denied-by-rule", True),
        ([NO_ROUTE, decided(target("192.0.2.1"), refused=OWN)], "safe-default", True),
        ([NO_ROUTE, replace(DEAD, strict=("eth1",))], "server-unreachable", False),
    ],
)
def test_the_most_telling_of_several_causes(
    targets: list[Facts], cause: str, certain: bool
) -> None:
    found = walk(with_targets(*targets))
    assert end(found) == (False, cause, certain)
    assert ("none of 2 addresses" in found.verdict.text) == (len(targets) == 2)
    assert "problem" in states(found, "route-out")


def test_the_way_to_a_server_that_is_refused_does_not_matter() -> None:
    found = walk(with_targets(decided(BY_PROXY, refused=DENIED)))
    assert [step.step for step in found.steps if step.address] == ["access"]


def test_the_first_address_that_answers_is_the_one() -> None:
    stalls = replace(GOOD, probe=PathProbe(1500, True, False), mtu_probing="0")
    assert end(walk(with_targets(stalls, GOOD))) == (False, "mtu-blackhole", True)
    assert end(walk(with_targets(GOOD, stalls)))[0] is True


def test_the_way_to_the_proxy_comes_first() -> None:
    hung = replace(PROXIED.front, daemons=(), silent=(7,))
    assert end(walk(replace(PROXIED, front=hung)))[1] == "daemon-hung"
    drains = replace(PROXIED.front.daemons[0], draining=True)
    facts = replace(with_targets(NO_ROUTE), front=replace(PROXIED.front, daemons=(drains,)))
    assert end(walk(facts)) == (False, "draining", True)
    stranger = changed(PROXY, serves=False)
    assert end(walk(replace(PROXIED, proxy=stranger))) == (False, "proxy-not-client", True)


def test_a_guess_at_the_settings_is_not_certain() -> None:
    front = replace(PROXIED.front, guessed=True, from_file="/etc/faith.toml")
    refused = decided(replace(BY_PROXY, guessed=True), refused=DENIED)
    facts = replace(with_targets(refused), front=front)
    assert end(walk(facts)) == (False, "denied-by-rule", False)
    stranger = replace(facts, proxy=changed(PROXY, serves=False))
    assert end(walk(stranger))[2] is False


def test_a_proxy_that_is_asked_for_itself() -> None:
    own = target("192.0.2.1", route_out=Answer(0, 2, 1))
    own = replace(own, question=Question("2001:db8:6::2", "192.0.2.1", 1080, "tcp", True))
    assert end(walk(with_targets(own))) == (False, "proxy-loop", True)
    other = replace(own, question=changed(own.question, port=22))
    assert end(walk(with_targets(other)))[0] is True


def test_it_cannot_be_said_without_the_right_to_ask() -> None:
    front = replace(PROXIED.front, explain_error="permission denied", explained=None)
    found = walk(replace(PROXIED, explained=None, proxy=None, targets=(), front=front))
    assert (found.verdict.works, found.exit_status) == (None, 3)
