"""Where the body of an HTTP/1.1 message ends (RFC 9112 §6.3, §7.1).

A body takes its octets off a buffer, and gives those to send on.  Chunks are framed anew, without
extensions: a server reads the same lengths as the proxy did, whatever it makes of odd ones.
"""

from __future__ import annotations

import re
from typing import Any

from faith.proxy import http_head
from faith.proxy.hop_by_hop import trailing
from faith.proxy.http_head import BadMessage, Field, HeadReader, values

UNBOUNDED = 1 << 62
"""The octets that may be moved of a body that ends with its connection."""
_LINE = 1024
"""Octets of the line before a chunk, extensions and line end included."""
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")
_LINE_END = b"\r\n"


class KnownLength:
    """A body of *left* octets, 0 for none."""

    def __init__(self, left: int) -> None:
        self.movable = left

    @property
    def over(self) -> bool:
        """Return whether the body has come whole."""
        return self.movable == 0

    def feed(self, buffer: bytearray) -> bytes:
        """Take what *buffer* has of the body, and return what to send on."""
        taken = bytes(buffer[: self.movable])
        del buffer[: self.movable]
        self.movable -= len(taken)
        return taken

    def moved(self, count: int) -> None:
        """Count octets that were moved past the buffer."""
        self.movable -= count

    def state(self) -> list[Any]:
        """Return the state for `restored`, fit for JSON."""
        return ["length", self.movable]


class UntilClose:
    """A body that ends with its connection."""

    movable = UNBOUNDED
    over = False

    def feed(self, buffer: bytearray) -> bytes:
        """Take all of *buffer*, and return it."""
        taken = bytes(buffer)
        buffer.clear()
        return taken

    def moved(self, count: int) -> None:
        """Count nothing: there is no length to be reached."""

    def state(self) -> list[Any]:
        """Return the state for `restored`, fit for JSON."""
        return ["close"]


class Chunked:
    """A body in chunks; if *bare*, its content alone is sent on, for a peer of HTTP/1.0."""

    def __init__(self, *, bare: bool = False, phase: str = "size", left: int = 0) -> None:
        self.bare = bare
        self.movable = left
        self._phase = phase
        self._trailer_reader = HeadReader(of_requests=False)

    @property
    def over(self) -> bool:
        """Return whether the body has come whole, with its trailer section."""
        return self._phase == "over"

    def feed(self, buffer: bytearray) -> bytes:
        """Take what *buffer* has of the body, and return what to send on.

        Raises BadMessage for what is at the beginning of *buffer*; before what is bad further on,
        what is good is returned.
        """
        out = bytearray()
        while not self.over:
            try:
                piece = getattr(self, f"_{self._phase}")(buffer)
            except BadMessage:
                if out:
                    break
                raise
            if piece is None:
                break
            out += piece
        return bytes(out)

    def moved(self, count: int) -> None:
        """Count octets of a chunk that were moved past the buffer."""
        self.movable -= count
        if self.movable == 0:
            self._phase = "line_end"

    def state(self) -> list[Any]:
        """Return the state for `restored`, fit for JSON."""
        return ["chunked", self.bare, self._phase, self.movable]

    def _framing(self, octets: bytes) -> bytes:
        return b"" if self.bare else octets

    def _size(self, buffer: bytearray) -> bytes | None:
        end = buffer.find(b"\n", 0, _LINE) + 1
        if end == 0:
            if len(buffer) >= _LINE:
                raise BadMessage(f"the line before a chunk is longer than {_LINE} octets")
            return None
        found = _CHUNK.fullmatch(buffer, 0, end)
        if found is None:
            raise BadMessage("the size of a chunk is malformed (RFC 9112 section 7.1)")
        size = int(found[1], 16)
        if size >= UNBOUNDED:
            raise BadMessage("a chunk is larger than any body")
        del buffer[:end]
        self.movable = size
        self._phase = "data" if size else "trailers"
        return self._framing(b"%x\r\n" % size) if size else b""

    def _data(self, buffer: bytearray) -> bytes | None:
        if not buffer:
            return None
        taken = bytes(buffer[: self.movable])
        del buffer[: self.movable]
        self.moved(len(taken))
        return taken

    def _line_end(self, buffer: bytearray) -> bytes | None:
        if not buffer.startswith(_LINE_END[: len(buffer)]):
            raise BadMessage("a chunk is longer than its size (RFC 9112 section 7.1)")
        if len(buffer) < len(_LINE_END):
            return None
        del buffer[: len(_LINE_END)]
        self._phase = "size"
        return self._framing(_LINE_END)

    def _trailers(self, buffer: bytearray) -> bytes | None:
        if buffer.startswith(_LINE_END):
            del buffer[: len(_LINE_END)]
            fields: list[Field] = []
        elif (section := self._trailer_reader.take(buffer)) is None:
            return None
        else:
            buffer[:0] = section  # it stays until it is known to be good
            fields = trailing(http_head.trailers(section))
            del buffer[: len(section)]
        self._phase = "over"
        lines = b"".join(b"%s: %s\r\n" % field for field in fields)
        return self._framing(b"0\r\n" + lines + _LINE_END)


Body = KnownLength | UntilClose | Chunked


def restored(state: list[Any]) -> Body:
    """Return the body whose state it is."""
    match state:
        case ["length", left]:
            return KnownLength(left)
        case ["chunked", bare, phase, left]:
            return Chunked(bare=bare, phase=phase, left=left)
        case _:
            return UntilClose()


def of_request(fields: tuple[Field, ...], minor: int) -> KnownLength | Chunked:
    """Return the body of a request of HTTP/1.*minor*.  Raises BadMessage for two framings."""
    return _framed(fields, minor) or KnownLength(0)


def of_response(fields: tuple[Field, ...], minor: int, *, is_empty: bool, bare: bool) -> Body:
    """Return the body of a response of HTTP/1.*minor*.  Raises BadMessage for two framings.

    It *is_empty* as an answer to HEAD or by its status, whatever its fields say.
    """
    framed = _framed(fields, minor)
    if is_empty:
        return KnownLength(0)
    if isinstance(framed, Chunked):
        framed.bare = bare
    return framed or UntilClose()


def _framed(fields: tuple[Field, ...], minor: int) -> KnownLength | Chunked | None:
    lengths = values(fields, b"content-length")
    if values(fields, b"transfer-encoding"):  # no other coding has passed
        if lengths:
            raise BadMessage("both Content-Length and Transfer-Encoding (RFC 9112 section 6.1)")
        if minor == 0:
            raise BadMessage("Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1)")
        return Chunked()
    return KnownLength(int(lengths[0])) if lengths else None
