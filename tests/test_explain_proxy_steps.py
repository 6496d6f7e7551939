"""The steps of a proxy, each with what it says and its cause."""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace as changed

from faith.cli.explain import proxy_steps
from faith.cli.explain.proxied_facts import ProxiedFacts, ProxiedName, ServerState
from faith.kernel.netlink.route_query import Answer
from faith.translation.reasons import NAME_FAILED, NO_NAME
from tests.explained import PROXIED, PROXY

if TYPE_CHECKING:
    from faith.cli.explain.explanation import Step

V4 = changed(PROXY, host="192.0.2.1", port=3128)


def listener(**changes: object) -> list[Step]:
    return [*proxy_steps.listener(replace(PROXIED, **changes))]  # type: ignore[arg-type]


def told(*proxies: object) -> object:
    assert PROXIED.explained
    return changed(PROXIED.explained, proxies=list(proxies))


def test_the_proxy_that_listens() -> None:
    (found,) = listener()
    assert found.state == "ok"
    assert "[::]:1080 listens there, socks5, socks4, connect, http" in found.text
    secured = changed(PROXY, tls=True, users=3)
    (found,) = listener(proxy=secured, explained=told(secured))
    assert "by TLS only, with a user's name and password" in found.text
    other = changed(PROXY, port=3129)
    _, note = listener(explained=told(PROXY, other, V4))
    assert "[::]:3129: --at" in note.text


def test_no_proxy_listens_there() -> None:
    (found,) = listener(explained=told(), proxy=None)
    assert (found.cause, found.certain) == ("no-proxy", True)
    (found,) = listener(explained=told(V4), proxy=None)
    assert found.cause == "proxy-elsewhere"
    assert "at an IPv6 address" in found.text
    (found,) = listener(explained=told(V4), proxy=None, at=("192.0.2.9", 1080))
    assert "no proxy listens at 192.0.2.9:1080, but at 192.0.2.1:3128" in found.text
    quiet = replace(PROXIED.front, silent=(7,))
    (found,) = listener(explained=told(), proxy=None, front=quiet)
    assert not found.certain


def test_an_address_that_is_not_this_hosts() -> None:
    def route(answer: Answer) -> Step:
        front = replace(PROXIED.front, route_in=answer)
        (found,) = proxy_steps.route_here(replace(PROXIED, front=front))
        return found

    assert route(Answer(0, 2, 1)).state == "ok"
    assert route(Answer(0, 1, 3, network="2001:db8::", length=32)).cause == "proxy-elsewhere"
    assert route(Answer(errno.EXDEV)).cause == "rp-filter"


def test_a_certificate() -> None:
    def judged(expires: float | None) -> list[Step]:
        proxy = changed(PROXY, tls=True, expires=expires)
        return [*proxy_steps.certificate(replace(PROXIED, proxy=proxy))]

    assert not judged(None)
    assert [step.state for step in judged(time.time() + 1000)] == ["ok"]
    (old,) = judged(86400.0)
    assert old.cause == "proxy-certificate"
    assert "has ended on 1970-01-02" in old.text
    assert "not valid yet" in judged(0.0)[0].text


def test_who_is_a_client() -> None:
    here = ["127.0.0.0/8", "2001:db8:6::/64", "2001:db8:6::1", "fe80::/64"]
    (found,) = proxy_steps.clients(replace(PROXIED, proxy=changed(PROXY, clients=here)))
    assert found.text.endswith("(the networks on this host's links: 2001:db8:6::/64)")
    stranger = changed(PROXY, serves=False, by_links=False)
    (found,) = proxy_steps.clients(replace(PROXIED, proxy=stranger))
    assert (found.cause, found.certain) == ("proxy-not-client", True)
    assert found.text.endswith("which is for 2001:db8:6::/64")


@pytest.mark.parametrize(
    ("methods", "port", "destination", "usable"),
    [
        (["socks5", "connect"], 22, "192.0.2.80", "socks5, not by connect"),
        (["connect", "http"], 443, "192.0.2.80", "connect, http"),
        (["connect", "http"], 80, "192.0.2.80", "http, not by connect"),
        (["connect", "http"], 8080, "192.0.2.80", "http, not by connect"),
        (["connect", "http"], 25, "192.0.2.80", ""),
        (["socks4"], 25, "192.0.2.80", "socks4"),
        (["socks4"], 25, "2001:db8::1", ""),
    ],
)
def test_ports_by_methods(methods: list[str], port: int, destination: str, usable: str) -> None:
    question = changed(PROXIED.question, port=port, destination=destination)
    proxy = changed(PROXY, methods=methods)
    (found,) = proxy_steps.port(replace(PROXIED, question=question, proxy=proxy))
    if usable:
        assert found.text == f"port {port} may be asked for by {usable}"
    else:
        assert found.cause == "proxy-port-closed"


def named(**changes: object) -> list[Step]:
    name = replace(ProxiedName("www.example"), **changes)  # type: ignore[arg-type]
    facts: ProxiedFacts = replace(PROXIED, name=name)
    return [*proxy_steps.name(facts)]


DEAD, ALIVE = ServerState("192.0.2.53:53", "no answer within 3 s"), ServerState("192.0.2.54:53")


def test_a_name() -> None:
    (found,) = named(addresses=("2001:db8::1", "192.0.2.80"), servers=(ALIVE,))
    assert "leads to 2001:db8::1, 192.0.2.80" in found.text
    (found,) = named(addresses=("192.0.2.80",), hosts="/etc/hosts")
    assert found.where == "/etc/hosts"
    _, note = named(addresses=("192.0.2.80",), servers=(DEAD, ALIVE))
    assert "192.0.2.53:53 gives no answer: no answer within 3 s" in note.text
    assert note.where == "dig @192.0.2.53 -p 53 www.example"


def test_a_name_without_an_address() -> None:
    (found,) = named(failure=NO_NAME, servers=(ALIVE,))
    assert (found.cause, found.certain) == ("name-not-found", True)
    (found,) = named(failure=NAME_FAILED, servers=(DEAD,))
    assert (found.cause, found.certain) == ("dns-servers-dead", True)
    assert "192.0.2.53:53: no answer" in found.text
    (found,) = named(failure=NAME_FAILED, servers=(DEAD, ALIVE))
    assert (found.cause, found.certain) == ("dns-servers-dead", False)
    (found,) = named(failure=NAME_FAILED)
    assert "none is known" in found.text
