"""The errors of FAITH: one root, and children that say whose fault it is and what to do."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


MOST = 100
"""Mistakes that are shown at a time."""


class FaithError(Exception):
    """The root of every error this package raises on purpose."""


class ConfigError(FaithError):
    """Something the operator wrote cannot be used.

    ``str()`` is ``file:line: message``, with what is not known left out.
    """

    def __init__(self, message: str, file: str | None = None, line: int | None = None) -> None:
        where = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.file = file
        self.line = line

    @property
    def errors(self) -> tuple[ConfigError, ...]:
        """The mistakes: this one, or those that it consists of."""
        return (self,)


def lines_of(error: object) -> list[str]:
    """Return *error* in lines: one for each mistake, `MOST` at most, and how many more."""
    if not isinstance(error, ConfigError):
        return [str(error)]
    shown = list(map(str, error.errors[:MOST]))
    more = len(error.errors) - MOST
    return [*shown, f"and {more} more"] if more > 0 else shown


class ConfigErrors(ConfigError):
    """Several mistakes of the operator, of which *message*, *file* and *line* are the first's.

    ``str()`` is one line, for a log: the first mistake, and how many more there are.
    """

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self._errors = tuple(errors)
        first = self._errors[0]
        super().__init__(first.message, first.file, first.line)
        more = len(self._errors) - 1
        self.args = (f"{first}; {more} more mistake{'s' * (more > 1)}: faith check shows all",)

    @property
    def errors(self) -> tuple[ConfigError, ...]:
        """The mistakes, in order."""
        return self._errors


def raise_all(errors: Sequence[ConfigError]) -> None:
    """Raise *errors*, as ConfigErrors if there are several; return if there is none."""
    if errors:
        raise errors[0] if len(errors) == 1 else ConfigErrors(errors)


def meant(word: str, words: Iterable[str]) -> str:
    """Return "; is X meant?" for the one of *words* that is most like *word*, or ""."""
    import difflib  # rare, and inetd mode has no time

    near = difflib.get_close_matches(word, [*words], 1)
    return f"; is {near[0]} meant?" if near else ""


class SetupError(FaithError):
    """The system refused a step of the set-up; nothing of it stays behind.

    ``str()`` is ``step: reason (hint)``.
    """

    def __init__(self, step: str, reason: str, hint: str = "") -> None:
        super().__init__(f"{step}: {reason} ({hint})" if hint else f"{step}: {reason}")
        self.step = step
        self.reason = reason
        self.hint = hint


class PermissionNeeded(SetupError):
    """A step needs capabilities this process lacks; *capabilities* names them (``CAP_…``)."""

    def __init__(self, step: str, *capabilities: str) -> None:
        super().__init__(step, f"needs {' and '.join(capabilities)}", "run it as root")
        self.capabilities = capabilities
