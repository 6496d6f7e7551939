"""Figures of all rounds, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.measures.base import Figures, Row


@dataclass
class Results:
    """By row and contender the figure of every round that has one, and *notes* on the others."""

    rows: list[Row]
    contenders: list[str]
    notes: list[str] = field(default_factory=list)
    _figures: dict[tuple[Row, str], dict[int, float]] = field(default_factory=dict)

    def add(self, contender: str, number: int, figures: Figures) -> None:
        """Take the figures of a contender in the round of that *number*."""
        for row, figure in figures.items():
            self._figures.setdefault((row, contender), {})[number] = figure

    def figures(self, row: Row, contender: str) -> list[float]:
        """Round by round."""
        return list(self._figures.get((row, contender), {}).values())

    def median(self, row: Row, contender: str) -> float | None:
        """Over the rounds; None without a figure."""
        figures = self.figures(row, contender)
        return median(figures) if figures else None

    def ratio(self, over: tuple[Row, str], under: tuple[Row, str]) -> float | None:
        """The median of the ratios within each round: what changes in between has no part in it.

        None when no round has both figures.
        """
        top, bottom = self._figures.get(over, {}), self._figures.get(under, {})
        ratios = [top[number] / bottom[number] for number in top if bottom.get(number)]
        return median(ratios) if ratios else None

    def cells(self) -> Iterator[tuple[Row, str, list[float]]]:
        """Everything."""
        for row in self.rows:
            for contender in self.contenders:
                if figures := self.figures(row, contender):
                    yield row, contender, figures
