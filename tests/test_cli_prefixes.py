from __future__ import annotations

import pytest

from faith.cli import prefixes
from faith.cli.prefixes import Change, guarded_only, script
from faith.daemon.host import discovery
from faith.daemon.observe.status_report import Daemon
from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.nft.guard import GuardState
from faith.translation.ports import Ports
from faith.translation.prefix import LOW32, RFC6052, Prefix

PREFIX = Prefix.parse("2001:db8:ffff::/96")
OTHER = Prefix.parse("64:ff9b::/96", RFC6052)
OPEN = Ports([(23, 23)])
GUARDED = GuardState(True, True, frozenset({(PREFIX.address, 96)}), OPEN)


@pytest.fixture(autouse=True)
def reserved(monkeypatch: pytest.MonkeyPatch) -> list[Prefix]:
    """The prefixes reserved on this host, in a fake kernel."""
    found = [PREFIX]
    monkeypatch.setattr(routes, "reserved", lambda: list(found))
    monkeypatch.setattr(routes, "owners", lambda: dict.fromkeys(found, routes.PROTOCOL))
    monkeypatch.setattr(routes, "conflicts_of", lambda _: [])
    monkeypatch.setattr(guard, "inspect", lambda: GUARDED)
    monkeypatch.setattr(discovery, "running", list)
    return found


class TestEnabling:
    def test_what_is_reserved_already_stays_as_it_is(self) -> None:
        change = prefixes.enabling([PREFIX, OTHER, OTHER])
        assert (change.reserve, change.unchanged) == ((OTHER,), (PREFIX,))
        assert change.after == (PREFIX, OTHER)
        assert list(change.told()) == [
            "reserved 64:ff9b::/96 (layout rfc6052)",
            "2001:db8:ffff::/96 was reserved already",
        ]

    def test_open_ports_stay_unless_others_are_given(self) -> None:
        assert prefixes.enabling([OTHER]).open_after == OPEN
        assert prefixes.enabling([OTHER], Ports([])).open_after == Ports([])

    def test_another_layout_is_refused_with_the_way_out(self) -> None:
        with pytest.raises(
            SetupError, match=r"has layout low32 already \(release it first: faith -d -p 2001:db8"
        ):
            prefixes.enabling([Prefix.parse(str(PREFIX), RFC6052)])

    @pytest.mark.parametrize("wanted", ["2001:db8::/31", "2001:db8:ffff::/65"])
    def test_an_overlap_with_what_is_reserved_is_refused(self, wanted: str) -> None:
        with pytest.raises(SetupError, match=r"overlaps 2001:db8:ffff::/96, which is reserved"):
            prefixes.enabling([Prefix.parse(wanted)])

    def test_an_overlap_among_the_wanted_is_refused(self) -> None:
        with pytest.raises(SetupError, match="overlaps"):
            prefixes.enabling(
                [Prefix.parse("2001:db8:1::/48", LOW32), Prefix.parse("2001:db8:1::/64", LOW32)]
            )

    def test_nothing_to_do_is_said(self, reserved: list[Prefix]) -> None:
        reserved.clear()
        with pytest.raises(SetupError, match="no prefix is reserved"):
            prefixes.enabling([])

    @pytest.mark.parametrize(
        ("state", "told"),
        [
            (GUARDED, []),
            (GuardState(), ["the guard was missing: put back, with no open port but those given"]),
            (GuardState(True, False, GUARDED.networks), ["the guard had been altered"]),
            (GuardState(True, True), ["the guard had been altered"]),
        ],
    )
    def test_a_repair_is_told(
        self, monkeypatch: pytest.MonkeyPatch, state: GuardState, told: list[str]
    ) -> None:
        monkeypatch.setattr(guard, "inspect", lambda: state)
        lines = list(prefixes.enabling([]).told())
        assert len(lines) == len(told)
        assert all(line.startswith(start) for line, start in zip(lines, told, strict=True))

    def test_who_will_take_a_prefix_away_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        running = Daemon(42, "23", "23", "route", 0.0, [str(PREFIX)], [str(PREFIX)])
        monkeypatch.setattr(discovery, "running", lambda: [running])
        assert list(prefixes.enabling([PREFIX]).told()) == [
            "2001:db8:ffff::/96 is reserved already, until faithd (pid 42) ends"
        ]

    def test_what_a_killed_daemon_has_left_is_reserved_anew(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left = {PREFIX: routes.OF_DAEMONS}
        monkeypatch.setattr(routes, "owners", lambda: left)
        change = prefixes.enabling([PREFIX])
        assert (change.reserve, change.unchanged) == ((PREFIX,), ())


class TestDisabling:
    def test_everything_goes(self, reserved: list[Prefix]) -> None:
        reserved.append(OTHER)
        change = prefixes.disabling()
        assert (change.release, change.after) == ((PREFIX, OTHER), ())
        assert list(change.told()) == ["released 2001:db8:ffff::/96", "released 64:ff9b::/96"]

    def test_the_named_go_whatever_their_layout(self, reserved: list[Prefix]) -> None:
        reserved.append(OTHER)
        change = prefixes.disabling([Prefix.parse("64:ff9b::/96")])
        assert (change.release, change.after) == ((OTHER,), (PREFIX,))

    def test_what_is_not_there_is_no_error(self) -> None:
        change = prefixes.disabling([OTHER])
        assert change.release == ()
        assert list(change.told()) == ["64:ff9b::/96 was not reserved"]

    def test_nothing_at_all_is_no_error(self, reserved: list[Prefix]) -> None:
        reserved.clear()
        assert list(prefixes.disabling().told()) == ["no prefix was reserved"]


class TestScript:
    def test_the_guard_comes_before_the_route(self) -> None:
        before, _, after = script(prefixes.enabling([OTHER])).partition("\nEND\n")
        assert "elements = { 64:ff9b::/96, 2001:db8:ffff::/96 }" in before
        assert "elements = { 23 }" in before
        assert after == (
            "ip -6 route replace local 64:ff9b::/96 dev lo table local proto 70 metric 6052\n"
        )

    def test_the_route_goes_before_the_guard(self) -> None:
        assert script(prefixes.disabling()).splitlines() == [
            "ip -6 route del local 2001:db8:ffff::/96 dev lo table local metric 3142",
            "nft -f - <<'END'",
            "table ip6 faith",
            "delete table ip6 faith",
            "END",
        ]

    def test_open_ports_that_could_not_be_seen_are_not_passed_over(self) -> None:
        assert "# The ports that are open now could not be seen" in script(
            Change((PREFIX,), None, reserve=(OTHER,))
        )


def test_networks_under_guard_without_a_route() -> None:
    networks = frozenset({(PREFIX.address, 96), (OTHER.address, 96)})
    assert guarded_only(GuardState(True, True, networks), [PREFIX]) == ["64:ff9b::/96"]
    assert guarded_only(GuardState(True, True, networks), [PREFIX, OTHER]) == []


def test_adjacent_networks_under_guard_may_be_one() -> None:
    guarded = GuardState(True, True, frozenset({(PREFIX.address, 95)}))
    upper = Prefix(PREFIX.address + (1 << 32), 96)
    assert guarded_only(guarded, [PREFIX, upper]) == []
    assert guarded_only(guarded, [upper]) == ["2001:db8:ffff::/95"]
