"""Ports by name, and a guess at what a misspelt name means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.errors import ConfigError
from faith.kernel.sockets import service_names

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "protocol", "guess"),
    [
        ("telnt", "tcp", "; is telnet meant?"),
        ("80,htps", "tcp", "; is https meant?"),
        ("domian", "udp", "; is domain meant?"),
        ("quux", "tcp", ""),
        ("99999", "tcp", ""),
    ],
)
def test_a_misspelt_name_gets_a_guess(text: str, protocol: str, guess: str) -> None:
    with pytest.raises(ConfigError) as told:
        service_names.ports(text, protocol)
    assert told.value.message.endswith(guess or told.value.message[-5:])
    assert ("meant?" in told.value.message) == bool(guess)


def test_names_ports_and_ranges_are_read() -> None:
    assert str(service_names.ports("telnet, 80,8000-8100")) == "23,80,8000-8100"


def test_without_a_list_of_services_there_is_no_guess(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service_names, "SERVICES", tmp_path / "none")
    with pytest.raises(ConfigError, match="'telnt' is not a TCP service") as told:
        service_names.ports("telnt")
    assert "meant?" not in told.value.message
