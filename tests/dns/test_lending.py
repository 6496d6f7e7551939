"""IPv4 addresses for names that have none."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from ipaddress import ip_address
from typing import TYPE_CHECKING

import dns.reversename
import pytest

from faith.dns import lending, objects
from faith.dns.answer import failure
from faith.dns.cache import STALE_TTL, Cache
from faith.dns.dns_counters import LAYOUT, REFUSED, Counters
from faith.dns.lending import TTL, UNLENT_TTL, Lending
from faith.dns.options import Options, Rule, View
from faith.dns.pool import FORM, GRACE, Lease, Pool
from faith.dns.resolver import Resolver
from faith.dns.tasks import Tasks
from faith.dns.wire import NOERROR, NXDOMAIN, SERVFAIL, A
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix
from tests.dns.messages import lines, name, question, read, reply
from tests.dns.test_resolver import Table
from tests.dns.waiting import result_of

if TYPE_CHECKING:
    from faith.dns.answer import Answer
    from faith.dns.question import Question

NETWORK = (int(ip_address("198.51.100.0")), 30)
BORROWER = View(lends=True)
SOA = "example. 300 IN SOA ns.example. host.example. 1 3600 1200 604800 60"
NO = reply("v6.example.", "A", authority=SOA)
NOT_SAID_HOW_LONG = reply("v6.example.", "A")
OPTIONS = Options((Prefix.parse("2001:db8:ffff::/96"),), borrowers=Networks(128, [(0, 0)]))


def lent(pool: Pool | None = None, options: Options = OPTIONS, stale: int = 0) -> Lending:
    return Lending(options, pool or Pool([NETWORK]), stale)


def aaaa(*addresses: str, ttl: int = 60, **parts: str) -> Answer:
    records = "\n".join(f"v6.example. {ttl} IN AAAA {address}" for address in addresses)
    return reply("v6.example.", answer=records, **parts)


def concluded(found: Lending, answer: Answer, no: Answer = NO, now: float = 0) -> Answer:
    return found.concluded(question("v6.example.", "A"), no, answer, now)


def ptr_question(address: str) -> Question:
    return question(dns.reversename.from_address(address).to_text(), "PTR")


class TestWho:
    def test_a_client_that_wants_a_records(self) -> None:
        assert lent().applies(question("v6.example.", "A"), BORROWER)

    @pytest.mark.parametrize(
        ("asked", "view"),
        [
            (question("v6.example.", "AAAA"), BORROWER),
            (question("v6.example.", "A", "CH"), BORROWER),
            (question("v6.example.", "A", dnssec_ok=True, unchecked=True), BORROWER),
            (question("v6.example.", "A"), View()),
            (question("v6.example.", "A"), View(lends=True, filter_a=True)),
        ],
    )
    def test_nobody_else(self, asked: Question, view: View) -> None:
        assert not lent().applies(asked, view)

    def test_nor_for_a_name_that_is_left_alone(self) -> None:
        options = Options((), names={name("never.example."): Rule.NEVER})
        found = lent(options=options)
        assert not found.applies(question("www.never.example.", "A"), BORROWER)
        assert found.applies(question("v6.example.", "A"), BORROWER)

    def test_options_say_who_is_one(self) -> None:
        options = Options((), borrowers=Networks(128, [(0xFFFF << 32, 96)]))
        assert options.view(0xFFFFC0000201).lends
        assert not options.view(1).lends


class TestWhen:
    def test_there_is_no_a_record(self) -> None:
        assert lent().needs_aaaa(NO)

    @pytest.mark.parametrize(
        "answer",
        [
            reply("v4.example.", "A", answer="v4.example. 60 IN A 192.0.2.1"),
            reply("no.example.", "A", rcode="NXDOMAIN", authority=SOA),
            reply("bad.example.", "A", rcode="SERVFAIL"),
        ],
    )
    def test_not_otherwise(self, answer: Answer) -> None:
        assert not lent().needs_aaaa(answer)


class TestAnswer:
    def test_it_has_an_address_of_the_pool(self) -> None:
        pool = Pool([NETWORK])
        answer = concluded(lent(pool), aaaa("2001:db8::80"))
        assert lines(answer) == ["v6.example. 60 IN A 198.51.100.1"]
        assert answer.kind == A
        lease = pool.find(NETWORK[0] + 1)
        assert lease
        assert lease.v6 == int(ip_address("2001:db8::80"))
        assert lease.until == TTL + GRACE

    def test_the_same_again(self) -> None:
        found = lent()
        first = concluded(found, aaaa("2001:db8::80"))
        assert lines(concluded(found, aaaa("2001:db8::80"), now=1000)) == lines(first)

    def test_one_for_all_of_its_own_in_any_order(self) -> None:
        pool = Pool([NETWORK])
        found = lent(pool)
        concluded(found, aaaa("2001:db8::81", "2001:db8::80"))
        concluded(found, aaaa("2001:db8::80", "2001:db8::81"))
        assert [lease.v6 for lease in pool] == [int(ip_address("2001:db8::80"))]

    @pytest.mark.parametrize(
        ("ttl", "no", "expected"), [(10, NO, 10), (600, NO, 60), (9999, NOT_SAID_HOW_LONG, TTL)]
    )
    def test_it_lives_no_longer_than_the_lease(self, ttl: int, no: Answer, expected: int) -> None:
        answer = concluded(lent(), aaaa("2001:db8::80", ttl=ttl), no)
        assert answer.lifetime == expected

    def test_nor_when_it_is_told_past_its_time(self) -> None:
        pool = Pool([NETWORK])
        concluded(lent(pool, stale=3600), aaaa("2001:db8::80"))
        assert [lease.until for lease in pool] == [TTL + 3600 + STALE_TTL + GRACE]

    def test_chains_are_kept(self) -> None:
        chain = "v6.example. 60 IN CNAME www.example.\nwww.example. 60 IN AAAA 2001:db8::80"
        answer = concluded(lent(), reply("v6.example.", answer=chain))
        assert lines(answer) == [
            "v6.example. 60 IN CNAME www.example.",
            "www.example. 60 IN A 198.51.100.1",
        ]

    def test_nobody_vouches_for_it(self) -> None:
        answer = concluded(lent(), aaaa("2001:db8::80", flags="QR RD RA AD"))
        assert "AD" not in str(read(answer.message).flags)
        assert not answer.flags & 0x20

    @pytest.mark.parametrize(
        "useless",
        ["::ffff:192.0.2.1", "2001:db8:ffff::c000:201", "::1", "fe80::1", "ff02::1"],
    )
    def test_addresses_of_no_use_count_as_absent(self, useless: str) -> None:
        pool = Pool([NETWORK])
        assert concluded(lent(pool), aaaa(useless)) is NO
        assert not list(pool)

    def test_nor_is_the_gateway_itself_lent_to_anybody(self) -> None:
        pool, own = Pool([NETWORK]), int(ip_address("2001:db8:6::1"))
        found = Lending(OPTIONS, pool, ours=Networks(128, [(own, 128)]))
        assert concluded(found, aaaa("2001:db8:6::1")) is NO
        assert lines(concluded(found, aaaa("2001:db8:6::1", "2001:db8:6::2")))
        assert [lease.v6 for lease in pool] == [own + 1]

    def test_a_promise_that_cannot_be_written_is_not_made(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(lease: Lease, now: float) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        found = lent(Pool([NETWORK], full))
        for _ in range(3):
            assert concluded(found, aaaa("2001:db8::80")).rcode == SERVFAIL
        assert caplog.messages == [
            "no address is lent, the file cannot be written: No space left on device"
        ]

    def test_no_records_at_all(self) -> None:
        assert concluded(lent(), reply("v6.example.", authority=SOA)) is NO

    def test_a_failure_is_one(self) -> None:
        answer = concluded(lent(), failure(question("v6.example.")))
        assert (answer.rcode, answer.kind) == (SERVFAIL, A)


class TestExhaustion:
    def test_it_is_a_failure_and_told_but_not_all_the_time(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        found = lent()
        for number in range(2):
            concluded(found, aaaa(f"2001:db8::{number}"))
        with caplog.at_level(logging.ERROR):
            for now in (0, 1, lending.COMPLAINT_PAUSE - 1):
                answer = concluded(found, aaaa("2001:db8::9"), now=now)
                assert answer.rcode == SERVFAIL
            assert caplog.messages == ["all 2 addresses of the pool are lent"]
            concluded(found, aaaa("2001:db8::9"), now=lending.COMPLAINT_PAUSE)
        assert len(caplog.messages) == 2

    def test_it_ends(self) -> None:
        found = lent()
        for number in range(3):
            concluded(found, aaaa(f"2001:db8::{number}"))
        assert concluded(found, aaaa("2001:db8::9"), now=TTL + GRACE).rcode == NOERROR


class TestNames:
    def named(self, now: float, answer: Answer | None) -> Answer:
        pool = Pool([NETWORK])
        pool.lend(int(ip_address("2001:db8::80")), TTL, 0)
        found = lent(pool).named(ptr_question("198.51.100.1"))
        assert found
        asked = found.v6_question()
        assert asked
        assert asked.section == ptr_question("2001:db8::80").section
        return found.answer(answer, now)

    def ptr(self, ttl: int) -> Answer:
        owner = dns.reversename.from_address("2001:db8::80").to_text()
        return reply(owner, "PTR", answer=f"{owner} {ttl} IN PTR v6.example.")

    def test_are_those_of_the_server(self) -> None:
        answer = self.named(0, self.ptr(60))
        assert lines(answer) == ["1.100.51.198.in-addr.arpa. 60 IN PTR v6.example."]

    @pytest.mark.parametrize(("now", "ttl"), [(0, TTL), (TTL, GRACE), (TTL + GRACE + 1, 0)])
    def test_and_live_no_longer_than_the_lease(self, now: float, ttl: float) -> None:
        assert self.named(now, self.ptr(9999)).lifetime == ttl

    def test_a_server_without_a_name(self) -> None:
        owner = dns.reversename.from_address("2001:db8::80").to_text()
        answer = self.named(0, reply(owner, "PTR", rcode="NXDOMAIN", authority=SOA))
        assert (answer.rcode, answer.lifetime) == (NXDOMAIN, 60)

    def test_a_failure(self) -> None:
        assert self.named(0, failure(ptr_question("2001:db8::80"))).rcode == SERVFAIL

    @pytest.mark.parametrize("withheld", [False, True])
    def test_an_address_that_is_not_lent_has_none_for_now(self, *, withheld: bool) -> None:
        line = "198.51.100.2 ::198.51.100.2 60" if withheld else ""
        pool = Pool.loads(f"{FORM}\n{line}", [NETWORK], 0)
        found = lent(pool).named(ptr_question("198.51.100.2"))
        assert found
        assert found.v6_question() is None
        answer = found.answer(None, 0)
        assert (answer.rcode, answer.lifetime) == (NXDOMAIN, UNLENT_TTL)

    @pytest.mark.parametrize(
        "asked",
        [
            ptr_question("198.51.100.3"),
            ptr_question("192.0.2.1"),
            ptr_question("2001:db8::80"),
            question("1.100.51.198.in-addr.arpa.", "A"),
            question("01.100.51.198.in-addr.arpa.", "PTR"),
            question("100.51.198.in-addr.arpa.", "PTR"),
            question("0.1.100.51.198.in-addr.arpa.", "PTR"),
            question(".", "PTR"),
        ],
    )
    def test_others_are_none_of_ours(self, asked: Question) -> None:
        assert lent().named(asked) is None


class TestShares:
    """One client's names do not take the addresses of others' names."""

    def ask(self, found: Lending, client: str, number: int, now: float = 0) -> int:
        asked = question(f"n{number}.example.", "A")
        no = reply(f"n{number}.example.", "A", authority=SOA)
        records = f"n{number}.example. 60 IN AAAA 2001:db8::{number:x}"
        given = reply(f"n{number}.example.", answer=records)
        return found.concluded(asked, no, given, now, client).rcode

    def test_126_names_of_one_client_leave_half_of_a_25(self) -> None:
        cells = [0] * LAYOUT.size
        pool = Pool([(int(ip_address("198.51.100.0")), 25)])
        found = Lending(OPTIONS, pool, counters=Counters(cells))
        rcodes = [self.ask(found, "one", number) for number in range(1, 127)]
        assert rcodes == [NOERROR] * 63 + [SERVFAIL] * 63
        assert list(LAYOUT.of(REFUSED, cells)) == [0, 0, 63, 0]
        assert self.ask(found, "other", 1000) == NOERROR

    def test_a_refusal_is_the_clients_alone(self) -> None:
        """It must not be kept, and told to others."""
        found = lent()
        self.ask(found, "one", 1)
        no = reply("n2.example.", "A", authority=SOA)
        given = reply("n2.example.", answer="n2.example. 60 IN AAAA 2001:db8::2")
        refusal = found.concluded(question("n2.example.", "A"), no, given, 0, "one")
        assert (refusal.rcode, refusal.lifetime) == (SERVFAIL, 0)

    def test_what_it_has_it_keeps_and_what_another_has_is_for_all(self) -> None:
        found = lent(Pool([(int(ip_address("198.51.100.0")), 29)]))
        for number in range(3):
            assert self.ask(found, "one", number) == NOERROR
        assert self.ask(found, "one", 9) == SERVFAIL
        assert self.ask(found, "other", 9) == NOERROR
        assert [self.ask(found, "one", number) for number in (0, 1, 2, 9)] == [NOERROR] * 4

    def test_when_leases_end_there_is_room_again(self) -> None:
        found = lent(Pool([(int(ip_address("198.51.100.0")), 29)]))
        for number in range(3):
            self.ask(found, "one", number)
        end = TTL + GRACE
        assert self.ask(found, "one", 0, now=end - 1) == NOERROR
        assert self.ask(found, "one", 8, now=end - 1) == SERVFAIL
        assert self.ask(found, "one", 8, now=end) == NOERROR
        assert self.ask(found, "one", 9, now=end) == NOERROR
        assert self.ask(found, "one", 10, now=end) == SERVFAIL

    def test_leases_of_before_are_nobodys(self) -> None:
        pool = Pool([(int(ip_address("198.51.100.0")), 29)])
        pool.lend(1, 60, 0)
        pool.lend(2, 60, 0)
        found = lent(pool)
        assert [self.ask(found, "one", number) for number in (7, 8, 9)] == [NOERROR] * 2 + [
            SERVFAIL
        ]


class TestLookingUp:
    """With a resolver around it."""

    TABLE = (
        {
            "v6.example. A": NO,
            "v6.example. AAAA": aaaa("2001:db8::80"),
            "v4.example. A": reply("v4.example.", "A", answer="v4.example. 60 IN A 192.0.2.1"),
        },
    )

    def ask(self, servers: Table, *asked: Question, view: View = BORROWER) -> list[Answer]:
        async def run() -> list[Answer]:
            tasks = Tasks()
            resolver = Resolver(OPTIONS, Cache(), servers, tasks, lending=lent())
            answers = [await result_of(resolver.resolve, one, view) for one in asked]
            await tasks.close()
            return answers

        return asyncio.run(run())

    def test_a_name_without_addresses_gets_one_and_the_address_a_name(self) -> None:
        owner = dns.reversename.from_address("2001:db8::80").to_text()
        ptr = reply(owner, "PTR", answer=f"{owner} 60 IN PTR v6.example.")
        table = Table(*self.TABLE, {f"{owner} PTR": ptr})
        found, named = self.ask(table, question("v6.example.", "A"), ptr_question("198.51.100.1"))
        assert lines(found) == ["v6.example. 60 IN A 198.51.100.1"]
        assert lines(named) == ["1.100.51.198.in-addr.arpa. 60 IN PTR v6.example."]

    def test_one_that_has_some_keeps_them(self) -> None:
        table = Table(*self.TABLE)
        (found,) = self.ask(table, question("v4.example.", "A"))
        assert lines(found) == ["v4.example. 60 IN A 192.0.2.1"]
        assert table.asked == ["v4.example. A"]

    def test_nobody_else_gets_any(self) -> None:
        (found,) = self.ask(Table(*self.TABLE), question("v6.example.", "A"), view=View())
        assert lines(found) == []

    def test_nobody_is_asked_about_addresses_that_are_not_lent(self) -> None:
        table = Table()
        (found,) = self.ask(table, ptr_question("198.51.100.2"))
        assert found.rcode == NXDOMAIN
        assert table.asked == []


def test_signatures_do_not_outlive_what_they_sign() -> None:
    signed = (
        "v6.example. 60 IN AAAA 2001:db8::80\n"
        "v6.example. 60 IN RRSIG AAAA 13 2 60 20300101000000 20200101000000 1 example. AAAA"
    )
    message = reply("v6.example.", answer=signed).message
    found = read(objects.lent(message, bytes([198, 51, 100, 1]), 30))
    assert [rrset.to_text() for rrset in found.answer] == ["v6.example. 30 IN A 198.51.100.1"]
