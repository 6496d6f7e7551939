"""What the brain sends; tests/flow/test_flow_ends.py has the resets of both ends."""

from __future__ import annotations

import errno

from faith.datagram.icmp import HOPS_EXCEEDED_V4, HOPS_EXCEEDED_V6, NO_ROUTE_V6
from faith.flow.flow_counters import ERRORS, LOST
from faith.flow.flow_output import is_link_local
from faith.flow.tcp_segment import ACK
from tests.flow.stand import CLIENT, SERVER, SOURCE, Stand, octets, packet_v6, segment


def packet_v4() -> bytes:
    return b"\x45" + bytes(11) + octets(SOURCE) + octets(SERVER) + bytes(20)


def test_only_fe80_10_is_link_local() -> None:
    assert is_link_local(octets("fe80::1"))
    assert is_link_local(octets("febf::1"))
    assert not is_link_local(octets("fec0::1"))
    assert not is_link_local(octets(CLIENT))


def test_packets_go_to_their_destination(stand: Stand) -> None:
    assert stand.output.send_v4(packet_v4()) == 0
    assert stand.output.send_v6(packet_v6(), 7) == 0
    assert stand.wires["raw_v4"].to == [(SERVER, 0)]
    assert stand.wires["raw_v6"].to == [("2001:db8:ffff::c633:6450", 0, 0, 0)]


def test_a_refusal_of_the_kernel_is_returned_and_counted(stand: Stand) -> None:
    stand.wires["raw_v4"].fails = stand.wires["raw_v6"].fails = errno.ENOBUFS
    assert stand.output.send_v4(packet_v4()) == errno.ENOBUFS
    assert stand.output.send_v6(packet_v6()) == errno.ENOBUFS
    assert stand.counted(LOST) == {"v4": 1, "v6": 1}


def test_errors_go_to_the_sender_and_are_counted(stand: Stand) -> None:
    stand.output.report_v6(NO_ROUTE_V6, packet_v6())
    stand.output.report_v4(HOPS_EXCEEDED_V4, packet_v4())
    assert stand.wires["icmp_v6"].to[0][0] == (CLIENT, 0, 0, 0)
    assert stand.wires["icmp_v4"].to[0][0] == (SOURCE, 0)
    assert stand.counted(ERRORS) == {"v4": 1, "v6": 1}


def test_an_error_for_a_link_local_client_goes_to_its_link(stand: Stand) -> None:
    stand.output.report_v6(HOPS_EXCEEDED_V6, packet_v6(client="fe80::9"), 5)
    assert stand.wires["icmp_v6"].to[0][0] == ("fe80::9", 0, 0, 5)


def test_an_error_that_cannot_be_sent_is_lost_and_counted(stand: Stand) -> None:
    stand.wires["icmp_v6"].fails = errno.EPERM
    stand.output.report_v6(NO_ROUTE_V6, packet_v6())
    assert stand.counted(LOST) == {"v6": 1}
    assert stand.counted(ERRORS) == {}


def test_errors_of_all_clients_together_keep_to_a_rate(stand: Stand) -> None:
    for n in range(1500):
        stand.output.report_v6(NO_ROUTE_V6, packet_v6(client=f"2001:db8:{n:x}::1"))
    assert len(stand.sent("icmp_v6")) == 1000


def test_another_length_of_clients_counts_from_then_on(stand: Stand) -> None:
    stand.output.limit(128)
    for n in range(100):
        stand.output.report_v6(NO_ROUTE_V6, packet_v6(client=f"2001:db8:1::{n:x}:1"))
    assert len(stand.sent("icmp_v6")) == 100
    for n in range(300):
        ends = octets(f"2001:db8:1::{n:x}:1") + octets("2001:db8:ffff::1")
        stand.output.reset_stray(ends, segment(ACK))
    assert len(stand.sent("raw_v6")) == 300
