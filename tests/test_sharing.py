"""How the workers share the files of tests: which are named, and in which order they come."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

from tests.sharing import HEAVY, LOADS, TOGETHER, Files

ROOT = Path(__file__).parents[1]


def files(*units: str) -> Files:
    """A scheduler with work to be done."""
    made = Files(Mock(**{"getvalue.return_value": ["popen"]}))
    made.workqueue.update({unit: {f"{unit}::test": False} for unit in units})
    return made


def test_what_is_named_is_there() -> None:
    for file in (*LOADS, *TOGETHER, *TOGETHER.values()):
        assert (ROOT / file).is_file(), file


def test_files_of_one_kind_are_one_workers() -> None:
    names = [f"{file}::TestClass::test_it[::1]" for file in (*LOADS, *TOGETHER)]
    units = {files()._split_scope(name) for name in names}
    assert units == {HEAVY, *TOGETHER.values()}


def test_what_loads_the_machine_comes_last() -> None:
    made = files("tests/test_plane.py", HEAVY, "tests/netns/test_ftp.py", "tests/peers/test_rsh.py")
    order = []
    node = Mock()
    made.registered_collections[node] = [name for work in made.workqueue.values() for name in work]
    while made.workqueue:
        made._assign_work_unit(node)
        order = list(made.assigned_work[node])
    waiting = ["tests/netns/test_ftp.py", "tests/peers/test_rsh.py"]
    assert order == [*waiting, "tests/test_plane.py", HEAVY]
