"""Sets of TCP and UDP ports, as the SERVICE of faithd and ``--open`` spell them."""

from __future__ import annotations

from faith.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Ports:
    """An immutable set of ports 1 to 65535, kept as ascending ranges that do not touch."""

    __slots__ = ("ranges",)

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        merged: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = merged[-1][0], max(last, merged[-1][1])
            else:
                merged.append((first, last))
        self.ranges = tuple(merged)

    @classmethod
    def parse(
        cls, text: str, getservbyname: Callable[[str, str], int], protocol: str = "tcp"
    ) -> Ports:
        """Parse a comma-separated list of services of *protocol*, ports and ``first-last`` ranges.

        *getservbyname* is `socket.getservbyname`, or another function that raises OSError for an
        unknown name.  Raises ConfigError naming the part that cannot be read.
        """
        return cls([_range(part.strip(), getservbyname, protocol) for part in text.split(",")])

    def __contains__(self, port: int) -> bool:
        for first, last in self.ranges:  # a generator would take longer than the search
            if port <= last:
                return first <= port
        return False

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __and__(self, other: Ports) -> Ports:
        return Ports(
            (max(a, c), min(b, d))
            for a, b in self.ranges
            for c, d in other.ranges
            if max(a, c) <= min(b, d)
        )

    def __or__(self, other: Ports) -> Ports:
        return Ports(self.ranges + other.ranges)

    def __str__(self) -> str:
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in self.ranges)

    def __repr__(self) -> str:
        return f"Ports({list(self.ranges)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ports) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)


NO_PORTS = Ports(())
ALL_PORTS = Ports([(1, 65535)])


def _range(part: str, getservbyname: Callable[[str, str], int], protocol: str) -> tuple[int, int]:
    first, dash, last = part.partition("-")
    if first.isdigit() and dash and last.isdigit():
        low, high = _port(first), _port(last)
        if low > high:
            raise ConfigError(f"range {part} runs backwards; write {high}-{low}")
        return low, high
    if part.isdigit():
        return _port(part), _port(part)
    try:
        port = getservbyname(part, protocol)
    except (OSError, ValueError):  # the latter for a NUL, and for what is not UTF-8
        raise ConfigError(
            f"{part!r} is not a {protocol.upper()} service of this system, a port or a range"
            " (such as telnet, 80 or 8000-8100)"
        ) from None
    return port, port


def _port(text: str) -> int:
    if not (text.isascii() and len(text) <= 5 and 0 < int(text) <= 65535):
        raise ConfigError(f"port {text} is not between 1 and 65535")
    return int(text)
