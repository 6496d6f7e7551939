"""Libraries that only one command needs, which an installation may be without."""

from __future__ import annotations

from importlib.util import find_spec

from faith.errors import FaithError


def require(extra: str, *libraries: str) -> None:
    """Check that the libraries of the extra *extra*, by their import names, are installed.

    Raises FaithError, with how to install them.
    """
    if missing := [name for name in libraries if find_spec(name) is None]:
        raise FaithError(
            f"{' and '.join(missing)} not installed, which faith {extra} needs:"
            f" pip install 'faithd[{extra}]', or Debian's"
            f" {' '.join(f'python3-{name}' for name in missing)}"
        )
