"""Answers kept for their time: RFC 2308, RFC 8767."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.dns.answer import Answer, failure
from faith.dns.cache import RECHECK, STALE_TTL, Cache
from faith.dns.question import Question
from faith.dns.wire import FORMERR, REFUSED
from tests.dns.messages import name, query, question, read, reply

TAG = b"\0"
QUESTION = question("www.example.")
ANSWER = reply("www.example.", answer="www.example. 60 IN AAAA 2001:db8::80")
OTHER = reply("www.example.", answer="www.example. 60 IN AAAA 2001:db8::81")
SOA = "example. 300 IN SOA ns.example. host.example. 1 3600 1200 604800 90"
NO_NAME = reply("www.example.", rcode="NXDOMAIN", authority=SOA)
NO_DATA = reply("www.example.", authority=SOA)


def kept(cache: Cache, now: float, kind: str = "AAAA", owner: str = "www.example.") -> bool:
    return cache.get(question(owner, kind), TAG, now) is not None


class TestLifetime:
    def test_an_answer_is_kept_until_its_ttl_is_over(self) -> None:
        cache = Cache()
        cache.put(QUESTION, TAG, ANSWER, 1000.0)
        assert kept(cache, 1000)
        assert kept(cache, 1059.9)
        assert not kept(cache, 1060)

    def test_rfc1035_3_2_1_ttls_count_down(self) -> None:
        cache = Cache()
        cache.put(QUESTION, TAG, ANSWER, 1000.5)
        ttls = []
        for now in (1000.5, 1001.4, 1001.5, 1060.4, 1059.0):
            entry = cache.get(QUESTION, TAG, now)
            assert entry
            message = read(entry.reply(query("www.example."), now, 512))
            ttls.append(message.answer[0].ttl)
        assert ttls == [60, 60, 59, 1, 2]

    def test_rfc2308_6_so_does_that_of_the_soa_record(self) -> None:
        cache = Cache()
        cache.put(QUESTION, TAG, NO_DATA, 0)
        entry = cache.get(QUESTION, TAG, 80)
        assert entry
        assert read(entry.reply(query("www.example."), 80, 512)).authority[0].ttl == 220
        assert not kept(cache, 90)

    def test_what_must_not_be_kept_is_not(self) -> None:
        cache = Cache()
        cache.put(QUESTION, TAG, failure(QUESTION, REFUSED), 0)
        assert len(cache) == cache.octets == 0

    def test_a_domain_can_be_forgotten(self) -> None:
        cache = Cache()
        for owner in ("www.example.", "example.", "example.org."):
            cache.put(question(owner), TAG, ANSWER, 0)
        cache.forget_below(name("example."))
        assert [kept(cache, 0, owner=owner) for owner in ("www.example.", "example.")] == [
            False
        ] * 2
        assert kept(cache, 0, owner="example.org.")
        assert cache.octets == next(iter(cache._entries.values())).octets


class TestKeys:
    def test_case_makes_no_difference(self) -> None:
        cache = Cache()
        cache.put(QUESTION, TAG, ANSWER, 0)
        assert kept(cache, 0, owner="WWW.Example.")

    def test_types_names_and_tags_do(self) -> None:
        cache = Cache()
        cache.put(QUESTION, TAG, ANSWER, 0)
        assert not kept(cache, 0, "A")
        assert not kept(cache, 0, owner="example.")
        assert cache.get(QUESTION, b"\1", 0) is None
        assert cache.get(QUESTION, b"", 0) is None

    def test_rfc2308_5_no_data_is_for_the_type(self) -> None:
        cache = Cache()
        cache.put(QUESTION, TAG, NO_DATA, 0)
        assert kept(cache, 0)
        assert not kept(cache, 0, "A")

    def test_rfc2308_5_no_name_is_for_every_type(self) -> None:
        cache = Cache()
        cache.put(QUESTION, TAG, NO_NAME, 0)
        entry = cache.get(question("www.example.", "MX"), TAG, 0)
        assert entry
        message = read(entry.reply(query("www.example.", "MX"), 0, 512))
        assert (message.rcode(), message.question[0].rdtype) == (3, 15)
        assert not kept(cache, 0, owner="a.www.example.")

    @pytest.mark.parametrize("klass", ["IN", "CH", "CLASS0", "CLASS255"])
    @pytest.mark.parametrize("kind", ["TYPE0", "TYPE255", "TYPE65535"])
    def test_no_type_on_the_wire_is_every_type(self, kind: str, klass: str) -> None:
        cache = Cache()
        asked = question("www.example.", kind, klass)
        cache.put(asked, TAG, reply("www.example.", kind, klass=klass, authority=SOA), 0)
        assert len(cache) == 1
        for other in ("A", "AAAA", "MX", "HTTPS"):
            assert not kept(cache, 0, other)

    @given(
        st.lists(st.binary(min_size=1, max_size=3), max_size=2),
        st.binary(min_size=4, max_size=4),
        st.sampled_from([b"", b"\0\0", b"\0\1"]),
    )
    def test_no_question_has_the_key_of_a_name(
        self, labels: list[bytes], end: bytes, tag: bytes
    ) -> None:
        section = b"".join(bytes([len(label)]) + label for label in labels) + b"\0" + end
        asked = Question(section)
        assert asked.name_key + tag not in (asked.key, asked.key + b"\0\0", asked.key + b"\0\1")
        assert asked.name_key[0] > 63  # no name begins so

    def test_rfc2308_2_1_at_the_end_of_a_chain_it_is_another_name(self) -> None:
        cache = Cache()
        chain = reply(
            "www.example.", rcode="NXDOMAIN", authority=SOA, answer="www.example. 60 IN CNAME b."
        )
        cache.put(QUESTION, TAG, chain, 0)
        assert kept(cache, 0)
        assert not kept(cache, 0, "CNAME")


class TestStale:
    """RFC 8767."""

    def test_without_it_what_is_over_is_over(self) -> None:
        cache = Cache()
        cache.put(QUESTION, TAG, ANSWER, 0)
        assert cache.get_stale(QUESTION, TAG, 60) is None

    def test_5_answers_are_kept_past_their_time(self) -> None:
        cache = Cache(stale=86400)
        cache.put(QUESTION, TAG, ANSWER, 0)
        assert not kept(cache, 60)
        assert cache.get_stale(QUESTION, TAG, 86459)
        assert not cache.get_stale(QUESTION, TAG, 86460)

    def test_4_their_ttl_is_30_seconds(self) -> None:
        cache = Cache(stale=86400)
        cache.put(QUESTION, TAG, ANSWER, 0)
        entry = cache.get_stale(QUESTION, TAG, 5000)
        assert entry
        message = read(entry.stale_reply(query("www.example."), 5000, 512))
        assert message.answer[0].ttl == STALE_TTL

    def test_4_what_is_not_past_its_time_keeps_what_remains(self) -> None:
        cache = Cache(stale=86400)
        chain = "www.example. 3600 IN CNAME b.\nb. 60 IN AAAA ::1\nb. 100 IN TXT x"
        cache.put(QUESTION, TAG, reply("www.example.", answer=chain), 0)
        for now, ttls in ((80, [3520, 30, 30]), (3580, [30, 30, 30]), (9999, [30, 30, 30])):
            entry = cache.get_stale(QUESTION, TAG, now)
            assert entry
            message = read(entry.stale_reply(query("www.example."), now, 512))
            assert [rrset.ttl for rrset in message.answer] == ttls

    def test_4_a_failure_leaves_them_and_is_not_tried_again_soon(self) -> None:
        cache = Cache(stale=86400)
        cache.put(QUESTION, TAG, ANSWER, 0)
        cache.put(QUESTION, TAG, failure(QUESTION), 100)
        entry = cache.get_stale(QUESTION, TAG, 101)
        assert entry
        assert entry.answer is ANSWER
        assert entry.recheck == 100 + RECHECK

    @pytest.mark.parametrize("answer", [OTHER, NO_DATA, NO_NAME])
    def test_4_an_answer_replaces_them(self, answer: object) -> None:
        cache = Cache(stale=86400)
        cache.put(QUESTION, TAG, ANSWER, 0)
        cache.put(QUESTION, TAG, answer, 100)  # type: ignore[arg-type]
        entry = cache.get(QUESTION, TAG, 100)
        assert entry
        assert entry.answer is answer

    def test_4_a_failure_is_not_what_was_true_before(self) -> None:
        cache = Cache(stale=86400)
        cache.put(QUESTION, TAG, failure(QUESTION), 0)
        assert kept(cache, 4)
        assert cache.get_stale(QUESTION, TAG, 6) is None
        cache.put(QUESTION, TAG, failure(QUESTION), 6)
        cache.put(QUESTION, TAG, ANSWER, 7)
        entry = cache.get(QUESTION, TAG, 7)
        assert entry
        assert entry.answer is ANSWER

    @pytest.mark.parametrize("rcode", [REFUSED, FORMERR])
    def test_5_any_failure_puts_off_the_next_attempt(self, rcode: int) -> None:
        cache = Cache(stale=86400)
        cache.put(QUESTION, TAG, ANSWER, 0)
        cache.put(QUESTION, TAG, failure(QUESTION, rcode), 100)
        entry = cache.get_stale(QUESTION, TAG, 100)
        assert entry
        assert entry.recheck == 100 + RECHECK

    @pytest.mark.parametrize(
        "newer",
        [
            reply("www.example.", answer="www.example. 0 IN AAAA ::1"),
            reply("www.example."),
            reply("www.example.", rcode="NXDOMAIN"),
        ],
        ids=["a TTL of 0", "no data, no SOA", "no name, no SOA"],
    )
    def test_4_what_was_seen_to_be_over_is_not_told(self, newer: Answer) -> None:
        cache = Cache(stale=86400)
        cache.put(QUESTION, TAG, ANSWER, 0)
        cache.put(QUESTION, TAG, newer, 100)
        assert cache.get_stale(QUESTION, TAG, 100) is None
        cache.put(QUESTION, TAG, failure(QUESTION), 101)
        assert cache.get_stale(QUESTION, TAG, 110) is None

    def test_4_a_name_that_was_seen_to_be_gone_has_no_other_types_either(self) -> None:
        cache = Cache(stale=86400)
        cache.put(QUESTION, TAG, ANSWER, 0)
        cache.put(
            question("www.example.", "MX"), TAG, reply("www.example.", "MX", rcode="NXDOMAIN"), 99
        )
        assert cache.get_stale(QUESTION, TAG, 100) is None

    def test_4_a_name_that_exists_again_is_not_denied(self) -> None:
        cache = Cache(stale=86400)
        cache.put(QUESTION, TAG, ANSWER, 0)
        cache.put(question("www.example.", "MX"), TAG, NO_NAME, 100)
        cache.put(
            question("www.example.", "A"), TAG, reply("www.example.", "A", authority=SOA), 110
        )
        assert not kept(cache, 110, "MX")
        assert cache.get_stale(question("www.example.", "MX"), TAG, 110) is None
        assert cache.get_stale(QUESTION, TAG, 110) is None, "it was seen to be gone"

    def test_7_a_ttl_of_zero_is_not_kept_for_that(self) -> None:
        cache = Cache(stale=86400)
        cache.put(QUESTION, TAG, reply("www.example.", answer="www.example. 0 IN AAAA ::1"), 0)
        assert cache.get_stale(QUESTION, TAG, 0) is None


def test_a_failure_is_kept_where_there_is_nothing_better() -> None:
    cache = Cache(stale=86400)
    cache.put(QUESTION, TAG, failure(QUESTION), 0)
    assert kept(cache, 4.9)
    assert not kept(cache, 5)


class TestBounds:
    def test_the_octets_are_bounded(self) -> None:
        cache = Cache(octets=50_000)
        for number in range(1000):
            cache.put(question(f"n{number}.example."), TAG, ANSWER, 0)
            assert cache.octets <= 50_000
        assert 20 < len(cache) < 60

    def test_what_is_used_stays(self) -> None:
        cache = Cache(octets=50_000)
        cache.put(QUESTION, TAG, ANSWER, 0)
        for number in range(1000):
            cache.put(question(f"n{number}.example."), TAG, ANSWER, 0)
            assert kept(cache, 0)

    def test_the_count_is_right_whatever_happens(self) -> None:
        cache = Cache(octets=30_000)
        chance = random.Random(1)
        for now in range(2000):
            owner = f"n{chance.randrange(60)}.example."
            cache.put(question(owner), TAG, chance.choice((ANSWER, NO_NAME, NO_DATA)), now)
            kept(cache, now, owner=owner)
        entries = cache._entries.values()
        assert cache.octets == sum(entry.octets for entry in entries)
