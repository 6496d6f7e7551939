"""What thousands of idle sessions cost: memory, and CPU."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.bed import ECHO, near
from bench.holding import holding
from bench.measures.base import Row
from bench.placement import apart
from bench.usage import kernel_memory, memory, spending
from bench.way import TUNNEL

if TYPE_CHECKING:
    from bench.bed import Bed, Build
    from bench.contenders.base import Contender, Running
    from bench.measures.base import Figures
    from bench.programs import Program
    from bench.scale import Scale

_WARM = 20
"""Sessions opened before the memory is read for the first time."""


class Idle:
    """Memory per idle session, and the CPU they use."""

    name = "idle"
    needs: tuple[Program, ...] = ()
    build: Build = staticmethod(near)
    placement = staticmethod(apart)

    def rows(self, scale: Scale) -> list[Row]:
        """Memory of the processes and of the kernel; CPU."""
        return [
            self.memory(scale),
            Row(f"the same, of the kernel at both ends and the gateway, {scale.sessions:,}", "KiB"),
            Row(f"CPU of {scale.most_sessions:,} idle sessions in {scale.idle:g} s", "ms"),
        ]

    @staticmethod
    def memory(scale: Scale) -> Row:
        """The row for the memory of the processes."""
        return Row(f"memory per idle session, {scale.sessions:,}", "KiB", 2)

    def suits(self, contender: Contender) -> bool:
        """Every contender; some with fewer sessions."""
        return True

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """Growth of the memory divided by sessions, and CPU while nothing happens."""
        few, many = (
            min(number, contender.most_sessions) for number in (scale.sessions, scale.most_sessions)
        )
        processes, kernel, cpu = self.rows(scale)
        with contender.start(bed) as running, holding(bed, running.way(TUNNEL, ECHO)) as hold:
            hold(_WARM)
            before = _memory(running, scale)
            hold(few)
            of_processes, of_kernel = (
                (after - then) / (few - _WARM) / 1024
                for after, then in zip(_memory(running, scale), before, strict=True)
            )
            figures = {kernel: of_kernel}
            if running.programs:
                figures[processes] = of_processes
            if running.programs and many == scale.most_sessions:
                hold(many)
                with spending(running.programs) as spent:
                    time.sleep(scale.idle)
                figures[cpu] = spent.contender * 1000
        return figures


def _memory(running: Running, scale: Scale) -> tuple[int, int]:
    time.sleep(scale.settle)
    return memory(running.processes), kernel_memory()
