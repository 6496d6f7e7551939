"""Filters at the ingress; tests/netns/test_flow_links.py has the program of flows as one."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.kernel.bpf import bpf
from faith.kernel.bpf.assembler import R0, assemble, leave, put
from faith.kernel.flow import ingress_filter
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed", "private_network")]

LO = 1


@pytest.fixture
def netlink(private_network: None) -> Iterator[Netlink]:
    with Netlink.create(NETLINK_ROUTE) as netlink:
        yield netlink


@pytest.fixture
def program() -> Iterator[bpf.Object]:
    with bpf.load(bpf.PROGRAM_TC, "test", assemble([put(R0, -1), leave()]), 0) as program:
        yield program


def shown(what: str, *arguments: str) -> str:
    command = ["tc", what, "show", "dev", "lo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_filter_comes_and_goes_with_its_clsact(netlink: Netlink, program: bpf.Object) -> None:
    assert ingress_filter.attach(netlink, LO, program, "name_of_it")
    assert "name_of_it direct-action" in shown("filter", "ingress")
    assert not ingress_filter.attach(netlink, LO, program, "replaced")
    assert "name_of_it" not in shown("filter", "ingress")
    ingress_filter.detach(netlink, LO, True)
    assert "clsact" not in shown("qdisc")
    ingress_filter.detach(netlink, LO, True)


def test_filters_with_other_handles_stay_until_all_go(
    netlink: Netlink, program: bpf.Object
) -> None:
    made = ingress_filter.attach(netlink, LO, program, "of_before", 1)
    ingress_filter.attach(netlink, LO, program, "of_now", 2)
    ingress_filter.attach(netlink, LO, program, "replaced", 2)
    assert shown("filter", "ingress").count("direct-action") == 2
    assert "of_before" in shown("filter", "ingress")
    assert "replaced" in shown("filter", "ingress")
    ingress_filter.detach(netlink, LO, made)
    assert "clsact" not in shown("qdisc")


def test_a_clsact_of_others_stays(netlink: Netlink, program: bpf.Object) -> None:
    subprocess.run(["tc", "qdisc", "add", "dev", "lo", "clsact"], check=True)
    assert not ingress_filter.attach(netlink, LO, program, "test")
    ingress_filter.detach(netlink, LO, False)
    assert "clsact" in shown("qdisc")
    assert not shown("filter", "ingress")


def test_a_clsact_that_others_use_by_now_stays(netlink: Netlink, program: bpf.Object) -> None:
    made = ingress_filter.attach(netlink, LO, program, "test")
    classic = ["bpf", "bytecode", "1,6 0 0 0,", "flowid", "1:1"]
    subprocess.run(["tc", "filter", "add", "dev", "lo", "egress", *classic], check=True)
    ingress_filter.detach(netlink, LO, made)
    assert "clsact" in shown("qdisc")


def test_a_program_that_is_none_leaves_no_clsact(netlink: Netlink) -> None:
    with open("/dev/null") as other, pytest.raises(OSError, match=r"Invalid|Bad"):
        ingress_filter.attach(netlink, LO, bpf.Object(other.fileno()), "test")
    assert "clsact" not in shown("qdisc")


def test_an_interface_that_is_gone_is_no_error_at_the_end(netlink: Netlink) -> None:
    ingress_filter.detach(netlink, 999, True)
