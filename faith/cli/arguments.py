"""The parser of faithd's command line: argparse's, with a guess at what was meant."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, NoReturn

from faith.errors import meant

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHOICE = re.compile(r"argument (\S+): invalid choice: '(.*?)'")
_UNKNOWN = re.compile(r"unrecognized arguments: (\S+)")


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors name the option or the word that was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Print *message* with a guess; exit with 2."""
        super().error(f"{message}{self._guess(message)} (see {self.prog} --help)")

    def _guess(self, message: str) -> str:
        if found := _UNKNOWN.match(message):
            return meant(found[1].partition("=")[0], self._option_string_actions)
        if found := _CHOICE.match(message):
            option = found[1].partition("/")[0]
            return meant(found[2], map(str, self._choices(option)))
        return ""

    def _choices(self, option: str) -> Iterable[object]:
        return self._option_string_actions[option].choices or ()
