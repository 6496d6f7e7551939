from __future__ import annotations

import ipaddress
import shlex
from pathlib import Path

from faith.translation.prefix import LOW32, Prefix

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_every_line_of_the_hosts_file_is_a_mapped_address() -> None:
    prefix, seen = None, 0
    for line in (EXAMPLES / "hosts.faith").read_text().splitlines():
        text, _, comment = line.partition("#")
        words = shlex.split(comment)
        if text:
            assert prefix, "the command that reserves the prefix comes first"
            mapped = ipaddress.IPv6Address(prefix.map(int(ipaddress.IPv4Address(words[0]))))
            assert ipaddress.IPv6Address(text.split()[0]) == mapped
            seen += 1
        elif words[:3] == ["faith", "-e", "-p"]:
            prefix = Prefix.parse(words[3], words[5] if words[4:] else LOW32)
    assert seen > 4
