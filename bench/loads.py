"""Work for a contender that is looked at while it works, and how much of it was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.programs import IPERF3, NGINX, WRK

if TYPE_CHECKING:
    from bench.bed import Bed
    from bench.programs import Program
    from bench.scale import Scale

LOADS = ("connections", "requests", "bulk")


class Done(NamedTuple):
    """*amount* of *what*."""

    amount: float
    what: str


def needs(load: str) -> tuple[Program, ...]:
    """What must be installed for one of `LOADS`."""
    return (IPERF3,) if load == "bulk" else (WRK, NGINX)


def serve(bed: Bed, load: str) -> None:
    """Have the origin ready for it."""
    if load == "bulk":
        bed.serve_bulk()
    else:
        bed.serve_http()


def work(bed: Bed, target: str, load: str, scale: Scale) -> Done:
    """Do it once."""
    if load == "bulk":
        transfer = bed.transfer(target, scale.bulk, reverse=True)
        return Done(transfer.octets / 1e6, "MB")
    done = bed.request(target, scale.load, close=load == "connections")
    return Done(done.requests, load.removesuffix("s"))
