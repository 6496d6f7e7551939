"""The table [metrics] of faith.toml(5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.cli import check
from faith.daemon.config import config
from faith.daemon.config.probe_settings import NO_PROBES, ProbeSettings
from faith.dns.endpoint import Endpoint
from faith.errors import ConfigError

if TYPE_CHECKING:
    from faith.daemon.config.settings import Settings

BASE = 'workers = 2\n[[service]]\nports = "80"\n[metrics]\n'


def read(lines: str) -> Settings:
    return config.read(BASE + lines, "faith.toml")


def test_without_probes_nothing_is_probed() -> None:
    assert read("").probes == NO_PROBES
    assert read('listen = "[::1]"').metrics == ("::1", 9064)


def test_every_probe_is_read() -> None:
    text = """
probe_routes = ["0.0.0.0/0", "198.51.100.7"]
probe_targets = ["192.0.2.1:443", "[2001:db8::1]:80"]
probe_dns = ["192.0.2.53", "[2001:db8::53]:5353"]
probe_name = "example.com"
probe_workers = 2
probe_interval = 5
probe_timeout = 0.5
"""
    assert read(text).probes == ProbeSettings(
        ((0, 0), (0xC6336407, 32)),
        (Endpoint("192.0.2.1", 443), Endpoint("2001:db8::1", 80)),
        (Endpoint("192.0.2.53", 53), Endpoint("2001:db8::53", 5353)),
        "example.com.",
        2,
        5.0,
        0.5,
    )


def test_the_probes_are_shown_by_faith_check() -> None:
    text = """
probe_routes = ["198.51.100.0/24"]
probe_targets = ["192.0.2.1:443"]
probe_dns = ["192.0.2.53"]
probe_workers = 1
"""
    (line,) = (one for one in check.lines(read(text)) if one.startswith("probes"))
    assert line == (
        "probes   a route to 198.51.100.0/24, TCP to 192.0.2.1:443,"
        " 192.0.2.53:53 answering for ., 1 worker answering"
    )
    assert not any(one.startswith("probes") for one in check.lines(read("")))


def test_a_short_interval_shortens_the_patience() -> None:
    assert read("probe_interval = 2").probes.timeout == 2.0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('probe_routes = ["10.0.0.0/33"]', "probe_routes"),
        ('probe_targets = ["192.0.2.1"]', "a target is ADDRESS:PORT"),
        ("probe_workers = 3", "from 1 to 2"),
        ("probe_interval = 0.5", "from 1 to 3600"),
        ("probe_interval = 2\nprobe_timeout = 3", "at most the 2 s"),
        ('probe_dns = ["192.0.2.53"]\nprobe_name = "a..b"', "this is no name"),
        ('probe_name = "example.com"', "probe_dns, which is missing"),
        (f"probe_targets = {['192.0.2.1:80'] * 17}", "16 at most"),
    ],
)
def test_a_mistake_is_named_with_its_line(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(line)
    assert caught.value.line == 4 + line.count("\n") + 1
