"""The choice of a steering method: the one that is wanted, or the first that works here."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


def first_fit(
    step: str,
    wanted: str,
    methods: Mapping[str, Callable[..., T]],
    *args: object,
    refused: str = "",
) -> tuple[str, T]:
    """Call one of *methods* with *args*; return its name and what it has made.

    It is *wanted*, or if that names none of them, the first that raises no SetupError.  Raises
    SetupError: that of the wanted one, or one of *step* with the reasons of all, after *refused*,
    the reason why another was not even tried.
    """
    if wanted in methods:
        return wanted, methods[wanted](*args)
    refusals = [refused] if refused else []
    for name, make in methods.items():
        try:
            return name, make(*args)
        except SetupError as error:
            refusals.append(f"{name}: {error}")
    raise SetupError(step, "no method works; " + "; ".join(refusals))
