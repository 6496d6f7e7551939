"""The keys of ``faith top``, pressed in Textual's own test terminal, with readings of our own."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from textual.widgets import Input, Label, Static, TabbedContent

from faith.cli.top import top_app
from faith.cli.top.arrangement import BY_CLIENT, Arrangement
from faith.cli.top.dialogs import Confirmation, FilterDialog
from faith.cli.top.reading import Reading
from faith.cli.top.row_list import RowList
from faith.cli.top.top_app import FASTEST, TopApp, selection_of
from faith.daemon.observe.status_report import Process
from faith.errors import FaithError
from tests.top_rows import daemon, row, session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.pilot import Pilot

    Story = Callable[[TopApp, Pilot[None], "Readings"], Awaitable[None]]

SESSIONS = [
    session("1-1", "[2001:db8:6::2]:1024", sent=3, seconds=30.0),
    session("1-2", "[2001:db8:6::3]:1024", sent=2, seconds=20.0, server="192.0.2.81:80"),
    session("2-1", "[2001:db8:7::2]:1024", sent=1, seconds=10.0),
]


class Readings:
    """Stands for a daemon: gives *sessions* or an *error*, and keeps what was wanted and killed."""

    def __init__(self) -> None:
        self.sessions = list(SESSIONS)
        self.error = ""
        self.refuses = ""
        self.wanted: list[dict[str, Any]] = []
        self.killed: list[dict[str, Any]] = []
        self.count = 0
        self.waits: Callable[[], object] = int
        self.went = threading.Event()

    def read(self, wanted: dict[str, Any]) -> Reading:
        self.wanted.append(wanted)
        self.count += 1
        self.waits()
        found = None if self.error else daemon(processes=[Process("worker 1", 7, "serving")])
        return Reading(
            time.monotonic(), 0.0, found, [] if self.error else self.sessions, self.error
        )

    def kill(self, wanted: dict[str, Any]) -> int:
        if self.refuses:
            raise FaithError(self.refuses)
        self.killed.append(wanted)
        return 2


def play(story: Story, *, size: tuple[int, int] = (120, 24), interval: float = FASTEST) -> None:
    """Run the application in a terminal of *size*, and *story* beside it."""

    async def run() -> None:
        readings: Any = Readings()
        app = TopApp(readings, {}, Arrangement("id"), interval)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: bool(shown(app)))
            await story(app, pilot, readings)

    asyncio.run(run())


async def until(pilot: Pilot[None], done: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        await pilot.pause(0.01)


def lines(app: TopApp) -> list[str]:
    """The lines of the list, from its heading on."""
    rows = app.query_one(RowList)
    return [rows.render_line(y).text.rstrip() for y in range(rows.size.height)]


def shown(app: TopApp) -> list[str]:
    """The first cells of the rows."""
    return [line.split()[0] for line in lines(app)[1:] if line and line != "no session"]


CLIENTS = ["[2001:db8:6::2]:1024", "[2001:db8:6::3]:1024", "[2001:db8:7::2]:1024"]


def test_rows_are_sorted_and_turned_round() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        assert shown(app) == CLIENTS
        await pilot.press("r")
        assert shown(app) == CLIENTS[::-1]
        assert "ID↓" in lines(app)[0]
        await pilot.press("r", "o", "o", "o", "o")  # rate, sent/s, received/s, sent
        assert "SENT↓" in lines(app)[0]
        assert shown(app) == CLIENTS
        await pilot.press("O", "O", "O", "O")
        assert "ID↑" in lines(app)[0]

    play(story)


def test_rows_are_grouped_and_a_group_is_opened() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        await pilot.press("g")
        assert shown(app) == ["2001:db8:6::/64", "2001:db8:7::/64"]
        await pilot.press("g")
        assert "2 clients  " in lines(app)[1]
        assert "192.0.2.80 " in lines(app)[1]
        assert "192.0.2.81 " in lines(app)[2]
        await pilot.press("g", "g", "enter")
        assert shown(app) == CLIENTS
        await until(pilot, lambda: readings.wanted[-1] == {"client": "2001:db8:6::/64"})
        await pilot.press("escape")
        await until(pilot, lambda: readings.wanted[-1] == {})

    play(story)


def test_a_filter_is_typed_and_a_wrong_one_is_explained() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        await pilot.press("f", *"nobody", "enter")
        assert isinstance(app.screen, FilterDialog)
        wrong = app.screen.query_one("#wrong", Label)
        assert "'nobody' is no IPv4 or IPv6 address" in str(wrong.render())
        app.screen.query_one(Input).value = ""
        await pilot.press(*"port=80", "enter")
        await until(pilot, lambda: readings.wanted[-1] == {"port": 80})
        await until(
            pilot, lambda: "3 of port=80" in str(app.query_one("#summary", Static).render())
        )
        await pilot.press("slash", *" 443", "escape")
        await pilot.pause()
        assert not isinstance(app.screen, FilterDialog)
        count = readings.count
        await until(pilot, lambda: readings.count > count)
        assert readings.wanted[-1] == {"port": 80}

    play(story)


@pytest.mark.parametrize("no", ["n", "escape", "enter", "x"])
def test_only_y_kills(no: str) -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        await pilot.press("down", "k")
        assert isinstance(app.screen, Confirmation)
        question = str(app.screen.query_one(Label).render())
        assert "session 1-2: [2001:db8:6::3]:1024 to 192.0.2.81:80?" in question
        await pilot.press(no)
        if no == "x":
            assert isinstance(app.screen, Confirmation)
            await pilot.press("n")
        await pilot.press("k", "y")
        wanted = {"session": "1-2", "client": "2001:db8:6::3", "client_port": 1024}
        await until(pilot, lambda: readings.killed == [wanted])

    play(story)


def test_a_group_and_all_that_a_filter_shows_are_killed() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        await pilot.press("K")
        assert not isinstance(app.screen, Confirmation)  # without a filter that would be everything
        await pilot.press("g", "k")
        assert "2 sessions: 2001:db8:6::/64" in str(app.screen.query_one(Label).render())
        await pilot.press("y")
        await until(pilot, lambda: readings.killed == [{"client": "2001:db8:6::/64"}])
        await pilot.press("escape", "f", *"80", "enter")
        await until(pilot, lambda: readings.wanted[-1] == {"port": 80})
        await pilot.press("K")
        assert "all 3 sessions of port=80" in str(app.screen.query_one(Label).render())
        await pilot.press("y")
        await until(pilot, lambda: readings.killed[1:] == [{"port": 80}])

    play(story)


def test_what_could_not_be_killed_is_said() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        readings.refuses = "there is no such session"
        await pilot.press("k", "y")
        await until(
            pilot, lambda: any(readings.refuses in one.message for one in app._notifications)
        )

    play(story)


def test_the_cursor_follows_its_row() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        rows = app.query_one(RowList)
        await pilot.press("end")
        assert rows.row
        assert rows.row.id == "2-1"
        await pilot.press("r", "down")
        assert rows.row.id == "1-2"
        readings.sessions = [*SESSIONS[:2], session("3-1"), session("4-1")]
        await until(pilot, lambda: len(shown(app)) == 4)
        assert rows.row.id == "1-2"
        readings.sessions = []
        await until(pilot, lambda: not shown(app))
        assert rows.row is None
        await pilot.press("k", "enter", "down", "pageup")
        assert not isinstance(app.screen, Confirmation)

    play(story)


def test_ten_thousand_rows_are_scrolled_and_only_those_seen_are_drawn() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        rows = app.query_one(RowList)
        readings.sessions = [session(f"1-{number:05}", sent=number) for number in range(10_000)]
        await until(pilot, lambda: rows.virtual_size.height == 10_001)
        await pilot.press("end")
        # There may be no scroll bar yet: then the list scrolls with the next reading.
        await until(pilot, lambda: "1-09999" in lines(app)[-1])
        await pilot.press("pageup", "up")
        assert rows.row
        assert rows.row.id < "1-09990"
        await pilot.press("home")
        await until(pilot, lambda: "1-00000" in lines(app)[1])

    play(story)


def test_the_panes() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        for key, title in enumerate(("Workers", "Names", "Limits", "Findings", "Proxies"), 2):
            await pilot.press(str(key))
            assert app.query_one(TabbedContent).active == title
        assert "worker 1" in str(app.query_one("#pane-Workers", Static).render())
        await pilot.press("1", "end")
        assert app.focused is app.query_one(RowList)

    play(story)


def test_the_daemon_ends_and_returns() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        message = app.query_one("#message", Static)
        assert not message.display
        readings.error = "no faithd is running"
        await until(pilot, lambda: message.display)
        assert "no faithd is running" in str(message.render())
        assert shown(app) == []
        readings.error = ""
        await until(pilot, lambda: shown(app) == CLIENTS)

    play(story)


def test_it_pauses_and_goes_on() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        await pilot.press("p")
        summary = app.query_one("#summary", Static)
        assert "paused" in str(summary.render())
        await pilot.pause(FASTEST)
        count = readings.count
        await pilot.pause(3 * FASTEST)  # time: in which it would read
        assert readings.count == count
        await pilot.press("p")
        await until(pilot, lambda: readings.count > count + 1)
        assert "paused" not in str(summary.render())

    play(story)


def is_shown(widget: Static, text: str) -> bool:
    return text in str(widget.render())


def test_it_reads_more_and_less_often() -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        summary = app.query_one("#summary", Static)
        for key, says in (("minus", "every 0.5 s"), ("plus", "every 1 s"), ("plus", "every 2 s")):
            await pilot.press(key)
            await until(pilot, partial(is_shown, summary, says))

    play(story)


@pytest.mark.parametrize("size", [(20, 5), (20, 8), (40, 10), (300, 60)])
def test_any_terminal_will_do(size: tuple[int, int]) -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        assert all(len(line) <= size[0] for line in lines(app))
        assert app.query_one(RowList).size.height > len(CLIENTS)
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: app.query_one(RowList).size.width == 60)
        assert shown(app) == CLIENTS

    play(story, size=size)


@pytest.mark.parametrize("size", [(20, 6), (40, 10), (120, 24)])
def test_a_question_is_seen_whole_before_it_is_answered(size: tuple[int, int]) -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        client = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535"
        readings.sessions[:] = [session("2-1f3", client, server="192.0.2.128:65535")]
        await until(pilot, lambda: len(shown(app)) == 1)
        await pilot.press("k")
        question = app.screen.query_one(Label)
        await until(pilot, lambda: question.size.area)
        assert question.size.area >= len(str(question.render()))
        assert question.region.width == question.content_region.width <= size[0]

    play(story, size=size)


def test_it_says_that_the_daemon_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_app, "SILENCE", 0.0)

    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        message = app.query_one("#message", Static)
        answers = threading.Event()
        readings.waits = answers.wait
        try:
            await until(pilot, lambda: "no answer for" in str(message.render()))
        finally:
            answers.set()
        readings.waits = int
        await until(pilot, lambda: not message.display)

    play(story)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_q_and_ctrl_c_end_it(key: str) -> None:
    async def story(app: TopApp, pilot: Pilot[None], readings: Readings) -> None:
        if key == "ctrl+c":
            await pilot.press("f")  # from anywhere
        await pilot.press(key)
        await until(pilot, lambda: app.return_code == 0)

    play(story)


def test_a_kill_never_goes_beyond_what_is_shown() -> None:
    """A filter that is narrower than the group stays."""
    group = row("", "2001:db8:6::/64", server="192.0.2.80")
    by_client = Arrangement(group=BY_CLIENT)
    wanted = {"client": "2001:db8:6::2", "port": 80}
    assert selection_of(group, by_client, wanted) == wanted
    assert selection_of(group, by_client, {"client": "2001:db8::/32"}) == {
        "client": "2001:db8:6::/64"
    }
    by_server = Arrangement(group="server")
    assert selection_of(group, by_server, wanted) == {**wanted, "server": "192.0.2.80"}
    zone = row("1-1", "[fe80::1%eth0]:9")
    assert selection_of(zone, Arrangement(), wanted) == {
        "session": "1-1",
        "client": "fe80::1",
        "client_port": 9,
    }
