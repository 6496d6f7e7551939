"""The choice of a steering method."""

from __future__ import annotations

import pytest

from faith.errors import SetupError
from faith.kernel.steering.first_fit import first_fit


def works(*args: object) -> tuple[object, ...]:
    return args


def fails(*args: object) -> tuple[object, ...]:
    raise SetupError("try", f"not here with {args[0]}")


def breaks(*args: object) -> tuple[object, ...]:
    raise KeyError("defect")


def test_the_wanted_one_is_the_only_one_tried() -> None:
    methods = {"one": works, "two": fails}
    assert first_fit("steer", "one", methods, 1, 2) == ("one", (1, 2))
    with pytest.raises(SetupError, match=r"^try: not here with 1$"):
        first_fit("steer", "two", methods, 1, 2)


@pytest.mark.parametrize("wanted", ["auto", ""])
def test_else_the_first_that_works_is_taken(wanted: str) -> None:
    methods = {"one": fails, "two": works, "three": breaks}
    assert first_fit("steer", wanted, methods, 1) == ("two", (1,))


def test_every_reason_is_told() -> None:
    says = r"^steer: no method works; zero: no; one: try: not here with 1; two: try: not here"
    with pytest.raises(SetupError, match=says):
        first_fit("steer", "auto", {"one": fails, "two": fails}, 1, refused="zero: no")
    with pytest.raises(SetupError, match=r"^steer: no method works; one: try: not here with 1$"):
        first_fit("steer", "auto", {"one": fails}, 1)


def test_other_errors_are_no_refusals() -> None:
    with pytest.raises(KeyError, match="defect"):
        first_fit("steer", "auto", {"one": breaks, "two": works})
