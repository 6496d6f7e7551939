"""The watch on interfaces, with those of a real kernel."""

from __future__ import annotations

import select
import subprocess
from contextlib import closing

import pytest

from faith.kernel.netlink.link_watch import LinkWatch

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def is_told(watch: LinkWatch, seconds: float = 5) -> bool:
    return bool(select.select([watch], [], [], seconds)[0])


def test_it_is_told_of_what_comes_changes_and_goes() -> None:
    with closing(LinkWatch.create()) as watch:
        watch.drain()
        assert not is_told(watch, 0)
        for words in (
            "link add one type veth peer name other",
            "link set one mtu 1400",
            "link delete one",
        ):
            ip(words)
            assert is_told(watch), words
            watch.drain()


def test_other_changes_are_none() -> None:
    with closing(LinkWatch.create()) as watch:
        watch.drain()
        ip("address add 192.0.2.9/32 dev lo")
        ip("route add local 198.51.100.0/24 dev lo")
        assert not is_told(watch, 0)
