"""What is called back, waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


async def result_of(begin: Callable[..., Any], *arguments: object) -> Any:
    """What *begin* calls its last argument with.  An error is raised; it is cancelled as we are."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(result: object) -> None:
        if not future.done():
            future.set_result(result)

    under_way = begin(*arguments, done)
    try:
        result = await future
    except asyncio.CancelledError:
        under_way.cancel()
        raise
    if isinstance(result, Exception):
        raise result
    return result


class Later:
    """A call in *seconds*, in the next turn for 0, that can be cancelled."""

    def __init__(self, seconds: float, call: Callable[..., Any], *arguments: object) -> None:
        loop = asyncio.get_running_loop()
        self._handle = (
            loop.call_later(seconds, call, *arguments)
            if seconds
            else loop.call_soon(call, *arguments)
        )

    def cancel(self) -> None:
        self._handle.cancel()


async def until(condition: Callable[[], object]) -> None:
    """Wait for *condition*, five seconds at most."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)  # poll: the condition
    pytest.fail("it does not come about")
