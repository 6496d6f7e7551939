"""What only dnspython can do, and how its refusals are told."""

from __future__ import annotations

import pytest

from faith.dns import objects
from faith.dns.wire import CNAME, PTR, WireError
from tests.dns.messages import read, reply_wire

BROKEN = reply_wire("a.", answer="a. 60 IN CNAME b.")[:-1] + b"\x7f"


def test_data_has_its_names_written_out() -> None:
    message = reply_wire("a.example.", "PTR", answer="a.example. 60 IN PTR b.example.")
    assert objects.data_of(message, PTR) == [b"\1b\7example\0"]
    assert objects.data_of(message, CNAME) == []


def test_what_goes_takes_its_signatures_along() -> None:
    signature = "a. 60 IN RRSIG {} 13 1 60 20300101000000 20200101000000 1 a. AAAA"
    message = reply_wire(
        "a.",
        answer=f"a. 60 IN AAAA ::1\na. 60 IN AAAA ::2\n{signature.format('AAAA')}\n"
        f"{signature.format('TXT')}",
        flags="QR AD",
    )
    found = read(objects.without(message, 28, lambda data: data[-1] == 1))
    assert [(rrset.rdtype, rrset.covers) for rrset in found.answer] == [(28, 0), (46, 16)]
    assert found.flags == 0x8000
    kept = read(objects.without(message, 28, lambda data: False))
    assert kept.answer == read(message).answer
    assert kept.flags == 0x8020


@pytest.mark.parametrize(
    "use",
    [
        objects.without_edns,
        lambda message: objects.synthesised(message, lambda _: [], 0),
        lambda message: objects.without(message, 1, lambda _: True),
        lambda message: objects.data_of(message, 1),
    ],
)
def test_what_it_makes_nothing_of_is_a_wire_error(use: object) -> None:
    with pytest.raises(WireError):
        use(BROKEN)  # type: ignore[operator]
