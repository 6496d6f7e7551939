"""Replies turned into answers for anybody, and answers into messages for somebody."""

from __future__ import annotations

import contextlib

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.dns import answer
from faith.dns.answer import NO_SERVER, SYNTHESISED, TTL_LIMIT, Answer, failure, from_reply
from faith.dns.wire import AAAA, AD, REFUSED, SERVFAIL, WireError
from tests.dns.generated import replies, reply_wires
from tests.dns.messages import lines, query, question, read, reply, reply_wire

SOA = "example. {ttl} IN SOA ns.example. host.example. 1 3600 1200 604800 {minimum}"


@given(replies())
def test_an_answer_is_the_reply_without_edns(message: dns.message.Message) -> None:
    found = read(from_reply(message.to_wire(want_shuffle=False)).message)
    assert found.edns == -1
    sent = read(message.to_wire(want_shuffle=False))
    if sent.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        assert [*found.sections[:1], *found.sections[2:]] == [
            *sent.sections[:1],
            *sent.sections[2:],
        ]
        assert all(rrset in sent.answer for rrset in found.answer)
    else:
        assert found.sections == [sent.question, [], [], []]


@given(reply_wires(), st.data())
def test_any_octets_become_an_answer_or_are_refused(message: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(message) - 1))
    message = message[:at] + data.draw(st.binary(max_size=2)) + message[at + 1 :]
    with contextlib.suppress(WireError):
        found = from_reply(message)
        found.reply(query("a."), found.tail(found.lifetime), 512)


class TestOddServers:
    """What is unusual but harmless, or not an answer, gets what unbound and BIND give."""

    GOOD = reply_wire("a.", "A", answer="a. 60 IN A 192.0.2.1")

    def test_octets_behind_the_last_record_are_nothing(self) -> None:
        assert lines(from_reply(self.GOOD + b"junk")) == ["a. 60 IN A 192.0.2.1"]
        assert from_reply(self.GOOD + b"junk").message == self.GOOD

    def test_a_signature_that_nobody_asked_for_is_cut_off(self) -> None:
        tsig = b"\1k\0\0\xfa\0\xff\0\0\0\0\0\2xx"
        signed = self.GOOD[:10] + b"\0\1" + self.GOOD[12:] + tsig
        assert from_reply(signed).message == self.GOOD

    def test_edns_in_another_section_is_refused(self) -> None:
        opt = b"\0\0\x29\4\xd0\0\0\0\0\0\0"
        with pytest.raises(WireError, match="another place"):
            from_reply(self.GOOD[:6] + b"\0\2" + self.GOOD[8:] + opt)

    @pytest.mark.parametrize(
        "answers",
        [
            "a. 60 IN A 192.0.2.1",
            "a. 60 IN CNAME b.\nb. 60 IN CNAME c.\nc. 60 IN A 192.0.2.1\nc. 60 IN A 192.0.2.2",
            "b. 60 IN A 192.0.2.1\na. 60 IN CNAME b.",
            ". 60 IN DNAME b.\na. 60 IN CNAME a.b.\na.b. 60 IN A 192.0.2.1",
        ],
    )
    def test_what_the_question_leads_to_is_the_answer(self, answers: str) -> None:
        evil = f"{answers}\nevil. 60 IN A 192.0.2.66\ne.a. 60 IN CNAME a."
        for said in (answers, evil):
            found = from_reply(reply_wire("a.", "A", answer=said))
            assert lines(found) == answers.split("\n")

    def test_and_nothing_else(self) -> None:
        found = reply("a.", "A", answer="evil. 60 IN A 192.0.2.66")
        assert (lines(found), found.lifetime) == ([], 0)

    @pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTAUTH"])
    def test_a_failure_has_no_records(self, rcode: str) -> None:
        failed = reply(
            "a.",
            "A",
            rcode=rcode,
            answer="a. 60 IN A 192.0.2.1",
            authority=SOA.format(ttl=60, minimum=60),
        )
        assert dns.rcode.to_text(dns.rcode.Rcode(failed.rcode)) == rcode
        assert not any(read(failed.message).sections[1:])

    @pytest.mark.parametrize("ttl", [TTL_LIMIT + 1, 2**31 - 1, 2**31, 2**32 - 1])
    def test_rfc8767_4_the_first_reply_has_no_longer_ttl_than_the_next(self, ttl: int) -> None:
        wire = self.GOOD.replace(b"\0\0\0\x3c", ttl.to_bytes(4, "big"))
        found = from_reply(wire)
        asked = query("a.", "A")
        first, next_ = (read(found.reply(asked, found.tail(age), 512)) for age in (0, 1))
        assert (first.answer[0].ttl, next_.answer[0].ttl) == (TTL_LIMIT, TTL_LIMIT - 1)


class TestExtendedErrors:
    """RFC 8914."""

    def said(self, answer: Answer, **edns: object) -> list[int]:
        message = read(answer.reply(query("a.", "A", "RD", **edns), answer.tail(0), 512))
        return [option.code for option in message.options]

    def test_it_is_for_who_has_edns(self) -> None:
        found = failure(question("a.", "A"))
        assert self.said(found, use_edns=0) == []
        found.error = NO_SERVER
        assert self.said(found, use_edns=0) == [NO_SERVER]
        assert self.said(found, use_edns=0, want_dnssec=True) == [NO_SERVER]
        assert self.said(found) == []

    def test_that_of_a_server_is_passed_on(self) -> None:
        option = b"\0\x0f\0\4\0\x16hi"
        head = reply_wire("a.", "A", rcode="SERVFAIL")
        edns = b"\0\0\x29\4\xd0\0\0\0\0\0\x08" + option
        found = from_reply(head[:11] + b"\1" + head[12:] + edns)
        assert (found.error, found.bogus) == (22, False)
        assert self.said(found.aged(1), use_edns=0) == [22]

    def test_a_truncated_reply_has_it_too(self) -> None:
        found = from_reply(TestOddServers.GOOD)
        found.error = SYNTHESISED
        message = read(found.reply(query("a.", "A", use_edns=0), found.tail(0), 40))
        assert message.flags & dns.flags.TC
        assert [option.code for option in message.options] == [SYNTHESISED]


class TestEdns:
    def test_it_is_cut_off_where_it_is_last(self) -> None:
        message = dns.message.from_wire(reply_wire("a.", answer="a. 60 IN AAAA 2001:db8::1"))
        message.use_edns(0)
        assert lines(from_reply(message.to_wire())) == ["a. 60 IN AAAA 2001:db8::1"]

    def test_and_taken_out_where_it_is_not(self) -> None:
        message = bytearray(reply_wire("a.", additional="b. 60 IN A 192.0.2.1"))
        opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
        message[11] += 1
        place = message.index(b"\1b\0")
        found = read(from_reply(bytes(message[:place] + opt + message[place:])).message)
        assert [rrset.to_text() for rrset in found.additional] == ["b. 60 IN A 192.0.2.1"]

    def test_twice_is_once_too_often(self) -> None:
        message = bytearray(reply_wire("a."))
        message[11] = 2
        with pytest.raises(WireError, match="twice"):
            from_reply(bytes(message) + b"\0\0\x29\x04\xd0\0\0\0\0\0\0" * 2)

    def test_an_extended_rcode_is_a_failure(self) -> None:
        message = dns.message.from_wire(reply_wire("a."))
        message.use_edns(0)
        message.set_rcode(dns.rcode.BADVERS)
        assert from_reply(message.to_wire()).rcode == SERVFAIL

    @pytest.mark.parametrize(("code", "bogus"), [(6, True), (9, True), (22, False), (3, False)])
    def test_rfc8914_a_bogus_zone_is_told_from_a_dead_server(self, code: int, bogus: bool) -> None:
        assert reply("a.", rcode="SERVFAIL").bogus is None
        message = dns.message.from_wire(reply_wire("a.", rcode="SERVFAIL"))
        options = [
            dns.edns.GenericOption("COOKIE", bytes(8)),
            dns.edns.EDEOption(dns.edns.EDECode(code), "why"),
        ]
        message.use_edns(0, options=options)
        assert from_reply(message.to_wire()).bogus is bogus


class TestLifetime:
    def test_the_shortest_ttl(self) -> None:
        found = reply(
            "a.", answer="a. 300 IN CNAME b.\nb. 60 IN AAAA ::1", additional="c. 90 IN A 192.0.2.1"
        )
        assert found.lifetime == 60

    def test_rfc8767_4_seven_days_at_most_also_with_the_highest_bit_set(self) -> None:
        week = 7 * 86400
        found = reply("a.", answer="a. 2147483647 IN AAAA ::1")
        assert found.lifetime == week
        negative = bytearray(found.message)
        negative[found.ttls[0]] = 0xFF
        assert Answer(bytes(negative)).lifetime == week

    @pytest.mark.parametrize(
        ("ttl", "minimum", "lifetime"), [(300, 60, 60), (60, 300, 60), (86400, 86400, 3 * 3600)]
    )
    @pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
    def test_rfc2308_5_a_no_lives_as_its_soa_record_says(
        self, ttl: int, minimum: int, lifetime: int, rcode: str
    ) -> None:
        found = reply("a.example.", authority=SOA.format(ttl=ttl, minimum=minimum), rcode=rcode)
        assert found.lifetime == lifetime
        assert found.negative_ttl == min(ttl, minimum)

    @pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
    def test_rfc2308_5_a_no_without_soa_is_not_kept(self, rcode: str) -> None:
        assert reply("a.", rcode=rcode).lifetime == 0
        assert reply("a.", rcode=rcode, authority="a. 60 IN NS b.").lifetime == 0

    def test_rfc2308_2_2_a_chain_without_an_end_is_a_no(self) -> None:
        chain = "a.example. 20 IN CNAME b.example."
        assert reply("a.example.", answer=chain).lifetime == 0
        soa = SOA.format(ttl=300, minimum=300)
        assert reply("a.example.", answer=chain, authority=soa).lifetime == 20

    def test_rfc2308_7_1_failures_are_kept_shortly(self) -> None:
        assert reply("a.", rcode="SERVFAIL").lifetime == answer.FAILURE_LIFETIME <= 300

    def test_other_errors_are_not_kept(self) -> None:
        assert reply("a.", rcode="REFUSED").lifetime == 0

    def test_any_records_answer_a_query_for_any(self) -> None:
        assert reply("a.", "ANY", answer="a. 60 IN TXT x").lifetime == 60

    def test_rfc8767_4_a_zero_ttl_is_for_once(self) -> None:
        assert reply("a.", answer="a. 0 IN AAAA ::1").lifetime == 0


@pytest.mark.parametrize(
    "message",
    [
        reply_wire("a.", answer=r"a. 60 IN AAAA \# 16 " + "00" * 16)[:-20] + b"\0" * 20,
        reply_wire("a.", "A", answer="a. 60 IN A 192.0.2.1")[:-6] + b"\0\3\1\2\3",
    ],
)
def test_addresses_have_their_length(message: bytes) -> None:
    with pytest.raises(WireError):
        Answer(message)


class TestTail:
    @given(replies(), st.integers(1, 10**6))
    def test_every_ttl_is_less_by_the_age(self, message: dns.message.Message, age: int) -> None:
        found = from_reply(message.to_wire(want_shuffle=False))
        later = Answer(found.message[: found.base] + found.tail(age, least=1))
        for before, after in zip(found.records(), later.records(), strict=True):
            assert after.ttl == max(min(before.ttl, answer.TTL_LIMIT) - age, 1)

    def test_nothing_else_changes(self) -> None:
        found = reply("a.", answer="a. 60 IN AAAA 2001:db8::1\na. 60 IN AAAA 2001:db8::2")
        assert found.tail(0) == found.message[found.base :]
        assert found.tail(15) == found.tail(0).replace(b"\0\0\0\x3c", b"\0\0\0\x2d")


class TestReply:
    ANSWER = reply("a.example.", answer="a.example. 60 IN AAAA 2001:db8::1", flags="QR AA RA AD")

    def told(self, flags: str = "RD", limit: int = 512, **edns: object) -> dns.message.Message:
        asked = query("A.eXample.", "AAAA", flags, id=4711, **edns)
        return read(self.ANSWER.reply(asked, self.ANSWER.tail(0), limit))

    def test_it_has_the_id_and_the_question_as_asked(self) -> None:
        found = self.told()
        assert found.id == 4711
        assert found.question[0].name.to_text() == "A.eXample."
        assert [rrset.to_text() for rrset in found.answer] == ["A.eXample. 60 IN AAAA 2001:db8::1"]

    @pytest.mark.parametrize("flags", ["", "RD", "CD", "RD CD"])
    def test_rd_and_cd_are_repeated(self, flags: str) -> None:
        assert self.told(flags).flags == dns.flags.from_text(f"QR RA {flags}")

    def test_a_forwarder_is_no_authority(self) -> None:
        assert not self.told().flags & dns.flags.AA

    @pytest.mark.parametrize(
        ("flags", "want_dnssec", "vouched"),
        [("RD", False, False), ("RD AD", False, True), ("RD", True, True)],
    )
    def test_rfc6840_5_8_ad_is_for_those_who_know_of_it(
        self, flags: str, want_dnssec: bool, vouched: bool
    ) -> None:
        found = self.told(flags, use_edns=0 if want_dnssec else False, want_dnssec=want_dnssec)
        assert bool(found.flags & AD) is vouched

    def test_rfc6891_7_edns_is_for_those_who_have_it(self) -> None:
        assert self.told().edns == -1
        found = self.told(use_edns=0)
        assert (found.edns, found.payload, found.ednsflags) == (0, 1232, 0)
        assert self.told(use_edns=0, want_dnssec=True).ednsflags == dns.flags.DO

    @pytest.mark.parametrize("edns", [False, 0])
    def test_what_does_not_fit_is_truncated(self, edns: object) -> None:
        size = len(self.told(use_edns=edns).to_wire())
        assert not self.told(limit=size, use_edns=edns).flags & dns.flags.TC
        cut = self.told(limit=size - 1, use_edns=edns)
        assert cut.flags & dns.flags.TC
        assert not cut.answer
        assert cut.question[0].name.to_text() == "A.eXample."
        assert cut.edns == (-1 if edns is False else 0)


def test_the_same_for_another_type_is_not_vouched_for() -> None:
    found = reply("a.example.", "A", authority=SOA.format(ttl=60, minimum=60), flags="QR RA AD")
    assert found.flags & AD
    other = found.asked_for(AAAA)
    assert (other.kind, other.flags & AD, other.lifetime) == (AAAA, 0, 60)


def test_a_failure_has_no_records() -> None:
    found = failure(question("a."), REFUSED)
    assert (found.rcode, found.kind, found.tail(0)) == (REFUSED, AAAA, b"")
