"""``python -m bench.maps``: what many static maps cost; docs/maps.rst says what it means."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, TypeVar

from bench.table import number, table
from faith.daemon.config import config
from faith.daemon.config.policy import PolicyInputs, Rules
from faith.translation.address import text4, text6
from faith.translation.map import TCP, Map

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.translation.map_table import Maps

T = TypeVar("T")

NUMBERS = (1, 1000, 100_000)
ROUNDS = 5
LOOK_UPS = 100_000

_V4 = 198 << 24 | 18 << 16
_V6 = 0x20010DB8 << 96
_APART = 1 << 16
"""Between the IPv6 hosts."""


def main() -> None:
    """Measure, and print the table."""
    columns = [measured(count) for count in NUMBERS]
    rows = [[name, *(number(column[name], 2) for column in columns)] for name in columns[0]]
    print(table(["maps", *(f"{count:,}" for count in NUMBERS)], rows))


def measured(count: int) -> dict[str, float]:
    """The figures of so many maps, each of an address."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "maps")
        hosts = (f"{text4(_V4 + host)} {text6(_V6 + host * _APART)}\n" for host in range(count))
        file.write_text("".join(hosts))
        toml = f'[[service]]\nports = "80"\n[maps]\nfile = "{file}"\n'
        reading, settings = timed(lambda: config.read(toml, "faith.toml"))
    maps, rules = settings.maps, Rules("", "")
    carrying, _ = timed(
        lambda: PolicyInputs.loads(PolicyInputs(rules, (), (), maps).dumps()).policy()
    )
    look_ups = _to_v6(maps, count), _to_v4(maps, count)
    more = maps.changed([], [Map((_V4 + count, 32), (_V6 + count * _APART, 128))])
    change = PolicyInputs(rules, (), (), more).dumps(maps)
    changing, _ = timed(lambda: PolicyInputs.loads(change, maps).policy())
    return {
        "all are read [ms]": reading * 1e3,
        "all are given to a worker that serves [ms]": carrying * 1e3,
        "one more is, in the worker [ms]": changing * 1e3,
        "a connection from IPv4 is looked up [µs]": look_ups[0],
        "one from IPv6 is [µs]": look_ups[1],
    }


def _to_v6(maps: Maps, count: int) -> float:
    wanted = [_V4 + host for host in _some(count)]
    seconds, _ = timed(lambda: [maps.to_v6(address, TCP, 80) for address in wanted])
    return seconds / LOOK_UPS * 1e6


def _to_v4(maps: Maps, count: int) -> float:
    wanted = [_V6 + host * _APART for host in _some(count)]
    seconds, _ = timed(lambda: [maps.to_v4(address, TCP) for address in wanted])
    return seconds / LOOK_UPS * 1e6


def _some(count: int) -> list[int]:
    return random.Random(count).choices(range(count), k=LOOK_UPS)


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """The CPU seconds that *call* takes, the median of some, and what it returns."""
    times = [_once(call)[0] for _ in range(ROUNDS - 1)]
    last, result = _once(call)
    return median([*times, last]), result


def _once(call: Callable[[], T]) -> tuple[float, T]:
    start = process_time()
    result = call()
    return process_time() - start, result


if __name__ == "__main__":
    main()
