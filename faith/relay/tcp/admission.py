"""Admission by limits, in all and for a client: sessions at a time, and new ones a second.

The workers keep tables in memory that they share, so that the limits are those of all of them
together.  There is no lock: connections that reach several workers in the same instant may all be
the last one allowed, so that a limit is overrun by as many as there are workers, less one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from faith.errors import ConfigError
from faith.kernel.shared.shared_memory import SharedMemory
from faith.translation.address import IPV4_MAPPED, from_packed, packed, packed6
from faith.translation.reasons import (
    CLIENT,
    CLIENT_RATE,
    PREFIX,
    PREFIX_RATE,
    TOTAL,
    TOTAL_RATE,
)
from faith.translation.sketch import ALL, COUNTS, STAMPED, Pace, Presence, cells_of

if TYPE_CHECKING:
    from faith.translation.sketch import Cells

    Seat = tuple[Cells, Cells, Cells, Cells]
    """The cells that count a session: for all clients, its client, its prefix, and all these."""

MOST = 1 << 31
_WIDTH = 8  # octets of a cell
_V4_HEAD = packed6(IPV4_MAPPED)[:12]
REMEMBERED = 8192
"""Clients whose cells are kept at hand; when there are more, all are forgotten at once."""


@dataclass(frozen=True)
class Limits:
    """Limits of the sessions of clients; 0 for no limit.

    *sessions* is the number at a time, *rate* the number of new ones a second: of all clients, of
    one address, and of the *prefix_length* first bits of it.  *burst* is in seconds: as many new
    sessions as a rate allows in that time may come at once.  Running local servers count as
    sessions; *local_servers* is how many there may be, of which each client has a share.
    """

    sessions: int = 0
    sessions_per_client: int = 0
    sessions_per_prefix: int = 0
    rate: float = 0.0
    rate_per_client: float = 0.0
    rate_per_prefix: float = 0.0
    burst: float = 5.0
    prefix_length: int = 64
    local_servers: int = 256

    def __post_init__(self) -> None:
        """Raise ConfigError for what makes no sense."""
        for field in fields(self):
            if not 0 <= getattr(self, field.name) < MOST:
                raise ConfigError(f"{field.name} is a number from 0 to {MOST - 1}")
        if not 0 < self.prefix_length <= 128:
            raise ConfigError("a prefix has a length from 1 to 128")
        for rate in (self.rate, self.rate_per_client, self.rate_per_prefix):
            if rate and rate * self.burst < 1:
                raise ConfigError(
                    f"{rate:g} new sessions a second are none in a burst of {self.burst:g} s"
                )

    def __bool__(self) -> bool:
        """Return whether there is any limit."""
        return any(
            (
                self.sessions,
                self.sessions_per_client,
                self.sessions_per_prefix,
                self.rate,
                self.rate_per_client,
                self.rate_per_prefix,
            )
        )


_ONE = 0.999  # session must fit: of a bucket that was full, something is left for ever

NO_LIMITS = Limits()


class Tables:
    """Tables of the clients' sessions in shared memory, a part for each of *places* processes.

    A page of it exists once something is counted in it: 3 MiB a process at most.
    """

    def __init__(self, places: int) -> None:
        self._memory = SharedMemory("faith-clients", (COUNTS + STAMPED) * _WIDTH, places)
        parts = [self._memory.part(place) for place in range(places)]
        end = (COUNTS + STAMPED) * _WIDTH
        self.counts = [part[: COUNTS * _WIDTH].cast("q") for part in parts]
        self.stamped = [part[COUNTS * _WIDTH : end].cast("d") for part in parts]

    def enter(self, place: int | None) -> None:
        """In a forked process: write what is of *place*, or nothing, and read the others."""
        self._memory.enter(place)

    def clear(self, place: int) -> None:
        """The process of that *place* is dead, and its sessions with it."""
        self.counts[place][:] = memoryview(bytes(COUNTS * _WIDTH)).cast("q")


class Admission:
    """Judges by *limits* whether there may be one more session in the process of a *place*."""

    def __init__(self, limits: Limits, tables: Tables, place: int) -> None:
        self._tables = tables
        self._place = place
        self._presence = Presence(tables.counts, place)
        self.limit(limits)

    def limit(self, limits: Limits) -> None:
        """Judge by other *limits* from now on; what is there is not forgotten."""
        self.limited = bool(limits)
        self._pace = Pace(self._tables.stamped, self._place, limits.burst)
        self._length = limits.prefix_length
        self._seats: dict[str, Seat] = {}
        self._most = _rules(
            (TOTAL, limits.sessions),
            (CLIENT, limits.sessions_per_client),
            (PREFIX, limits.sessions_per_prefix),
        )
        self._fastest = _rules(
            (TOTAL_RATE, limits.rate * limits.burst),
            (CLIENT_RATE, limits.rate_per_client * limits.burst),
            (PREFIX_RATE, limits.rate_per_prefix * limits.burst),
        )

    def refuses(self, client: str, now: float) -> str | None:
        """Return the reason to refuse a session of *client*, an address; None to admit it."""
        return self.too_many(client) or self.too_fast(client, now)

    def too_fast(self, client: str, now: float) -> str | None:
        """Return the reason to refuse it for the rate of sessions, whatever their number is."""
        seat = self.seat(client)
        for part, why, most in self._fastest:
            if self._pace.exceeds(seat[part], most - _ONE, now):
                return why
        return None

    def too_many(self, client: str) -> str | None:
        """Return the reason to refuse it for the number of sessions, whatever the rate is."""
        seat = self.seat(client)
        for part, why, most in self._most:
            if self._presence.reaches(seat[part], most):
                return why
        return None

    def pass_on(self, client: str, now: float) -> None:
        """A session of *client* begins that another process counts, by `keep`."""
        if self._fastest:
            self._pace.add(self.seat(client)[-1], now)

    def take(self, client: str, now: float) -> Seat:
        """A session of *client* begins; `leave` is to be called with what is returned."""
        self.pass_on(client, now)
        return self.keep(client)

    def keep(self, client: str) -> Seat:
        """The same for one that is not new, and was not counted here."""
        seat = self.seat(client)
        self._presence.change(seat[-1], 1)
        return seat

    def leave(self, seat: Seat) -> None:
        """The session that took *seat* is over."""
        self._presence.change(seat[-1], -1)

    def seat(self, client: str) -> Seat:
        """Return the cells that count the sessions of *client*, an address as text."""
        seat = self._seats.get(client)
        if seat is None:
            if len(self._seats) >= REMEMBERED:
                self._seats.clear()
            address, length = _known(client, self._length)
            prefix = from_packed(address) >> (128 - length)
            own, whole = cells_of(address), cells_of(prefix.to_bytes(17, "big"))
            seat = self._seats[client] = ALL, own, whole, ALL + own + whole
        return seat


def _known(client: str, length: int) -> tuple[bytes, int]:
    """The IPv6 address that stands for *client* here, and the *length* of its prefix.

    An IPv4 address has a prefix to itself: behind one there are as many as in a subnet of IPv6.
    """
    if ":" in client:
        return packed(client), length
    return _V4_HEAD + packed(client), 128


def _rules(*rules: tuple[str, float]) -> list[tuple[int, str, float]]:
    """Return the rules that set a limit, each with the part of a seat that it applies to."""
    return [(part, why, most) for part, (why, most) in enumerate(rules) if most]
