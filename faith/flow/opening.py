"""The opening of flows: SYNs that ask for one are judged, entered into the kernel, and sent on."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from faith.datagram.icmp import HOPS_EXCEEDED_V6, NO_ROUTE_V6, PROHIBITED_V6
from faith.flow.flow_view import FlowView
from faith.flow.new_rates import NewRates
from faith.flow.tcp_segment import (
    ACK,
    FIN,
    HEADER_V4,
    HEADER_V6,
    RST,
    SYN,
    end_of_syn,
    translated_syn,
)
from faith.kernel.flow.layout import CLIENT as CLIENT_SIDE
from faith.kernel.flow.layout import CLOSED, Side, Slot
from faith.translation.reasons import (
    DISPLACED,
    HOPS,
    NO_PORT,
    NO_SOURCE,
    SHED,
    SOURCE_MAPPED,
    TOTAL,
    UNREACHABLE,
)

if TYPE_CHECKING:
    from faith.datagram.icmp import Error
    from faith.flow.flow_counters import FlowCounters
    from faith.flow.flow_ends import FlowEnds
    from faith.flow.flow_output import FlowOutput
    from faith.flow.flow_table import FlowTable
    from faith.flow.flow_view import FlowReports
    from faith.flow.judge import Judge, Judgement
    from faith.kernel.netlink.packet_log import PacketLog

BATCH = 64
"""SYNs read before others have their turn."""

_FLAGS_AT, _FLAGS = 53, SYN | ACK | RST | FIN
_DATA_OFFSET_AT, _HOPS_AT = 52, 7
_NO_WAY = {
    errno.ENETUNREACH: NO_ROUTE_V6,
    errno.EHOSTUNREACH: NO_ROUTE_V6,
    errno.EPERM: PROHIBITED_V6,
}
"""The errors of sending that end a flow, as its client is told."""
_NO_SOURCE = (errno.EINVAL, errno.EADDRNOTAVAIL)


class Opening:
    """Opens flows in *table* for the SYNs of *log*, and makes *reports* of them."""

    def __init__(
        self,
        log: PacketLog,
        judge: Judge,
        table: FlowTable,
        ends: FlowEnds,
        output: FlowOutput,
        counters: FlowCounters,
        reports: FlowReports,
    ) -> None:
        self._log = log
        self._judge = judge
        self._table = table
        self._maps = table.maps
        self._ends = ends
        self._output = output
        self._counters = counters
        self._reports = reports
        self.rates = NewRates(judge.settings)
        self._entries: list[tuple[bytes, bytes, int]] = []
        # The SYNs to be sent, each with its end and interface, its flow, and whether that is new.
        self._syns: list[tuple[bytes, int, int, int, Slot, bool]] = []

    def read(self) -> bool:
        """Read a batch of SYNs, and open their flows; return whether there were any."""
        now, found = time.monotonic_ns(), False
        try:
            for packet, interface in self._log.read(BATCH):
                found = True
                self._open(packet, interface, now)
        finally:
            self._flush()
        return found

    def leave(self) -> None:
        """Open no flow for the SYNs that wait."""
        while list(self._log.read(BATCH)):
            pass

    def _open(self, packet: bytes, interface: int, now: int) -> None:
        end = end_of_syn(packet)
        if not end or packet[_FLAGS_AT] & _FLAGS != SYN:
            self._counters.damaged()
            return
        number = self._table.by_key6.get(packet[8:44], -1)
        if packet[_HOPS_AT] <= 1:
            self._refuse(packet, interface, HOPS, HOPS_EXCEEDED_V6)
        elif number >= 0 and not self._maps.state_of(number) & CLOSED:
            self._counters.repeated()
            slot = self._maps.read(number)
            end = _fitting(packet, end, slot.mtu4)
            self._syns.append((packet, end, interface, number, slot, False))
        else:
            self._decide(packet, end, interface, number, now)

    def _decide(self, packet: bytes, end: int, interface: int, number: int, now: int) -> None:
        """Open a flow, or refuse; *number* is the slot of a closed one of this client, or -1."""
        if number >= 0:
            self._ends.finish(number)
        judgement = self._judge.judge(packet[8:40], interface)
        why = judgement.refused or self._over(judgement, now)
        if why:
            self._refuse(packet, interface, why, judgement.error)
            return
        end = _fitting(packet, end, judgement.ways[2])
        if number >= 0 and self._same(number, judgement):
            self._reopen(packet, end, interface, number, judgement, now)
        else:
            if number >= 0:
                self._table.release([number])
            self._begin(packet, end, interface, judgement, now)

    def _over(self, judgement: Judgement, now: int) -> str | None:
        return self._table.refuses(judgement.share) or (
            self.rates.refuses(judgement.share, now) if self.rates.limited else None
        )

    def _refuse(self, packet: bytes, interface: int, why: str, error: Error | None = None) -> None:
        """Refuse a SYN, by *error*, else by a reset; in silence if it is from inside the prefix."""
        self._counters.refused(why)
        client_port, port = packet[40] << 8 | packet[41], packet[42] << 8 | packet[43]
        self._reports.refused(why, packet[8:24], client_port, packet[24:40], port)
        if why == SOURCE_MAPPED:
            return  # RFC 6146 §3.5: an answer could come back here
        if error is None:
            self._output.refuse(packet, interface)
        else:
            self._output.report_v6(error, packet, interface)

    # -- flows -------------------------------------------------------------------------------

    def _begin(
        self, packet: bytes, end: int, interface: int, judgement: Judgement, now: int
    ) -> None:
        table = self._table
        port = packet[42:44]
        key4 = table.ports.choose(judgement.pool, judgement.server + judgement.source + port)
        if key4 is None:
            self._refuse(packet, interface, NO_PORT)
            return
        number = table.place(key4)
        if number < 0:
            self._refuse(packet, interface, TOTAL)
            return
        oif4, oif6, mtu4, mtu6, mss4, mss6 = judgement.ways
        generation = table.next_generation()
        slot = Slot(
            packet[8:24],
            packet[24:40],
            judgement.source,
            judgement.server,
            key4[10] << 8 | key4[11],
            packet[40] << 8 | packet[41],
            packet[42] << 8 | packet[43],
            oif4,
            oif6,
            judgement.sum64,
            judgement.sum46,
            mtu4,
            mtu6,
            mss4,
            mss6,
            0,
            generation,
            now,
            Side(_after(packet, end), 0, now, 1, _data(packet, end)),
            _NOTHING,
        )
        self._maps.write(number, slot)
        key6 = packet[8:44]
        table.add(number, key6, key4, judgement.share)
        self._entries.append((key6, key4, number))
        self._opened(packet, end, interface, number, slot)

    def _opened(self, packet: bytes, end: int, interface: int, number: int, slot: Slot) -> None:
        self._syns.append((packet, end, interface, number, slot, True))
        displaced = self._table.half_open.add(number, slot.generation, slot.started)
        if displaced >= 0:
            self._flush()  # it may be one of this batch
            self._ends.end([displaced], DISPLACED, resets=False)

    def _same(self, number: int, judgement: Judgement) -> bool:
        """Return whether the flow's mapping is one that *judgement* would allow today."""
        slot = self._maps.read(number)
        is_given = judgement.pool.position(slot.source_port) >= 0
        return is_given and slot.source + slot.server == judgement.ends

    def _reopen(
        self, packet: bytes, end: int, interface: int, number: int, judgement: Judgement, now: int
    ) -> None:
        """Begin a new session of a client that uses its port again: it keeps the source port."""
        maps, table = self._maps, self._table
        key4 = maps.read(number).key4
        table.reopen(key4, judgement.share)
        maps.reroute(number, *judgement.ways)
        after = _after(packet, end)
        maps.clear_state(number, table.next_generation(), now, after)
        maps.arrived(number, CLIENT_SIDE, Side(after, 0, now, 1, _data(packet, end)))
        self._entries.append(
            (packet[8:44], key4, number)
        )  # it may have had a relayed session since
        self._opened(packet, end, interface, number, maps.read(number))

    # -- what the turn leaves ----------------------------------------------------------------

    def _flush(self) -> None:
        """Enter the new flows into the kernel's tables, then send the SYNs: answers find them."""
        if self._entries:
            entries, self._entries = self._entries, []
            try:
                self._maps.insert(entries)
            except OSError:
                self._give_up({number for _, _, number in entries})
        syns, self._syns = self._syns, []
        for packet, end, interface, number, slot, is_new in syns:
            if is_new:
                self._counters.begun()
                self._reports.begun(FlowView(slot, slot.started))
            self._send(packet, end, interface, number, slot)

    def _give_up(self, numbers: set[int]) -> None:
        """Refuse the SYNs of flows that the kernel has no room for."""
        syns = [syn for syn in self._syns if syn[3] in numbers]
        self._syns = [syn for syn in self._syns if syn[3] not in numbers]
        for packet, _, interface, _, slot, is_new in syns:
            if is_new:
                self._table.open.remove(self._table.share_of(slot))
                self._refuse(packet, interface, SHED)
        self._table.release(numbers)

    def _send(self, packet: bytes, end: int, interface: int, number: int, slot: Slot) -> None:
        ends, port = slot.source + slot.server, slot.source_port.to_bytes(2, "big")
        header, segment = translated_syn(packet, end, ends, port, slot.mss4)
        failed = self._output.send_v4(header + segment)
        if failed in _NO_WAY:
            self._output.report_v6(_NO_WAY[failed], packet, interface)
            self._ends.end([number], UNREACHABLE, resets=False)
        elif failed in _NO_SOURCE:
            self._output.refuse(packet, interface)
            self._ends.end([number], NO_SOURCE, resets=False)


_NOTHING = Side()


def _fitting(packet: bytes, end: int, mtu: int) -> int:
    """Return where the SYN in *packet* ends, without data that does not fit: the client sends that
    again."""
    if end - HEADER_V6 + HEADER_V4 > mtu:
        return HEADER_V6 + (packet[_DATA_OFFSET_AT] >> 4 << 2)
    return end


def _data(packet: bytes, end: int) -> int:
    """Return the octets of data in a SYN (RFC 7413)."""
    return end - HEADER_V6 - (packet[_DATA_OFFSET_AT] >> 4 << 2)


def _after(packet: bytes, end: int) -> int:
    """Return the sequence number after a SYN and its data."""
    return int.from_bytes(packet[44:48], "big") + 1 + _data(packet, end) & 0xFFFFFFFF
