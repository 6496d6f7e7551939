"""The program of flows: first packets that it tags, and the states it follows (RFC 6146, 3.5.2)."""

from __future__ import annotations

import mmap
import os
import select
import signal
import time
from typing import TYPE_CHECKING

import pytest

from faith.kernel.flow import layout
from faith.kernel.flow.flow_links import FlowLinks
from faith.kernel.flow.layout import (
    CLOSE,
    CLOSED,
    ESTABLISHED,
    FIN4,
    FIN6,
    RST4,
    RST6,
    SUSPECT,
    SYNACK,
    Event,
    Side,
)
from faith.lab import wait_until
from faith.translation.ports import Ports
from tests.netns.flows import (
    ACK,
    FIN,
    PORT,
    RST,
    SYN,
    Segment,
    Wires,
    interfaces,
    parsed,
    server_segment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

UP = Segment()
DOWN = server_segment()
FIRST = UP._replace(source_port=41000, flags=SYN, acknowledged=0, options=b"\x02\x04\x05\xa0")
OPEN = SYNACK | ESTABLISHED
SECOND = 10**9


@pytest.fixture
def wires(lab: ThreeHosts) -> Iterator[Wires]:
    with Wires(lab, slots=512) as wires:
        yield wires


def closed(wires: Wires, generation: int = 1) -> list[int]:
    """The states that the CLOSE events of slot 1 tell."""
    found = wires.maps.events(100)
    assert {event.kind for event in found} <= {CLOSE}
    assert {(event.slot, event.generation) for event in found} <= {(1, generation)}
    assert {event.packet for event in found} <= {b""}
    return [event.argument for event in found]


# -- first packets -------------------------------------------------------------------------------


def test_a_syn_of_no_flow_is_tagged_and_goes_up_the_stack(wires: Wires) -> None:
    assert wires.up(FIRST.ipv6()) == []
    assert wires.logged(wires.tagged) == [FIRST.ipv6()]
    assert wires.logged(wires.passed) == []
    assert wires.maps.counters()["upcalls"] == 1


def test_a_syn_that_passes_a_port_and_its_bridge_is_counted_once(wires: Wires) -> None:
    with wires.lab.gateway.inside(), FlowLinks.create(wires.maps) as again:
        again.follow({index: interfaces()[index] for index in (wires.oif4, wires.oif6)})
        wires.maps.configure(client_rate=0.001, client_burst=2, rate=0, burst=0, client_length=64)
        wires.up(FIRST.ipv6(), FIRST.ipv6())
    assert wires.maps.counters()["upcalls"] == 2
    assert wires.logged(wires.tagged) == [FIRST.ipv6()] * 2


@pytest.mark.parametrize("flags", [ACK, SYN | ACK, FIN | ACK, RST, SYN | RST, 0])
def test_other_segments_of_no_flow_are_not_tagged(wires: Wires, flags: int) -> None:
    packet = FIRST._replace(flags=flags).ipv6()
    assert wires.up(packet) == []
    assert wires.logged(wires.tagged) == []
    assert wires.logged(wires.passed) == [packet]


@pytest.mark.parametrize("flags", [SYN | 8, SYN | 0xC0])
def test_a_syn_may_push_or_offer_ecn(wires: Wires, flags: int) -> None:
    wires.up(FIRST._replace(flags=flags, payload=b"fast open").ipv6())
    assert len(wires.logged(wires.tagged)) == 1


def test_only_the_ports_that_are_served_are_tagged(wires: Wires) -> None:
    for ports, expected in ((Ports([(1, 65535)]), 3), (Ports([(PORT, PORT)]), 1), (Ports([]), 0)):
        wires.maps.set_ports(ports)
        wires.up(*(FIRST._replace(port=port).ipv6() for port in (PORT, PORT + 1, PORT + 64)))
        assert len(wires.logged(wires.tagged)) == expected
        assert len(wires.logged(wires.passed)) == 3 - expected


def test_only_prefixes_that_are_served_are_tagged(wires: Wires) -> None:
    wires.maps.set_prefixes([(0x2001_0DB8_FFFE << 80, 96)])
    wires.up(FIRST.ipv6())
    assert wires.logged(wires.tagged) == []
    assert len(wires.logged(wires.passed)) == 1


def test_while_nobody_attends_a_syn_is_left_alone(wires: Wires) -> None:
    for until in (0, time.monotonic_ns() - 1):
        wires.maps.heartbeat(until)
        wires.up(FIRST.ipv6())
        assert wires.logged(wires.tagged) == []
        assert wires.logged(wires.passed) == [FIRST.ipv6()]
    assert wires.maps.counters()["unattended"] == 2
    assert wires.maps.counters()["upcalls"] == 0
    wires.maps.heartbeat(time.monotonic_ns() + 60 * SECOND)
    wires.up(FIRST.ipv6())
    assert len(wires.logged(wires.tagged)) == 1


def test_flows_go_on_while_nobody_attends(wires: Wires) -> None:
    wires.flow(state=OPEN)
    wires.maps.heartbeat(0)
    assert len(wires.up(UP.ipv6())) == len(wires.down(DOWN.ipv4())) == 1


def test_a_client_is_limited_and_others_are_not(wires: Wires) -> None:
    wires.maps.configure(client_rate=0.001, client_burst=4, rate=0, burst=0, client_length=64)
    for source, expected in (("2001:db8:6::99", 4), ("2001:db8:6::1:2", 0), ("2001:db8:7::1", 4)):
        packets = [FIRST._replace(source=source, source_port=n).ipv6() for n in range(2, 12)]
        wires.up(*packets)
        assert len(wires.logged(wires.tagged)) == expected
    assert wires.logged(wires.passed) == []
    counters = wires.maps.counters()
    assert (counters["limited_client"], counters["limited_total"]) == (22, 0)


def test_all_clients_together_are_limited(wires: Wires) -> None:
    wires.maps.configure(client_rate=0, client_burst=0, rate=0.001, burst=5, client_length=64)
    for number in range(10):
        wires.up(FIRST._replace(source=f"2001:db8:{number}::1").ipv6())
    assert len(wires.logged(wires.tagged)) == 5
    counters = wires.maps.counters()
    assert (counters["limited_client"], counters["limited_total"]) == (0, 5)


def test_a_limit_is_a_rate(wires: Wires) -> None:
    """One more for each interval that has passed: here by moving the time of arrival."""
    wires.maps.configure(client_rate=0, client_burst=0, rate=1 / 600, burst=1, client_length=64)
    arrival = wires.maps._settings.cast("Q")[6:7]
    for expected in (1, 0):
        wires.up(FIRST.ipv6(), FIRST.ipv6())
        assert len(wires.logged(wires.tagged)) == expected
    arrival[0] -= 600 * SECOND
    wires.up(FIRST.ipv6(), FIRST.ipv6())
    assert len(wires.logged(wires.tagged)) == 1


def test_flows_are_not_limited(wires: Wires) -> None:
    wires.maps.configure(client_rate=0.001, client_burst=1, rate=0.001, burst=1, client_length=64)
    wires.flow()
    assert len(wires.up(*[UP._replace(flags=SYN).ipv6()] * 5)) == 5


def test_a_syn_of_the_gateway_itself_is_not_tagged(wires: Wires) -> None:
    run = ["python3", "-c", f"import socket; socket.create_connection(({FIRST.to!r}, {PORT}), 0.2)"]
    wires.lab.gateway.run(run, check=False)
    assert wires.logged(wires.tagged) == []
    assert {parsed_flags(packet) for packet in wires.logged(wires.passed)} == {SYN}


def parsed_flags(packet: bytes) -> int:
    return packet[40 + 13] & 0x3F


# -- the life of a flow --------------------------------------------------------------------------


def test_a_flow_is_opened_and_closed(wires: Wires) -> None:
    number = wires.flow(from_client=Side(next=1001), from_server=Side())
    syn = UP._replace(flags=SYN, sequence=1000, acknowledged=0)
    steps = [
        (syn, 0),  # once more: the first went by user space
        (DOWN._replace(flags=SYN | ACK, sequence=5000, acknowledged=1001), SYNACK),
        (UP._replace(sequence=1001, acknowledged=5001), OPEN),
        (UP._replace(sequence=1001, acknowledged=5001, payload=b"question"), OPEN),
        (DOWN._replace(sequence=5001, acknowledged=1009, payload=b"answer"), OPEN),
        (DOWN._replace(flags=FIN | ACK, sequence=5007, acknowledged=1009), OPEN | FIN4),
        (UP._replace(sequence=1009, acknowledged=5008, payload=b"more"), OPEN | FIN4),
    ]
    for segment, state in steps:
        send(wires, segment)
        assert wires.maps.state_of(number) == state
    flow = wires.maps.read(number)
    assert (flow.from_client.next, flow.from_client.acked) == (1013, 5008)
    assert (flow.from_server.next, flow.from_server.acked) == (5008, 1009)
    assert closed(wires) == []
    send(wires, UP._replace(flags=FIN | ACK, sequence=1013, acknowledged=5008))
    state = OPEN | FIN4 | FIN6 | CLOSED
    assert closed(wires) == [state]
    assert wires.maps.state_of(number) == state
    send(wires, DOWN._replace(sequence=5008, acknowledged=1014))  # the last acknowledgement
    send(wires, UP._replace(flags=FIN | ACK, sequence=1013, acknowledged=5008))  # sent again
    assert closed(wires) == []
    flow = wires.maps.read(number)
    assert (flow.from_client.packets, flow.from_server.packets) == (6, 4)
    assert (flow.from_client.octets, flow.from_server.octets) == (12, 6)


def send(wires: Wires, segment: Segment) -> None:
    """Send a segment from its side; it is translated."""
    if ":" in segment.source:
        assert len(wires.up(segment.ipv6())) == 1
    else:
        assert len(wires.down(segment.ipv4())) == 1


@pytest.mark.parametrize("answer", [ACK, SYN | ACK], ids=["ACK", "SYN and ACK"])
def test_both_may_open_at_once(wires: Wires, answer: int) -> None:
    """RFC 6146, section 3.5.2.2, V6 INIT: the server's SYN need not acknowledge the client's.

    Where it has come, and the client's was lost, the server never sends SYN and ACK.
    """
    number = wires.flow(from_client=Side(next=1001), from_server=Side())
    syn = DOWN._replace(flags=SYN, sequence=5000, acknowledged=0)
    both = UP._replace(flags=SYN | ACK, sequence=1000, acknowledged=5001)
    steps = [
        (syn, SYNACK),
        (syn, SYNACK),
        (both, SYNACK),
        (DOWN._replace(flags=answer, sequence=5001 - (answer >> 1 & 1), acknowledged=1001), SYNACK),
        (UP._replace(sequence=1001, acknowledged=5001), OPEN),
    ]
    for segment, state in steps:
        send(wires, segment)
        assert wires.maps.state_of(number) == state
    flow = wires.maps.read(number)
    assert (flow.from_client.next, flow.from_client.acked) == (1001, 5001)
    assert (flow.from_server.next, flow.from_server.acked) == (5001, 1001)
    send(wires, UP._replace(flags=RST, sequence=1001))
    assert closed(wires) == [OPEN | RST6 | CLOSED]


def test_a_client_may_refuse_a_server_that_opens_at_once(wires: Wires) -> None:
    number = wires.flow(from_client=Side(next=1001), from_server=Side())
    send(wires, DOWN._replace(flags=SYN, sequence=5000, acknowledged=0))
    send(wires, UP._replace(flags=RST, sequence=900))
    assert wires.maps.state_of(number) == SYNACK | SUSPECT
    send(wires, UP._replace(flags=RST, sequence=1001))
    assert closed(wires) == [SYNACK | RST6 | CLOSED]


@pytest.mark.parametrize("first", [FIN4, FIN6])
def test_both_fins_close_in_either_order_and_once(wires: Wires, first: int) -> None:
    wires.flow(state=OPEN)
    both = [UP._replace(flags=FIN | ACK), DOWN._replace(flags=FIN | ACK)]
    for segment in both if first == FIN6 else both[::-1]:
        send(wires, segment)
        send(wires, segment)
    assert closed(wires) == [OPEN | FIN4 | FIN6 | CLOSED]
    send(wires, UP._replace(flags=RST, sequence=1001))  # as a client sends that closes at once
    assert closed(wires) == []


TRIALS = 10_000


def test_bits_of_both_directions_at_once_are_all_kept_and_one_closes(wires: Wires) -> None:
    """Two CPUs, each with a FIN, as close to each other as can be.

    Without atomic operations a bit is lost once in some thousand times; tests/test_flow_object.py
    looks for them.
    """
    if len(wires.cpus) < 2:
        pytest.skip("there is one CPU")
    number = wires.flow()
    up, down = UP._replace(flags=FIN | ACK).ipv6(), DOWN._replace(flags=FIN | ACK).ipv4()
    turn = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")  # begun, and done by the server
    server = os.fork()
    if not server:
        os.sched_setaffinity(0, wires.cpus[-1:])
        for trial in range(1, TRIALS + 1):
            while turn[0] < trial:
                pass
            wires.server.send(down)
            turn[1] = trial
        os._exit(0)
    try:
        for trial in range(1, TRIALS + 1):
            wires.maps.clear_state(number, trial, 10**9, 1000)
            turn[0] = trial
            for _ in range(40 + trial % 80):  # a little later each time
                pass
            wires.client.send(up)
            while turn[1] < trial:
                os.sched_yield()
            wait_until(  # a busy kernel does its part of sending a little later
                lambda: wires.maps.state_of(number) == FIN4 | FIN6 | CLOSED,
                seconds=5,
                what=f"both bits in trial {trial}: {wires.maps.state_of(number)}",
            )
            assert closed(wires, trial) == [FIN4 | FIN6 | CLOSED], trial
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)


# -- resets --------------------------------------------------------------------------------------

SENT = {"from_client": Side(2000, 6000, 1), "from_server": Side(7000, 1500, 1)}


@pytest.mark.parametrize("sequence", [1500, 1501, 2000])
def test_a_valid_reset_of_the_client_closes(wires: Wires, sequence: int) -> None:
    wires.flow(state=OPEN, **SENT)
    send(wires, UP._replace(flags=RST, sequence=sequence))
    assert closed(wires) == [OPEN | RST6 | CLOSED]
    assert wires.maps.counters()["suspect"] == 0


@pytest.mark.parametrize("sequence", [6000, 6500, 7000])
def test_a_valid_reset_of_the_server_closes(wires: Wires, sequence: int) -> None:
    wires.flow(state=OPEN, **SENT)
    send(wires, DOWN._replace(flags=RST | ACK, sequence=sequence))
    assert closed(wires) == [OPEN | RST4 | CLOSED]


@pytest.mark.parametrize("sequence", [0, 1499, 2001, 2000 + (1 << 31), 1500 + (1 << 31)])
def test_a_blind_reset_makes_a_flow_suspect_until_it_lives_again(
    wires: Wires, sequence: int
) -> None:
    number = wires.flow(state=OPEN, **SENT)
    send(wires, UP._replace(flags=RST, sequence=sequence))
    assert closed(wires) == []
    assert wires.maps.state_of(number) == OPEN | SUSPECT
    assert wires.maps.counters()["suspect"] == 1
    send(wires, DOWN._replace(sequence=7000, acknowledged=1500))
    assert wires.maps.state_of(number) == OPEN


def test_sequence_numbers_wrap(wires: Wires) -> None:
    sides = {"from_client": Side(0x10, 6000, 1), "from_server": Side(7000, 0xFFFFFFF0, 1)}
    wires.flow(state=OPEN, **sides)
    send(wires, UP._replace(sequence=0xFFFFFFF8, acknowledged=6500, payload=bytes(32)))
    assert wires.maps.read(1).from_client.next == 0x18
    send(wires, UP._replace(flags=RST, sequence=0x18))
    assert closed(wires) == [OPEN | RST6 | CLOSED]


def test_forged_data_does_not_make_a_forged_reset_valid(wires: Wires) -> None:
    number = wires.flow(state=OPEN, **SENT)
    far = 2000 + (1 << 30)
    send(wires, UP._replace(sequence=far, acknowledged=9_000_000, payload=b"forged"))
    flow = wires.maps.read(number)
    assert (flow.from_client.next, flow.from_client.acked) == (2000, 6000)
    send(wires, UP._replace(flags=RST, sequence=far))
    send(wires, DOWN._replace(flags=RST, sequence=9_000_000))
    assert closed(wires) == []
    send(wires, UP._replace(flags=SYN, sequence=far))
    assert wires.maps.read(number).from_client.next == 2000


def test_a_refusal_closes_a_flow_that_was_not_answered(wires: Wires) -> None:
    number = wires.flow(from_client=Side(next=1001), from_server=Side())
    wrong = DOWN._replace(flags=RST | ACK, sequence=0, acknowledged=1002)
    send(wires, wrong)
    send(wires, wrong._replace(flags=RST, acknowledged=1001))
    assert closed(wires) == []
    assert wires.maps.state_of(number) == SUSPECT
    send(wires, wrong._replace(acknowledged=1001))
    assert closed(wires) == [RST4 | CLOSED]


def test_a_client_that_resets_before_the_answer_has_not_ended(wires: Wires) -> None:
    """It answers the challenge of a server in TIME_WAIT (RFC 5961), and sends its SYN again."""
    number = wires.flow(from_client=Side(next=1001), from_server=Side())
    send(wires, DOWN._replace(sequence=9000, acknowledged=400))
    send(wires, UP._replace(flags=RST, sequence=400))
    send(wires, UP._replace(flags=RST | ACK, sequence=400, acknowledged=9000))
    assert closed(wires) == []
    send(wires, UP._replace(flags=SYN, sequence=1000, acknowledged=0))
    send(wires, DOWN._replace(flags=SYN | ACK, sequence=12000, acknowledged=1001))
    send(wires, UP._replace(sequence=1001, acknowledged=12001))
    assert wires.maps.state_of(number) == OPEN


# -- again ---------------------------------------------------------------------------------------


def test_a_new_syn_of_a_closed_flow_is_tagged_again(wires: Wires) -> None:
    number = wires.flow(state=OPEN | FIN4 | FIN6 | CLOSED, generation=4)
    syn = UP._replace(flags=SYN, sequence=9000)
    assert wires.up(syn.ipv6()) == []
    assert wires.logged(wires.tagged) == [syn.ipv6()]
    send(wires, UP)  # what comes late is still translated
    send(wires, DOWN)
    wires.maps.clear_state(number, 5, 10**9, 9001)
    send(wires, syn)  # sent again
    assert wires.logged(wires.tagged) == []
    send(wires, DOWN._replace(flags=SYN | ACK, sequence=100, acknowledged=9001))
    send(wires, UP._replace(sequence=9001, acknowledged=101))
    assert wires.maps.state_of(number) == OPEN
    send(wires, UP._replace(flags=RST, sequence=9001))
    assert closed(wires, generation=5) == [OPEN | RST6 | CLOSED]


def test_a_closed_flow_is_not_left_to_the_relay_for_another_port(wires: Wires) -> None:
    wires.flow(state=OPEN | RST4 | CLOSED)
    wires.maps.set_ports(Ports([]))
    syn = UP._replace(flags=SYN)
    assert wires.up(syn.ipv6()) == []
    assert wires.logged(wires.passed) == [syn.ipv6()]


def test_a_removed_flow_is_none_any_more(wires: Wires) -> None:
    flow = wires.maps.read(wires.flow(state=OPEN))
    wires.maps.remove([(flow.key6, flow.key4)])
    wires.maps.clear(1)
    assert (wires.up(UP.ipv6()), wires.down(DOWN.ipv4())) == ([], [])
    assert wires.logged(wires.passed) == [UP.ipv6(), DOWN.ipv4()]


def test_events_beyond_the_ring_are_counted(wires: Wires) -> None:
    number = wires.flow()
    settings = wires.maps._settings.cast("Q")
    settings[7] = 0  # no limit
    last = UP._replace(hops=1).ipv6()
    while not wires.maps.counters()["ring_full"]:
        wires.up(*[last] * 500)
    events = wires.maps.events(100_000)
    assert events[0] == Event(layout.HOPS6, wires.oif6, number, 1, 0, last)
    wires.up(last)
    assert len(wires.maps.events(10)) == 1


def test_events_make_the_descriptor_readable(wires: Wires) -> None:
    wires.flow(state=OPEN)
    assert not select.select([wires.maps], [], [], 0)[0]
    send(wires, UP._replace(flags=RST, sequence=1000))
    assert select.select([wires.maps], [], [], 5)[0]
    assert parsed(wires.up(UP.ipv6())[0])
    assert len(closed(wires)) == 1
    assert not select.select([wires.maps], [], [], 0)[0]
