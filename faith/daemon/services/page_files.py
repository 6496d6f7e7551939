"""The files of the page at the admin listener, as the package has them."""

from __future__ import annotations

from pathlib import Path

from faith.errors import SetupError

DIRECTORY = Path(__file__).with_name("page")
"""The page, its style, its scripts and its icon: no other file of the package is served."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

PageFiles = dict[str, tuple[bytes, str]]
"""Content and content type, by the path of the URL; the page itself is ``/``."""


def read() -> PageFiles:
    """Return the files of the page.  Raises SetupError."""
    try:
        return {
            "/" if file.name == "index.html" else f"/{file.name}": (
                file.read_bytes(),
                _TYPES[file.suffix],
            )
            for file in sorted(DIRECTORY.iterdir())
        }
    except OSError as error:
        hint = "the installation is not complete: install faith again"
        raise SetupError("read the page of the admin listener", str(error), hint) from error
