"""Meetings of real clients and servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers.site import Meeting, Payload, Site, write_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host

PAYLOAD_SIZE = 200
"""In MiB."""


@pytest.fixture(scope="session")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Payload]:
    payload = write_payload(tmp_path_factory.mktemp("payload") / "payload", PAYLOAD_SIZE)
    yield payload
    payload.path.unlink()


@pytest.fixture
def meet(
    tmp_path: Path, need: Callable[[str], str], payload: Payload
) -> Callable[[Host, Host, str], Meeting]:
    """``meet(client, server, address)``: two hosts with directories of their own."""

    def site(host: Host) -> Site:
        directory = tmp_path / host.name
        directory.mkdir()
        return Site(host, directory, need)

    return lambda client, server, address: Meeting(site(client), site(server), address, payload)
