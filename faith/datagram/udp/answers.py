"""ICMP errors about answers to clients, translated for the sender of the answer (RFC
5508 REQ-5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.packet import UDP, read_v4
from faith.datagram.report import about, pass_on, reporter_v6
from faith.datagram.udp.message import PROTOCOL, as_sent, ports
from faith.datagram.udp.paths import key_v6
from faith.datagram.udp.udp_v4_to_v6 import key_v4
from faith.kernel.sockets.udp_sockets import own_address
from faith.translation.reasons import OWN
from faith.translation.v4_to_v6 import admit_from_v4

if TYPE_CHECKING:
    from faith.datagram.packet import Packet
    from faith.datagram.send import Send
    from faith.datagram.udp.flows import Flows
    from faith.translation.destination import Policy


def answer_error_v6(packet: Packet, flows: Flows, policy: Policy) -> Send | None:
    """Translate an ICMPv6 error about an answer to an IPv6 client, for the IPv4 server; or None.

    *flows* are those of IPv6 clients.
    """
    error = icmp.read(packet.payload)
    answer = about(icmp.V6, error, UDP) if error else None
    prefix = policy.prefixes.find(answer.source) if answer else None
    translated = icmp.to_v4(error) if error else None
    if answer is None or prefix is None or translated is None:
        return None
    port, client_port = ports(answer)
    client, server = answer.destination, prefix.unmap(answer.source)
    verdict = policy.admit(client, server, prefix, PROTOCOL)
    flow = flows.find(key_v6((client, client_port), 0, prefix, verdict.source4))
    if flow is None or server not in flow.peers or verdict.refused not in (None, OWN):
        return None
    source = flow.ends.source
    ours = own_address(server) if source is None else source
    if ours is None:
        return None
    quoted = as_sent(answer, (server, port), (ours, flow.ends.port))
    reporter = source if packet.source == client else policy.maps.to_v4(packet.source, PROTOCOL)
    return pass_on(icmp.V4, translated, quoted, reporter, packet.hops)


def answer_error_v4(octets: bytes, flows: Flows, policy: Policy) -> Send | None:
    """Translate an ICMP error about an answer to an IPv4 client, for the IPv6 host; or None.

    *octets* are a whole packet; *flows* are those of IPv4 clients.
    """
    packet = read_v4(octets)
    error = icmp.within(packet)
    answer = about(icmp.V4, error, UDP) if error else None
    if packet is None or error is None or answer is None:
        return None
    port, client_port = ports(answer)
    client, mapped = (answer.destination, client_port), (answer.source, port)
    found = admit_from_v4(policy, client[0], *mapped, PROTOCOL)
    if found.refused or found.source is None:
        return None
    flow = flows.find(key_v4(client, mapped, (found.server, found.port), found.source))
    prefix = policy.prefixes.find(found.source)
    translated = icmp.V4.translate(error, answer)
    if flow is None or prefix is None or translated is None:
        return None
    quoted = as_sent(answer, flow.ends.host, flow.ends.source)
    reporter = reporter_v6(packet.source, prefix, policy)
    return pass_on(icmp.V6, translated, quoted, reporter, packet.hops)
