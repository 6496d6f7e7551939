"""The program of flows between two wires: what it translates, and what it leaves alone.

Every packet that comes out has right checksums: `parsed` computes them anew.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest

from faith.datagram.checksum import checksum, ones_sum
from faith.kernel.flow import layout
from faith.kernel.flow.layout import Event, Side
from tests.netns.flows import (
    ACK,
    CLIENT,
    CLIENT_PORT,
    MAPPED,
    PORT,
    PSH,
    SERVER,
    SOURCE,
    SOURCE_PORT,
    SYN,
    Segment,
    Wires,
    ipv4_header,
    packed,
    parsed,
    server_segment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

MSS = b"\x02\x04\x05\xa0"  # 1440
OTHERS = b"\x04\x02\x08\x0a" + bytes(8)  # SACK permitted, timestamps
UP = Segment()
DOWN = server_segment()
AS_IPV4 = {"source_port": SOURCE_PORT, "source": SOURCE, "to": SERVER, "hops": 63}
AS_IPV6 = {"port": CLIENT_PORT, "source": MAPPED, "to": CLIENT, "hops": 63, "fragment": 0}


@pytest.fixture
def wires(lab: ThreeHosts) -> Iterator[Wires]:
    with Wires(lab) as wires:
        yield wires


def changed(segment: Segment, changes: dict[str, object]) -> Segment:
    return segment._replace(**changes)  # type: ignore[arg-type]


def as_ipv4(segment: Segment) -> Segment:
    """What the server gets of the client's *segment*."""
    small = len(segment.options) + len(segment.payload) + 40 <= 1260
    return changed(segment, {**AS_IPV4, "fragment": 0 if small else 0x4000})


def as_ipv6(segment: Segment) -> Segment:
    """What the client gets of the server's *segment*."""
    return changed(segment, AS_IPV6)


# -- both ways -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 999, 1440])
def test_segments_are_translated_from_ipv6_to_ipv4(wires: Wires, size: int) -> None:
    wires.flow()
    segment = UP._replace(payload=bytes(n & 255 for n in range(size)), flags=ACK | PSH)
    assert [parsed(packet) for packet in wires.up(segment.ipv6())] == [as_ipv4(segment)]
    assert wires.maps.counters()["forwarded_v6"] == 2  # and the mark


@pytest.mark.parametrize("size", [0, 1, 2, 999, 1440])
def test_segments_are_translated_from_ipv4_to_ipv6(wires: Wires, size: int) -> None:
    wires.flow()
    segment = DOWN._replace(payload=bytes(n & 255 for n in range(size)), flags=ACK | PSH)
    assert [parsed(packet) for packet in wires.down(segment.ipv4())] == [as_ipv6(segment)]
    assert wires.maps.counters()["forwarded_v4"] == 2


def test_packets_leave_in_the_order_in_which_they_came(wires: Wires) -> None:
    """RFC 7915, sections 4 and 5."""
    wires.flow()
    numbers = range(1000, 1300)
    up = wires.up(*(UP._replace(sequence=number).ipv6() for number in numbers))
    down = wires.down(*(DOWN._replace(sequence=number).ipv4() for number in numbers))
    for packets in (up, down):
        assert [parsed(packet).sequence for packet in packets] == [*numbers]


def test_only_the_server_of_a_flow_is_let_in_and_from_its_port_alone(wires: Wires) -> None:
    """RFC 5382 REQ-3: whatever has the flow's address and port as its destination."""
    wires.flow()
    others = [DOWN._replace(source="192.0.2.98"), DOWN._replace(source_port=PORT + 1)]
    for flags in (SYN, SYN | ACK, ACK):
        packets = [other._replace(flags=flags).ipv4() for other in others]
        assert wires.down(*packets) == []
        assert wires.logged(wires.passed) == packets


def test_the_length_of_every_header_is_that_of_the_packet(wires: Wires) -> None:
    """RFC 7915, sections 4.1 and 5.1: and the flow label is 0."""
    wires.flow()
    (up,) = wires.up(UP._replace(payload=b"12345").ipv6())
    (down,) = wires.down(DOWN._replace(payload=b"12345").ipv4())
    assert (up[0], up[2:4], len(up)) == (0x45, b"\0\x2d", 45)
    assert up[8:10] == b"\x3f\x06"
    assert (down[:4], down[4:6], len(down)) == (b"\x60\0\0\0", b"\0\x19", 65)
    assert down[6:8] == b"\x06\x3f"


@pytest.mark.parametrize("tos", [0x00, 0xB8, 0x03, 0xFF])
def test_the_traffic_class_goes_both_ways(wires: Wires, tos: int) -> None:
    wires.flow()
    (up,) = wires.up(UP._replace(tos=tos).ipv6())
    (down,) = wires.down(DOWN._replace(tos=tos).ipv4())
    assert (parsed(up).tos, parsed(down).tos) == (tos, tos)


def test_the_flow_label_is_not_taken_for_the_traffic_class(wires: Wires) -> None:
    wires.flow()
    packet = UP._replace(tos=0x12).ipv6()
    packet = bytes([packet[0], packet[1] | 0x0F, 0xFF, 0xFF]) + packet[4:]
    assert parsed(wires.up(packet)[0]).tos == 0x12


def test_small_packets_may_be_fragmented_further_on_and_have_an_identification(
    wires: Wires,
) -> None:
    """RFC 7915, section 5.1: up to 1260 octets."""
    wires.flow()
    small, large = (UP._replace(payload=bytes(size)) for size in (1220, 1221))
    packets = wires.up(*[small.ipv6()] * 3, large.ipv6())
    assert [parsed(packet).fragment for packet in packets] == [0, 0, 0, 0x4000]
    assert len({packet[4:6] for packet in packets[:3]}) > 1
    assert packets[3][4:6] == b"\0\0"


def test_every_sum_of_addresses_is_right(wires: Wires) -> None:
    """Ones' complement has two zeros and carries: addresses with extreme words."""
    for number, (high, low) in enumerate([(0xFFFF, 0xFFFF), (0, 0), (0x8000, 0x7FFF), (1, 0xFFFE)]):
        client = socket.inet_ntop(
            socket.AF_INET6, struct.pack("!8H", 0x2001, 0xDB8, 6, 0, high, low, high, low)
        )
        wires.enter_from(number + 2, client)
        segment = UP._replace(source=client, payload=b"odd")
        (up,) = wires.up(segment.ipv6())
        assert parsed(up) == as_ipv4(segment)._replace(source_port=3000 + number + 2)


def test_a_damaged_checksum_stays_damaged(wires: Wires) -> None:
    wires.flow()
    for at in (40 + 16, 40 + 20):  # the checksum itself, and what it is about
        octets = bytearray(UP._replace(payload=b"payload").ipv6())
        octets[at] ^= 0x55
        with pytest.raises(AssertionError, match="the checksum of TCP is wrong"):
            parsed(wires.up(bytes(octets))[0])
    octets = bytearray(DOWN._replace(payload=b"payload").ipv4())
    octets[-1] ^= 0x55
    with pytest.raises(AssertionError, match="the checksum of TCP is wrong"):
        parsed(wires.down(bytes(octets))[0])


# -- MSS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"\x01", b"\x01\x01\x01"), (b"\x01\x01", b"\x01\x01"), (OTHERS, OTHERS)],
    ids=["first", "odd", "even", "behind"],
)
@pytest.mark.parametrize("most", [0, 1220, 1439, 1440, 9000, 0x00FF])
def test_the_mss_of_a_syn_is_made_smaller_wherever_it_is(
    wires: Wires, before: bytes, after: bytes, most: int
) -> None:
    wires.flow(mss4=most, mss6=most)
    expected = min(1440, most or 1440).to_bytes(2, "big")
    options = before + MSS + after
    options += bytes(-len(options) % 4)
    for flags in (SYN, SYN | ACK):
        segment = UP._replace(flags=flags, options=options)
        (up,) = wires.up(segment.ipv6())
        assert parsed(up).options == options.replace(MSS, MSS[:2] + expected)
        segment = DOWN._replace(flags=flags, options=options)
        (down,) = wires.down(segment.ipv4())
        assert parsed(down).options == options.replace(MSS, MSS[:2] + expected)


@pytest.mark.parametrize(
    "options",
    [
        b"",
        OTHERS[:2] + b"\x01\x01",
        b"\x01" * 40,
        b"\x01" * 36 + MSS,
        b"\x00" + MSS + bytes(3),  # behind the end
        b"\x04\x00" + MSS + bytes(2),  # a length that never ends
        b"\x04\x01" + MSS + bytes(2),
        b"\x05\xff" + MSS + bytes(2),  # a length beyond the header
        b"\x02\x03\xff" + bytes(1),  # an MSS of another length
        b"\x01\x02\x04\xff",  # cut
    ],
    ids=lambda options: options.hex() or "none",
)
def test_other_options_stay_as_they_are(wires: Wires, options: bytes) -> None:
    wires.flow(mss4=1220)
    (up,) = wires.up(UP._replace(flags=SYN, options=options).ipv6())
    expected = options.replace(MSS, MSS[:2] + b"\x04\xc4") if options[:4] == b"\1" * 4 else options
    assert parsed(up).options == expected


def test_only_a_syn_has_an_mss(wires: Wires) -> None:
    wires.flow(mss4=1220, mss6=1220)
    assert parsed(wires.up(UP._replace(options=MSS).ipv6())[0]).options == MSS
    assert parsed(wires.down(DOWN._replace(options=MSS).ipv4())[0]).options == MSS


def test_a_damaged_syn_stays_damaged_when_its_mss_changes(wires: Wires) -> None:
    wires.flow(mss4=1220)
    octets = bytearray(UP._replace(flags=SYN, options=MSS).ipv6())
    octets[40 + 17] ^= 1
    with pytest.raises(AssertionError, match="the checksum of TCP is wrong"):
        parsed(wires.up(bytes(octets))[0])


# -- what goes no further ------------------------------------------------------------------------


def events(wires: Wires) -> list[Event]:
    return wires.maps.events(100)


@pytest.mark.parametrize("hops", [0, 1])
def test_a_packet_without_hops_left_is_reported(wires: Wires, hops: int) -> None:
    wires.flow(generation=77)
    up, down = UP._replace(hops=hops).ipv6(), DOWN._replace(hops=hops).ipv4()
    assert (wires.up(up), wires.down(down)) == ([], [])
    assert events(wires) == [
        Event(layout.HOPS6, wires.oif6, 1, 77, 0, up),
        Event(layout.HOPS4, wires.oif4, 1, 77, 0, down),
    ]
    assert wires.maps.counters()["hop_limit"] == 2
    assert parsed(wires.up(UP._replace(hops=2).ipv6())[0]).hops == 1


def test_a_packet_too_big_for_the_way_out_is_reported(wires: Wires) -> None:
    wires.flow(mtu4=1260, mtu6=1280, generation=77)
    fits: dict[str, object] = {"payload": bytes(1220)}
    assert parsed(wires.up(changed(UP, fits).ipv6())[0]) == as_ipv4(changed(UP, fits))
    assert parsed(wires.down(changed(DOWN, fits).ipv4())[0]) == as_ipv6(changed(DOWN, fits))
    up, down = (changed(one, {"payload": bytes(1221)}) for one in (UP, DOWN))
    assert (wires.up(up.ipv6()), wires.down(down.ipv4())) == ([], [])
    assert events(wires) == [
        Event(layout.TOO_BIG6, wires.oif6, 1, 77, 1260, up.ipv6()[:144]),
        Event(layout.TOO_BIG4, wires.oif4, 1, 77, 1280, down.ipv4()[:144]),
    ]
    assert wires.maps.counters()["too_big"] == 2


def test_a_packet_too_big_that_may_be_fragmented_is_left_to_user_space(wires: Wires) -> None:
    """RFC 7915, section 4.1."""
    wires.flow(mtu6=1280)
    down = DOWN._replace(payload=bytes(1300), fragment=0).ipv4()
    assert wires.down(down) == []
    assert wires.logged(wires.passed) == [down]
    assert events(wires) == []
    assert wires.maps.counters()["fragments"] == 1


def test_a_packet_that_no_ipv6_host_need_make_smaller_is_left_to_user_space(wires: Wires) -> None:
    """RFC 7915, section 5.1.1: it is fragmented, because no Packet Too Big would help."""
    wires.flow(mtu4=600, generation=77)
    whole, larger = (UP._replace(payload=bytes(size)).ipv6() for size in (1220, 1221))
    assert parsed(wires.up(UP._replace(payload=bytes(560)).ipv6())[0]).fragment == 0
    assert wires.up(whole, larger) == []
    assert wires.logged(wires.passed) == [whole]
    assert events(wires) == [Event(layout.TOO_BIG6, wires.oif6, 1, 77, 600, larger[:144])]
    assert wires.maps.counters()["fragments"] == 1


def test_nothing_is_left_to_a_user_space_that_does_not_attend(wires: Wires) -> None:
    """No rule might take it from the stack, which knows of no connection."""
    wires.flow(mtu4=600)
    wires.maps.heartbeat(0)
    assert wires.up(UP._replace(payload=bytes(1000)).ipv6(), fragments(UP.ipv6())[0]) == []
    assert wires.logged(wires.passed) == []
    assert wires.maps.counters()["fragments"] == 2


def test_without_a_way_out_nothing_is_sent(wires: Wires) -> None:
    wires.flow(oif4=0, oif6=0)
    assert (wires.up(UP.ipv6()), wires.down(DOWN.ipv4())) == ([], [])
    assert wires.maps.counters()["failed"] == 2


def test_a_flow_is_moved_to_another_way(wires: Wires) -> None:
    number = wires.flow(oif4=999, oif6=999)
    assert (wires.up(UP.ipv6()), wires.down(DOWN.ipv4())) == ([], [])
    wires.maps.reroute(number, wires.oif4, wires.oif6, 1500, 1500, 0, 0)
    assert len(wires.up(UP.ipv6())) == len(wires.down(DOWN.ipv4())) == 1


def test_events_are_limited(wires: Wires) -> None:
    wires.flow()
    wires.maps._settings.cast("Q")[7:9] = memoryview(  # one in ten minutes, three at once
        struct.pack("=QQ", 600 * 10**9, 2 * 600 * 10**9)
    ).cast("Q")
    wires.up(*[UP._replace(hops=1).ipv6()] * 9)
    assert len(events(wires)) == 3
    assert wires.maps.counters()["icmp_limited"] == 6


# -- ICMP ----------------------------------------------------------------------------------------


def icmpv4(kind: int, quoted: bytes, code: int = 1, fragment: int = 0) -> bytes:
    """An error from a router on the server's side."""
    body = struct.pack("!BBHI", kind, code, 0, 0) + quoted
    body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    return ipv4_header(body, packed("192.0.2.80") + packed(SOURCE), fragment, kind=1)


def icmpv6(kind: int, quoted: bytes, code: int = 0) -> bytes:
    addresses = packed("2001:db8:6::2") + packed(MAPPED)
    body = struct.pack("!BBHI", kind, code, 0, 1280) + quoted
    check = checksum(body, ones_sum(addresses) + 58 + len(body))
    body = body[:2] + check.to_bytes(2, "big") + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 64) + addresses + body


SENT4 = as_ipv4(UP).ipv4()
SENT6 = as_ipv6(DOWN).ipv6()


@pytest.mark.parametrize("kind", [3, 11, 12])
@pytest.mark.parametrize("quoted", [SENT4[:28], SENT4 + bytes(200)], ids=["shortest", "long"])
def test_an_icmp_error_about_a_flow_is_reported(wires: Wires, kind: int, quoted: bytes) -> None:
    wires.flow(generation=5)
    error = icmpv4(kind, quoted)
    assert wires.down(error) == []
    assert events(wires) == [Event(layout.ICMP4, wires.oif4, 1, 5, 0, error[:144])]
    assert wires.logged(wires.passed) == []
    assert wires.maps.counters()["icmp"] == 1


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize("quoted", [SENT6[:48], SENT6 + bytes(200)], ids=["shortest", "long"])
def test_an_icmpv6_error_about_a_flow_is_reported(wires: Wires, kind: int, quoted: bytes) -> None:
    wires.flow(generation=5)
    error = icmpv6(kind, quoted)
    assert wires.up(error) == []
    assert events(wires) == [Event(layout.ICMP6, wires.oif6, 1, 5, 0, error[:144])]
    assert wires.logged(wires.passed) == []


UNKNOWN4 = as_ipv4(UP)._replace(port=81).ipv4()
LATER4 = as_ipv4(UP)._replace(fragment=0x2000 | 185).ipv4()
UDP4 = ipv4_header(SENT4[20:], packed(SOURCE) + packed(SERVER), kind=17)


@pytest.mark.parametrize(
    "packet",
    [
        icmpv4(3, UNKNOWN4),
        icmpv4(3, LATER4),
        icmpv4(3, UDP4),
        icmpv4(3, b"\x46" + SENT4[1:20] + bytes(4) + SENT4[20:]),
        icmpv4(3, SENT4[:20]),
        icmpv4(8, SENT4),
        icmpv4(0, SENT4),
        icmpv4(5, SENT4),
        icmpv4(3, ipv4_header(bytes([3, 1]) + SENT4[20:], packed(SOURCE) + packed(SERVER), kind=1)),
    ],
    ids=[
        *("no flow", "later fragment", "UDP", "options", "cut"),
        *("echo", "reply", "redirect", "error"),
    ],
)
def test_other_icmp_goes_up_the_stack(wires: Wires, packet: bytes) -> None:
    wires.flow()
    assert wires.down(packet) == []
    assert events(wires) == []
    assert wires.logged(wires.passed) == [packet]


def test_a_fragmented_icmp_error_goes_up_the_stack(wires: Wires) -> None:
    wires.flow()
    whole = icmpv4(3, SENT4 + bytes(500))
    addresses = whole[12:20]
    first = ipv4_header(whole[20:420], addresses, 0x2000, kind=1)
    later = ipv4_header(whole[420:], addresses, 400 // 8, kind=1)
    assert wires.down(first, later) == []
    assert events(wires) == []
    assert [packet[20:] for packet in wires.logged(wires.passed)] == [whole[20:]]


def in_fragment(packet: bytes, at: int, kind: int = 6) -> bytes:
    """The fragment at an offset that an IPv6 *packet* begins with; *kind* is its protocol."""
    header = struct.pack("!BBHI", kind, 0, at | 1, 99)
    length = (len(packet) - 40 + len(header)).to_bytes(2, "big")
    return packet[:4] + length + b"\x2c" + packet[7:40] + header + packet[40:]


@pytest.mark.parametrize("length", [52, 90], ids=["shortest", "long"])
def test_an_icmpv6_error_about_a_first_fragment_is_reported(wires: Wires, length: int) -> None:
    """User space sends fragments; a link further on may be narrower than they are."""
    wires.flow(generation=5)
    error = icmpv6(2, in_fragment(SENT6 + bytes(100), 0)[:length])
    assert wires.up(error) == []
    assert events(wires) == [Event(layout.ICMP6, wires.oif6, 1, 5, 0, error[:144])]


@pytest.mark.parametrize(
    "packet",
    [
        icmpv6(1, SENT6.replace(b"\x00\x50", b"\x00\x51")),
        icmpv6(1, in_fragment(SENT6, 0, kind=17)),
        icmpv6(1, in_fragment(SENT6, 8)),
        icmpv6(1, in_fragment(SENT6, 0)[:51]),
        icmpv6(1, SENT6[:6] + b"\x11" + SENT6[7:]),
        icmpv6(1, SENT6[:40]),
        icmpv6(1, SENT6[:6] + b"\x3a" + SENT6[7:40] + bytes([1, 0]) + SENT6[42:]),
        icmpv6(128, SENT6),
    ],
    ids=[
        *("no flow", "fragment of UDP", "later fragment", "cut fragment", "UDP", "cut"),
        *("error", "echo"),
    ],
)
def test_other_icmpv6_goes_up_the_stack(wires: Wires, packet: bytes) -> None:
    wires.flow()
    assert wires.up(packet) == []
    assert events(wires) == []
    assert wires.logged(wires.passed) == [packet]


# -- what is not for the program -----------------------------------------------------------------


def test_ipv4_fragments_of_a_flow_are_put_together_by_the_stack(wires: Wires) -> None:
    wires.flow()
    whole = DOWN._replace(payload=bytes(1000), fragment=0).ipv4()
    first = ipv4_header(whole[20:420], whole[12:20], 0x2000)
    later = ipv4_header(whole[420:], whole[12:20], 400 // 8)
    assert wires.down(first, later) == []
    assert [packet[20:] for packet in wires.logged(wires.passed)] == [whole[20:]]
    assert wires.maps.counters()["fragments"] == 1


def fragments(whole: bytes) -> list[bytes]:
    """An IPv6 packet in two fragments."""
    pieces = []
    for at, more in ((0, 1), (400, 0)):
        part = whole[40 + at : 440 if more else None]
        header = struct.pack("!BBHI", 6, 0, at | more, 99)
        head = struct.pack("!IHBB", 6 << 28, len(part) + 8, 44, 64)
        pieces.append(head + whole[8:40] + header + part)
    return pieces


def test_ipv6_fragments_of_a_flow_go_up_the_stack(wires: Wires) -> None:
    wires.flow()
    pieces = fragments(UP._replace(payload=bytes(1000)).ipv6())
    assert wires.up(*pieces) == []
    assert wires.logged(wires.passed) == pieces


def test_ipv6_fragments_are_whole_at_the_input_hook_where_something_asks_for_that(
    wires: Wires,
) -> None:
    """As `tproxy` does, in a rule that never matches; IPv4 needs nothing."""
    rules = """table ip6 defragment {
      chain never {
        type filter hook prerouting priority 0
        meta mark 1 meta mark 2 meta l4proto tcp tproxy to :1
      }
    }"""
    wires.lab.gateway.run(["nft", "-f", "-"], stdin=rules)
    wires.flow()
    whole = UP._replace(payload=bytes(1000)).ipv6()
    assert wires.up(*fragments(whole)) == []
    assert wires.logged(wires.passed) == [whole]


def test_ip_options_and_extension_headers_go_up_the_stack(wires: Wires) -> None:
    wires.flow()
    four = DOWN.ipv4()
    head = b"\x46" + four[1:2] + (len(four) + 4).to_bytes(2, "big") + four[4:10] + bytes(2)
    head += four[12:20] + b"\x01" * 4
    four = head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + four[20:]
    six = UP.ipv6()
    six = (
        six[:4]
        + (len(six) - 32).to_bytes(2, "big")
        + b"\x3c"
        + six[7:40]
        + (b"\x06\x00\x01\x04" + bytes(4) + six[40:])
    )
    assert (wires.down(four), wires.up(six)) == ([], [])
    assert wires.logged(wires.passed) == [four, six]


@pytest.mark.parametrize("offset", [0x00, 0x40, 0xF0], ids=["none", "short", "beyond"])
def test_a_malformed_header_goes_up_the_stack(wires: Wires, offset: int) -> None:
    wires.flow()
    six, four = bytearray(UP.ipv6()), bytearray(DOWN.ipv4())
    six[40 + 12] = four[20 + 12] = offset
    assert (wires.up(bytes(six)), wires.down(bytes(four))) == ([], [])
    assert wires.logged(wires.passed) == [six, four]


@pytest.mark.parametrize("length", [0, 1000], ids=["of a jumbo packet", "beyond the packet"])
def test_a_length_that_is_not_that_of_the_packet_goes_up_the_stack(
    wires: Wires, length: int
) -> None:
    number = wires.flow()
    six, four = UP.ipv6(), DOWN.ipv4()
    head = four[:2] + (length + 20).to_bytes(2, "big") + four[4:10] + bytes(2) + four[12:20]
    four = head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + four[20:]
    six = six[:4] + length.to_bytes(2, "big") + six[6:]
    assert (wires.up(six), wires.down(four)) == ([], [])
    flow = wires.maps.read(number)
    assert (flow.from_client.packets, flow.from_server.packets) == (0, 0)


def test_a_damaged_ipv4_header_is_not_made_a_good_ipv6_header(wires: Wires) -> None:
    """RFC 1812, section 5.2.2; the stack drops it."""
    wires.flow()
    four = DOWN.ipv4()
    assert wires.down(four[:1] + b"\x04" + four[2:]) == []
    assert wires.logged(wires.passed) == []
    assert wires.maps.counters()["forwarded_v4"] == 1


def test_packets_to_other_hosts_are_left_alone(wires: Wires) -> None:
    wires.flow()
    wires.lab.gateway.run(["ip", "link", "set", "to-client", "promisc", "on"])
    wires.client.send(UP.ipv6(), to=bytes.fromhex("020000000001"))
    assert wires.up() == []
    assert wires.logged(wires.passed) == []
    assert wires.maps.counters()["forwarded_v6"] == 1


def test_frames_of_a_vlan_are_left_alone(wires: Wires) -> None:
    wires.flow()
    octets = UP.ipv6()
    wires.client.send_tagged(octets, 7)
    assert wires.up() == []
    assert wires.maps.counters()["forwarded_v6"] == 1


def test_packets_of_no_flow_go_up_the_stack(wires: Wires) -> None:
    wires.flow()
    six, four = UP._replace(source_port=41000).ipv6(), DOWN._replace(port=2001).ipv4()
    assert (wires.up(six), wires.down(four)) == ([], [])
    assert wires.logged(wires.passed) == [six, four]


def test_packets_are_counted_by_side(wires: Wires) -> None:
    number = wires.flow()
    wires.up(*[UP._replace(payload=b"12345").ipv6()] * 3)
    wires.down(*[DOWN._replace(payload=b"1234567").ipv4()] * 2)
    flow = wires.maps.read(number)
    assert (flow.from_client.packets, flow.from_client.octets) == (3, 15)
    assert (flow.from_server.packets, flow.from_server.octets) == (2, 14)
    assert min(flow.from_client.last, flow.from_server.last) > flow.started
    assert wires.maps.silent(flow.from_server.last + 1) != []
    assert isinstance(flow.from_client, Side)


# -- lo ------------------------------------------------------------------------------------------


def test_what_the_gateway_sends_to_itself_is_translated_too(wires: Wires) -> None:
    """Its own ICMP errors about packets to the server go by lo."""
    wires.flow(generation=9)
    error = icmpv4(3, SENT4)
    error = ipv4_header(error[20:], packed(SOURCE) + packed(SOURCE), kind=1)
    with (
        wires.lab.gateway.inside(),
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
    ):
        raw.sendto(error, (SOURCE, 0))
        raw.sendto(DOWN.ipv4(), (SOURCE, 0))
    assert [parsed(packet) for packet in wires.down()] == [as_ipv6(DOWN)]
    (event,) = events(wires)
    assert (event.kind, event.interface, event.generation) == (layout.ICMP4, 1, 9)
    assert event.packet[20:] == error[20:144]


def test_a_port_of_the_flow_has_the_byte_order_of_the_wire(wires: Wires) -> None:
    wires.enter_from(2, CLIENT, port=0x1234)
    segment = UP._replace(port=0x1234)
    (packet,) = wires.up(segment.ipv6())
    assert (parsed(packet).source_port, parsed(packet).port) == (3002, 0x1234)
    assert PORT != 0x1234
