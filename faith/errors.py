"""The errors of FAITH: one root, and children that say whose fault it is and what to do."""

from __future__ import annotations


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
