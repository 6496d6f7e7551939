"""The name of a proxy in Via that no other has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from faith.daemon.config import proxy_pseudonym
from faith.daemon.config.proxy_pseudonym import usual
from faith.proxy.proxy_rules import PSEUDONYM

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_stays_the_same_and_is_one() -> None:
    assert usual("::", 1080) == usual("::", 1080)
    assert PSEUDONYM.fullmatch(usual("::", 1080))
    assert os.uname().nodename not in usual("::", 1080)


def test_every_proxy_has_its_own() -> None:
    places = [("::", 1080), ("::", 1081), ("192.0.2.1", 1080)]
    assert len({usual(*place) for place in places}) == 3


def test_every_gateway_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("a", "b"):
        file = tmp_path / name
        file.write_text(f"{name}\n")
        monkeypatch.setattr(proxy_pseudonym, "MACHINE_ID", str(file))
        found.append(usual("::", 1080))
    monkeypatch.setattr(proxy_pseudonym, "MACHINE_ID", str(tmp_path / "none"))
    found.append(usual("::", 1080))
    monkeypatch.setattr(proxy_pseudonym, "_NETWORK", str(tmp_path / "none"))
    found.append(usual("::", 1080))
    assert len(set(found)) == 4
