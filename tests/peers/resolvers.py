"""Real name servers: one with authority for a few zones, and recursive ones that ask it."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

from tests.dns.program import FAITH_DNS
from tests.faithd import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import Host

UNSIGNED = "example"
SIGNED = "signed"
REVERSE = "2.0.192.in-addr.arpa"
DISCOVERY = "ipv4only.arpa"
ZONES = (UNSIGNED, SIGNED, REVERSE, DISCOVERY)

_HEAD = """$TTL 300
@ SOA ns host 1 3600 1200 604800 60
@ NS ns
ns A 192.0.2.80
"""
_ZONE_TEXTS = {
    UNSIGNED: _HEAD
    + """v4 A 192.0.2.1
v4 A 192.0.2.2
v6 AAAA 2001:db8::80
both A 192.0.2.3
both AAAA 2001:db8::3
text TXT "neither"
deep.empty TXT "above it there is nothing"
chain CNAME link
link CNAME v4
chain6 CNAME both
broken CNAME nowhere
across CNAME v4.signed.
old DNAME example.
mapped A 192.0.2.4
mapped AAAA ::ffff:192.0.2.4
mixed A 192.0.2.5
mixed AAAA ::ffff:192.0.2.5
mixed AAAA 2001:db8::5
short 10 A 192.0.2.6
brief 2 A 192.0.2.8
long 3600 A 192.0.2.7
private A 10.0.0.1
loopback A 127.0.0.1
mail MX 10 v4
"""
    + "".join(f"large A 198.51.100.{n}\n" for n in range(1, 101)),
    SIGNED: _HEAD
    + """v4 A 192.0.2.11
v6 AAAA 2001:db8::11
forged A 192.0.2.12
hidden A 192.0.2.13
hidden AAAA 2001:db8::13
""",
    REVERSE: _HEAD.replace("ns A 192.0.2.80\n", "").replace(" ns", " ns.example.")
    + """80 PTR www.example.
81 CNAME 81.part
81.part PTR web.example.
""",
    DISCOVERY: _HEAD.replace("ns A 192.0.2.80\n", "").replace(" ns", " ns.example.")
    + "@ A 192.0.0.170\n@ A 192.0.0.171\n",
}
"""``forged`` and ``hidden`` get other addresses after they were signed, A and AAAA respectively."""


class Authority:
    """BIND with authority for the zones, on port 53 of *address*."""

    def __init__(
        self, host: Host, address: str, directory: Path, need: Callable[[str], str]
    ) -> None:
        self._directory = directory
        for name, text in _ZONE_TEXTS.items():
            (directory / name).write_text(text)
        self._sign(host, need)
        zones = "".join(f'zone "{name}" {{ type master; file "{name}"; }};\n' for name in ZONES)
        (directory / "authority.conf").write_text(
            f"""options {{
    directory "{directory}";
    listen-on {{ {address}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    pid-file none;
}};
controls {{ }};
{zones}"""
        )
        command = [need("named"), "-g", "-c", str(directory / "authority.conf")]
        with (directory / "authority.log").open("w") as log:
            process = host.popen(command, stderr=log)
        host.wait_listening(53, socket.AF_INET, "udp", program=process)

    def _sign(self, host: Host, need: Callable[[str], str]) -> None:
        """Sign a zone; then lie about two of its names."""
        make = [need("dnssec-keygen"), "-q", "-K", str(self._directory), "-a", "ECDSAP256SHA256"]
        key = host.run([*make, "-f", "KSK", SIGNED]).stdout.strip()
        host.run([*make, SIGNED])
        sign = [need("dnssec-signzone"), "-S", "-z", "-K", str(self._directory), "-o", SIGNED]
        host.run([*sign, "-f", SIGNED, str(self._directory / SIGNED)], cwd=self._directory)
        zone = self._directory / SIGNED
        text = zone.read_text().replace("192.0.2.12", "192.0.2.66")
        zone.write_text(text.replace("2001:db8::13", "2001:db8::66"))
        public = (self._directory / f"{key}.key").read_text()
        found = re.search(r"DNSKEY\s+(\d+ \d+ \d+) (.*)", public)
        assert found
        self.key = found[1], found[2].replace(" ", "")
        """The numbers of the DNSKEY record to trust, and the key."""


class Recursive:
    """The recursive servers of one host, each on the loopback address and a port of its own."""

    ADDRESS = "127.0.0.1"

    def __init__(
        self, host: Host, authority: Authority, directory: Path, need: Callable[[str], str]
    ) -> None:
        self._host = host
        self._authority = authority
        self._directory = directory
        self._need = need

    def unbound(self, port: int, prefix: str | None = None) -> None:
        """unbound, with its dns64 module if there is a *prefix*."""
        modules = "dns64 validator iterator" if prefix else "validator iterator"
        numbers, key = self._authority.key
        stubs = "".join(
            f'stub-zone:\n  name: "{zone}"\n  stub-addr: 192.0.2.80\n' for zone in ZONES
        )
        lines = [
            "server:",
            f"interface: {self.ADDRESS}@{port}",
            f"port: {port}",
            'chroot: ""',
            'username: ""',
            'pidfile: ""',
            f"directory: {self._directory}",
            "use-syslog: no",
            "do-ip6: no",
            "num-threads: 1",
            "qname-minimisation: no",
            f'module-config: "{modules}"',
            f'trust-anchor: "{SIGNED}. DNSKEY {numbers} {key}"',
            f'local-zone: "{REVERSE}." nodefault',
            'local-zone: "8.b.d.0.1.0.0.2.ip6.arpa." nodefault',
            *([f"dns64-prefix: {prefix}"] if prefix else []),
            "remote-control:\ncontrol-enable: no",
        ]
        file = self._directory / f"unbound.{port}"
        file.write_text("\n".join(lines) + f"\n{stubs}")
        self._start(port, [self._need("unbound"), "-d", "-c", str(file)])

    def bind(self, port: int, prefix: str) -> None:
        """BIND with ``dns64``."""
        (flags, protocol, algorithm), key = self._authority.key[0].split(), self._authority.key[1]
        zones = "".join(
            f'zone "{zone}" {{ type static-stub; server-addresses {{ 192.0.2.80; }}; }};\n'
            for zone in ZONES
        )
        file = self._directory / f"named.{port}"
        file.write_text(
            f"""options {{
    directory "{self._directory}";
    listen-on port {port} {{ {self.ADDRESS}; }};
    listen-on-v6 {{ none; }};
    dnssec-validation yes;
    empty-zones-enable no;
    pid-file none;
    session-keyfile none;
    dns64 {prefix} {{ }};
}};
controls {{ }};
trust-anchors {{ "{SIGNED}." static-key {flags} {protocol} {algorithm} "{key}"; }};
{zones}"""
        )
        self._start(port, [self._need("named"), "-g", "-c", str(file)])

    def faith(self, port: int, prefix: str, server: int, *options: str) -> None:
        """``faith dns``, which asks the one on port *server*."""
        listen, forward = f"{self.ADDRESS}:{port}", f"{self.ADDRESS}:{server}"
        command = ["-p", prefix, "--listen", listen, "--forward", forward, *options]
        self._start(port, [*FAITH_DNS, *command], env=ENVIRONMENT)

    def _start(self, port: int, command: list[str], **options: object) -> None:
        with (self._directory / f"log.{port}").open("w") as log:
            process = self._host.popen(command, stderr=log, **options)
        self._host.wait_listening(port, socket.AF_INET, "udp", program=process, seconds=10)
