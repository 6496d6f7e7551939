"""Simple tables of reStructuredText."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTHING = "\N{EN DASH}"
"""What stands in a cell without a figure: an empty first cell would continue the row above."""


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table: its first column to the left, the others to the right."""
    lines = [heading, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    rule = "  ".join("=" * width for width in widths)
    texts = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([rule, texts[0], rule, *texts[1:], rule, ""])


def number(value: float | None, decimals: int) -> str:
    """A figure as it stands in a cell."""
    return NOTHING if value is None else f"{value:,.{decimals}f}"
