"""The program at interfaces: attached, replaced, kept by pins, and gone."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.errors import PermissionNeeded, SetupError
from faith.kernel.bpf import bpf
from faith.kernel.flow.flow_links import FlowLinks
from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.process import capabilities
from tests.netns.flows import Segment, Wires, interfaces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.netns.conftest import Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

OTHERS = ["tc", "filter", "add"]
CLASSIC = ["bpf", "bytecode", "1,6 0 0 0,", "flowid", "1:1"]


@pytest.fixture(params=[True, False], ids=["tcx", "clsact"])
def wires(lab: ThreeHosts, request: pytest.FixtureRequest) -> Iterator[Wires]:
    with Wires(lab, tcx=request.param) as wires:
        yield wires


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    """A directory in a file system of type bpf."""
    root = tmp_path / "bpf"
    root.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", root], check=True)
    yield root / "faith"
    subprocess.run(["umount", root], check=True)


def qdiscs(wires: Wires) -> str:
    return wires.lab.gateway.run(["tc", "qdisc", "show"]).stdout


def works(wires: Wires) -> bool:
    """Whether packets of a flow are translated, both ways."""
    wires.maps.remove([(flow.key6, flow.key4) for flow in [wires.maps.read(wires.flow())]])
    wires.flow()
    return len(wires.up(Segment().ipv6())) == 1


def test_it_is_attached_to_every_interface_and_lo(wires: Wires) -> None:
    names = {wires.lab.gateway.call(interfaces)[index].name for index in wires.links.interfaces}
    assert names == {"lo", "to-client", "to-server"}
    assert works(wires)


def test_at_the_end_nothing_is_left(wires: Wires) -> None:
    wires.inside_close()
    assert wires.links.interfaces == frozenset()
    assert "clsact" not in qdiscs(wires)
    forwarded = wires.maps.counters()["forwarded_v6"]
    wires.client.send(Segment(source_port=1).ipv6())
    assert wires.maps.counters()["forwarded_v6"] == forwarded
    wires.inside_close()


def test_interfaces_come_and_go(wires: Wires) -> None:
    gateway = wires.lab.gateway
    before = wires.links.interfaces
    gateway.run(["ip", "link", "add", "new", "type", "veth", "peer", "name", "other"])
    wires.follow()
    both = wires.links.interfaces - before
    assert len(both) == 2
    gateway.run(["ip", "link", "del", "new"])
    wires.follow()
    assert wires.links.interfaces == before
    wires.follow()
    assert works(wires)


def test_an_interface_that_vanished_meanwhile_is_passed_over(wires: Wires) -> None:
    gateway = wires.lab.gateway
    gateway.run(["ip", "link", "add", "new", "type", "veth", "peer", "name", "other"])
    before, found = wires.links.interfaces, gateway.call(interfaces)
    gateway.run(["ip", "link", "del", "new"])
    with gateway.inside():
        wires.links.follow(found)
    assert wires.links.interfaces == before


def test_a_device_without_a_link_header_gets_the_other_program(wires: Wires) -> None:
    gateway = wires.lab.gateway
    gateway.run(["ip", "tuntap", "add", "dev", "tun", "mode", "tun"])
    wires.follow()
    with gateway.inside():
        state = wires.links.state()["attached"]
    index = next(n for n, link in gateway.call(interfaces).items() if link.name == "tun")
    programs = {number: program for number, program, *_ in state}
    assert programs[index] == "layer3"
    assert {programs[number] for number in programs.keys() - {index}} == {"ethernet"}


def test_a_device_with_another_header_is_left_alone(wires: Wires) -> None:
    gateway = wires.lab.gateway
    found = gateway.call(interfaces)
    before = wires.links.interfaces
    found[999] = found[1]
    found[999].header = None
    with gateway.inside():
        wires.links.follow(found)
    assert wires.links.interfaces == before


def test_the_program_is_replaced_while_packets_pass(wires: Wires) -> None:
    with wires.lab.gateway.inside():
        for _ in range(3):
            wires.links.update()
            assert works(wires)


def test_a_successor_adopts_what_is_attached(wires: Wires) -> None:
    state = json.loads(json.dumps([wires.links.state(), wires.maps.state()]))
    with wires.lab.gateway.inside():
        maps = FlowMaps.adopt(state[1])
        links = FlowLinks.adopt(state[0], maps)
        assert links.interfaces == wires.links.interfaces
        links.update()
        assert works(wires)
        assert links.state() == wires.links.state()


def test_a_filter_of_others_stays_and_ours_is_found_again(lab: ThreeHosts) -> None:
    with Wires(lab, tcx=False) as wires:
        gateway = lab.gateway
        gateway.run([*OTHERS, "dev", "to-client", "ingress", "prio", "64999", *CLASSIC])
        with gateway.inside(), FlowMaps.create(8) as maps:
            FlowLinks.create(maps, tcx=False).follow(interfaces())  # takes the place of the first
        shown = gateway.run(["tc", "filter", "show", "dev", "to-client", "ingress"]).stdout
        assert shown.count("direct-action") == 1
        wires.inside_close()
        shown = gateway.run(["tc", "filter", "show", "dev", "to-client", "ingress"]).stdout
        assert "bytecode" in shown
        assert "direct-action" not in shown
        assert qdiscs(wires).count("clsact") == 1


def test_without_tcx_it_is_a_filter(lab: ThreeHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> bpf.Object:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(bpf, "link", refuse)
    with Wires(lab) as wires:
        assert qdiscs(wires).count("clsact") == 3
        assert works(wires)


def test_flows_outlive_a_killed_process_by_pins(wires: Wires, pins: Path) -> None:
    before = wires.links.interfaces
    wires.links.pin(pins)
    with wires.lab.gateway.inside():
        wires.lab.gateway.run(["ip", "link", "add", "new", "type", "veth", "peer", "name", "other"])
        wires.follow()
        wires.lab.gateway.run(["ip", "link", "del", "new"])
        wires.follow()
        wires.links.release()  # as the end of the process does
        wires.maps.close()
        wires.links = FlowLinks.from_pins(pins)
        wires.maps = wires.links.maps
        assert wires.links.interfaces == before
        assert wires.maps.slots == 16
        assert works(wires)
        wires.links.update()
        assert works(wires)
        wires.inside_close()
        assert not pins.exists()
        assert "clsact" not in qdiscs(wires)
    wires.maps.close()


def test_pins_are_removed_or_replaced(wires: Wires, pins: Path) -> None:
    wires.links.pin(pins)
    wires.links.pin(pins)
    assert {"flows6", "slots"} < set(os.listdir(pins))
    wires.links.unpin()
    assert not pins.exists()
    wires.links.unpin()
    assert works(wires)


def test_what_is_not_all_there_is_not_adopted(wires: Wires, pins: Path) -> None:
    wires.links.pin(pins)
    (pins / "ports").unlink()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        FlowLinks.from_pins(pins)
    assert os.listdir("/proc/self/fd") == before
    wires.maps._settings.cast("Q")[0] = 99
    wires.links.pin(pins)
    with pytest.raises(ValueError, match="flows of layout 99"):
        FlowLinks.from_pins(pins)
    assert os.listdir("/proc/self/fd") == before


def test_a_place_that_is_no_bpf_file_system_is_refused(wires: Wires, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="keep flows in "):
        wires.links.pin(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("missing", ["CAP_BPF", "CAP_NET_ADMIN"])
@pytest.mark.usefixtures("private_network")
def test_a_missing_capability_is_named(fork: Fork, missing: str) -> None:
    def body(report: Report) -> object:
        maps = FlowMaps.create(8)
        kept = {"CAP_BPF", "CAP_NET_ADMIN"} - {missing}
        capabilities.drop(capabilities.default_user(), keep=kept)
        try:
            FlowLinks.create(maps).follow(interfaces())
        except PermissionNeeded as error:
            return error.capabilities
        return ()

    assert fork(body).report() == (missing,)
