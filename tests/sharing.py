"""How the files of tests are shared out among the workers of pytest-xdist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

TOGETHER = {"tests/netns/test_lab.py": "tests/netns/test_demo.py"}
"""Files that a worker runs after another one: both keep networks, which have the same names."""
HEAVY = "heavy"
LOADS = (
    "tests/netns/test_abuse.py",
    "tests/netns/test_kernel_path_floods.py",
    "tests/netns/test_kernel_path_stress.py",
    "tests/netns/test_siege.py",
    "tests/netns/test_soak.py",
    "tests/netns/test_upgrade_load.py",
    "tests/peers/test_bench.py",
    "tests/peers/test_bench_datagrams.py",
    "tests/peers/test_bench_names.py",
)
"""Files that load the machine: one worker has them all, when all others are done."""
WAITING = ("tests/netns/", "tests/peers/")
"""Files that wait for processes more than they compute, and take longest."""


class Files(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """A file is one worker's; what waits comes first, and what loads the machine last."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return HEAVY if file in LOADS else TOGETHER.get(file, file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=_turn), last=False)
        super()._assign_work_unit(node)


def _turn(unit: str) -> int:
    return 0 if unit.startswith(WAITING) else 2 if unit == HEAVY else 1
