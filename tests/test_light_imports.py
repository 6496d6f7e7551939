"""The modules on the way of ``faithd --inetd`` import next to nothing: it starts as Python does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import faith

ROOT = Path(faith.__file__).parent.parent
LIGHT = (
    "faith/__init__.py",
    "faith/errors.py",
    "faith/kernel/netlink/netlink.py",
    "faith/kernel/netlink/routes.py",
    "faith/kernel/sockets/tcp_sockets.py",
    "faith/kernel/title.py",
    "faith/relay/inetd/inetd.py",
    "faith/relay/tcp/routing.py",
    "faith/translation/*.py",
    "faith/version.py",
)
"""Modules that must be light to import, below ROOT; further modules are added here."""

ALLOWED = "__future__, _socket, errno, fcntl, os, select, struct, sys, time"

IMPORT = f"""
import {ALLOWED}
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
__import__(sys.argv[2])
print(*(name for name in sorted(set(sys.modules) - before) if name.partition(".")[0] != "faith"))
"""


def modules(pattern: str) -> list[str]:
    files = sorted(ROOT.glob(pattern))
    assert files, f"no file is called {pattern}"
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def test_inetd_mode_does_without_what_is_for_processes_of_a_daemon() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import faith.relay.inetd.inetd"
    script += "; print(*sys.modules)"
    python = [sys.executable, "-I", "-S", "-c", script, str(ROOT)]
    found = subprocess.run(python, check=True, capture_output=True, text=True).stdout.split()
    assert "faith.relay.inetd.inetd" in found
    assert not [name for name in found if name.startswith(("faith.daemon", "faith.kernel.process"))]


def test_what_draws_is_imported_by_nothing_but_top() -> None:
    """What typer imports is its own: older ones import rich as soon as that is installed."""
    script = "import sys, typer; before = {*sys.modules}; import faith.cli.faith; "
    script += "print(*before); print(*{*sys.modules} - before)"
    python = [sys.executable, "-c", script]
    found = subprocess.run(python, check=True, capture_output=True, text=True).stdout
    theirs, ours = ({name.partition(".")[0] for name in one.split()} for one in found.splitlines())
    assert "typer" in theirs
    assert "faith" in ours
    assert not {"rich", "textual"} & ours


def test_a_daemon_without_names_to_look_up_does_without_what_does() -> None:
    """dnspython is 3 MB, and a tenth of the time that a start takes."""
    script = "import sys, faith.daemon.supervisor; print(*sys.modules)"
    python = [sys.executable, "-c", script]
    found = subprocess.run(python, check=True, capture_output=True, text=True).stdout.split()
    assert "faith.daemon.services.dns_workers" in found
    assert not {"dns", "faith.dns.service", "faith.daemon.services.proxy_names"} & {*found}


@pytest.mark.parametrize("module", [name for pattern in LIGHT for name in modules(pattern)])
def test_imports_nothing_slow(module: str) -> None:
    python = [sys.executable, "-I", "-S", "-c", IMPORT, str(ROOT), module]
    found = subprocess.run(python, check=True, capture_output=True, text=True).stdout.split()
    assert not found, f"{module} imports {', '.join(found)}"
