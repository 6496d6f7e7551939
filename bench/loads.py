"""Work for a contender that is looked at while it works, and how much of it was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.bed import CONNECTIONS, HTTP, PAGE
from bench.contenders.proxies import Proxy
from bench.measures.asked import BY_CONNECT, BY_SOCKS5, FORWARDED, FORWARDED_ONCE, IN_TUNNEL
from bench.programs import IPERF3, NGINX, WRK

if TYPE_CHECKING:
    from bench.bed import Bed
    from bench.contenders.base import Contender, Running
    from bench.programs import Need
    from bench.scale import Scale

_ASKED = {one.name: one for one in (BY_CONNECT, BY_SOCKS5, FORWARDED, FORWARDED_ONCE, IN_TUNNEL)}
LOADS = ("connections", "requests", "bulk", *_ASKED)


class Done(NamedTuple):
    """*amount* of *what*."""

    amount: float
    what: str


def needs(load: str) -> tuple[Need, ...]:
    """What must be installed for one of `LOADS`."""
    if load in _ASKED:
        return _ASKED[load].needs
    return (IPERF3,) if load == "bulk" else (WRK, NGINX)


def suits(load: str, contender: Contender) -> bool:
    """Whether it is one that *contender* can be given."""
    if load in _ASKED:
        return _ASKED[load].suits(contender)
    return not isinstance(contender, Proxy)


def serve(bed: Bed, load: str) -> None:
    """Have the origin ready for it."""
    if load == "bulk":
        bed.serve_bulk()
    else:
        bed.serve_http()


def work(bed: Bed, running: Running, load: str, scale: Scale) -> Done:
    """Do it once."""
    if asked := _ASKED.get(load):
        way = running.way(asked.method, HTTP)
        visits = bed.visit(way, PAGE, CONNECTIONS, scale.load, keep=asked.keep)
        return Done(visits.requests, "request" if asked.keep else "connection")
    if load == "bulk":
        transfer = bed.transfer(running.target, scale.bulk, reverse=True)
        return Done(transfer.octets / 1e6, "MB")
    done = bed.request(running.target, scale.load, close=load == "connections")
    return Done(done.requests, load.removesuffix("s"))
