"""Replies of SOCKS5 by reason (RFC 1928 §6)."""

from __future__ import annotations

import pytest

from faith.proxy.socks_replies import reply5
from faith.translation import reasons


@pytest.mark.parametrize(
    ("why", "reply"),
    [
        *((why, 2) for why in reasons.POLICY),
        (reasons.PORT_CLOSED, 2),
        (f"{reasons.UNREACHABLE}: Network is unreachable", 3),
        (f"{reasons.UNREACHABLE}: No route to host", 4),
        (reasons.UNREACHABLE, 4),
        (reasons.NO_NAME, 4),
        (reasons.NAME_FAILED, 4),
        (reasons.REFUSED, 5),
        (reasons.TIMEOUT, 6),
        *((why, 1) for why in reasons.LIMITS),
        (reasons.SHED, 1),
        ("something new", 1),
    ],
)
def test_a_reason_has_its_reply(why: str, reply: int) -> None:
    assert reply5(why) == reply
