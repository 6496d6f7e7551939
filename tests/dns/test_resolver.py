"""Answers looked up and put together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from faith.dns import resolver
from faith.dns.answer import FILTERED, Answer, failure
from faith.dns.cache import Cache
from faith.dns.options import Options, Rule, View
from faith.dns.resolver import Resolver
from faith.dns.search import DEADLINE, HEAD_START, LAST_VERDICT, VERDICT
from faith.dns.tasks import Tasks
from faith.dns.wire import AAAA, NOERROR, SERVFAIL
from faith.translation.prefix import Prefix
from tests.dns import clock
from tests.dns.messages import lines, name, question, reply
from tests.dns.waiting import Later, result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.dns.question import Question

PREFIX = Prefix.parse("2001:db8:ffff::/96")
VIEW = View((PREFIX,))
SOA = "example. 300 IN SOA ns.example. host.example. 1 3600 1200 604800 60"
PTR = "1.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.f.f.f.f.8.b.d.0.1.0.0.2.ip6.arpa."

V4ONLY = {
    "v4.example. AAAA": reply("v4.example.", authority=SOA),
    "v4.example. A": reply("v4.example.", "A", answer="v4.example. 60 IN A 192.0.2.1"),
}
REAL = {"v6.example. AAAA": reply("v6.example.", answer="v6.example. 60 IN AAAA 2001:db8::80")}
NAMED = {
    "1.2.0.192.in-addr.arpa. PTR": reply(
        "1.2.0.192.in-addr.arpa.", "PTR", answer="1.2.0.192.in-addr.arpa. 60 IN PTR v4.example."
    )
}
MAPPED = ["v4.example. 60 IN AAAA 2001:db8:ffff::c000:201"]


class Table:
    """Servers that know what is in a table, after *delay* seconds."""

    def __init__(self, *tables: dict[str, Answer], delay: float = 0, slow: str = "") -> None:
        self._answers = {key: answer for table in tables for key, answer in table.items()}
        self._delay = delay
        self._slow = slow
        self.asked: list[str] = []

    def add(self, key: str, answer: Answer) -> None:
        self._answers[key] = answer

    def ask(self, question: Question, done: Callable[[Answer], object]) -> Later:
        kinds = {255: "ANY", 1: "A", 28: "AAAA", 12: "PTR", 16: "TXT", 43: "DS"}
        owner = resolver_name(question)
        key = f"{owner} {kinds[question.kind]}"
        if question.unchecked and f"{key} CD" in self._answers:
            key += " CD"
        self.asked.append(key)
        delay = self._delay if not self._slow or key == self._slow else 0
        return Later(delay, done, self._answers.get(key) or failure(question))

    def comes_back(self, host: str, port: int) -> bool:
        return False


def resolver_name(question: Question) -> str:
    labels, at = [], 0
    while length := question.name[at]:
        labels.append(question.name[at + 1 : at + 1 + length].decode())
        at += length + 1
    return ".".join(labels) + "."


def resolve(
    table: Table, *asked: Question, options: Options | None = None, view: View = VIEW
) -> list[Answer]:
    """All at the same time."""
    return resolve_in_time(table, *asked, options=options, view=view)[0]


def resolve_in_time(
    table: Table, *asked: Question, options: Options | None = None, view: View = VIEW
) -> tuple[list[Answer], float]:
    """The answers, and the seconds until the last was there."""

    async def main() -> tuple[list[Answer], float]:
        found = Resolver(options or Options(view.prefixes), Cache(), table, Tasks())
        answers = await asyncio.gather(*(result_of(found.resolve, one, view) for one in asked))
        return answers, clock.now()

    return clock.run(main())


class TestSynthesis:
    def test_a_records_are_asked_for_when_there_is_nothing_else(self) -> None:
        table = Table(V4ONLY)
        (answer,) = resolve(table, question("v4.example."))
        assert lines(answer) == MAPPED
        assert table.asked == ["v4.example. AAAA", "v4.example. A"]

    def test_and_only_then(self) -> None:
        table = Table(REAL)
        (answer,) = resolve(table, question("v6.example."))
        assert lines(answer) == ["v6.example. 60 IN AAAA 2001:db8::80"]
        assert table.asked == ["v6.example. AAAA"]

    def test_5_1_8_or_when_the_answer_is_slow_to_come(self) -> None:
        table = Table(V4ONLY, delay=HEAD_START * 2)
        (answer,), seconds = resolve_in_time(table, question("v4.example."))
        assert lines(answer) == MAPPED
        assert seconds == HEAD_START * 3

    def test_5_1_8_in_vain_maybe(self) -> None:
        table = Table(REAL, delay=HEAD_START * 2, slow="v6.example. AAAA")
        (answer,) = resolve(table, question("v6.example."))
        assert lines(answer) == ["v6.example. 60 IN AAAA 2001:db8::80"]
        assert table.asked == ["v6.example. AAAA", "v6.example. A"]

    def test_5_5_validators_get_what_there_is(self) -> None:
        table = Table(V4ONLY)
        (answer,) = resolve(table, question("v4.example.", dnssec_ok=True, unchecked=True))
        assert lines(answer) == []
        assert table.asked == ["v4.example. AAAA"]

    @pytest.mark.parametrize(
        ("unchecked", "expected"),
        [(REAL["v6.example. AAAA"], []), (V4ONLY["v4.example. AAAA"], []), (None, MAPPED)],
    )
    def test_5_5_what_fails_by_dnssec_alone_stays_a_failure(
        self, unchecked: Answer | None, expected: list[str]
    ) -> None:
        """A server that does not say why it failed is asked once more, with CD."""
        failed = reply("v4.example.", rcode="SERVFAIL")
        table = Table(V4ONLY, {"v4.example. AAAA": failed})
        if unchecked:
            table.add("v4.example. AAAA CD", unchecked)
        (answer,) = resolve(table, question("v4.example."))
        assert lines(answer) == expected
        assert answer.rcode == (NOERROR if expected else SERVFAIL)

    @pytest.mark.parametrize("delay", [0.6, 2.4, DEADLINE * 0.8])
    def test_5_1_2_what_fails_slowly_is_answered_by_a_records_in_time(self, delay: float) -> None:
        """The A records are there by then, whatever becomes of the verdict."""
        failed = reply("v4.example.", rcode="SERVFAIL")
        table = Table(V4ONLY, {"v4.example. AAAA": failed}, delay=delay)
        asked = question("v4.example.")
        answers, seconds = resolve_in_time(table, asked, asked)
        assert [lines(answer) for answer in answers] == [MAPPED] * 2
        assert seconds == pytest.approx(min(2 * delay, delay + VERDICT, LAST_VERDICT))
        assert table.asked == ["v4.example. AAAA", "v4.example. A", "v4.example. AAAA"]

    def test_5_5_nor_is_a_slow_verdict_got_round(self) -> None:
        failed = reply("v4.example.", rcode="SERVFAIL")
        table = Table(V4ONLY, {"v4.example. AAAA": failed}, delay=VERDICT * 0.9)
        table.add("v4.example. AAAA CD", V4ONLY["v4.example. AAAA"])
        (answer,) = resolve(table, question("v4.example."))
        assert (answer.rcode, lines(answer)) == (SERVFAIL, [])

    def test_all_it_takes_is_over_before_the_client_gives_up(self) -> None:
        """One server's patience for each question would add up."""
        table = Table(V4ONLY, delay=DEADLINE * 2, slow="v4.example. A")
        asked = question("v4.example.")
        (first, again), seconds = resolve_in_time(table, asked, asked)
        assert seconds == pytest.approx(DEADLINE)
        assert first.rcode == again.rcode == SERVFAIL

    def test_what_nobody_waits_for_is_given_up(self) -> None:
        table = Table(V4ONLY, delay=1)

        async def main() -> tuple[bool, bool]:
            found = Resolver(Options(VIEW.prefixes), Cache(), table, Tasks())
            asked = question("v4.example.")
            first, second = (found.resolve(asked, VIEW, lambda _: None) for _ in range(2))
            first.cancel()
            before = found.is_asked(asked)
            second.cancel()
            return before, found.is_asked(asked)

        assert clock.run(main()) == (True, False)

    def test_a_look_up_goes_on_for_others(self) -> None:
        table = Table(V4ONLY, delay=DEADLINE * 2, slow="v4.example. A")
        late, answer = resolve(table, question("v4.example."), question("v4.example.", "A"))
        assert (late.rcode, answer.rcode) == (SERVFAIL, NOERROR)
        assert len(lines(answer)) == 1

    def test_names_may_be_left_alone(self) -> None:
        options = Options(VIEW.prefixes, names={name("example."): Rule.NEVER})
        (answer,) = resolve(Table(V4ONLY), question("v4.example."), options=options)
        assert lines(answer) == []

    def test_nothing_answers_is_servfail(self) -> None:
        (answer,) = resolve(Table(), question("v4.example."))
        assert (answer.rcode, answer.kind) == (SERVFAIL, AAAA)


class TestOthers:
    def test_other_types_are_passed_on(self) -> None:
        txt = reply("v4.example.", "TXT", answer='v4.example. 60 IN TXT "x"')
        (answer,) = resolve(Table({"v4.example. TXT": txt}), question("v4.example.", "TXT"))
        assert answer is txt

    def test_nor_does_any_show_them(self) -> None:
        both = "v4.example. 60 IN A 192.0.2.1\nv4.example. 60 IN MX 1 v4.example."
        table = Table({"v4.example. ANY": reply("v4.example.", "ANY", answer=both)})
        view = View((PREFIX,), filter_a=True)
        (hidden,) = resolve(table, question("v4.example.", "ANY"), view=view)
        assert lines(hidden) == ["v4.example. 60 IN MX 1 v4.example."]
        assert (hidden.error, hidden.lifetime) == (FILTERED, 60)
        (shown,) = resolve(table, question("v4.example.", "ANY"))
        assert (len(lines(shown)), shown.error) == (2, None)

    def test_a_records_can_be_hidden(self) -> None:
        table = Table(V4ONLY)
        view = View((PREFIX,), filter_a=True)
        asked = question("v4.example.", "A")
        validating = question("v4.example.", "A", dnssec_ok=True, unchecked=True)
        mapped = question("v4.example.")
        answers = resolve(table, asked, validating, mapped, view=view)
        assert [lines(answer) for answer in answers] == [
            [],
            ["v4.example. 60 IN A 192.0.2.1"],
            MAPPED,
        ]


class TestReverse:
    def test_names_of_mapped_addresses(self) -> None:
        (answer,) = resolve(Table(NAMED), question(PTR, "PTR"))
        assert lines(answer) == [f"{PTR} 60 IN PTR v4.example."]

    def test_rfc6147_5_3_1_under_the_well_known_prefix_too(self) -> None:
        owner = PTR.replace("f.f.f.f.8.b.d.0.1.0.0.2", "0.0.0.0.b.9.f.f.4.6.0.0")
        (answer,) = resolve(Table(NAMED), question(owner, "PTR"))
        assert lines(answer) == [f"{owner} 60 IN PTR v4.example."]

    def test_none_where_there_is_no_prefix(self) -> None:
        table = Table(NAMED)
        resolve(table, question(PTR, "PTR"), view=View(), options=Options(VIEW.prefixes))
        assert table.asked == [f"{PTR} PTR"]


class TestCache:
    def test_the_same_question_is_asked_once_at_a_time(self) -> None:
        table = Table(V4ONLY, delay=0.01)
        answers = resolve(table, *[question("v4.example.")] * 20, question("V4.Example.", "A"))
        assert [lines(answer) for answer in answers[:-1]] == [MAPPED] * 20
        assert sorted(table.asked) == ["v4.example. A", "v4.example. AAAA"]

    def test_what_servers_said_is_used_for_synthesis_later(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = Table(V4ONLY)
        now = 1000.0
        monkeypatch.setattr(resolver.time, "monotonic", lambda: now)  # type: ignore[attr-defined]

        async def main() -> Answer:
            nonlocal now
            found = Resolver(Options(VIEW.prefixes), Cache(), table, Tasks())
            await result_of(found.resolve, question("v4.example.", "A"), VIEW)
            now += 25
            answer: Answer = await result_of(found.resolve, question("v4.example."), VIEW)
            return answer

        assert lines(clock.run(main())) == ["v4.example. 35 IN AAAA 2001:db8:ffff::c000:201"]
        assert table.asked == ["v4.example. A", "v4.example. AAAA"]
