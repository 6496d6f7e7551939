"""Libraries that only one command needs, which an installation may be without."""

from __future__ import annotations

from importlib.util import find_spec

from faith.errors import FaithError


def require(command: str, *libraries: str) -> None:
    """Check that the *libraries* that a command needs, by their import names, are installed.

    Raises FaithError, with how to install them.
    """
    if missing := [name for name in libraries if find_spec(name) is None]:
        raise FaithError(
            f"faith {command} needs {' and '.join(missing)}: pip install {' '.join(missing)},"
            f" or Debian's {' '.join(f'python3-{name}' for name in missing)}"
        )
