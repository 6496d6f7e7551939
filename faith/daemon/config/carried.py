"""Settings on their way to another process: dataclasses as JSON, checked when they arrive."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from faith.translation.ports import Ports

T = TypeVar("T")

_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def dumps(settings: object) -> str:
    """Return *settings*, a dataclass of values, dataclasses and `Ports`, as text."""
    return msgspec.json.encode(settings, enc_hook=_ranges).decode()


def loads(text: str, kind: type[T]) -> T:
    """Return the settings of *kind* that `dumps` made *text* of.  Raises ValueError."""
    found: T = decoder(kind).decode(text)
    return found


def decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    """Return the decoder of *kind*, which takes a while to make: make it before fork(2)."""
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind, dec_hook=_ports)
    return _decoders[kind]


def _ranges(value: Any) -> Any:
    if isinstance(value, Ports):
        return value.ranges
    raise NotImplementedError(type(value))


def _ports(kind: type[Any], value: Any) -> Any:
    if kind is Ports:
        return Ports((first, last) for first, last in value)
    raise NotImplementedError(kind)
