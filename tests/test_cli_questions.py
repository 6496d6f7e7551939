"""The questions of ``faith setup``: proposals, answers, and the file made of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from faith.cli import check
from faith.cli.setup import dialogue
from faith.cli.setup.host_facts import Host
from faith.cli.setup.questions import QUESTIONS
from faith.cli.setup.template import render
from faith.daemon.config import config
from faith.errors import ConfigError
from faith.kernel.netlink import routes
from faith.kernel.process.capabilities import default_user
from faith.translation.prefix import RFC6052, Prefix
from tests.setup_host import HOST, addresses, be_the_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.setup.template import Answers
    from faith.daemon.config.settings import Settings

BY_NAME = {question.name: question for question in QUESTIONS}


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    be_the_kernel(monkeypatch)


def read(answers: Answers) -> Settings:
    return config.read(render(answers), "faith.toml")


def proposals(host: Host) -> Answers:
    return dialogue.without_asking(host)


# -- proposals -----------------------------------------------------------------------------------


def test_it_proposes_what_it_sees() -> None:
    assert proposals(HOST) == {
        "prefix": "64:ff9b:1::/96",
        "ports": "1-65535",
        "inside": "lan",
        "clients": "2001:db8:6::/64, fd00:6::/48",
        "outside": "wan",
        "addresses": "kernel",
        "tcp": "7440",
        "udp": "yes",
        "udp_idle": "300",
        "ping": "yes",
        "icmp": "60",
        "dns": "yes",
        "pool": "none",
        "listen": "[2001:db8:6::1]:53, [fd00:6::1]:53, [fd00:6::5]:53",
        "forward": "2001:db8:1::53, 192.0.2.53",
        "proxy": "none",
        "metrics": "[::1]:9064",
        "user": default_user(),
    }


def test_a_prefix_that_is_reserved_is_proposed_with_its_layout() -> None:
    host = replace(HOST, reserved=(Prefix.parse("2001:db8:100::/40", RFC6052),))
    answers = proposals(host)
    assert (answers["prefix"], answers["layout"]) == ("2001:db8:100::/40", "rfc6052")
    assert read(answers).prefixes == host.reserved


def test_what_takes_rights_is_proposed_to_who_has_them() -> None:
    answers = proposals(replace(HOST, rights=frozenset(["CAP_NET_RAW"])))
    assert (answers["udp"], answers["ping"]) == ("yes", "yes")
    answers = proposals(replace(HOST, rights=frozenset(["CAP_BPF"])))
    assert (answers["udp"], answers["ping"]) == ("no", "no")


def test_several_outside_addresses_are_a_pool() -> None:
    wan = addresses("192.0.2.1/24", "192.0.2.9/24")
    host = replace(HOST, addresses={**HOST.addresses, "wan": wan})
    answers = proposals(host)
    assert (answers["addresses"], answers["share"]) == ("192.0.2.1, 192.0.2.9", "shared")
    assert len(read(answers).sources.sources[0].addresses) == 2


def test_addresses_of_several_interfaces_are_none() -> None:
    """Where servers are is not known without a default route; with two, they are behind either."""
    for outside in ((), ("lan", "wan")):
        answers = proposals(replace(HOST, outside=outside))
        assert answers["outside"] == "lan, wan"
        assert answers["addresses"] == "kernel"


@pytest.mark.parametrize(
    "host",
    [Host({}), Host({"one": addresses("2001:db8::1/64", "192.0.2.1/24")}, ("one",)), HOST],
    ids=["nothing", "one interface", "two"],
)
@pytest.mark.parametrize("servers", [(), ("192.0.2.53",), ("fe80::53%one",)])
def test_what_is_proposed_will_do_on_any_host(host: Host, servers: tuple[str, ...]) -> None:
    host = replace(host, servers=servers)
    answers = proposals(host)
    read(answers)
    assert (answers["dns"] == "yes") == bool(servers and host.addresses)


# -- answers -------------------------------------------------------------------------------------

ANSWERS: dict[str, tuple[str, ...]] = {
    "prefix": ("64:ff9b::/96", "2001:db8:ff00::/40"),
    "layout": ("low32", "rfc6052"),
    "ports": ("80,443", "telnet, 8000-8100"),
    "inside": ("", "lan, wan"),
    "clients": ("everybody", "2001:db8:6:1::/64 2001:db8:7::/64"),
    "outside": ("wan",),
    "addresses": ("kernel", "192.0.2.1", "192.0.2.8/30, 192.0.2.20 192.0.2.30-192.0.2.39"),
    "share": ("shared",),
    "maps": ("192.0.2.102 2001:db8:6::2",),
    "tcp": ("0", "86400"),
    "udp": ("yes", "no"),
    "udp_idle": ("120",),
    "ping": ("yes", "no"),
    "icmp": ("60",),
    "dns": ("yes", "no"),
    "pool": ("none", "198.51.100.0/25 198.51.100.200"),
    "listen": ("[::]:53",),
    "forward": ("tls://192.0.2.53#ns.example.net, 2001:db8::53",),
    "server": ("192.0.2.53", "none"),
    "proxy": ("none", ":1080"),
    "metrics": ("none", "192.0.2.1:9064"),
    "user": ("root",),
}


def combinations() -> Iterator[dict[str, str]]:
    for chosen in itertools.product(*ANSWERS.values()):
        yield dict(zip(ANSWERS, chosen, strict=True))


def answered(given: dict[str, str]) -> Answers:
    answers: Answers = {}
    for question in QUESTIONS:
        if question.applies(HOST, answers):
            answers = question.accept(HOST, answers, given[question.name])
    return answers


def test_whatever_is_answered_makes_a_good_file() -> None:
    texts = set()
    for given in itertools.islice(combinations(), 0, None, 41):
        text = render(answered(given))
        if text not in texts:
            texts.add(text)
            assert list(check.lines(config.read(text, "faith.toml")))
    assert len(texts) > 50


def test_who_lends_addresses_is_asked_by_ipv4_too() -> None:
    before = {"prefix": "64:ff9b::/96", "inside": "lan", "outside": "wan", "dns": "yes"}
    listen = BY_NAME["listen"].proposal(HOST, {**before, "pool": "198.51.100.0/24"})
    assert listen.endswith(", 192.0.2.1:53")


def test_every_question_has_an_answer_here() -> None:
    assert list(ANSWERS) == list(BY_NAME)


def test_the_answers_are_in_the_file() -> None:
    settings = read(
        answered(
            {name: several[-1] for name, several in ANSWERS.items()}
            | {
                "addresses": "192.0.2.8/30",
                "share": "64",
                "udp": "yes",
                "clients": "2001:db8:6::/62",
                "dns": "yes",
            }
        )
    )
    assert settings.prefixes == (Prefix.parse("2001:db8:ff00::/40", RFC6052),)
    assert str(settings.ports) == "23,8000-8100"
    assert settings.access_rules == "\n".join(
        [
            "2001:db8:6::/62 permit 0.0.0.0/0",
            "2001:db8:6::/62 permit ::/0",
            "::ffff:0:0/96 permit 192.0.2.102",
            "::ffff:0:0/96 permit 198.51.100.0/25",
            "::ffff:0:0/96 permit 198.51.100.200",
        ]
    )
    (source,) = settings.sources.sources
    assert source.one_to_one
    assert settings.relay.idle_timeout == 86400
    assert len(settings.maps) == 1
    assert settings.udp
    assert settings.udp.idle == 120
    assert settings.dns
    assert len(settings.dns.pool) == 2
    assert [(proxy.host, proxy.port) for proxy in settings.proxies] == [("::", 1080)]
    assert (settings.metrics, settings.user) == (("192.0.2.1", 9064), "root")
    assert list(map(str, settings.dns.forward)) == [
        "tls://192.0.2.53:853#ns.example.net",
        "[2001:db8::53]:53",
    ]


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("prefix", "", "not an IPv6"),
        ("prefix", "2001:db8::1/96", "did you mean 2001:db8::/96"),
        ("prefix", '"', "not an IPv6"),
        ("layout", "rfc", "is rfc6052 meant"),
        ("ports", "99999", "not between 1 and 65535"),
        ("inside", "eth7", "there is no interface eth7; there are lan, wan, spare"),
        ("clients", "", "networks, or everybody"),
        ("clients", "2001:db8::1/64", "did you mean 2001:db8::/64"),
        ("clients", "192.0.2.0/24", "is IPv4"),
        ("addresses", "198.51.100.1", "198.51.100.1 is no address of this host"),
        ("share", "many", "not a whole number"),
        ("share", "128", "cannot have an address each"),
        ("maps", "192.0.2.102", "two addresses, IPv4 and IPv6"),
        ("maps", "2001:db8:6::2, 192.0.2.102", "IPv4 is expected here"),
        ("udp_idle", "60", "120"),
        ("ping", "", "yes or no"),
        ("icmp", "30", "60"),
        ("tcp", "an hour", "not a number from 0"),
        ("dns", "perhaps", "yes or no"),
        ("pool", "2001:db8::/64", "pool"),
        ("listen", "port 53", "not an address"),
        ("forward", "tls://192.0.2.53", "TLS needs the name"),
        ("server", "2001:db8::53", "not an IPv4 address or none"),
        ("proxy", "yes", "'yes' is not an address"),
    ],
)
def test_a_bad_answer_is_told_at_once(name: str, answer: str, says: str) -> None:
    before = {
        "prefix": "2001:db8:ff00::/40",
        "clients": "2001:db8:6::/64",
        "addresses": "192.0.2.1",
        "inside": "lan",
        "udp": "yes",
        "ping": "yes",
        "dns": "yes",
    }
    before.pop(name, None)
    with pytest.raises(ConfigError, match=says):
        BY_NAME[name].accept(HOST, before, answer)


def test_a_prefix_that_cannot_be_reserved_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "conflicts", lambda prefix: "it is somebody's")
    with pytest.raises(ConfigError, match="64:ff9b::/96 cannot be reserved here: it is somebody's"):
        BY_NAME["prefix"].accept(HOST, {}, "64:ff9b::/96")
    host = replace(HOST, reserved=(Prefix.parse("64:ff9b::/96"),))
    assert BY_NAME["prefix"].accept(host, {}, "64:ff9b::/96")


def test_an_answer_that_is_no_text_is_asked_for_again() -> None:
    with pytest.raises(ConfigError, match="no text in UTF-8"):
        BY_NAME["user"].accept(HOST, {}, "r\udcff")
