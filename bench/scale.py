"""How long and how many: the sizes of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes of every measure, and what else holds for all; times in seconds.

    *fresh*: every figure has a network of its own, without the TIME_WAITs of those before.
    *settle* is waited before memory is read, as the kernel frees some of it late.  *file* is in
    octets.  *steps* are the numbers of open sessions, rules and prefixes at which growth is
    measured.
    """

    congestion: str = "cubic"
    fresh: bool = True
    rounds: int = 3
    load: float = 3.0
    bulk: tuple[str, ...] = ("-t", "4")
    far: tuple[str, ...] = ("-t", "15")
    pings: int = 20_000
    pinging: float = 8.0
    file: int = 10**9
    sessions: int = 8_000
    most_sessions: int = 10_000
    idle: float = 5.0
    settle: float = 0.3
    calls: int = 3_000
    spawns: int = 40
    steps: tuple[int, int, int] = (1, 100, 10_000)


FULL = Scale()
QUICK = Scale(
    fresh=False,
    rounds=1,
    load=0.1,
    bulk=("-n", "4M"),
    far=("-n", "50K"),
    pings=20,
    file=10**6,
    sessions=40,
    most_sessions=50,
    idle=0.1,
    settle=0.02,
    calls=20,
    spawns=2,
    steps=(1, 2, 4),
)
