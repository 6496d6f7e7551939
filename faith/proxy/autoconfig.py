"""The file by which browsers find a proxy: proxy.pac, in JavaScript.

It does without functions of the browser, and without names looked up, which many do while the user
waits: what is a name goes by the proxy, unless it has no dot.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from faith.proxy.proxy_events import CONNECT, HTTP, SOCKS5
from faith.translation.address import IPV4_MAPPED, text4, text6

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.proxy.proxy_rules import ProxyRules

Network = tuple[int, int]
"""A network of 128 bits and the length of its prefix; IPv4 is IPv4-mapped."""

LOCAL: tuple[Network, ...] = (
    (IPV4_MAPPED | 0x7F000000, 104),
    (IPV4_MAPPED | 0xA9FE0000, 112),
    (1, 128),
    (0xFE80 << 112, 10),
)
"""Loopback and link-local networks, which no proxy reaches in a client's place."""

_TEXT = """\
// Where to connect by the proxy of a FAITH gateway, and where directly.
var NETWORKS = [%(networks)s
];
var CONNECT_PORTS = %(ports)s;
var DEFAULT_PORTS = {http: 80, https: 443, ws: 80, wss: 443};

function FindProxyForURL(url, host) {
  host = String(host).toLowerCase().replace(/^\\[|\\]$/g, "").replace(/\\.$/, "");
  return isDirect(host) ? "DIRECT" : proxiesFor(String(url));
}

function isDirect(host) {
  if (!/[.:]/.test(host) || /\\.local(host)?$/.test(host)) return true;
  var bits = bitsOf(host);
  for (var i = 0; bits && i < NETWORKS.length; i++) {
    if (bits.indexOf(NETWORKS[i]) === 0) return true;
  }
  return false;
}

function proxiesFor(url) {
  var found = /^([a-z]+):\\/\\/(?:[^\\/?#]*@)?(?:\\[[^\\]]*\\]|[^\\/?#:]*)(?::(\\d+))?/i.exec(url);
  var scheme = found ? found[1].toLowerCase() : "";
  var port = found && found[2] ? Number(found[2]) : DEFAULT_PORTS[scheme];
  var listed = false;
  for (var i = 0; i < CONNECT_PORTS.length; i++) {
    if (CONNECT_PORTS[i][0] <= port && port <= CONNECT_PORTS[i][1]) listed = true;
  }
  var proxies = [];
  if (scheme === "http") {
    if (%(http)s && (listed || port === 80 || port >= 1024)) proxies.push(%(proxy)s);
  } else if (%(connect)s && listed && DEFAULT_PORTS[scheme]) {
    proxies.push(%(proxy)s);
  }
  if (%(socks)s) proxies.push(%(socks5)s);
  return proxies.length ? proxies.join("; ") : "DIRECT";
}

// The 128 bits of an address, "" for a name.
function bitsOf(host) {
  var dotted = /^(.*:)?(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})$/.exec(host);
  if (dotted) {
    var high = 256 * dotted[2] + +dotted[3], low = 256 * dotted[4] + +dotted[5];
    host = (dotted[1] || "::ffff:") + high.toString(16) + ":" + low.toString(16);
  }
  if (!/^[0-9a-f:]*:[0-9a-f:]*$/.test(host)) return "";
  var halves = host.split("::"), left = groupsOf(halves[0]), right = groupsOf(halves[1] || "");
  while (halves.length === 2 && left.length + right.length < 8) left.push("0");
  var groups = left.concat(right), bits = "";
  if (groups.length !== 8 || halves.length > 2) return "";
  for (var i = 0; i < 8; i++) {
    bits += (65536 + parseInt(groups[i], 16)).toString(2).slice(1);
  }
  return bits.length === 128 ? bits : "";
}

function groupsOf(text) {
  return text ? text.split(":") : [];
}
"""


def autoconfig(host: str, port: int, rules: ProxyRules, direct: Iterable[Network] = ()) -> str:
    """Return the text of proxy.pac for the proxy that clients reach at *port* of *host*.

    Plain names, local addresses and *direct*, the networks that clients reach without the proxy
    (their own, and the gateway's prefixes), are connected directly.  *rules* say by which methods
    a client gets to which ports; browsers have no passwords for SOCKS.  *host* is a name or an
    address in text.
    """
    networks = dict.fromkeys([*LOCAL, *direct])
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return _TEXT % {
        "networks": ",".join(map(_entry, networks)),
        "ports": json.dumps(rules.connect_ports.ranges),
        "http": json.dumps(HTTP in rules.methods),
        "connect": json.dumps(CONNECT in rules.methods),
        "socks": json.dumps(SOCKS5 in rules.methods and not rules.needs_user),
        "proxy": json.dumps(f"PROXY {authority}"),
        "socks5": json.dumps(f"SOCKS5 {authority}"),
    }


def _entry(network: Network) -> str:
    """Return a network as its first bits, behind a line that has it as text."""
    start, length = network
    bits = format(start, "0128b")[:length]
    if length >= 96 and start >> 32 == IPV4_MAPPED >> 32:
        text = text4(start & 0xFFFFFFFF, length - 96)
    else:
        text = text6(start, length)
    return f'\n  // {text}\n  "{bits}"'
