"""The set-ups for `faith explain`, and their table in docs/explain.rst."""

from __future__ import annotations

from faith.lab.topology import CLIENT, SERVER
from tests.faithd import WITHOUT_BPF
from tests.netns.explain_breaks import chain
from tests.netns.explain_setup import (
    HEAD,
    RELAY,
    RESERVE,
    SMALL,
    TO_FAR,
    TO_HOST,
    USUAL,
    WIDE,
    SetUp,
    rules,
)
from tests.netns.explain_setups_in import ACCESS, DAEMON, WAY_IN
from tests.netns.explain_setups_out import INWARD, LIMITS, NAMES, WAY_OUT
from tests.netns.explain_setups_proxy import BY_IT, HEALTHY_BY_PROXY, TO_PROXY
from tests.netns.explain_site import DEAD, ECHOED, FTP, RELAYED, TRANSLATED, Question
from tests.netns.flow_lab import OTHER_CLIENT

HEALTHY = (
    SetUp("relay", "nothing: the relay", "works"),
    SetUp("kernel-path", "nothing: the kernel path", "works", ask=Question(port=TRANSLATED)),
    SetUp("udp", "nothing: UDP", "works", ask=Question(port=ECHOED, kind="udp")),
    SetUp("ping", "nothing: ping", "works", ask=Question(kind="ping")),
    SetUp(
        "ping-rule",
        "nothing: a rule in ``input`` drops echo requests, which the daemon has taken before it",
        "works",
        ask=Question(kind="ping"),
        broken=chain("input", "icmpv6 type echo-request drop"),
    ),
    SetUp("map", "nothing: an IPv4 client, by a static map", "works", ask=TO_HOST),
    SetUp("ftp", "nothing: FTP", "works", ask=Question(port=FTP, kind="ftp")),
    SetUp("name", "nothing: a name without an AAAA record", "works", ask=Question("www.example")),
    SetUp("dialled", "nothing: the relay, dialled", "works", dial=True),
    SetUp("routed", "nothing: a server behind a router", "works", ask=TO_FAR, dial=True),
    SetUp(
        "firewall-passes",
        "nothing: a firewall that drops all but these ports",
        "works",
        broken=chain(
            "input",
            f"{USUAL} tcp dport {{ 22, {RELAYED} }} accept",
            policy="drop",
        ),
    ),
    SetUp(
        "firewall-other",
        "nothing: a firewall that drops other clients and ports",
        "works",
        broken=chain(
            "input", f"ip6 saddr {OTHER_CLIENT} drop; ip6 saddr {CLIENT} tcp dport 23 drop;"
        ),
    ),
    SetUp(
        "firewall-other-server",
        "nothing: a firewall on the way out that drops another server and port",
        "works",
        broken=chain("output", f"ip daddr {DEAD} drop; ip daddr {SERVER} tcp dport 23 drop"),
    ),
    SetUp(
        "other-rule",
        "nothing: a rule that denies another server",
        "works",
        file=rules(f"::/0 deny {DEAD}/32", "2001:db8::/32 permit 0.0.0.0/0"),
    ),
    SetUp(
        "layout",
        "nothing: a prefix of 48 bits, layout ``rfc6052``",
        "works",
        ask=Question(address="2001:db8:64:c000:2:5000::"),
        file=HEAD + f'[[prefix]]\naddress = "{WIDE}"\nlayout = "rfc6052"\n' + RELAY,
    ),
    *(
        SetUp(
            via,
            f'nothing: ``via = "{via}"``',
            "works",
            file=SMALL.replace(RESERVE, f'{RESERVE}via = "{via}"\n'),
        )
        for via in ("sk_lookup", "tproxy", "redirect")
    ),
    SetUp(
        "fallback",
        'nothing: ``path = "auto"`` without BPF, so the relay',
        "works",
        file=SMALL.replace(f',{FTP}"', '"\npath = "auto"'),
        by=WITHOUT_BPF,
    ),
    *HEALTHY_BY_PROXY,
)

BROKEN = (*WAY_IN, *DAEMON, *ACCESS, *LIMITS, *WAY_OUT, *INWARD, *NAMES, *TO_PROXY, *BY_IT)
ADMITTED: tuple[str, ...] = ()
"""Set-ups whose cause is not named, though never a wrong one with certainty: two at most."""


def table() -> str:
    """Return the table of all set-ups, as docs/explain.rst has it."""
    heads = "what is broken", "the client sees", "named", "asked with"
    rows = [heads, *map(_row, (*BROKEN, *HEALTHY))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = "  ".join("=" * width for width in widths)
    text = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([line, text[0], line, *text[1:], line]) + "\n"


def _row(set_up: SetUp) -> tuple[str, str, str, str]:
    cause = f"``{set_up.cause}``" if set_up.cause else "works"
    return set_up.fault, set_up.sees, cause, "``--dial``" if set_up.dial else "--"
