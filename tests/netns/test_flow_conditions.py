"""What flows in the kernel take, on a host that has it or lacks one thing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.errors import SetupError
from faith.kernel.bpf import bpf
from faith.kernel.bpf.bpf import Map
from faith.kernel.flow import flow_conditions, flow_program
from faith.kernel.process import capabilities, system_calls
from faith.translation.ports import Ports
from tests.conftest import do_without
from tests.netns.test_device_features import set_feature

if TYPE_CHECKING:
    from tests.netns.conftest import Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed", "private_network")]


def test_a_host_that_has_all_lacks_nothing_and_nothing_stays() -> None:
    before = os.listdir("/proc/self/fd")
    assert flow_conditions.missing() == []
    assert os.listdir("/proc/self/fd") == before
    shown = subprocess.run(["tc", "qdisc", "show"], capture_output=True, text=True, check=True)
    assert "clsact" not in shown.stdout


@pytest.mark.parametrize("name", ["CAP_BPF", "CAP_NET_ADMIN"])
def test_a_missing_capability_is_named(fork: Fork, name: str) -> None:
    def body(report: Report) -> object:
        kept = {"CAP_BPF", "CAP_NET_ADMIN"} - {name}
        capabilities.drop(capabilities.default_user(), keep=kept)
        return flow_conditions.missing()

    assert fork(body).report() == [f"needs {name}: run it as root"]


def test_what_the_unit_allows_is_enough(fork: Fork) -> None:
    """Without CAP_PERFMON the verifier refuses more."""

    def body(report: Report) -> object:
        capabilities.drop(capabilities.default_user(), keep={"CAP_BPF", "CAP_NET_ADMIN"})
        return flow_conditions.missing()

    assert fork(body).report() == []


def test_a_filter_of_system_calls_is_not_taken_for_an_old_kernel(fork: Fork) -> None:
    def body(report: Report) -> object:
        assert system_calls.give_up()  # bpf(2) among them, as the filters of containers have it
        return flow_conditions.missing()

    (reason,) = fork(body).report()
    assert reason.startswith("bpf(2) is refused in spite of CAP_BPF: a container's seccomp filter")


def test_a_kind_of_map_that_the_kernel_lacks_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    create = Map.create

    def without(kind: int, name: str, **sizes: int) -> Map:
        if kind in (bpf.MAP_RING, bpf.MAP_HASH):
            raise OSError(22, "Invalid argument")
        return create(kind, name, **sizes)

    monkeypatch.setattr(Map, "create", without)
    assert flow_conditions.missing() == [
        "the kernel has no BPF hash tables: Invalid argument",
        "the kernel has no BPF ring buffers (Linux 5.8): Invalid argument",
    ]


def test_a_program_that_the_kernel_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = flow_program.code
    monkeypatch.setattr(flow_program, "code", lambda *wanted: whole(*wanted)[:-8])
    (reason,) = flow_conditions.missing()
    assert reason.startswith("the program of flows takes Linux 5.14 or later: load the program")
    assert reason.endswith(": last insn is not an exit or jmp")
    assert len(reason.splitlines()) == 1


def test_a_process_without_perfmon_hears_that_older_kernels_want_it(fork: Fork) -> None:
    def body(report: Report) -> object:
        capabilities.drop(capabilities.default_user(), keep={"CAP_BPF", "CAP_NET_ADMIN"})
        whole = flow_program.code
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(flow_program, "code", lambda *wanted: whole(*wanted)[:-8])
            return flow_conditions.missing()

    (reason,) = fork(body).report()
    assert reason.startswith("the program of flows takes Linux 5.14 or later, and CAP_PERFMON on ")


def test_interfaces_that_take_no_program_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise SetupError("attach the program of flows to lo", "Operation not supported")

    monkeypatch.setattr("faith.kernel.flow.flow_links.FlowLinks.follow", refuse)
    (reason,) = flow_conditions.missing()
    assert reason.endswith("attach the program of flows to lo: Operation not supported")


@pytest.mark.parametrize(
    ("release", "setting", "expected"),
    [("5.18.0-1-amd64", "2", 1), ("5.18.9", "0", 0), ("5.19.0", "2", 0), ("6.1.0-44", "2", 0)],
)
def test_a_kernel_that_refuses_maps_by_descriptor_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, setting: str, expected: int
) -> None:
    setting_file = tmp_path / "setting"
    setting_file.write_text(setting + "\n")
    uname = os.uname()
    monkeypatch.setattr(flow_conditions, "_UNPRIVILEGED", str(setting_file))
    other = os.uname_result((uname.sysname, uname.nodename, release, uname.version, uname.machine))
    monkeypatch.setattr(os, "uname", lambda: other)
    found = list(flow_conditions._unprivileged())
    assert len(found) == expected
    assert all("kernel.unprivileged_bpf_disabled" in each for each in found)
    setting_file.unlink()
    assert not list(flow_conditions._unprivileged())


def test_ipsec_policies_are_counted() -> None:
    policy = ["ip", "xfrm", "policy", "add", "src", "192.0.2.0/24", "dst"]
    for number, expected in ((1, "1 IPsec policy "), (2, "2 IPsec policies ")):
        made = subprocess.run(
            [*policy, f"198.51.{number}.0/24", "dir", "out", "tmpl", "proto", "esp"], check=False
        )
        if made.returncode:
            do_without("the kernel has no IPsec")
        (reason,) = flow_conditions.missing()
        assert reason.startswith(expected)


def test_offloads_that_damage_flows_come_with_the_command_against_them() -> None:
    subprocess.run(["ip", "link", "add", "one", "type", "veth", "peer", "name", "two"], check=True)
    names = ["lo", "one", "two", "none"]
    assert flow_conditions.offloads(names) == []
    set_feature("two", "rx-gro-list")
    (reason,) = flow_conditions.offloads(names)
    assert reason.startswith("two: rx-gro-list is on, which joins packets")
    assert reason.endswith(": ethtool -K two rx-gro-list off")
    set_feature("two", "rx-gro-list", on=False)
    assert flow_conditions.offloads(names) == []


def test_large_receive_offload_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No device of a test has it."""
    features = "faith.kernel.flow.device_features.active"
    monkeypatch.setattr(features, lambda name: {"rx-lro", "rx-gro"})
    (reason,) = flow_conditions.offloads(["eth0"])
    assert reason.endswith("ethtool -K eth0 lro off")


def test_ports_that_sockets_may_take_are_told() -> None:
    room = Path("/proc/sys/net/ipv4")
    (room / "ip_local_port_range").write_text("32768 60999")
    assert flow_conditions.ports_free(Ports([(61000, 65535), (1024, 32767)])) is None
    reason = flow_conditions.ports_free(Ports([(60000, 61005)]))
    assert reason
    assert reason.startswith("ports 60000-60999 are in net.ipv4.ip_local_port_range (32768-60999)")
    (room / "ip_local_reserved_ports").write_text("7,60000-60998")
    assert flow_conditions.ports_free(Ports([(60000, 61005)]))
    (room / "ip_local_reserved_ports").write_text("7,60000-60999")
    assert flow_conditions.ports_free(Ports([(60000, 61005)])) is None
    assert flow_conditions.only_free(Ports([(59990, 61005)])) == Ports([(60000, 61005)])
