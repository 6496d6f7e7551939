"""Roles of processes, from the names that their pools have for them."""

from __future__ import annotations

from faith.daemon.observe.roles import DNS, WORKER, Role, role_of, several


def test_processes_of_several_are_numbered_from_1() -> None:
    assert role_of("worker", 0) == "worker 1"
    assert role_of("name server", 2) == "dns 3"
    assert role_of("TLS terminator", 1) == "tls 2"
    assert several(WORKER, range(4, 6)) == [Role("worker 1", 4), Role("worker 2", 5)]


def test_the_only_one_of_a_kind_has_no_number() -> None:
    assert [role_of(what, 0) for what in ("ping server", "UDP server", "kernel path")] == [
        "ping",
        "udp",
        "flows",
    ]
    assert role_of("admin listener", 0) == "admin"


def test_processes_of_a_predecessor_have_no_role() -> None:
    assert role_of("old worker", 1) is None


def test_the_kind_is_what_the_number_follows() -> None:
    assert Role("dns 12", 3).kind == DNS
    assert Role("ping", 3).kind == "ping"
