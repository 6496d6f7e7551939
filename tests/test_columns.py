"""The columns of the list, in terminals of any width."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from faith.cli.top.arrangement import GROUPS, SORTS, Arrangement
from faith.cli.top.columns import COLUMNS, fitted, heading, line
from tests.top_rows import row, rows

if TYPE_CHECKING:
    from faith.cli.top.rates import Row

LONG = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535"


@given(rows(), st.integers(20, 200), st.sampled_from(GROUPS), st.sampled_from(SORTS))
def test_no_line_is_wider_than_the_terminal(
    given: list[Row], width: int, group: str, sort: str
) -> None:
    how = Arrangement(sort, group=group)
    shown = how.arrange(given)
    columns = fitted(shown, width, groups=bool(group))
    assert [column.title for column, _ in columns[:2]] == ["CLIENT", "SERVER"]
    for text in (heading(columns, sort, ascending=True), *(line(one, columns) for one in shown)):
        assert len(text) <= width


def test_all_are_shown_where_there_is_room_and_the_least_important_are_left_out_first() -> None:
    given = [row(LONG, LONG, asked="www.example:443")]
    titles = [[column.title for column, _ in fitted(given, width)] for width in range(250, 20, -1)]
    assert titles[0] == [column.title for column in COLUMNS]
    assert titles[-1] == ["CLIENT", "SERVER"]
    for wider, narrower in pairwise(titles):
        assert set(narrower) <= set(wider)


def test_what_was_asked_of_a_proxy_has_a_column_once_a_row_has_it() -> None:
    without = fitted([row()], 250)
    assert "ASKED" not in [column.title for column, _ in without]
    asked = fitted([row(), row("1-2", asked="www.example:443")], 250, before=without)
    assert "ASKED" in [column.title for column, _ in asked]
    assert "www.example:443" in line(row("1-2", asked="www.example:443"), asked)
    assert fitted([row()], 250, before=asked) == asked


def test_the_cells_of_a_column_begin_or_end_where_its_title_does() -> None:
    given = [row("1-1", sent=1_000_000, seconds=7), row("1-2", LONG, sent=3, seconds=86400 * 100)]
    columns = fitted(given, 200)
    titles = heading(columns, "sent", ascending=False)
    first, second = (line(one, columns) for one in given)
    assert titles.index("SERVER") == first.index("192.0.2.80:80") == second.index("192.0.2.80:80")
    assert titles.index("AGE") + 3 == first.index("7s") + 2
    assert "SENT↓" in titles
    assert "SENT/S↓" in heading(columns, "rate", ascending=False)
    assert "RCVD/S↑" in heading(columns, "rate", ascending=True)


def test_what_is_cut_keeps_its_beginning_and_its_end() -> None:
    (text,) = [line(one, fitted([one], 40)) for one in [row("1-1", LONG)]]
    assert text.startswith("[2001:db8")
    assert "…" in text
    assert "65535  192.0.2.80:80" in text


def test_columns_do_not_get_narrower_while_rows_change() -> None:
    before = fitted([row(LONG, LONG)], 250)
    assert fitted([row()], 250, before=before) == before


def test_groups_have_numbers_of_sessions_and_no_ids() -> None:
    titles = [column.title for column, _ in fitted([row("", sessions=12_345)], 200, groups=True)]
    assert "SESSIONS" in titles
    assert "ID" not in titles
