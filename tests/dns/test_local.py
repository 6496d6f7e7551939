"""What is answered here, and what no server can take away from it."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

import dns.reversename
import pytest

from faith.dns.answer import Answer, from_reply
from faith.dns.local import answer, corrected
from faith.dns.name_service import Names
from faith.dns.options import Options, Rule, View
from faith.dns.pool import Pool
from faith.dns.responder import Miss
from faith.dns.tasks import Tasks
from faith.dns.wire import HEADER, NOERROR, NXDOMAIN
from faith.translation.prefix import Prefix
from tests.dns.messages import lines, name, query_wire, question, read, reply
from tests.dns.waiting import Later, result_of
from tests.dns.zones import Zones

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.dns.question import Question

PREFIX = Prefix.parse("2001:db8:ffff::/96")
VIEW = View((PREFIX,))
OPTIONS = Options((PREFIX,))
PTR = dns.reversename.from_address("2001:db8:ffff::c000:201").to_text()
V4_PTR = "1.2.0.192.in-addr.arpa."
LENT_PTR = "1.100.51.198.in-addr.arpa."
POOL = (int(ip_address("198.51.100.0")), 24)


def told(
    owner: str, kind: str, view: View = VIEW, options: Options = OPTIONS
) -> tuple[int, list[str]]:
    """The response code, and type and data of the records."""
    found = answer(question(owner, kind), options, view)
    assert found
    assert found.is_ours
    return found.rcode, [" ".join(line.split()[3:]) for line in lines(found)]


class TestSpecialNames:
    @pytest.mark.parametrize("owner", ["localhost.", "LocalHost.", "a.b.localhost."])
    @pytest.mark.parametrize(
        ("kind", "records"),
        [("A", ["A 127.0.0.1"]), ("AAAA", ["AAAA ::1"]), ("ANY", ["AAAA ::1"]), ("MX", [])],
    )
    def test_rfc6761_6_3_localhost(self, owner: str, kind: str, records: list[str]) -> None:
        assert told(owner, kind) == (NOERROR, records)

    def test_rfc6761_6_3_localhost_where_a_records_are_hidden(self) -> None:
        assert told("localhost.", "A", View((PREFIX,), filter_a=True)) == (NOERROR, [])

    @pytest.mark.parametrize("owner", ["invalid.", "x.Invalid.", "onion.", "www.abc.onion."])
    @pytest.mark.parametrize("kind", ["A", "AAAA", "NS", "ANY"])
    def test_rfc6761_6_4_and_rfc7686_2_there_is_none(self, owner: str, kind: str) -> None:
        assert told(owner, kind) == (NXDOMAIN, [])

    @pytest.mark.parametrize("owner", ["_dns.resolver.arpa.", "resolver.arpa.", "x.resolver.arpa."])
    @pytest.mark.parametrize("kind", ["SVCB", "A", "AAAA"])
    def test_rfc9462_6_1_nobody_is_led_past_the_forwarder(self, owner: str, kind: str) -> None:
        assert told(owner, kind) == (NOERROR, [])

    @pytest.mark.parametrize(
        "owner",
        [
            "test.",
            "printer.local.",
            "nas.home.arpa.",
            "www.example.",
            "1.0.0.10.in-addr.arpa.",
            "notonion.",
            r"x\005onion.",
            ".",
        ],
    )
    def test_others_are_the_servers(self, owner: str) -> None:
        assert answer(question(owner), OPTIONS, VIEW) is None

    def test_another_class_is(self) -> None:
        assert answer(question("localhost.", klass="CH"), OPTIONS, VIEW) is None

    @pytest.mark.parametrize(
        ("domain", "asked"),
        [("onion.", True), ("www.onion.", True), ("b.onion.", False), (".", False)],
    )
    def test_an_operator_can_have_them_asked_for(self, domain: str, asked: bool) -> None:
        options = Options((PREFIX,), names={name(domain): Rule.NEVER})
        assert (answer(question("www.onion."), options, VIEW) is None) is asked


class Servers:
    """Servers that know `Zones`, and of nothing else that it exists."""

    ZONE = f"""$ORIGIN .
@ 300 IN SOA ns.example. host.example. 1 3600 1200 604800 300
{V4_PTR} 60 IN PTR v4.example.
"""

    def __init__(self) -> None:
        self.zones = Zones(self.ZONE)

    def ask(self, question: Question, done: Callable[[Answer], object]) -> Later:
        head = HEADER.pack(1, 0x0100, 1, 0, 0, 0)
        return Later(0, done, from_reply(self.zones(head + question.section)))

    def comes_back(self, host: str, port: int) -> bool:
        return False


class Site:
    """Names, asked one after the other, with a pool of which one address is lent."""

    def __init__(self, view: View = VIEW) -> None:
        self.servers = Servers()
        pool = Pool([POOL])
        pool.lend(int(ip_address("2001:db8::80")), 300, 0)
        self.names = Names(OPTIONS, None, self.servers, Tasks(), stale=3600, pool=pool)

    async def tell(self, owner: str, kind: str) -> tuple[int, list[str]]:
        found = self.names.respond(
            query_wire(owner, kind), "2001:db8::1", asyncio.get_running_loop().time()
        )
        if isinstance(found, Miss):
            found = found.reply(await result_of(self.names.find, found))
        assert found
        message = read(found)
        return message.rcode(), [str(rdata) for rrset in message.answer for rdata in rrset]


class TestBeforeTheCache:
    """No answer of a server's hides what is ours, in whatever order they are asked for."""

    @pytest.mark.parametrize("kind", ["TXT", "AAAA", "A", "TYPE0", "HTTPS", "DS"])
    @pytest.mark.parametrize(
        ("owner", "wanted", "expected"),
        [
            (PTR, "PTR", ["v4.example."]),
            (PTR, "ANY", ["v4.example."]),
            (PTR.upper(), "PTR", ["v4.example."]),
            ("ipv4only.arpa.", "A", ["192.0.0.170", "192.0.0.171"]),
            ("ipv4only.arpa.", "AAAA", ["2001:db8:ffff::c000:aa", "2001:db8:ffff::c000:ab"]),
        ],
    )
    def test_a_denied_name_has_its_data(
        self, kind: str, owner: str, wanted: str, expected: list[str]
    ) -> None:
        async def main() -> None:
            site = Site()
            for _ in range(2):
                rcode, _ = await site.tell(owner, kind)
                assert rcode == NOERROR
                assert await site.tell(owner, wanted) == (NOERROR, expected)

        asyncio.run(main())

    @pytest.mark.parametrize("kind", ["TXT", "AAAA", "A", "TYPE0"])
    def test_an_address_of_the_pool_has_no_name_only_while_it_is_not_lent(self, kind: str) -> None:
        async def main() -> None:
            site = Site()
            assert (await site.tell(LENT_PTR, kind))[0] == NOERROR
            rcode, _ = await site.tell(LENT_PTR, "PTR")
            assert rcode == NXDOMAIN  # the server it stands for has none
            assert site.servers.zones.asked[-1].endswith(".ip6.arpa. ptr")
            assert (await site.tell(LENT_PTR, kind))[0] == NOERROR

        asyncio.run(main())

    @pytest.mark.parametrize(
        ("owner", "rcode"),
        [
            ("arpa.", NOERROR),
            ("ip6.arpa.", NOERROR),
            ("f.f.f.f.8.b.d.0.1.0.0.2.ip6.arpa.", NOERROR),
            ("b.9.f.f.4.6.0.0.ip6.arpa.", NOERROR),
            ("f.ip6.arpa.", NXDOMAIN),
            ("xx.f.f.f.f.8.b.d.0.1.0.0.2.ip6.arpa.", NXDOMAIN),
            (f"0.{PTR}", NXDOMAIN),
            ("in-addr.arpa.", NOERROR),
            ("nowhere.example.", NXDOMAIN),
        ],
    )
    def test_rfc8020_nor_is_a_name_above_denied(self, owner: str, rcode: int) -> None:
        async def main() -> None:
            assert (await Site().tell(owner, "NS"))[0] == rcode

        asyncio.run(main())

    def test_rfc8880_7_1_item_4_nobody_is_asked_for_ipv4only_arpa(self) -> None:
        async def main() -> None:
            site = Site()
            assert (await site.tell("ipv4only.arpa.", "AAAA"))[0] == NOERROR
            assert (await site.tell("x.ipv4only.arpa.", "A"))[0] == NXDOMAIN
            assert not site.servers.zones.asked

        asyncio.run(main())

    def test_a_name_that_has_no_name_yet_may_have_other_data(self) -> None:
        """Where we deny a PTR record, a server may know of a TXT record."""
        owner = dns.reversename.from_address("2001:db8:ffff::c000:209").to_text()

        async def main() -> None:
            site = Site()
            assert (await site.tell(owner, "PTR"))[0] == NXDOMAIN
            await site.tell(owner, "TXT")
            assert site.servers.zones.asked[-1] == f"{owner} txt"

        asyncio.run(main())


def test_rfc8880_7_1_item_4_without_a_prefix_it_is_all_the_servers() -> None:
    assert answer(question("ipv4only.arpa."), OPTIONS, View()) is None
    denied = reply("ipv4only.arpa.", rcode="NXDOMAIN")
    assert corrected(question("ipv4only.arpa."), OPTIONS, View(), denied) is denied
