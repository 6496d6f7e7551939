"""The units of contrib/systemd, read as systemd reads them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

CONTRIB = Path(__file__).parents[1] / "contrib" / "systemd"
UNITS = sorted([*CONTRIB.glob("*.service"), *CONTRIB.glob("*.socket")])
INSTANCES = {
    "faithd@.service": r"80\x2c8000\x2d8100",
    "faithd@.socket": "80",
    "faith-prefix@.service": "2001:db8:ffff::-96",
    "faith-inetd@.socket": "80",
    "faith-inetd@.service": "1-7-0",
}
"""An instance of each template."""


def values(unit: str, key: str) -> list[str]:
    """Return the values of *key* in the unit, in order."""
    found = re.findall(rf"^{key}=(.*)$", (CONTRIB / unit).read_text(), re.MULTILINE)
    return [value.removeprefix("-") for value in found]


def command(unit: str, key: str = "ExecStart") -> list[str]:
    """The words of a command; of a template, for its instance."""
    (text,) = values(unit, key)
    return [word.replace("%I", unescape(INSTANCES.get(unit, ""))) for word in shlex.split(text)]


def unescape(instance: str) -> str:
    """What ``%I`` stands for (systemd.unit(5))."""
    text = instance.replace("-", "/")
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)


def capabilities(unit: str) -> list[str]:
    """Its bounding set, by names like ``net_admin``."""
    names = " ".join(values(unit, "CapabilityBoundingSet")).split()
    return [name.removeprefix("CAP_").lower() for name in names]


def bounded(unit: str) -> list[str]:
    """Return a command prefix that leaves a program the capabilities of the unit only."""
    allowed = ",".join(["-all", *(f"+{name}" for name in capabilities(unit))])
    return ["setpriv", "--no-new-privs", f"--bounding-set={allowed}"]
