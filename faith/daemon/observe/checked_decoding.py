"""Decoding of declared types: every other form is a ValueError."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from msgspec import MsgspecError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def checked(decode: Callable[P, T]) -> Callable[P, T]:
    """Return *decode*, a function of msgspec, raising ValueError instead of msgspec's own errors.

    Since msgspec 0.21 these are ValueErrors, but Debian 13 has 0.19.
    """

    @wraps(decode)
    def checked_decode(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return decode(*arguments, **options)
        except MsgspecError as error:
            raise ValueError(str(error)) from error

    return checked_decode
