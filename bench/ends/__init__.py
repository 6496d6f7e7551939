"""Programs for the client and the origin, run as scripts that import nothing of ours."""

from __future__ import annotations

import sys
from pathlib import Path


def command(name: str, *arguments: object) -> list[str]:
    """The command that runs one of them."""
    script = Path(__file__).with_name(f"{name}.py")
    return [sys.executable, "-IS", str(script), *map(str, arguments)]
