"""Set-ups with a fault of a proxy, or on the way by it, and some in which nothing is broken."""

from __future__ import annotations

from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER
from tests.netns import explain_breaks as breaks
from tests.netns.explain_breaks import chain
from tests.netns.explain_setup import DNS, SMALL, USUAL, SetUp
from tests.netns.explain_site import CLOSED, DEAD, HOST_PORT, PROXY, RELAYED, Question
from tests.netns.flow_lab import OTHER_CLIENT

_PORTS = 'connect_ports = "1-65535"\n'
BY_PROXY = f'{SMALL}{DNS}[[proxy]]\nlisten = ":{PROXY}"\n{_PORTS}'
EVERYBODY = 'clients = ["2001:db8::/32", "192.0.2.0/24"]\n'
WITHOUT = SMALL + DNS
TO_CLIENT = Question(CLIENT, HOST_PORT, "proxy", SERVER)
"""From an IPv4 host to an IPv6 one."""


def ask(destination: str = SERVER, port: int = RELAYED, client: str = CLIENT) -> Question:
    """Return a question by the proxy."""
    return Question(destination, port, "proxy", client)


def tls(name: str) -> str:
    """Return a file with a proxy by TLS that has the certificate *name*."""
    files = f'tls_certificate = "{{directory}}/{name}.pem"\ntls_key = "{{directory}}/{name}.key"\n'
    return BY_PROXY + files


def ruled(*lines: str) -> str:
    """Return a file with a proxy and access rules."""
    listed = ", ".join(f'"{line}"' for line in lines)
    return f"{BY_PROXY}[access]\nrules = [{listed}]\n"


HEALTHY_BY_PROXY = (
    SetUp("proxy", "nothing: a proxy", "works", ask=ask(), file=BY_PROXY),
    SetUp(
        "proxy-dialled",
        "nothing: a proxy, asked for a name, dialled",
        "works",
        ask=ask("www.example"),
        file=BY_PROXY,
        dial=True,
    ),
    SetUp(
        "proxy-from-v4",
        "nothing: a proxy, an IPv4 client of an IPv6 server",
        "works",
        ask=TO_CLIENT,
        file=BY_PROXY,
        dial=True,
    ),
    SetUp(
        "proxy-two",
        "nothing: a proxy; a name's IPv6 address is dead, its IPv4 address is not",
        "works",
        ask=ask("two.example"),
        file=BY_PROXY,
        dial=True,
    ),
    SetUp(
        "proxy-two-denied",
        "nothing: a proxy; a rule denies one of the addresses of a name",
        "works",
        ask=ask("two.example"),
        file=ruled("::/0 deny 2001:db8:6::/64", "::/0 permit 0.0.0.0/0"),
    ),
    SetUp(
        "proxy-tls",
        "nothing: a proxy by TLS",
        "works",
        ask=Question(kind="tls"),
        file=tls("valid"),
    ),
    SetUp(
        "proxy-firewall",
        "nothing: a firewall that drops all but a proxy's port",
        "works",
        ask=ask("www.example"),
        file=BY_PROXY,
        broken=chain("input", f"{USUAL} tcp dport {PROXY} accept", policy="drop"),
    ),
)

TO_PROXY = (
    SetUp(
        "proxy-none",
        "no ``[[proxy]]`` in the file",
        "refused",
        "no-proxy",
        ask=ask(),
        file=WITHOUT,
        from_start=True,
    ),
    SetUp(
        "proxy-v4-only",
        "the proxy listens at an IPv4 address only, the client has IPv6",
        "refused",
        "proxy-elsewhere",
        ask=ask(),
        file=BY_PROXY.replace(f":{PROXY}", f"{GATEWAY_V4}:{PROXY}"),
        from_start=True,
    ),
    SetUp(
        "proxy-no-client",
        "the client is on no link of the gateway, and there are no ``clients``",
        "reset",
        "proxy-not-client",
        ask=ask(client=OTHER_CLIENT),
        file=BY_PROXY,
        from_start=True,
    ),
    SetUp(
        "proxy-clients",
        "``clients`` names networks, and the client is in none",
        "reset",
        "proxy-not-client",
        ask=ask(client=SERVER),
        file=BY_PROXY + 'clients = ["2001:db8::/32"]\n',
        from_start=True,
    ),
    SetUp(
        "proxy-firewall-in",
        "the firewall's ``input`` drops all, and forgets the proxy's port",
        "silence",
        "firewall-drops-client",
        ask=ask(),
        file=BY_PROXY,
        broken=chain("input", f"{USUAL} tcp dport 22 accept", policy="drop"),
        patience=1,
    ),
    SetUp(
        "proxy-dnat",
        "another program's DNAT takes the proxy's port",
        "refused",
        "foreign-dnat",
        ask=ask(),
        file=BY_PROXY,
        broken=chain(
            "prerouting", f"tcp dport {PROXY} dnat ip6 to [{GATEWAY_V6}]:9999", priority="-100"
        ),
    ),
    SetUp(
        "proxy-no-route-back",
        "the gateway has no route back to the proxy's client",
        "silence",
        "client-unreachable",
        ask=ask(client=OTHER_CLIENT),
        file=BY_PROXY + EVERYBODY,
        broken=breaks.no_route_to_other_client,
        patience=1,
    ),
    SetUp(
        "proxy-drains",
        "a faithd with a proxy drains",
        "reset or refused",
        "draining",
        ask=ask(),
        file=BY_PROXY,
        broken=breaks.drained,
    ),
    SetUp(
        "proxy-workers-hung",
        "every worker hangs, of a daemon with a proxy",
        "silence",
        "workers-hung",
        ask=ask(),
        file=BY_PROXY,
        broken=breaks.workers_stopped,
        patience=1,
    ),
    SetUp(
        "proxy-killed",
        "faithd was killed, and its proxy with it",
        "refused",
        "no-daemon",
        ask=ask(),
        file=BY_PROXY,
        broken=breaks.killed,
    ),
    SetUp(
        "proxy-limit",
        "``[limits] sessions_per_client`` is reached by a client of the proxy",
        "reset",
        "limit-client",
        ask=ask(),
        file=BY_PROXY + "[limits]\nsessions_per_client = 1\n",
        broken=breaks.held(CLIENT, 1),
    ),
    SetUp(
        "proxy-tls-ended",
        "the certificate of a proxy by TLS has ended",
        "certificate has expired",
        "proxy-certificate",
        ask=Question(kind="tls"),
        file=tls("ended"),
        from_start=True,
    ),
    SetUp(
        "proxy-port",
        "``connect_ports`` does not have the port, and there is no SOCKS",
        "403",
        "proxy-port-closed",
        ask=ask(port=22),
        file=BY_PROXY.replace(_PORTS, 'methods = ["connect"]\n'),
        from_start=True,
    ),
)

BY_IT = (
    SetUp(
        "proxy-dns-dead",
        "the servers that the proxy asks for names are dead",
        "502 name not resolved",
        "dns-servers-dead",
        ask=ask("host8.example"),
        file=BY_PROXY,
        broken=breaks.names_unanswered,
        from_start=True,
        patience=20,
    ),
    SetUp(
        "proxy-dns-rejected",
        "a rule in ``output`` rejects what the user of the workers asks name servers",
        "502 name not resolved",
        "dns-servers-dead",
        ask=ask("host9.example"),
        file=BY_PROXY,
        broken=chain("output", "meta skuid 65534 udp dport 53 reject"),
        from_start=True,
        patience=20,
    ),
    SetUp(
        "proxy-no-name",
        "the name that the proxy is asked for does not exist",
        "502 no such name",
        "name-not-found",
        ask=ask("nobody.example"),
        file=BY_PROXY,
        from_start=True,
    ),
    SetUp(
        "proxy-denied",
        "a rule denies the server to clients of the proxy",
        "403 denied by a rule",
        "denied-by-rule",
        ask=ask(),
        file=ruled(f"::/0 deny {SERVER}"),
        from_start=True,
    ),
    SetUp(
        "proxy-shadowed",
        "a rule permits the proxy's client, an earlier one denies more",
        "403 denied by a rule",
        "shadowed-rule",
        ask=ask(),
        file=ruled("::/0 deny 192.0.2.0/24", f"::/0 permit {SERVER}"),
        from_start=True,
    ),
    SetUp(
        "proxy-no-rule",
        "rules for IPv4 servers only: none permits the IPv6 server",
        "403 no rule permits it",
        "no-rule-permits",
        ask=TO_CLIENT,
        file=ruled("::/0 permit 0.0.0.0/0"),
        from_start=True,
    ),
    SetUp(
        "proxy-loopback",
        "the name leads to 127.0.0.1, which the proxy does not dial",
        "403 special destination",
        "safe-default",
        ask=ask("local.example"),
        file=BY_PROXY,
        from_start=True,
    ),
    SetUp(
        "proxy-own",
        "the proxy's client asks for the gateway's own address",
        "403 the gateway's own address",
        "safe-default",
        ask=ask(GATEWAY_V4, 22),
        file=BY_PROXY,
        from_start=True,
    ),
    SetUp(
        "proxy-no-route-out",
        "there is no route to the IPv6 server",
        "502 Network is unreachable",
        "no-route-out",
        ask=ask("2001:db8:99::1"),
        file=BY_PROXY,
        from_start=True,
    ),
    SetUp(
        "proxy-output",
        "a rule in ``output`` drops what the proxy sends to the server",
        "504 timeout",
        "output-firewall-drops",
        ask=ask(),
        file=BY_PROXY,
        broken=chain("output", f"ip daddr {SERVER} tcp dport {RELAYED} drop"),
    ),
    SetUp(
        "proxy-refused",
        "nothing listens on the port that the proxy is asked for",
        "502 refused",
        "server-refuses",
        ask=ask(port=CLOSED),
        file=BY_PROXY,
        dial=True,
        from_start=True,
    ),
    SetUp(
        "proxy-dead",
        "no host has the address that the proxy is asked for",
        "502 No route to host",
        "server-unreachable",
        ask=ask(DEAD),
        file=BY_PROXY,
        dial=True,
        from_start=True,
    ),
    SetUp(
        "proxy-both-dead",
        "no host has the only address of a name, which is of IPv6",
        "502 No route to host",
        "server-unreachable",
        ask=ask("v6.example"),
        file=BY_PROXY,
        dial=True,
        from_start=True,
    ),
)
