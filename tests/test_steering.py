from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from faith.errors import SetupError
from faith.kernel import steering
from faith.kernel.steering import Steering
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.translation.prefix import Prefix

    Start = Callable[[Ports, Iterable[Prefix], int], Steering]

FEW = Ports([(80, 80)])
MANY = Ports([(1, 17)])


def opens(method: str, undone: list[str] | None = None) -> Start:
    def start(ports: Ports, prefixes: Iterable[Prefix], workers: int) -> Steering:
        undo = ExitStack()
        if undone is not None:
            undo.callback(undone.append, method)
        return Steering(method, [[] for _ in range(workers)], undo)

    return start


def refuses(reason: str) -> Start:
    def start(ports: Ports, prefixes: Iterable[Prefix], workers: int) -> Steering:
        raise SetupError("try", reason)

    return start


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> dict[str, Start]:
    """The methods, all of which work; tests make some fail."""
    methods = {method: opens(method) for method in steering.METHODS}
    monkeypatch.setattr(steering, "_CREATE", methods)
    return methods


def test_the_order_of_the_methods() -> None:
    assert steering.METHODS == ("route", "sk_lookup", "tproxy", "redirect")


@pytest.mark.parametrize(
    ("ports", "closed", "taken"),
    [
        (FEW, [], "route"),
        (MANY, [], "sk_lookup"),
        (FEW, ["route"], "sk_lookup"),
        (FEW, ["route", "sk_lookup"], "tproxy"),
        (MANY, ["sk_lookup", "tproxy"], "redirect"),
    ],
)
@pytest.mark.usefixtures("methods")
def test_auto_takes_the_first_method_that_works(
    methods: dict[str, Start], ports: Ports, closed: list[str], taken: str
) -> None:
    for method in closed:
        methods[method] = refuses("closed")
    assert steering.create("auto", ports, [], 1).method == taken


def test_when_no_method_works_every_reason_is_reported(methods: dict[str, Start]) -> None:
    for method in methods:
        methods[method] = refuses(f"no {method} here")
    with pytest.raises(SetupError) as caught:
        steering.create("auto", FEW, [], 1)
    assert all(f"{method}: try: no {method} here" in str(caught.value) for method in methods)
    with pytest.raises(SetupError, match="route: 17 ports are more than 16; sk_lookup: try"):
        steering.create("auto", MANY, [], 1)


def test_a_method_that_was_asked_for_is_the_only_one_tried(methods: dict[str, Start]) -> None:
    methods["tproxy"] = refuses("closed")
    with pytest.raises(SetupError, match="try: closed"):
        steering.create("tproxy", FEW, [], 1)
    assert steering.create("redirect", FEW, [], 1).method == "redirect"


@pytest.mark.usefixtures("methods")
def test_own_addresses_on_too_many_ports_are_refused_before_anything_is_done() -> None:
    with pytest.raises(SetupError, match="65 ports would take as many sockets"):
        steering.create("sk_lookup", Ports([(1, 65)]), [], 1, own=Ports([(1, 65)]))


def test_an_own_port_that_is_taken_undoes_the_rest(
    methods: dict[str, Start], monkeypatch: pytest.MonkeyPatch
) -> None:
    undone: list[str] = []
    methods["sk_lookup"] = opens("sk_lookup", undone)

    def taken(self: Steering, port: int) -> None:
        raise SetupError(f"listen on [::]:{port}", "the port is taken")

    monkeypatch.setattr(Steering, "listen", taken)
    with pytest.raises(SetupError, match=r"\[::\]:80: the port is taken"):
        steering.create("sk_lookup", FEW, [], 1, own=FEW)
    assert undone == ["sk_lookup"]
