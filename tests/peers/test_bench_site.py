"""``python -m bench.site``: every row, with few things."""

from __future__ import annotations

import pytest

from bench import site, site_daemon
from bench.bed import Bed, near
from bench.placement import anywhere
from bench.programs import BPF, lacking

pytestmark = pytest.mark.netns

FEW = 20


@pytest.mark.parametrize("name", site.ROWS)
def test_every_row_has_its_figures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_daemon, "REST", 0.5)
    monkeypatch.setattr(site, "MINUTE", 0.5)
    if name == "flows" and (missing := lacking([BPF])):
        pytest.skip(f"without {missing}")
    measure, _ = site.ROWS[name]
    with Bed(near, anywhere(), "cubic") as bed:
        figures = measure(bed, site.HERE, FEW)
    assert all(value >= 0 for value in figures.values())
    failed = [
        value for row, value in figures.items() if row.startswith(("failed", "sessions lost"))
    ]
    assert not any(failed)


def test_what_is_asked_for_wrongly_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        site.main(["--only", "nothing"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err
