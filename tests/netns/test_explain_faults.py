"""`faith explain` against set-ups in which one thing is broken for real: docs/explain.rst."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.cli.explain.causes import CAUSES
from faith.lab import Network
from tests.netns.explain_setups import ADMITTED, BROKEN, HEALTHY, table
from tests.netns.explain_site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns.explain_setup import SetUp

pytestmark = [pytest.mark.netns]

BY_FILE = sorted((*HEALTHY, *BROKEN), key=lambda each: (each.file, each.reserve, tuple(each.by)))
"""All set-ups; those that share a daemon one after the other."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Network() as network:
        made = Site(network, tmp_path_factory.mktemp("site"))
        yield made
        made.close()


@pytest.mark.parametrize("set_up", BY_FILE, ids=lambda each: each.id)
def test_a_set_up(site: Site, set_up: SetUp) -> None:
    try:
        _judge(site, set_up)
    except BaseException:
        site.stop()  # the next set-up begins with a new daemon
        raise


def _judge(site: Site, set_up: SetUp) -> None:
    text = set_up.file.replace("{directory}", str(site.directory))
    site.serve(text, set_up.by, reserve=set_up.reserve)
    if set_up.broken and not set_up.from_start:
        site.wait_works(set_up.ask)
    with set_up.broken(site) if set_up.broken else contextlib.nullcontext():
        expected, outcomes = set_up.sees.split(" or "), [""]
        while outcomes[-1] not in expected and len(outcomes) <= set_up.tries:
            outcomes.append(site.outcome(set_up.ask, set_up.patience))
        assert outcomes[-1] in expected
        verdict = site.explain(set_up.ask, *set_up.options)["verdict"]
    if not set_up.cause:
        assert verdict["works"], verdict
    elif set_up.id in ADMITTED:
        assert not verdict["certain"] or verdict["cause"] == set_up.cause, verdict
    else:
        assert (verdict["works"], verdict["cause"]) == (False, set_up.cause), verdict


def test_the_table_has_enough_of_them() -> None:
    assert len({each.id for each in BY_FILE}) == len(BY_FILE)
    assert len(BROKEN) >= 40
    assert len(HEALTHY) >= 8
    assert len(ADMITTED) <= 2
    assert {each.cause for each in BROKEN} <= {*CAUSES}


def test_the_page_has_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs/explain.rst").read_text()
    assert table() in page, table()
    assert f"{len(BROKEN)} are broken and {len(HEALTHY)} are not." in page
    named = "All causes are" if not ADMITTED else f"{len(BROKEN) - len(ADMITTED)} causes are"
    assert f"{named} named." in page
