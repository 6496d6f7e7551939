"""The admin listener with reports of a test's choice instead of a daemon's."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

from msgspec.json import encode

from faith.daemon.config.listener_access import EVERYBODY
from faith.daemon.observe import health, own_numbers
from faith.daemon.observe.exposition import Exposition
from faith.daemon.observe.health import RelayHealth
from faith.daemon.observe.process_slots import ProcessSlots
from faith.daemon.process.messages import pair
from faith.daemon.services import page_files
from faith.daemon.services.admin import Visits, _listening, _serve
from faith.daemon.services.admin_pages import Pages
from faith.kernel.shared.shared_counters import Area

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

    from faith.daemon.config.listener_access import AdminAccess
    from faith.daemon.observe.status_report import Report
    from faith.daemon.services.latest_report import LatestReport


class Told:
    """The reports that *make* makes, each time somebody asks; None is no answer."""

    def __init__(self, make: Callable[[], Report | None]) -> None:
        self.make = make
        self.text = b""

    async def refresh(self) -> None:
        report = self.make()
        self.text = encode(report) if report else b""


class PageServer:
    """The listener on a free port of ``::1``, in a thread of its own, until `close`."""

    def __init__(
        self,
        make: Callable[[], Report | None],
        access: AdminAccess = EVERYBODY,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.told = Told(make)
        slots = ProcessSlots(Area([health.LAYOUT, own_numbers.LAYOUT], 1), [])
        condition = RelayHealth([0] * health.LAYOUT.size)
        report = cast("LatestReport", self.told)
        pages = Pages(Exposition(slots), condition, report, page_files.read(), access)
        self._sock = _listening("::1", 0)
        self.port = self._sock.getsockname()[1]
        self.url = f"http{'s' if context else ''}://[::1]:{self.port}/"
        self._ours, self._theirs = pair()
        serve = _serve(self._sock, pages, self._theirs, Visits(), context=context)
        self._thread = threading.Thread(target=asyncio.run, args=(_to_the_last(serve),))
        self._thread.start()

    def close(self) -> None:
        """End the thread and close the listener."""
        self._ours.close()
        self._thread.join(10)
        self._theirs.close()
        self._sock.close()


async def _to_the_last(serve: Coroutine[Any, Any, None]) -> None:
    """Serve, and let connections that were accepted at the end begin, so that they can end."""
    await serve
    for _ in range(5):
        await asyncio.sleep(0)
