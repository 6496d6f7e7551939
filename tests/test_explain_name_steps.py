"""Names: each answer that leads elsewhere has its cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faith.cli.explain.facts import Facts, NameFacts
from faith.cli.explain.walk import walk
from tests.explained import GOOD, MAPPED, SERVER, asked, states, verdict

NAME = "www.example.org"


def named(**fields: object) -> Facts:
    found = NameFacts(NAME, "192.0.2.53", **fields)  # type: ignore[arg-type]
    return replace(asked(GOOD, destination=NAME), name=found)


def test_a_name_of_our_prefix_leads_on() -> None:
    facts = named(v6=(MAPPED,), v4=(SERVER,))
    assert verdict(facts)[0] is None
    assert states(walk(facts), "name") == ["ok"]


def test_a_name_with_an_ipv4_address_only_needs_dns64() -> None:
    assert states(walk(named(v4=(SERVER,))), "name") == ["note"]


@pytest.mark.parametrize(
    ("fields", "cause", "certain"),
    [
        ({"error": "no such name"}, "name-not-found", True),
        ({}, "name-not-found", True),
        ({"error": "SERVFAIL", "ours": True}, "dns-servers-dead", False),
        ({"error": "no answer within 3 s"}, "dns-servers-dead", False),
        ({"v6": ("2001:db8:64::c000:250",), "v4": (SERVER,)}, "dns64-other-prefix", True),
        ({"v6": ("2001:db8:80::80",), "v4": (SERVER,)}, "name-is-ipv6", True),
        ({"error": "nobody listens there", "configured": True}, "dns-not-serving", True),
    ],
)
def test_a_name_that_leads_elsewhere(fields: dict[str, object], cause: str, certain: bool) -> None:
    facts = replace(named(**fields), mapped="", server="", explained=None)
    assert verdict(facts) == (cause, certain)


def test_dead_servers_are_certain_where_the_daemon_knows_them() -> None:
    daemon = replace(GOOD.daemons[0], dead_name_servers=("192.0.2.53",))
    facts = replace(named(error="SERVFAIL", ours=True), daemons=(daemon,), mapped="", server="")
    assert verdict(facts) == ("dns-servers-dead", True)


def test_the_command_for_another_port_is_one_of_dig() -> None:
    facts = replace(named(), name=NameFacts(NAME, "2001:db8::53#5300", error="SERVFAIL"))
    shown = [step.where for step in walk(facts).steps if step.step == "name"]
    assert shown == [f"dig @2001:db8::53 -p 5300 {NAME} AAAA"]
