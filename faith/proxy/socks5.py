"""SOCKS5: methods, user and password, request (RFC 1928, RFC 1929)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.proxy import socks_address, socks_replies
from faith.proxy.asked_target import BadTarget
from faith.proxy.proxy_events import SOCKS5, CheckUser, Event, Target, ToClient
from faith.proxy.socks_address import UnknownAddressType
from faith.proxy.socks_session import ASSOCIATE, BIND, CONNECT, SocksSession, Stage
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.proxy_rules import ProxyRules

_VERSION = b"\x05"
_ANYONE, _PASSWORD, _NO_METHOD = b"\x00", b"\x02", b"\xff"
_SUBNEGOTIATION = b"\x01"
_GOOD, _WRONG = b"\x01\x00", b"\x01\x01"
_COMMANDS = frozenset((CONNECT, BIND, ASSOCIATE))
_NOWHERE = "0.0.0.0", 0
_ANY = Target(*_NOWHERE, True)


class Socks5(SocksSession):
    """A client of SOCKS5."""

    method = SOCKS5

    def __init__(self, rules: ProxyRules) -> None:
        super().__init__(rules, Stage.METHODS)

    def user_checked(self, good: bool | None) -> list[Event]:
        """Return the events for the answer to CheckUser: None is a user that was not looked at."""
        if not good:
            return self._refuse(_WRONG, reasons.WRONG_PASSWORD)
        self.stage = Stage.REQUEST
        return [ToClient(_GOOD), *self._run()]

    def _read(self) -> list[Event] | None:
        match self.stage:
            case Stage.METHODS:
                return self._methods()
            case Stage.PASSWORD:
                return self._password()
            case _:
                return self._asked()

    def _methods(self) -> list[Event] | None:
        buffer = self.buffer
        if not buffer.startswith(_VERSION[: len(buffer)]):
            return self._bad_request(_VERSION + _NO_METHOD)
        if len(buffer) < 2 or len(buffer) < 2 + buffer[1]:
            return None
        offered = bytes(buffer[2 : 2 + buffer[1]])
        self._take(2 + len(offered))
        if SOCKS5 in self.rules.methods:
            if _ANYONE in offered and not self.rules.needs_user:
                self.stage = Stage.REQUEST
                return [ToClient(_VERSION + _ANYONE)]
            if _PASSWORD in offered:
                self.stage = Stage.PASSWORD
                return [ToClient(_VERSION + _PASSWORD)]
        return self._refuse(_VERSION + _NO_METHOD, reasons.NO_METHOD)

    def _password(self) -> list[Event] | None:
        buffer = self.buffer
        if not buffer.startswith(_SUBNEGOTIATION[: len(buffer)]):
            return self._bad_request(_WRONG)
        if len(buffer) < 2:
            return None
        name_end = 2 + buffer[1]
        if len(buffer) <= name_end:
            return None
        end = name_end + 1 + buffer[name_end]
        if len(buffer) < end:
            return None
        name = buffer[2:name_end].decode("utf-8", "replace")
        password = bytes(buffer[name_end + 1 : end])
        self._take(end)
        if not self.rules.needs_user:  # a client that offers nothing else is welcome too
            self.stage = Stage.REQUEST
            return [ToClient(_GOOD)]
        self.stage = Stage.USER
        return [CheckUser(name, password)]

    def _asked(self) -> list[Event] | None:
        buffer = self.buffer
        if not buffer.startswith(_VERSION[: len(buffer)]):
            return self._bad_request(_reply(socks_replies.FAILED))
        try:
            found = socks_address.read(buffer, 3)
        except UnknownAddressType:
            return self._bad_request(_reply(socks_replies.NO_TYPE))
        except BadTarget:
            if buffer[1] != ASSOCIATE:
                return self._bad_request(_reply(socks_replies.FAILED))
            # Where it sends from need not be right: PySocks says that it is a host called "0".
            found = _ANY, socks_address.end_of_name(buffer, 3)
        if found is None:
            return None
        (target, end), command = found, buffer[1]
        self._take(end)
        if command not in _COMMANDS:
            reply = _reply(socks_replies.NO_COMMAND)
            return self._refuse(reply, reasons.BAD_REQUEST, target)
        if command == CONNECT and not target.port:
            reply = _reply(socks_replies.FAILED)
            return self._refuse(reply, reasons.BAD_REQUEST, target)
        refusal = _reply(socks_replies.NO_COMMAND)
        return self._request(command, target) or self._refuse(refusal, reasons.NO_METHOD, target)

    def _bad_request(self, reply: bytes) -> list[Event]:
        return self._refuse(reply, reasons.BAD_REQUEST)

    def _granted(self, host: str, port: int) -> bytes:
        return _reply(socks_replies.SUCCEEDED, (host, port))

    def _refusal(self, why: str) -> bytes:
        return _reply(socks_replies.reply5(why))


def _reply(field: int, bound: tuple[str, int] = _NOWHERE) -> bytes:
    return _VERSION + bytes((field, 0)) + socks_address.made(*bound)
