"""The dialogs of ``faith top``: a confirmation, and a line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label

from faith.cli.top import filter_words
from faith.errors import ConfigError

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType

_CSS = """
{name} {{ align: center middle; }}
{name} Vertical {{
    width: 76; max-width: 100%; height: auto; padding: 1 2; border: round $primary;
    background: $surface; max-height: 100%; overflow-y: auto;
}}
{name} Label {{ width: 100%; }}
{name} .keys {{ margin-top: 1; }}
{name}.-short Vertical {{ border: none; padding: 0; }}
{name}.-short .keys {{ margin-top: 0; }}
"""


class Confirmation(ModalScreen[bool]):
    """Asks *question*; only ``y`` is a yes."""

    CSS = _CSS.format(name="Confirmation")
    BINDINGS: ClassVar[list[BindingType]] = [
        ("y", "dismiss(True)", "Yes"),
        ("n,escape,enter,q", "dismiss(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Yield the question."""
        with Vertical():
            yield Label(self._question, markup=False)
            yield Label("[y] yes   [n] no", classes="keys", markup=False)


class FilterDialog(ModalScreen[dict[str, Any] | None]):
    """Asks for the words of a filter, beginning with *text*; None if the user leaves it."""

    CSS = _CSS.format(name="FilterDialog") + "FilterDialog #wrong { color: $error; }"
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Leave")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Yield the input, and what is wrong with it."""
        with Vertical():
            yield Label(f"Show only ({filter_words.HINT}):", markup=False)
            yield Input(self._text)
            yield Label("", id="wrong", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return the selection, or say what is wrong."""
        try:
            self.dismiss(filter_words.parse(event.value))
        except ConfigError as error:
            self.query_one("#wrong", Label).update(str(error))
