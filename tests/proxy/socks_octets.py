"""Messages of SOCKS, as clients send them and as they receive them."""

from __future__ import annotations

NO_METHODS = b"\x05\xff"
ANYONE = b"\x05\x00"
BY_PASSWORD = b"\x05\x02"
NOWHERE = b"\x01\0\0\0\0\0\0"


def methods(*offered: int) -> bytes:
    return bytes((5, len(offered), *offered))


def password(name: bytes, secret: bytes) -> bytes:
    return b"\x01" + bytes((len(name),)) + name + bytes((len(secret),)) + secret


def request(command: int, address: bytes, port: int) -> bytes:
    return bytes((5, command, 0)) + address + port.to_bytes(2, "big")


def name(text: bytes) -> bytes:
    return b"\x03" + bytes((len(text),)) + text


def reply(field: int, bound: bytes = NOWHERE) -> bytes:
    return bytes((5, field, 0)) + bound


def request4(command: int, address: bytes, port: int, user: bytes = b"") -> bytes:
    return bytes((4, command)) + port.to_bytes(2, "big") + address + user + b"\0"


def reply4(code: int, port: int = 0, address: bytes = bytes(4)) -> bytes:
    return bytes((0, code)) + port.to_bytes(2, "big") + address
