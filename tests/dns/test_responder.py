"""What goes back at once: to whom, how much, and what never does."""

from __future__ import annotations

from ipaddress import ip_network

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.dns.answer import Answer, failure
from faith.dns.cache import RECHECK, STALE_TTL, Cache
from faith.dns.options import Options, View
from faith.dns.responder import Miss, Responder
from faith.dns.stale import AS_IT_CAME, Stale
from faith.translation.address import IPV4_MAPPED
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix
from tests.dns.generated import reply_wires
from tests.dns.messages import query_wire, question, read, reply, reply_wire

CLIENT = "2001:db8:6::2"
VIEW = View((Prefix.parse("2001:db8:ffff::/96"),))
ANSWER = reply("www.example.", answer="www.example. 60 IN AAAA 2001:db8::80")


def networks(*texts: str) -> Networks:
    found = map(ip_network, texts)
    return Networks(128, [(int(n.network_address), n.prefixlen) for n in found])


def responder(*served: str, stale: int = 0, options: Options | None = None) -> Responder:
    options, cache = options or Options(VIEW.prefixes), Cache(stale=stale)
    spare = Stale(options, cache) if stale else None
    return Responder(options, cache, networks(*served) if served else None, spare)


def knowing(answer: Answer = ANSWER, now: float = 0, stale: int = 0) -> Responder:
    """A responder that has that answer in its cache."""
    found = responder(stale=stale)
    learn(found, answer, now)
    return found


def learn(found: Responder, answer: Answer, now: float, client: str = CLIENT) -> None:
    miss = found.respond(query_wire("www.example."), client, now)
    assert isinstance(miss, Miss)
    found.cache.put(miss.query.question, AS_IT_CAME, answer, now)  # as the resolver does
    found.keep(miss, answer, now)


def told(
    found: Responder, message: bytes, now: float = 0, client: str = CLIENT, **how: bool
) -> dns.message.Message:
    said = found.respond(message, client, now, **how)
    assert isinstance(said, bytes)
    return read(said)


class TestClients:
    """Not an open resolver."""

    @pytest.mark.parametrize(
        ("client", "served"),
        [
            ("2001:db8:6::2", True),
            ("2001:db8:7::2", False),
            ("192.0.2.9", True),
            ("198.51.100.9", False),
            ("fe80::1%eth0", True),
            ("::1", False),
        ],
    )
    def test_strangers_are_refused(self, client: str, served: bool) -> None:
        found = responder("2001:db8:6::/64", "::ffff:192.0.2.0/120", "fe80::/10")
        said = found.respond(query_wire("www.example.", id=7), client, 0)
        if served:
            assert isinstance(said, Miss)
        else:
            assert isinstance(said, bytes)
            assert (read(said).rcode(), read(said).id) == (dns.rcode.REFUSED, 7)

    def test_strangers_are_not_told_what_others_are(self) -> None:
        found = responder("2001:db8:6::/64")
        learn(found, ANSWER, 0)
        for _ in range(2):
            assert told(found, query_wire("www.example.")).answer
            assert not told(found, query_wire("www.example."), client="2001:db8:7::2").answer

    def test_clients_see_what_their_network_does(self) -> None:
        other: dict[tuple[int, int], tuple[Prefix, ...]] = {(IPV4_MAPPED, 96): ()}
        found = responder(options=Options(VIEW.prefixes, clients=other))
        learn(found, ANSWER, 0)
        learn(found, failure(question("www.example."), dns.rcode.SERVFAIL), 0, "192.0.2.1")
        for _ in range(2):
            assert told(found, query_wire("www.example.")).answer
            assert not told(found, query_wire("www.example."), client="192.0.2.1").answer

    def test_any_number_of_clients_is_served(self) -> None:
        found = knowing()
        for number in range(5000):
            assert told(found, query_wire("www.example."), client=f"2001:db8::{number:x}").answer


class TestQueries:
    def test_what_is_known_is_told(self) -> None:
        message = told(knowing(), query_wire("www.example.", id=99))
        assert message.id == 99
        assert [rrset.to_text() for rrset in message.answer] == [
            "www.example. 60 IN AAAA 2001:db8::80"
        ]

    def test_every_asker_gets_its_own_id_and_spelling(self) -> None:
        found = knowing()
        for number in range(5):
            message = told(found, query_wire("WWW.example.", id=number))
            assert (message.id, message.question[0].name.to_text()) == (number, "WWW.example.")

    def test_ttls_count_down_from_second_to_second(self) -> None:
        found = knowing(now=0.5)
        ttls = [
            told(found, query_wire("www.example."), now).answer[0].ttl
            for now in (0.9, 1.2, 1.6, 2.0, 59.9)
        ]
        assert ttls == [60, 60, 59, 59, 1]
        assert isinstance(found.respond(query_wire("www.example."), CLIENT, 61), Miss)

    def test_what_is_not_known_is_a_miss(self) -> None:
        miss = responder().respond(query_wire("www.example.", "A", id=5), CLIENT, 0)
        assert isinstance(miss, Miss)
        assert miss.client.view == VIEW
        found = reply("www.example.", "A", answer="www.example. 60 IN A 192.0.2.1")
        message = read(miss.reply(found))
        assert (message.id, len(message.answer)) == (5, 1)

    def test_without_rd_nothing_is_looked_up_or_told(self) -> None:
        assert told(knowing(), query_wire("www.example.", flags="")).rcode() == dns.rcode.REFUSED

    def test_replies_and_stubs_get_silence(self) -> None:
        for message in (b"", bytes(11), reply_wire("www.example.")):
            assert responder().respond(message, CLIENT, 0) is None

    def test_malformed_queries_get_an_error(self) -> None:
        message = told(responder(), query_wire("www.example.", id=3)[:-1])
        assert (message.rcode(), message.id) == (dns.rcode.FORMERR, 3)
        assert not message.question

    @pytest.mark.parametrize(
        ("asked", "rcode"),
        [
            (query_wire("www.example.", "AXFR"), dns.rcode.REFUSED),
            (query_wire("www.example.", "TYPE128"), dns.rcode.FORMERR),
            (query_wire("www.example.")[:2] + b"\x11" + query_wire("www.example.")[3:], 4),
        ],
        ids=["AXFR", "TYPE128", "opcode"],
    )
    def test_errors_carry_the_question(self, asked: bytes, rcode: int) -> None:
        message = told(responder(), asked)
        assert message.rcode() == rcode
        assert message.question[0].to_text().startswith("www.example. ")

    def test_rfc6891_6_1_3_unknown_versions_are_told_ours(self) -> None:
        asked = bytearray(query_wire("www.example.", use_edns=0))
        asked[-5] = 1
        message = told(responder(), bytes(asked))
        assert (message.rcode(), message.edns) == (dns.rcode.BADVERS, 0)


class TestSize:
    LARGE = reply(
        "www.example.",
        answer="\n".join(f"www.example. 60 IN AAAA 2001:db8::{n:x}" for n in range(1, 60)),
    )

    def test_more_than_fits_is_truncated(self) -> None:
        for edns in (False, 0):
            message = told(knowing(self.LARGE), query_wire("www.example.", use_edns=edns))
            assert message.flags & dns.flags.TC
            assert not message.answer

    def test_a_stream_takes_it_all(self) -> None:
        found = knowing(self.LARGE)
        message = told(found, query_wire("www.example."), stream=True)
        assert len(message.answer[0]) == 59
        assert told(found, query_wire("www.example.")).flags & dns.flags.TC

    @given(
        st.binary(max_size=300) | reply_wires() | st.just(query_wire("www.example.")),
        st.data(),
    )
    def test_nothing_raises_and_nobody_gets_more_than_1232_octets(
        self, message: bytes, data: st.DataObject
    ) -> None:
        found = knowing(self.LARGE)
        if message:
            at = data.draw(st.integers(0, len(message) - 1))
            message = message[:at] + data.draw(st.binary(max_size=2)) + message[at + 1 :]
        said = found.respond(message, CLIENT, 0)
        if isinstance(said, bytes):
            assert len(said) <= 1232
            assert said[:2] == message[:2]

    def test_refusals_are_no_larger_than_the_query(self) -> None:
        found = responder("2001:db8:6::/64")
        for asked in (query_wire("www.example."), query_wire("www.example.", use_edns=0)):
            said = found.respond(asked, "2001:db8:7::1", 0)
            assert isinstance(said, bytes)
            assert len(said) <= len(asked)


class TestStale:
    """RFC 8767 §5."""

    def test_what_is_over_is_looked_up_with_the_old_at_hand(self) -> None:
        miss = knowing(stale=86400).respond(query_wire("www.example."), CLIENT, 100)
        assert isinstance(miss, Miss)
        stale = miss.stale_reply()
        assert stale
        assert read(stale).answer[0].ttl == STALE_TTL

    def test_it_is_told_at_once_while_looking_up_is_known_to_fail(self) -> None:
        found = knowing(stale=86400)
        learn(found, failure(question("www.example.")), 100)
        message = told(found, query_wire("www.example."), 101)
        assert message.answer[0].ttl == STALE_TTL
        later = 100 + RECHECK
        assert isinstance(found.respond(query_wire("www.example."), CLIENT, later), Miss)

    def test_there_may_be_none(self) -> None:
        miss = responder(stale=86400).respond(query_wire("www.example."), CLIENT, 0)
        assert isinstance(miss, Miss)
        assert miss.stale_reply() is None


def test_the_same_octets_of_another_client_are_another_question() -> None:
    found = responder("2001:db8:6::/64")
    learn(found, ANSWER, 0)
    wire = query_wire("www.example.")
    assert told(found, wire).answer
    for junk in (b"\0", b"\1", b"\0\1", b"\0\0"):
        assert told(found, wire + junk).answer
        assert not told(found, wire + junk, client="2001:db8:7::1").answer
