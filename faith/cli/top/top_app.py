"""The application of ``faith top``: the list of sessions, panes, and keys."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.css.query import NoMatches
from textual.message import Message
from textual.widgets import Footer, Static, TabbedContent, TabPane

from faith.cli.sessions import host_and_port
from faith.cli.top import filter_words
from faith.cli.top.arrangement import BY_CLIENT, GROUPS, SORTS, Arrangement, narrower
from faith.cli.top.dialogs import Confirmation, FilterDialog
from faith.cli.top.panes import PANES
from faith.cli.top.row_list import RowList
from faith.cli.top.snapshot import Snapshot
from faith.errors import FaithError

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from faith.cli.top.rates import Row
    from faith.cli.top.reading import Reader, Reading

SESSIONS = "Sessions"
FASTEST, SLOWEST = 0.5, 64.0
"""Seconds between two readings, at least and at most, as the keys change them."""
SHORT = 10
"""Lines of a terminal from which on there is room for more than the list."""
SILENCE = 3.0
"""Seconds without an answer after which that is said."""


class TopApp(App[None]):
    """Shows what *reader* reads of the sessions that are *wanted*, every *interval* seconds."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "faith top"
    CSS = """
    #summary { height: 2; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #message { height: auto; max-height: 3; padding: 0 1; color: $warning; }
    .-short #summary, .-short #message { height: 1; padding: 0; }
    .-short ContentTabs, .-short Footer { display: none; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    .pane { padding: 1 1; }
    """
    VERTICAL_BREAKPOINTS = [(0, "-short"), (SHORT, "-tall")]  # noqa: RUF012 - as Textual has it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("o", "sort(1)", "Order"),
        Binding("O", "sort(-1)", "Order", show=False),
        Binding("r", "reverse", "Reverse"),
        Binding("g", "group", "Group"),
        Binding("f,slash", "filter", "Filter"),
        Binding("k", "kill", "Kill"),
        Binding("K", "kill_all", "Kill all"),
        Binding("p", "pause", "Pause"),
        Binding("plus,equals_sign", "slower", "Slower", show=False),
        Binding("minus", "faster", "Faster", show=False),
        Binding("escape", "all", "All", show=False),
        *(
            Binding(str(number), f"pane('{title}')", title, show=False)
            for number, title in enumerate((SESSIONS, *PANES), 1)
        ),
    ]

    class Read(Message):
        """A *reading* has arrived."""

        def __init__(self, reading: Reading) -> None:
            super().__init__()
            self.reading = reading

    class Killed(Message):
        """Sessions were ended, or not: *text* says it."""

        def __init__(self, text: str, severity: Any = "information") -> None:
            super().__init__()
            self.text = text
            self.severity = severity

    def __init__(
        self, reader: Reader, wanted: dict[str, Any], arrangement: Arrangement, interval: float
    ) -> None:
        # With colours of its own, Textual would turn them into greys.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self._reader = reader
        self._wanted = wanted
        self._arrangement = arrangement
        self._interval = interval
        self._snapshot = Snapshot()
        self._pause = interval
        self._again = threading.Event()
        self._is_over = False
        self._is_paused = False
        self._asked: float | None = None
        """Since when a reading has been under way."""

    def compose(self) -> ComposeResult:
        """Yield the widgets from top to bottom."""
        yield Static(id="summary", markup=False)
        yield Static(id="message", markup=False)
        with TabbedContent():
            with TabPane(SESSIONS, id=SESSIONS):
                yield RowList(self._arrangement)
            for title in PANES:
                with TabPane(title, id=title), VerticalScroll():
                    yield Static(id=f"pane-{title}", classes="pane", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to read, in a thread that nobody waits for at the end."""
        self.query_one(RowList).focus()
        threading.Thread(target=self._read, daemon=True).start()
        self.set_interval(1.0, self._show_message)

    def on_unmount(self) -> None:
        """Read no more."""
        self._is_over = True
        self._again.set()

    def _read(self) -> None:
        while not self._is_over:
            self._again.clear()
            self._asked = time.monotonic()
            reading = self._reader.read(dict(self._wanted))
            self._asked = None
            self.post_message(self.Read(reading))
            self._again.wait(None if self._is_paused else reading.pause(self._interval))

    # -- what is shown -----------------------------------------------------------------------

    def on_top_app_read(self, event: Read) -> None:
        """Show the reading."""
        self._snapshot.accept(event.reading)
        self._pause = event.reading.seconds + event.reading.pause(self._interval)
        with suppress(NoMatches):  # at the end, the widgets go first
            self._show()

    def _show(self) -> None:
        snapshot = self._snapshot
        every = "paused" if self._is_paused else f"every {self._pause:.2g} s"
        order = f"by {self._arrangement.sort}, {every}"
        self.query_one("#summary", Static).update(f"{snapshot.summary(self._wanted)}, {order}")
        self._show_message()
        self.query_one(RowList).show(snapshot.arranged(self._arrangement), self._arrangement)
        if snapshot.daemon:
            for title, pane in PANES.items():
                tables = ("\n".join(table.lines()) for table in pane(snapshot.daemon))
                self.query_one(f"#pane-{title}", Static).update(Text("\n\n".join(tables)))

    def _show_message(self) -> None:
        """Say that the daemon is silent, or else what the last reading says."""
        asked = self._asked
        silent = 0.0 if asked is None else time.monotonic() - asked
        said = self._snapshot.message()
        text = f"no answer for {silent:.0f} s" if silent > SILENCE else said
        with suppress(NoMatches):
            message = self.query_one("#message", Static)
            message.update(text)
            message.display = bool(text)

    def _arrange(self, **changes: Any) -> None:
        self._arrangement = replace(self._arrangement, **changes)
        self._show()

    def _want(self, wanted: dict[str, Any] | None) -> None:
        """Show the sessions that are *wanted*; None changes nothing."""
        if wanted is not None:
            self._wanted = wanted
            self._again.set()

    # -- keys --------------------------------------------------------------------------------

    def action_sort(self, by: int) -> None:
        """Sort by the next key."""
        place = SORTS.index(self._arrangement.sort) + by
        self._arrange(sort=SORTS[place % len(SORTS)])

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._arrange(reverse=not self._arrangement.reverse)

    def action_group(self) -> None:
        """Group in the next way."""
        place = GROUPS.index(self._arrangement.group) + 1
        self._arrange(group=GROUPS[place % len(GROUPS)])

    def action_filter(self) -> None:
        """Ask which sessions to show."""
        self.push_screen(FilterDialog(filter_words.words(self._wanted)), self._want)

    def action_all(self) -> None:
        """Show all sessions again, one by one."""
        self._arrange(group="")
        self._want({})

    def action_pause(self) -> None:
        """Stop reading, or go on."""
        self._is_paused = not self._is_paused
        self._again.set()
        self._show()

    def action_slower(self) -> None:
        """Read half as often."""
        self._set_interval(self._interval * 2)

    def action_faster(self) -> None:
        """Read twice as often."""
        self._set_interval(self._interval / 2)

    def _set_interval(self, seconds: float) -> None:
        self._interval = max(FASTEST, min(seconds, SLOWEST))
        self._again.set()

    def action_pane(self, title: str) -> None:
        """Show the pane of that *title*."""
        self.query_one(TabbedContent).active = title
        if title == SESSIONS:
            self.query_one(RowList).focus()

    def on_row_list_chosen(self, event: RowList.Chosen) -> None:
        """Show the sessions of a group."""
        if not event.row.id:
            wanted = selection_of(event.row, self._arrangement, self._wanted)
            self._arrange(group="")
            self._want(wanted)

    # -- kill --------------------------------------------------------------------------------

    def action_kill(self) -> None:
        """Ask whether to end the session or the group at the cursor."""
        row = self.query_one(RowList).row
        if row:
            what = f"{row.client} to {row.server}"
            sessions = f"{row.sessions:,} sessions" if not row.id else f"session {row.id}"
            wanted = selection_of(row, self._arrangement, self._wanted)
            self._ask_to_kill(f"Reset {sessions}: {what}?", wanted)

    def action_kill_all(self) -> None:
        """Ask whether to end all sessions that the filter shows."""
        if not self._wanted:
            self.notify("only what a filter shows can be ended at once (f)", severity="warning")
            return
        count = len(self._snapshot.rows)
        words = filter_words.words(self._wanted)
        self._ask_to_kill(f"Reset all {count:,} sessions of {words}?", dict(self._wanted))

    def _ask_to_kill(self, question: str, wanted: dict[str, Any]) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                threading.Thread(target=self._kill, args=(wanted,), daemon=True).start()

        self.push_screen(Confirmation(question), answered)

    def _kill(self, wanted: dict[str, Any]) -> None:
        try:
            ended = self._reader.kill(wanted)
        except FaithError as error:
            self.post_message(self.Killed(str(error), "error"))
        else:
            plural = "session has" if ended == 1 else "sessions have"
            self.post_message(self.Killed(f"{ended:,} {plural} been reset"))
        self._again.set()

    def on_top_app_killed(self, event: Killed) -> None:
        """Say what was ended."""
        self.notify(event.text, severity=event.severity, markup=False)


def selection_of(row: Row, arrangement: Arrangement, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the selection of the sessions of *row*, among those that are *wanted*.

    A session is chosen by its id and its client: a new worker gives the same ids again.
    """
    if row.id:
        host, port = host_and_port(row.client)
        return {"session": row.id, "client": host.partition("%")[0], "client_port": port}
    if arrangement.group == BY_CLIENT:
        return {**wanted, "client": narrower(row.client, wanted.get("client"))}
    return {**wanted, "server": row.server}
