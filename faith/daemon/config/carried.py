"""Settings on their way to another process: dataclasses as JSON, checked when they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from faith.daemon.observe.checked_decoding import checked
from faith.translation.map import Map
from faith.translation.map_table import Maps
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix
from faith.translation.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Network = tuple[int, int]

_decoders: dict[Any, Callable[[str], Any]] = {}


class MapFields(msgspec.Struct, omit_defaults=True, gc=False):
    """A map, without its line, and without its *file* where nobody is to be shown it."""

    v4: Network
    v6: Network
    ports: Ports | None = None
    to_port: int | None = None
    protocols: frozenset[str] | None = None
    direction: str | None = None
    file: str | None = None

    @classmethod
    def of(cls, one: Map, file: str | None = None) -> MapFields:
        """Return the fields of a map, which is shown to be in *file*."""
        return cls(one.v4, one.v6, **one.said(), file=file)

    def map(self) -> Map:
        """Return the map.  Raises ConfigError."""
        rest = self.ports, self.to_port, self.protocols, self.direction, self.file
        return Map(self.v4, self.v6, *rest)


class _Form(NamedTuple):
    """The form in which a type of the program's own is carried, and the ways there and back."""

    form: Any
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


_Source = tuple[tuple[Network, ...], tuple[Network, ...], int, bool, bool]
_FORMS = {
    Ports: _Form(tuple[Network, ...], lambda ports: ports.ranges, Ports),
    Prefix: _Form(
        tuple[int, int, str],
        lambda prefix: (prefix.address, prefix.length, prefix.layout),
        lambda fields: Prefix(*fields),
    ),
    Maps: _Form(
        tuple[MapFields, ...],
        lambda maps: tuple(map(MapFields.of, maps)),
        lambda fields: Maps(one.map() for one in fields),
    ),
    Sources: _Form(tuple[_Source, ...], Sources.values, Sources.of),
}


def dumps(settings: object) -> str:
    """Return *settings* as text: dataclasses, values, `Ports`, `Prefix`, `Maps` and `Sources`."""
    return msgspec.json.encode(settings, enc_hook=_carried).decode()


def loads(text: str, kind: type[T]) -> T:
    """Return the settings of *kind* that `dumps` made *text* of.

    Raises ValueError for another form, and ConfigError for values that contradict each other.
    """
    found: T = decoder(kind)(text)
    return found


def decoder(kind: Any) -> Callable[[str], Any]:
    """Return what decodes *kind*, which takes a while to make: make it before fork(2)."""
    if kind not in _decoders:
        _decoders[kind] = checked(msgspec.json.Decoder(kind, dec_hook=_arrived).decode)
    return _decoders[kind]


def _carried(value: Any) -> Any:
    return _FORMS[type(value)].write(value)


def _arrived(kind: type[Any], value: Any) -> Any:
    form = _FORMS[kind]
    return form.read(checked(msgspec.convert)(value, form.form, dec_hook=_arrived))
