"""Names beside a plain model of them: the cache, what is told in need, and what is ours.

The model knows what the servers were heard to say, when, and for how long that was to hold; it has
no cache, no tags and no keys.  Time jumps, servers go and come, and what they say changes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import patch

import dns.rcode
import dns.rdatatype
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from faith.dns import look_ups as look_ups_module
from faith.dns import name_service as names_module
from faith.dns import search as search_module
from faith.dns.answer import FAILURE_LIFETIME, Answer, failure
from faith.dns.cache import RECHECK, STALE_TTL, Cache
from faith.dns.name_service import Names
from faith.dns.options import Options
from faith.dns.responder import Miss
from faith.dns.tasks import Tasks
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix
from tests.dns.messages import query_wire, read, reply
from tests.dns.waiting import Later, result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.dns.question import Question

STALE = 1000
PREFIXES = [Prefix.parse("2001:db8:aaaa::/96"), Prefix.parse("2001:db8:bbbb::/96")]
PLAIN, MAPPING = "192.0.2.9", "2001:db8::9"
"""A client that gets no synthesis, and one that does."""
OWNER = "name.example."
KINDS = ["TXT", "A", "TYPE0"]
SOA = "example. 60 IN SOA ns.example. host.example. 1 3600 1200 604800 {ttl}"
NOTHING, GONE = "no data", "no name"
FAILED = "failed"
DATA = {"TXT": ['"{n}"'], "A": ["192.0.2.{n}"], "TYPE0": [r"\# 1 0{n}"]}

truths = st.tuples(
    st.sampled_from(["data", "data", NOTHING]),
    st.integers(1, 9),
    st.sampled_from([0, 20, 60]),
)
"""What there is at a name, which data, and for how many seconds; a "no" of 0 has no SOA record."""


@dataclass
class Heard:
    """What a server said last of a name and type."""

    what: str
    at: float
    ttl: int


@dataclass
class World:
    """What the servers say of everything, and what they were heard to say."""

    truth: dict[tuple[str, str], tuple[str, int, int]] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    up: bool = True
    now: float = 1000.0
    heard: dict[tuple[str, str], Heard] = field(default_factory=dict)
    denied: dict[str, Heard] = field(default_factory=dict)
    asked: int = 0
    failed_at: float = float("-inf")

    def ask(self, question: Question, done: Callable[[Answer], object]) -> Later:
        self.asked += 1
        return Later(0, done, self.reply_to(question))

    def comes_back(self, host: str, port: int) -> bool:
        return False

    def reply_to(self, question: Question) -> Answer:
        if not self.up:
            self.failed_at = self.now
            return failure(question)
        message = read(bytes(12)[:4] + b"\0\1" + bytes(6) + question.section)
        owner = message.question[0].name.to_text().lower()
        return self.said(owner, dns.rdatatype.to_text(question.kind))

    def said(self, owner: str, kind: str) -> Answer:
        if owner in self.gone:
            ttl = self.gone[owner]
            self.denied[owner] = Heard(GONE, self.now, ttl)
            self.heard.pop((owner, kind), None)
            soa = {"authority": SOA.format(ttl=ttl)} if ttl else {}
            return reply(owner, kind, rcode="NXDOMAIN", **soa)
        what, number, ttl = self.truth.get((owner, kind), (NOTHING, 0, 60))
        if denied := self.denied.get(owner):
            denied.ttl = -1  # the name exists: nobody is told any more that it does not
        if what == "data":
            (text,) = DATA[kind]
            value = text.format(n=number)
            self.heard[owner, kind] = Heard(value, self.now, ttl)
            return reply(owner, kind, answer=f"{owner} {ttl} IN {kind} {value}")
        self.heard[owner, kind] = Heard(NOTHING, self.now, ttl)
        soa = {"authority": SOA.format(ttl=ttl)} if ttl else {}
        return reply(owner, kind, **soa)

    def known(self, owner: str, kind: str) -> str:
        """What must be told without a server being asked, or else nothing."""
        for heard in (self.heard.get((owner, kind)), self.denied.get(owner)):
            if heard and self.now < heard.at + heard.ttl:
                return heard.what
        return ""

    def spare(self, owner: str, kind: str) -> str:
        """What may be told when no server answers, or else that it failed."""
        both = (self.heard.get((owner, kind)), self.denied.get(owner))
        newest = max((heard for heard in both if heard), key=lambda heard: heard.at, default=None)
        if newest is None or newest.ttl <= 0 or self.now >= newest.at + newest.ttl + STALE:
            return FAILED
        return newest.what


class Names64(RuleBasedStateMachine):
    """Two clients ask, and the model says what they must hear."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World({(OWNER, kind): ("data", 1, 20) for kind in KINDS})
        self.cache = Cache(stale=STALE)
        self.tasks = Tasks()
        self.prefix = 0
        self.change()

    @rule()
    def change(self) -> None:
        """The prefix is another, and with it all that decides; the cache stays."""
        self.prefix = 1 - self.prefix
        options = Options((PREFIXES[self.prefix],), clients={(0xFFFF << 32, 96): ()})
        served = Networks(128, [(0, 0)])
        self.names = Names(options, served, self.world, self.tasks, STALE, cache=self.cache)

    @rule(seconds=st.sampled_from([4, 11, 21, 21, 61, 1100]))
    def wait(self, seconds: int) -> None:
        self.world.now += seconds

    @rule()
    def go_or_come(self) -> None:
        """The servers answer no more, or again."""
        self.world.up = not self.world.up

    @rule(
        gone=st.sampled_from([None, 0, 60]),
        heard=st.sampled_from(KINDS),
        asked=st.lists(st.sampled_from(KINDS), min_size=1),
    )
    def an_outage(self, gone: int | None, heard: str, asked: list[str]) -> None:
        """All that is known has to be asked for, one type is, and then the servers are gone."""
        self.world.up = True
        self.world.now += 91
        if gone is not None:
            self.world.gone[OWNER] = gone
        self.asks(heard)
        self.world.gone.clear()
        self.world.up = False
        self.world.now += 91
        for kind in asked:
            self.asks(kind)

    @rule(kind=st.sampled_from(KINDS), truth=truths)
    def becomes(self, kind: str, truth: tuple[str, int, int]) -> None:
        self.world.truth[OWNER, kind] = truth

    @rule(kind=st.sampled_from(KINDS))
    def asks(self, kind: str) -> None:
        """A client without synthesis hears what is known, else what is true, else what was so."""
        world, owner = self.world, OWNER
        known, spare = world.known(owner, kind), world.spare(owner, kind)
        told, ttl = self.tell(PLAIN, owner, kind)
        if known:
            assert told == known
        elif told != FAILED and world.up:
            resting = world.now < world.failed_at + RECHECK
            assert told == self.true(owner, kind) or (resting and told == spare)
        elif told == FAILED:
            assert not world.up or world.now < world.failed_at + 2 * FAILURE_LIFETIME
            assert spare == FAILED
        else:
            assert told == spare
        if not known and told == spare != FAILED and not world.up:
            assert ttl in (None, STALE_TTL)

    @rule()
    def asks_for_a_mapped_address(self) -> None:
        """There are never AAAA records, so it gets what the A records are, or were."""
        world, owner = self.world, OWNER
        spare = world.spare(owner, "A")
        may_spare = spare not in (FAILED, GONE) and world.spare(owner, "AAAA") == NOTHING
        told, _ = self.tell(MAPPING, owner, "AAAA")
        if told.startswith("2001:"):
            prefix = PREFIXES[self.prefix]
            values = {
                f"2001:db8:{'aaaa' if prefix is PREFIXES[0] else 'bbbb'}::c000:20{n}"
                for n in range(1, 10)
            }
            assert told in values, "the prefix is that of the moment"
            heard = world.heard.get((owner, "A"))
            assert heard is None or heard.ttl == 0 or told[-1] == heard.what[-1]
        elif told == FAILED:
            assert not world.up or world.now < world.failed_at + 2 * FAILURE_LIFETIME
            assert not may_spare

    @invariant()
    def what_is_ours_is_what_it_is(self) -> None:
        before = self.world.asked
        prefix = PREFIXES[self.prefix]
        for kind, values in (
            ("A", {"192.0.0.170", "192.0.0.171"}),
            ("AAAA", {str(prefix)[:-3] + end for end in ("c000:aa", "c000:ab")}),
        ):
            message = self.message(MAPPING, "ipv4only.arpa.", kind)
            assert {str(rdata) for rrset in message.answer for rdata in rrset} == values
        assert self.message(PLAIN, "x.onion.", "A").rcode() == dns.rcode.NXDOMAIN
        assert self.world.asked == before

    def true(self, owner: str, kind: str) -> str:
        if owner in self.world.gone:
            return GONE
        what, number, _ = self.world.truth.get((owner, kind), (NOTHING, 0, 60))
        return DATA[kind][0].format(n=number) if what == "data" else NOTHING

    def tell(self, client: str, owner: str, kind: str) -> tuple[str, int | None]:
        message = self.message(client, owner, kind)
        if message.rcode() == dns.rcode.NXDOMAIN:
            return GONE, None
        if message.rcode() != dns.rcode.NOERROR:
            return FAILED, None
        for rrset in message.answer:
            return str(rrset[0]), rrset.ttl
        return NOTHING, None

    def message(self, client: str, owner: str, kind: str) -> dns.message.Message:
        """What the server would say, whose patience is over at once."""
        found = self.names.respond(query_wire(owner, kind), client, self.world.now)
        if isinstance(found, Miss):
            clock = SimpleNamespace(monotonic=lambda: self.world.now)
            with (
                patch.object(names_module, "time", clock),
                patch.object(look_ups_module, "time", clock),
                patch.object(search_module, "time", clock),
            ):
                answer = self.runner.run(result_of(self.names.find, found))
            stale = found.stale_reply()
            failed = answer.rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
            found = stale if failed and stale else found.reply(answer)
        assert found
        return read(found)

    def teardown(self) -> None:
        self.runner.close()


TestNames64 = Names64.TestCase
TestNames64.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
