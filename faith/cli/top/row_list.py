"""The list of sessions as a widget: only the lines that are seen are ever drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from faith.cli.top import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from faith.cli.top.arrangement import Arrangement
    from faith.cli.top.columns import Fitted
    from faith.cli.top.rates import Row

HEADING = 1
"""Lines above the rows, which do not scroll."""


class RowList(ScrollView, can_focus=True):
    """Rows below a heading; one of them is chosen by the cursor, which follows it.

    What it costs does not grow with the number of rows.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"heading", "cursor"}
    DEFAULT_CSS = """
    RowList { background: $surface; overflow-x: hidden; }
    RowList > .heading { text-style: bold; background: $panel; color: $text; }
    RowList > .cursor { background: $primary; color: $text; text-style: bold; }
    RowList:nocolor > .cursor { text-style: reverse; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "move_page(-1)", "Page up", show=False),
        Binding("pagedown", "move_page(1)", "Page down", show=False),
        Binding("home", "move_to(0)", "First", show=False),
        Binding("end", "move_to(-1)", "Last", show=False),
        Binding("enter", "choose", "Open", show=False),
    ]

    class Chosen(Message):
        """The user has chosen *row* by Enter."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    def __init__(self, arrangement: Arrangement) -> None:
        super().__init__()
        self._arrangement = arrangement
        self._rows: Sequence[Row] = []
        self._columns: Fitted = []
        self.cursor = 0

    @property
    def row(self) -> Row | None:
        """The row that the cursor is on."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    def show(self, rows: Sequence[Row], arrangement: Arrangement) -> None:
        """Show *rows*, which are arranged so; the cursor follows its row, except from the top."""
        at, self._rows = self.row, rows
        if at is not None and self.cursor:
            places = (place for place, row in enumerate(rows) if row.key == at.key)
            self.cursor = next(places, min(self.cursor, max(0, len(rows) - 1)))
        if arrangement != self._arrangement:
            self._columns = []
            self._arrangement = arrangement
        self.virtual_size = Size(self.size.width, len(rows) + HEADING)
        self._see_cursor()
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Fit the columns anew."""
        self._columns = []
        self.virtual_size = Size(event.size.width, len(self._rows) + HEADING)

    def render_line(self, y: int) -> Strip:
        """Return the line *y* of those that are seen."""
        if y == 0:
            self._fit()
            ascending = self._arrangement.ascending
            text = columns.heading(self._columns, self._arrangement.sort, ascending=ascending)
            return self._strip(text, "heading")
        number = self.scroll_offset.y + y - HEADING
        if number >= len(self._rows):
            empty = "no session" if not self._rows and y == HEADING else ""
            return self._strip(empty)
        text = columns.line(self._rows[number], self._columns)
        return self._strip(text, "cursor" if number == self.cursor else "")

    def _fit(self) -> None:
        first = self.scroll_offset.y
        seen = self._rows[first : first + self.size.height]
        groups = bool(self._arrangement.group)
        self._columns = columns.fitted(seen, self.size.width, groups=groups, before=self._columns)

    def _strip(self, text: str, name: str = "") -> Strip:
        style = self.get_component_rich_style(name) if name else self.rich_style
        width = self.size.width
        return Strip([Segment(text[:width].ljust(width), style)], width)

    def action_move(self, by: int) -> None:
        """Move the cursor *by* so many rows."""
        self._move_to(self.cursor + by)

    def action_move_page(self, by: int) -> None:
        """Move the cursor *by* so many pages."""
        self._move_to(self.cursor + by * max(1, self.size.height - HEADING - 1))

    def action_move_to(self, place: int) -> None:
        """Move the cursor to the first row, or with -1 to the last."""
        self._move_to(len(self._rows) - 1 if place < 0 else place)

    def action_choose(self) -> None:
        """Report which row was chosen."""
        if self.row:
            self.post_message(self.Chosen(self.row))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to where the mouse was clicked."""
        if event.y >= HEADING:
            self._move_to(self.scroll_offset.y + event.y - HEADING)

    def _move_to(self, place: int) -> None:
        self.cursor = max(0, min(place, len(self._rows) - 1))
        self._see_cursor()
        self.refresh()

    def _see_cursor(self) -> None:
        """Scroll so far that the cursor is seen."""
        seen = max(1, self.size.height - HEADING)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + seen:
            self.scroll_to(y=self.cursor - seen + 1, animate=False, immediate=True)
