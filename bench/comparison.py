"""Rounds of measurements, the contenders taking turns in each."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from bench.bed import Bed
from bench.programs import lacking
from bench.results import Results
from faith.errors import FaithError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.bed import Build
    from bench.contenders.base import Contender
    from bench.measures.base import Measure
    from bench.scale import Scale

    One = TypeVar("One", Contender, Measure)

FAILURES = (FaithError, OSError, subprocess.SubprocessError, json.JSONDecodeError)
"""What may go wrong in one measurement without an end to the others."""


class Comparison:
    """All of *measures* on all of *contenders*; *failed* once one of them went wrong."""

    def __init__(
        self, contenders: Sequence[Contender], measures: Sequence[Measure], scale: Scale
    ) -> None:
        rows = [row for measure in measures for row in measure.rows(scale)]
        self.results = Results(rows, [contender.name for contender in contenders])
        self.failed = False
        self._scale = scale
        self._contenders = self._installed(contenders)
        self._measures = self._installed(measures)
        for contender in self._contenders:
            if contender.most_sessions < scale.sessions:
                few = f"{contender.name} had {contender.most_sessions} idle sessions, not more"
                self.results.notes.append(few)
        self._shared: dict[Build, Bed] = {}
        self._undo = ExitStack()

    def _installed(self, wanted: Sequence[One]) -> list[One]:
        found = []
        for one in wanted:
            if missing := lacking(one.needs):
                self.results.notes.append(f"{one.name} was skipped: without {', '.join(missing)}")
            else:
                found.append(one)
        return found

    def run(self) -> Results:
        """Do all rounds; what goes wrong becomes a note, and leaves its cell empty.

        An interrupt from the keyboard ends them, and leaves what there is by then.
        """
        with self._undo:
            try:
                for number in range(self._scale.rounds):
                    self._round(number)
            except KeyboardInterrupt:
                self.failed = True
                self.results.notes.append("interrupted")
        return self.results

    def _round(self, number: int) -> None:
        for measure in self._measures:
            for contender in self._turn(number):
                if measure.suits(contender):
                    self._measure(number, measure, contender)

    def _turn(self, number: int) -> list[Contender]:
        """The contenders, another one first in each round."""
        start = number % len(self._contenders) if self._contenders else 0
        return self._contenders[start:] + self._contenders[:start]

    def _measure(self, number: int, measure: Measure, contender: Contender) -> None:
        what = f"round {number + 1}, {measure.name}, {contender.name}"
        started = time.monotonic()
        try:
            with self._bed(measure) as bed:
                figures = measure.run(bed, contender, self._scale)
        except FAILURES as error:
            self.failed = True
            self.results.notes.append(f"{what} failed: {error}")
        else:
            self.results.add(contender.name, number, figures)
        print(f"{what}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)

    @contextmanager
    def _bed(self, measure: Measure) -> Iterator[Bed]:
        placement = measure.placement()
        if self._scale.fresh:
            with Bed(measure.build, placement, self._scale.congestion) as bed:
                yield bed
        else:
            if measure.build not in self._shared:
                bed = Bed(measure.build, placement, self._scale.congestion)
                self._shared[measure.build] = self._undo.enter_context(bed)
            bed = self._shared[measure.build]
            bed.place(placement)
            yield bed
