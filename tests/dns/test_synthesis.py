"""RFC 6147 §5, decision by decision; each test is named after the section it is about."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from faith.dns.answer import Answer, failure
from faith.dns.options import Options, Rule, View
from faith.dns.synthesis import Synthesis, without_a
from faith.dns.wire import AAAA, AD, NOERROR, NXDOMAIN, REFUSED, SERVFAIL
from faith.translation.networks import Networks
from faith.translation.prefix import LOW32, RFC6052, Prefix
from tests.dns.messages import lines, name, question, read, reply

PREFIX = Prefix.parse("2001:db8:ffff::/96")
VIEW = View((PREFIX,))
SOA = "example. {ttl} IN SOA ns.example. host.example. 1 3600 1200 604800 {minimum}"
NAME = "www.example."
NO_AAAA = reply(NAME, authority=SOA.format(ttl=300, minimum=300))
ONE_A = reply(NAME, "A", answer=f"{NAME} 60 IN A 192.0.2.1")
MAPPED = f"{NAME} 60 IN AAAA 2001:db8:ffff::c000:201"


def synthesis(
    options: Options | None = None,
    view: View = VIEW,
    owner: str = NAME,
    kind: str = "AAAA",
    klass: str = "IN",
    **bits: bool,
) -> Synthesis:
    return Synthesis(options or Options(view.prefixes), view, question(owner, kind, klass, **bits))


def failed(rcode: int) -> Answer:
    return failure(question(NAME), rcode)


def networks(bits: int, *texts: str) -> Networks:
    found = map(ip_network, texts)
    return Networks(bits, [(int(n.network_address), n.prefixlen) for n in found])


class TestApplies:
    def test_5_1_to_aaaa_queries(self) -> None:
        assert synthesis().applies()

    @pytest.mark.parametrize("kind", ["A", "ANY", "MX", "PTR"])
    def test_5_3_3_not_to_other_types(self, kind: str) -> None:
        assert not synthesis(kind=kind).applies()

    def test_5_1_not_to_other_classes(self) -> None:
        assert not synthesis(klass="CH").applies()

    @pytest.mark.parametrize(
        ("do", "cd", "applies"),
        [(False, False, True), (True, False, True), (False, True, True), (True, True, False)],
    )
    def test_5_5_not_for_those_who_validate_themselves(
        self, do: bool, cd: bool, applies: bool
    ) -> None:
        assert synthesis(dnssec_ok=do, unchecked=cd).applies() is applies

    def test_not_without_a_prefix(self) -> None:
        assert not synthesis(view=View()).applies()


class TestRealAnswers:
    REAL = reply(NAME, answer=f"{NAME} 60 IN AAAA 2001:db8::80", flags="QR RA AD")

    def test_5_1_1_real_records_are_the_answer(self) -> None:
        assert not synthesis().needs_a(self.REAL)
        assert synthesis().concluded(self.REAL) is self.REAL

    def test_5_1_2_a_name_that_does_not_exist_is_not_invented(self) -> None:
        missing = reply(NAME, rcode="NXDOMAIN", authority=SOA.format(ttl=300, minimum=300))
        assert not synthesis().needs_a(missing)
        assert synthesis().concluded(missing) is missing

    @pytest.mark.parametrize("rcode", [1, SERVFAIL, 4, REFUSED, 9])
    def test_5_1_2_other_errors_are_empty_answers(self, rcode: int) -> None:
        assert synthesis().needs_a(failed(rcode))
        assert lines(synthesis().concluded(failed(rcode), ONE_A)) == [MAPPED]

    def test_5_1_3_a_timeout_is_a_server_failure(self) -> None:
        timeout = failed(SERVFAIL)
        assert synthesis().needs_a(timeout)
        assert lines(synthesis().concluded(timeout, ONE_A)) == [MAPPED]
        assert synthesis().concluded(timeout, timeout).rcode == SERVFAIL

    def test_5_1_8_a_records_asked_for_in_vain_are_not_used(self) -> None:
        assert synthesis().concluded(self.REAL, failed(SERVFAIL)) is self.REAL


class TestExclusion:
    """§5.1.4."""

    BAD = f"{NAME} 60 IN AAAA ::ffff:192.0.2.1"
    GOOD = f"{NAME} 60 IN AAAA 2001:db8::80"

    def test_only_excluded_records_are_an_empty_answer(self) -> None:
        bad = reply(NAME, answer=self.BAD)
        assert synthesis().needs_a(bad)
        assert lines(synthesis().concluded(bad, ONE_A)) == [MAPPED]

    def test_they_are_never_returned(self) -> None:
        bad = reply(NAME, answer=self.BAD)
        no_a = reply(NAME, "A", authority=SOA.format(ttl=300, minimum=300))
        found = synthesis().concluded(bad, no_a)
        assert (found.rcode, lines(found)) == (NOERROR, [])

    def test_the_others_are(self) -> None:
        both = reply(NAME, answer=f"{self.BAD}\n{self.GOOD}", flags="QR RA AD")
        assert not synthesis().needs_a(both)
        found = synthesis().concluded(both)
        assert lines(found) == [self.GOOD]
        assert not found.flags & AD

    def test_the_set_can_be_another(self) -> None:
        options = Options(VIEW.prefixes, exclude=networks(128, "2001:db8::/64"))
        assert synthesis(options).needs_a(reply(NAME, answer=self.GOOD))
        assert not synthesis(options).needs_a(reply(NAME, answer=self.BAD))


class TestChains:
    """§5.1.5."""

    CHAIN = f"{NAME} 300 IN CNAME cdn.example."

    def test_a_chain_without_a_record_at_its_end_needs_one(self) -> None:
        assert synthesis().needs_a(
            reply(NAME, answer=self.CHAIN, authority=SOA.format(ttl=300, minimum=300))
        )

    def test_the_chain_is_in_the_answer(self) -> None:
        a_reply = reply(NAME, "A", answer=f"{self.CHAIN}\ncdn.example. 60 IN A 192.0.2.1")
        assert lines(synthesis().concluded(NO_AAAA, a_reply)) == [
            self.CHAIN,
            "cdn.example. 60 IN AAAA 2001:db8:ffff::c000:201",
        ]

    def test_so_is_a_dname(self) -> None:
        start = "www.old. 300 IN CNAME www.example."
        dname = "old. 300 IN DNAME example."
        a_reply = reply("www.old.", "A", answer=f"{dname}\n{start}\n{NAME} 60 IN A 192.0.2.1")
        found = synthesis(owner="www.old.").concluded(reply("www.old."), a_reply)
        assert lines(found) == [dname, start, MAPPED]

    def test_a_chain_that_ends_in_a_real_record_is_the_answer(self) -> None:
        real = reply(NAME, answer=f"{self.CHAIN}\ncdn.example. 60 IN AAAA 2001:db8::80")
        assert not synthesis().needs_a(real)


class TestData:
    """§5.1.6 and §5.4: what is used when there is nothing to synthesise from."""

    def test_the_empty_result_gives_the_answer_to_the_clients_own_query(self) -> None:
        no_a = reply(NAME, "A", authority=SOA.format(ttl=99, minimum=99))
        assert synthesis().concluded(NO_AAAA, no_a) is NO_AAAA

    @pytest.mark.parametrize("rcode", [SERVFAIL, REFUSED, NXDOMAIN])
    def test_an_error_is_the_error_of_the_answer(self, rcode: int) -> None:
        found = synthesis().concluded(NO_AAAA, failed(rcode))
        assert (found.rcode, found.kind) == (rcode, AAAA)

    def test_an_empty_result_after_an_error_is_empty(self) -> None:
        no_a = reply(NAME, "A", authority=SOA.format(ttl=99, minimum=99), flags="QR RA AD")
        found = synthesis().concluded(failed(SERVFAIL), no_a)
        assert (found.rcode, found.kind, found.lifetime) == (NOERROR, AAAA, 99)
        assert not found.flags & AD

    def test_the_a_records_are_gone(self) -> None:
        kinds = {line.split()[3] for line in lines(synthesis().concluded(NO_AAAA, ONE_A))}
        assert kinds == {"AAAA"}


class TestRecords:
    """§5.1.7."""

    @pytest.mark.parametrize(
        ("a_ttl", "soa_ttl", "minimum", "ttl"),
        [(60, 300, 300, 60), (3600, 300, 900, 300), (3600, 900, 300, 300)],
    )
    def test_the_ttl_is_the_least_of_a_and_soa(
        self, a_ttl: int, soa_ttl: int, minimum: int, ttl: int
    ) -> None:
        no_aaaa = reply(NAME, authority=SOA.format(ttl=soa_ttl, minimum=minimum))
        a_reply = reply(NAME, "A", answer=f"{NAME} {a_ttl} IN A 192.0.2.1")
        (found,) = lines(synthesis().concluded(no_aaaa, a_reply))
        assert int(found.split()[1]) == ttl

    @pytest.mark.parametrize(("a_ttl", "ttl"), [(60, 60), (3600, 600)])
    def test_without_soa_it_is_600_at_most(self, a_ttl: int, ttl: int) -> None:
        a_reply = reply(NAME, "A", answer=f"{NAME} {a_ttl} IN A 192.0.2.1")
        (found,) = lines(synthesis().concluded(reply(NAME), a_reply))
        assert int(found.split()[1]) == ttl

    def test_owner_type_class_and_question(self) -> None:
        message = read(synthesis().concluded(NO_AAAA, ONE_A).message)
        assert [rrset.to_text() for rrset in message.question] == [f"{NAME} IN AAAA"]
        assert [rrset.to_text() for rrset in message.answer] == [MAPPED]

    def test_the_prefix_is_chosen_by_the_ipv4_address(self) -> None:
        inside = Prefix.parse("2001:db8:aaaa::/96")
        options = Options(VIEW.prefixes, ranges={(0xC0000200, 24): (inside,)})
        a_reply = reply(NAME, "A", answer=f"{NAME} 60 IN A 192.0.2.1\n{NAME} 60 IN A 203.0.113.1")
        assert lines(synthesis(options).concluded(NO_AAAA, a_reply)) == [
            f"{NAME} 60 IN AAAA 2001:db8:aaaa::c000:201",
            f"{NAME} 60 IN AAAA 2001:db8:ffff::cb00:7101",
        ]

    def test_excluded_ipv4_addresses_are_not_mapped(self) -> None:
        options = Options(VIEW.prefixes, exclude_v4=networks(32, "192.0.2.0/24"))
        assert synthesis(options).concluded(NO_AAAA, ONE_A) is NO_AAAA

    @pytest.mark.parametrize("v4", ["0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1"])
    def test_what_the_relay_would_refuse_is_not_offered(self, v4: str) -> None:
        a_reply = reply(NAME, "A", answer=f"{NAME} 60 IN A {v4}")
        assert synthesis().concluded(NO_AAAA, a_reply) is NO_AAAA

    def test_nothing_left_after_an_error_is_an_empty_answer(self) -> None:
        options = Options(VIEW.prefixes, exclude_v4=networks(32, "192.0.2.0/24"))
        found = synthesis(options).concluded(failed(SERVFAIL), ONE_A)
        assert (found.rcode, lines(found), found.kind) == (NOERROR, [], AAAA)


class TestRepresentation:
    """§5.2."""

    @pytest.mark.parametrize(
        ("prefix", "mapped"),
        [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221"),
        ],
    )
    def test_every_layout_of_rfc6052(self, prefix: str, mapped: str) -> None:
        view = View((Prefix.parse(prefix, RFC6052),))
        a_reply = reply(NAME, "A", answer=f"{NAME} 60 IN A 192.0.2.33")
        assert lines(synthesis(view=view).concluded(NO_AAAA, a_reply)) == [
            f"{NAME} 60 IN AAAA {mapped}"
        ]

    def test_and_that_of_rfc3142(self) -> None:
        view = View((Prefix.parse("2001:db8:122:344::/64", LOW32),))
        assert lines(synthesis(view=view).concluded(NO_AAAA, ONE_A)) == [
            f"{NAME} 60 IN AAAA 2001:db8:122:344::c000:201"
        ]

    def test_several_prefixes_give_several_records(self) -> None:
        view = View((PREFIX, Prefix.parse("2001:db8:fffe::/96")))
        assert len(lines(synthesis(view=view).concluded(NO_AAAA, ONE_A))) == 2

    @pytest.mark.parametrize("v4", ["10.0.0.1", "192.168.1.1", "100.64.0.1", "192.0.2.1"])
    def test_rfc6052_3_1_the_well_known_prefix_is_for_global_addresses(self, v4: str) -> None:
        well_known = View((Prefix.parse("64:ff9b::/96"), PREFIX))
        a_reply = reply(NAME, "A", answer=f"{NAME} 60 IN A {v4}")
        (found,) = lines(synthesis(view=well_known).concluded(NO_AAAA, a_reply))
        assert found.split()[4].startswith("2001:db8:ffff::")
        alone = View(well_known.prefixes[:1])
        assert synthesis(view=alone).concluded(NO_AAAA, a_reply) is NO_AAAA


class TestDnssec:
    """§5.5."""

    def test_1_and_2_synthetic_data_is_not_vouched_for(self) -> None:
        a_reply = reply(NAME, "A", answer=f"{NAME} 60 IN A 192.0.2.1", flags="QR RA AD")
        assert not synthesis(dnssec_ok=True).concluded(NO_AAAA, a_reply).flags & AD

    def test_2_what_the_server_calls_bogus_stays_a_failure(self) -> None:
        bogus = Answer(failed(SERVFAIL).message, bogus=True)
        assert not synthesis().needs_a(bogus)
        assert synthesis().concluded(bogus).rcode == SERVFAIL


class TestNames:
    """Rules by name; appendix A is about synthesis over real records."""

    REAL = reply(NAME, answer=f"{NAME} 60 IN AAAA 2001:db8::80")

    def options(self, **rules: str) -> Options:
        return Options(
            VIEW.prefixes,
            names={
                name(f"{owner.replace('_', '.')}."): Rule(rule) for owner, rule in rules.items()
            },
        )

    def test_never(self) -> None:
        assert not synthesis(self.options(example="never")).applies()
        assert not synthesis(self.options(www_example="never")).applies()
        assert synthesis(self.options(other="never")).applies()
        assert synthesis(self.options(ww_example="never", ample="never")).applies()

    def test_the_longest_domain_wins(self) -> None:
        assert synthesis(self.options(example="never", www_example="missing")).applies()
        assert not synthesis(self.options(example="always", www_example="never")).applies()

    def test_the_root_is_every_name(self) -> None:
        options = Options(VIEW.prefixes, names={b"\0": Rule.NEVER, name("example."): Rule.MISSING})
        assert synthesis(options).applies()
        assert not synthesis(options, owner="www.test.").applies()

    def test_case_makes_no_difference(self) -> None:
        assert not synthesis(self.options(example="never"), owner="WWW.EXAMPLE.").applies()

    def test_appendix_a_always(self) -> None:
        found = synthesis(self.options(example="always"))
        assert found.needs_a(self.REAL)
        assert lines(found.concluded(self.REAL, ONE_A)) == [MAPPED]

    def test_appendix_a_but_real_records_are_better_than_none(self) -> None:
        found = synthesis(self.options(example="always"))
        assert found.concluded(self.REAL, failed(SERVFAIL)) is self.REAL
        no_a = reply(NAME, "A")
        assert found.concluded(self.REAL, no_a) is self.REAL


def test_a_records_can_be_hidden() -> None:
    chain = f"{NAME} 300 IN CNAME cdn.example."
    found = without_a(reply(NAME, "A", answer=f"{chain}\ncdn.example. 60 IN A 192.0.2.1"))
    assert (found.rcode, lines(found)) == (NOERROR, [chain])
    assert found.lifetime == 60, "so that it need not be hidden again for every asker"


def test_hiding_nothing_changes_nothing() -> None:
    no_a = reply(NAME, "A", authority=SOA.format(ttl=300, minimum=300))
    assert without_a(no_a) is no_a
