"""SOCKS4, and SOCKS4A, by which a client sends a name in place of an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.proxy import socks_replies
from faith.proxy.asked_target import BadTarget, endpoint, packed_endpoint
from faith.proxy.proxy_events import SOCKS4, Event, Target
from faith.proxy.socks_session import BIND, CONNECT, SocksSession, Stage
from faith.translation import address, reasons

if TYPE_CHECKING:
    from faith.proxy.proxy_rules import ProxyRules

_VERSION = b"\x04"
_FIXED = 8
"""Octets of a request before the user: version, command, port and address."""
_LONGEST = 255
"""Octets of a user and of a name, without the NUL behind them."""
_COMMANDS = frozenset((CONNECT, BIND))


class Socks4(SocksSession):
    """A client of SOCKS4: its user is not checked, as there is no password with it."""

    method = SOCKS4

    def __init__(self, rules: ProxyRules) -> None:
        super().__init__(rules, Stage.REQUEST)

    def user_checked(self, good: bool | None) -> list[Event]:
        """Raise RuntimeError: no user is ever asked about."""
        raise RuntimeError("SOCKS4 has no passwords")

    def _read(self) -> list[Event] | None:
        if not self.buffer.startswith(_VERSION[: len(self.buffer)]):
            return self._no(reasons.BAD_REQUEST)
        try:
            found = self._target()
        except BadTarget:
            return self._no(reasons.BAD_REQUEST)
        if found is None:
            return None
        (target, end), command = found, self.buffer[1]
        self._take(end)
        if SOCKS4 not in self.rules.methods:
            return self._no(reasons.NO_METHOD, target)
        if self.rules.needs_user:
            return self._no(reasons.NO_METHOD, target, socks_replies.WRONG_USER)
        if command not in _COMMANDS or (command == CONNECT and not target.port):
            return self._no(reasons.BAD_REQUEST, target)
        return self._request(command, target) or self._no(reasons.NO_METHOD, target)

    def _target(self) -> tuple[Target, int] | None:
        """Return what is asked for, and where the request ends; None while it is not whole."""
        buffer = self.buffer
        user_end = self._nul(_FIXED)
        if user_end is None:
            return None
        port, packed = int.from_bytes(buffer[2:4], "big"), bytes(buffer[4:_FIXED])
        if packed[:3] != b"\0\0\0" or packed[3] == 0:
            return packed_endpoint(packed, port), user_end + 1
        name_end = self._nul(user_end + 1)
        if name_end is None:
            return None
        return endpoint(bytes(buffer[user_end + 1 : name_end]), port), name_end + 1

    def _nul(self, start: int) -> int | None:
        """Return where the NUL is that ends the text at *start*, None if it has not come.

        Raises BadTarget for a text that is too long.
        """
        end = self.buffer.find(b"\0", start, start + _LONGEST + 1)
        if end < 0 and len(self.buffer) > start + _LONGEST:
            raise BadTarget(f"a text of more than {_LONGEST} octets")
        return end if end >= 0 else None

    def _no(
        self, why: str, target: Target | None = None, code: int = socks_replies.REJECTED
    ) -> list[Event]:
        return self._refuse(_reply(code), why, target)

    def _granted(self, host: str, port: int) -> bytes:
        return _reply(socks_replies.GRANTED, host, port)

    def _refusal(self, why: str) -> bytes:
        return _reply(socks_replies.REJECTED)


def _reply(code: int, host: str = "0.0.0.0", port: int = 0) -> bytes:
    packed = address.packed(host)
    if len(packed) != 4:  # the protocol has no place for an IPv6 address
        packed = packed[12:] if packed.startswith(bytes(10) + b"\xff\xff") else bytes(4)
    return bytes((0, code)) + port.to_bytes(2, "big") + packed
