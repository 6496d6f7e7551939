"""A set-up for `faith explain`, and the files of the daemons in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faith.lab.topology import CLIENT, GATEWAY_V6, PREFIX, SERVER
from tests.netns.explain_site import (
    CLOSED,
    FAR,
    FTP,
    HOST_PORT,
    MAPPED,
    NAME_SERVER,
    RELAYED,
    TRANSLATED,
    Question,
)
from tests.netns.flow_lab import OTHER_CLIENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.netns.explain_breaks import Break

HEAD = """
workers = 2
[metrics]
listen = "[::1]:9064"
[timeouts]
drain = 0
connect = 2
"""
RESERVE = f'[[prefix]]\naddress = "{PREFIX}"\n'
RELAY = f'[[service]]\nports = "{RELAYED}-{CLOSED},{FTP}"\n'
SERVICE = RELAY + f'[[service]]\nports = "{TRANSLATED}"\npath = "kernel"\n'
MAP = f'[[map]]\nv4 = "{MAPPED}"\nv6 = "{CLIENT}"\n'
DNS = f'[dns]\nlisten = ["[{GATEWAY_V6}]:53"]\nforward = ["{NAME_SERVER}"]\n'
DATAGRAMS = "[udp]\n[ping]\n"
BASE = HEAD + RESERVE + SERVICE + MAP + DNS + DATAGRAMS
SMALL = HEAD + RESERVE + RELAY
WELL_KNOWN = "64:ff9b::/96"
WIDE = "2001:db8:64::/48"
"""A prefix where the layouts differ."""
OTHER_PREFIX = "2001:db8:eeee::/96"
TO_FAR = Question(FAR, client=OTHER_CLIENT)
"""Of the client without a map, whose connections have the address of the link they leave by."""
TO_HOST = Question(MAPPED, HOST_PORT, client=SERVER)
USUAL = "iif lo accept; ct state established,related accept; meta l4proto ipv6-icmp accept;"
"""What most firewalls begin with."""
DROP, PORT = f"ip6 daddr {PREFIX} tcp dport {RELAYED} drop", f"tcp dport {RELAYED}"


def rules(*lines: str, more: str = "") -> str:
    """Return a file with access rules."""
    listed = ", ".join(f'"{line}"' for line in lines)
    return SMALL + more + f"[access]\nrules = [{listed}]\n"


def name(number: int) -> Question:
    """Return a question by a name of its own, which no cache has from another set-up."""
    return Question(f"host{number}.example")


@dataclass(frozen=True)
class SetUp:
    """A gateway in which one thing is wrong, or nothing: then there is no *cause*.

    *fault* is its line in the table, *sees* the outcome for the client of *ask*; *cause* is to be
    named.  *file* is the daemon's, "" for none, which is started *by* another program, and with
    *reserve* has its prefix from `faith -e`.  *broken* does it, to a set-up that has worked until
    then unless *from_start*.  With *dial*, `faith explain` may dial.  The client waits *patience*
    seconds for an answer.  Where it may be lucky, it has several *tries*.
    """

    id: str
    fault: str
    sees: str
    cause: str = ""
    ask: Question = field(default_factory=Question)
    broken: Break | None = None
    file: str = BASE
    by: Sequence[str] = ()
    reserve: bool = False
    dial: bool = False
    from_start: bool = False
    patience: float = 4.0
    tries: int = 1

    @property
    def options(self) -> list[str]:
        """The options of `faith explain`."""
        return ["--dial"] if self.dial else []
