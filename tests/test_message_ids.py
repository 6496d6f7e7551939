"""MESSAGE_IDs, which are for ever, and in the manual."""

from __future__ import annotations

import re
from pathlib import Path

from faith.daemon.observe.message_ids import MESSAGE_IDS

MANUAL = Path(__file__).parents[1] / "docs/man/faithd.8"


def test_they_differ_and_have_the_form_of_the_journal() -> None:
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in MESSAGE_IDS.values())


def test_the_manual_has_each_and_no_other() -> None:
    listed = re.findall(r"^\.It Li ([0-9a-f]{32})$", MANUAL.read_text(), re.MULTILINE)
    assert listed == [*MESSAGE_IDS.values()]
