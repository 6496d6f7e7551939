"""The two directions of translation: who begins is of one family, who is reached of the other."""

from __future__ import annotations

from faith.translation.address import V4, V6


class Direction:
    """A direction: clients of the family *client*, servers of the family *server* (V4 or V6).

    There are two values, compared by identity; tables of what differs by family have them, or
    their families, as keys.
    """

    __slots__ = ("client", "name", "server")

    def __init__(self, name: str, client: int, server: int) -> None:
        self.name = name
        self.client = client
        self.server = server

    def __repr__(self) -> str:
        return self.name


V6_TO_V4 = Direction("v6_to_v4", V6, V4)
"""From IPv6 clients to IPv4 hosts, by a prefix."""
V4_TO_V6 = Direction("v4_to_v6", V4, V6)
"""From IPv4 clients to IPv6 hosts, by a static map or a lease."""


def direction_to(mapped: str) -> Direction:
    """Return the direction of what comes to a mapped address, given as text."""
    return V6_TO_V4 if ":" in mapped else V4_TO_V6
