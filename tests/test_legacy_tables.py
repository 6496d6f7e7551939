"""The tables of the legacy iptables as text: what iptables 1.8.9 made, and what it says of it."""

from __future__ import annotations

import base64
import zlib

import pytest

from faith.kernel.nft import legacy_tables

RULES = """:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:empty - [0:0]
:mine - [0:0]
-A INPUT -s {network} -i eth0 -p tcp -m tcp --dport 80:90 -j mine
-A INPUT -g mine
-A OUTPUT
-A OUTPUT -p tcp -m multiport --unread -j REJECT
-A mine ! -d {network} -o wlan+ -j DROP
-A mine -m conntrack --ctstate ESTABLISHED,NEW -j RETURN
-A mine -p udp -m udp ! --sport 53 -j LOG
-A mine -m limit --unread -j ACCEPT
-A mine -j RETURN"""
"""Of ``iptables-legacy-save`` itself, where it has not ``--unread``, and states in their order."""
CAPTURED = {
    "ip6": (
        {0: "INPUT", 672: "FORWARD", 880: "OUTPUT"},
        {464: "INPUT", 672: "FORWARD", 1376: "OUTPUT"},
        (
            r"c-m87<lVu52mA*DeDbL!83u&(<1>Jbfq@amz5!%2;ZSG5P?B80fZwJ7hA22sg8@Idz`-zB01J$<g5d%KF8>c"
            r"9|1eO)KmQ1%yMgi#3z`1;KS=$<L8gBkSO$k5kjsxB3<`|6{1d>CTbfgnS&&~;f=!x{k%<v!TE!kdL9Sk|&LI"
            r"Rd^)QL=!I>Xl;7*?mu0cWmLAdL!+=7xyhM@sK@y0-Ay!{?#@s^vJmr9CV3KX_)%5xI)v`N%2K!y5mFxD3Zj5"
            r"Bby&rUET=jY{>6eT8SW0Phce7Oo#ZEy|Q{3M9dZkE8)ZZ1v1*KRfiLQraBgy%mWe|KUUt3v>Mz!NSW3^|#(n"
            r"I$;&vho5kQSE@C*^VW*T>3po{WDrWLI8eQ1_l5WzjhM"
        ),
    ),
    "ip": (
        {0: "INPUT", 504: "FORWARD", 656: "OUTPUT"},
        {352: "INPUT", 504: "FORWARD", 1040: "OUTPUT"},
        (
            r"c-rG)fPnu{I<+LjfB_Hq4+41P*`V|Sh7$}-SmX^DN|Fm0@Y@i;5C!LHFyIFZ*cfO8Ag(W9n1R(F1LrOVirn="
            r"NfAmqsT`Xj{>pvab#X*L<G?;1Q9$4}?!0-aAy8;+;OLIyx3-XIfuxV#xWMae`|2X}@5ajCR>KuYgo|%F6>6K"
            r"$prq>Nv#T^)2gM$2naOz9VEhwpEpg#bGBLf-X_<N9sV{T?%Dj~DE(CR2;P@a>Rr%hV9B0x#`N$YaTf-!*+o4"
            r"ZahB<JVll@ui=XAea7B?B-b#oWNBQ$cvU<N=O$Nofkcc8Mtvf?}T$p00iT-SMbr8K6+#fx~|u3^|#(nI$;&v"
            r"GM{jQT52cw=c-ax4-G&uHjTJ<CkS%000ZaYH9"
        ),
    ),
}
NETWORKS = {"ip6": "2001:db8::/32", "ip": "10.0.0.0/8"}


@pytest.mark.parametrize("family", ["ip6", "ip"])
def test_the_rules_are_those_of_iptables(family: str) -> None:
    begin, policy, packed = CAPTURED[family]
    blob = zlib.decompress(base64.b85decode(packed))
    table = legacy_tables._Table(legacy_tables._FAMILIES[family], begin, policy, blob)
    assert "\n".join(table.lines()) == RULES.format(network=NETWORKS[family])


def test_a_kernel_without_tables_has_no_text() -> None:
    assert legacy_tables.names("no such family") == ()
