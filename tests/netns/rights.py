"""A function called without any capability."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_VERSION_3 = 0x20080522


def without_capabilities(function: Callable[[], T]) -> T:
    """Call *function* in a thread of this namespace with no capability left."""

    def run() -> T:
        header, nothing = (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, nothing) == 0
        return function()

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(run).result()
