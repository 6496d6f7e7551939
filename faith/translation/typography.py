"""Characters that are not what they look like, or look like nothing.

They are what editors, web pages and mail make of quotes and blanks, and what controls a terminal.
"""

from __future__ import annotations

_QUOTES = dict.fromkeys(
    "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\uff02", ("a typographic quotation mark", 'write "')
) | dict.fromkeys(
    "\u2018\u2019\u201a\u201b\u2032\u00b4\u2039\u203a\uff07",
    ("a typographic quotation mark", "write '"),
)
_BLANKS = {
    "\u00a0": ("a no-break space", "write a space"),
    "\u2007": ("a figure space", "write a space"),
    "\u202f": ("a narrow no-break space", "write a space"),
    "\u3000": ("an ideographic space", "write a space"),
    "\u2028": ("a line separator", "write a newline"),
    "\ufeff": ("an invisible byte order mark", "delete it"),
    "\u200b": ("an invisible zero-width space", "delete it"),
    "\u200e": ("an invisible direction mark", "delete it"),
    "\u200f": ("an invisible direction mark", "delete it"),
    "\u2060": ("an invisible word joiner", "delete it"),
    "\u00ad": ("a soft hyphen", "write -"),
}
_DASHES = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", ("a typographic dash", "write -"))
_DOTS = {
    "\u2026": ("an ellipsis, one character", "write three dots"),
    "\uff1a": ("a full-width colon", "write :"),
    "\uff0e": ("a full-width full stop", "write ."),
}
_KNOWN = {**_QUOTES, **_BLANKS, **_DASHES, **_DOTS}


def explain(message: str, text: str, *, tabs: bool = False) -> str:
    """Return *message* with an explanation of the characters in *text* that are to blame for it.

    There is none if they have nothing odd; with *tabs*, tabs are odd.
    """
    found = dict.fromkeys(char for char in text if char in _KNOWN or (tabs and char == "\t"))
    return "; ".join([message, *(about for about in map(_about, found) if about not in message)])


def printable(text: str) -> str:
    """Return *text* without what a terminal, a log or a page would take for more than text."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _about(char: str) -> str:
    what, remedy = _KNOWN.get(char, ("a tab", "delete it"))
    shown = f"{char} " if char.isprintable() else ""
    return f"{shown}(U+{ord(char):04X}) is {what}: {remedy}"
