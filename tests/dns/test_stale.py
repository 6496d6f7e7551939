"""What clients are told of what servers said once: RFC 8767, for every kind of answer."""

from __future__ import annotations

from ipaddress import ip_address

import dns.reversename
import pytest

from faith.dns.answer import SYNTHESISED, Answer, failure
from faith.dns.cache import RECHECK, STALE_TTL, Cache
from faith.dns.lending import Lending
from faith.dns.options import Options, Rule, View
from faith.dns.pool import Pool
from faith.dns.question import Question
from faith.dns.stale import AS_IT_CAME, Stale
from faith.dns.wire import NOERROR, NXDOMAIN
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix
from tests.dns.messages import lines, name, question, reply

PREFIX, OTHER = Prefix.parse("2001:db8:ffff::/96"), Prefix.parse("2001:db8:eeee::/96")
SOA = "example. 60 IN SOA ns.example. host.example. 1 3600 1200 604800 60"
PTR = dns.reversename.from_address("2001:db8:ffff::c000:201").to_text()
LATER = 1000.0

SAID = [
    reply("v4.example.", authority=SOA),
    reply("v4.example.", "A", answer="v4.example. 60 IN A 192.0.2.1"),
    reply("v6.example.", answer="v6.example. 60 IN AAAA 2001:db8::80"),
    reply("v6.example.", "A", authority=SOA),
    reply("no.example.", rcode="NXDOMAIN", authority=SOA),
    reply("half.example.", "A", answer="half.example. 60 IN A 192.0.2.2"),
    reply("1.2.0.192.in-addr.arpa.", "PTR", answer="1.2.0.192.in-addr.arpa. 60 IN PTR a.example."),
]
"""What servers said at 0."""


def stale(options: Options | None = None, pool: Pool | None = None) -> tuple[Stale, Cache]:
    options = options or Options((PREFIX,))
    cache = Cache(stale=86400)
    for answer in SAID:
        cache.put(asked(answer), AS_IT_CAME, answer, 0)
    return Stale(options, cache, Lending(options, pool) if pool else None), cache


def asked(answer: Answer) -> Question:
    return Question(answer.message[12 : answer.base])


def told(
    owner: str, kind: str = "AAAA", view: View | None = None, **how: object
) -> tuple[int, list[str]] | None:
    found, _ = stale(**how)  # type: ignore[arg-type]
    entry = found.find(question(owner, kind), view or View((PREFIX,)), LATER)
    if entry is None:
        return None
    return entry.answer.rcode, [line.split(None, 1)[1] for line in lines(entry.answer)]


@pytest.mark.parametrize("prefix", [PREFIX, OTHER])
def test_synthesis_is_under_the_prefix_of_the_moment(prefix: Prefix) -> None:
    mapped = str(ip_address(prefix.map(0xC0000201)))
    assert told("v4.example.", view=View((prefix,))) == (NOERROR, [f"30 IN AAAA {mapped}"])


def test_what_needs_none_is_as_it_came() -> None:
    assert told("v6.example.") == (NOERROR, ["30 IN AAAA 2001:db8::80"])
    assert told("v4.example.", "A") == (NOERROR, ["30 IN A 192.0.2.1"])
    assert told("no.example.", "MX") == (NXDOMAIN, [])
    assert told("v4.example.", view=View()) == (NOERROR, [])


def test_rules_are_kept() -> None:
    never = Options((PREFIX,), names={name("example."): Rule.NEVER})
    assert told("v4.example.", options=never) == (NOERROR, [])
    assert told("v4.example.", "A", View((PREFIX,), filter_a=True)) == (NOERROR, [])


def test_all_parts_must_be_there() -> None:
    assert told("half.example.") is None
    assert told("unknown.example.") is None


def test_where_servers_failed_to_say_that_there_are_no_aaaa_records() -> None:
    """RFC 6147 §5.1.2: it was made of A records all the same, and so it is in need."""
    found, cache = stale()
    view = View((PREFIX,))
    made = reply("half.example.", answer="half.example. 60 IN AAAA 2001:db8:ffff::c000:202")
    cache.put(question("half.example."), cache.tag(view), made, 0)
    assert found.find(question("half.example."), view, LATER) is None, "that may be a real one"
    made.error = SYNTHESISED
    entry = found.find(question("half.example."), view, LATER)
    assert entry
    assert lines(entry.answer) == ["half.example. 30 IN AAAA 2001:db8:ffff::c000:202"]
    assert found.find(question("half.example."), View((OTHER,)), LATER) is None


def test_names_of_mapped_addresses() -> None:
    assert told(PTR, "PTR") == (NOERROR, ["30 IN PTR a.example."])
    assert told(PTR, "TXT") is None


def test_a_lent_address_stays_what_it_is() -> None:
    pool = Pool([(int(ip_address("198.51.100.0")), 30)])
    options = Options((PREFIX,), borrowers=Networks(128, [(0, 0)]))
    view = View(lends=True)
    for _ in range(2):
        found = told("v6.example.", "A", view, options=options, pool=pool)
        assert found == (NOERROR, ["30 IN A 198.51.100.1"])


def test_a_failure_of_any_part_puts_off_the_next_attempt() -> None:
    found, cache = stale()
    a_question = question("v4.example.", "A")
    cache.put(a_question, AS_IT_CAME, failure(a_question), LATER)
    entry = found.find(question("v4.example."), View((PREFIX,)), LATER)
    assert entry
    assert entry.recheck == LATER + RECHECK
    other = found.find(question("v6.example."), View((PREFIX,)), LATER)
    assert other
    assert other.recheck < LATER


def test_what_is_not_over_keeps_its_time() -> None:
    found, cache = stale()
    longer = reply("v4.example.", "A", answer="v4.example. 4000 IN A 192.0.2.1")
    cache.put(question("v4.example.", "A"), AS_IT_CAME, longer, 0)
    entry = found.find(question("v4.example.", "A"), View((PREFIX,)), LATER)
    assert entry
    assert lines(entry.answer) == ["v4.example. 3000 IN A 192.0.2.1"]
    assert STALE_TTL == 30
