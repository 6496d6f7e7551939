"""The errors of FAITH: one root, and children that say whose fault it is and what to do."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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


class ConfigErrors(ConfigError):
    """Several mistakes of the operator, of which *message*, *file* and *line* are the first's.

    ``str()`` has a line for each.
    """

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self._errors = tuple(errors)
        first = self._errors[0]
        super().__init__(first.message, first.file, first.line)
        self.args = ("\n".join(map(str, self._errors)),)

    @property
    def errors(self) -> tuple[ConfigError, ...]:
        """The mistakes, in order."""
        return self._errors


def raise_all(errors: Sequence[ConfigError]) -> None:
    """Raise *errors*, as ConfigErrors if there are several; return if there is none."""
    if errors:
        raise errors[0] if len(errors) == 1 else ConfigErrors(errors)


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
