"""The life of the Debian package on a machine, step by step, with everything checked.

    python3 -m tests.trial.debian DIRECTORY PART

In DIRECTORY are two versions of the package, ``old.deb`` and ``new.deb``, and a certificate with
its key, ``proxy.pem`` and ``proxy.key``; the packages that they depend on are in apt's cache.  The
machine, a tree that scripts/try-package has booted, is started before each PART: ``before`` is the
first, ``after`` the second.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.trial import network
from tests.trial.network import (
    PREFIX,
    SERVER_NAME,
    SERVER_V4,
    ProxiedSession,
    SecuredSession,
    Session,
    echo,
    looks_up,
    page,
    refuses,
    relays,
    serve_page,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = Path(sys.argv[1])
STATE = PACKAGES / "state.json"
"""The files of the machine before the package came."""
PATIENCE = 60.0
"""Seconds for anything to happen; the machine may be loaded."""

DRAIN = 30
PROXY, TLS_PROXY, PAGE = 1080, 3129, 8080
KEPT = Path("/etc/faith")
"""For the files that a configuration names."""
USERS, CERTIFICATE, KEY = KEPT / "proxy.users", KEPT / "proxy.pem", KEPT / "proxy.key"
USER, PASSWORD = "ann", "open-sesame"
CONFIGURATION = f"""\
workers = 2
control = "/run/faith/control.sock"
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "%s"
[udp]
[ping]
[timeouts]
drain = {DRAIN}
[[proxy]]
listen = ":{PROXY}"
connect_ports = "{PAGE}"
[[proxy]]
listen = ":{TLS_PROXY}"
users = "{USERS}"
tls_certificate = "{CERTIFICATE}"
tls_key = "{KEY}"
"""
NOT_LOOKED_AT = (
    *("/dev", "/proc", "/root", "/sys", "/tmp", "/usr/lib/python3*/__pycache__"),
    *("/run/log", "/run/netns", "/run/systemd", "/run/user"),
    *("/var/cache", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/log", "/var/tmp"),
)
"""Places of apt, systemd and Python, which keep what they did."""
OURS = {
    "/etc/systemd/system/sysinit.target.wants/nftables.service",
    *map(str, (KEPT, USERS, CERTIFICATE, KEY)),
}
"""Files of this trial's own."""
UNITS = (
    "faith-dns.service",
    "faith-inetd@.service",
    "faith-inetd@.socket",
    "faith-prefix@.service",
    "faithd.service",
    "faithd@.service",
    "faithd@.socket",
)
PREFIX_UNIT = "faith-prefix@2001:db8:ffff::-96.service"


def run(*words: str, check: bool = True, stdin: str = "") -> str:
    """Run a program; return what it prints."""
    done = subprocess.run(words, check=False, capture_output=True, text=True, input=stdin)
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def wait(until: Callable[[], object], what: str) -> None:
    """Wait for *until*, which is asked again and again."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.1)  # poll: another process has to act


def systemctl(*words: str) -> str:
    return run("systemctl", *words).strip()


def shown(unit: str, key: str) -> str:
    return systemctl("show", "--value", "-p", key, unit)


def main_pid(unit: str) -> int:
    return int(shown(unit, "MainPID"))


def active(unit: str) -> bool:
    return run("systemctl", "is-active", unit, check=False).strip() == "active"


def apt(*words: str) -> str:
    """Run apt-get on what is on the machine."""
    options = ("--yes", "--no-install-recommends", "--quiet")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    return run("apt-get", *options, *words)


def journal(*matches: str) -> list[dict[str, str]]:
    lines = run("journalctl", "--no-pager", "-o", "json", "-q", *matches).splitlines()
    return [json.loads(line) for line in lines]


def files() -> list[str]:
    """Return all paths of the machine that a package might leave something at."""
    pruned = [word for path in (*NOT_LOOKED_AT, PACKAGES) for word in ("-path", f"{path}", "-o")]
    return run("find", "/", "(", *pruned, "-false", ")", "-prune", "-o", "-print").splitlines()


def ruleset() -> str:
    return run("nft", "list", "ruleset")


# -- the steps -------------------------------------------------------------------------------------


def it_is_installed_and_changes_nothing_else() -> None:
    STATE.write_text(json.dumps(files()))
    apt("install", str(PACKAGES / "old.deb"))
    run("getent", "passwd", "faith")
    assert Path("/run/faith").stat().st_mode & 0o777 == 0o755
    place = Path(shown("faithd", "FragmentPath")).parent
    assert {path.name for path in place.glob("faith*")} == {*UNITS}
    assert not [unit for unit in ("faithd", "faith-dns") if active(unit)]
    assert "disabled" in run("systemctl", "is-enabled", "faithd", check=False)
    assert "faith" not in ruleset()
    assert run("faith", "--version").split()[-1] == run("faithd", "--version").split()[-1]
    run("systemd-analyze", "verify", "--man=no", *(unit.replace("@.", "@80.") for unit in UNITS))


def a_gateway_starts_by_its_file() -> None:
    USERS.write_text(run("faith", "proxy", "password", USER, stdin=f"{PASSWORD}\n"))
    for file in (CERTIFICATE, KEY):
        file.write_bytes((PACKAGES / file.name).read_bytes())
    for file in (USERS, KEY):
        file.chmod(0o600)
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(f"{SERVER_V4} {SERVER_NAME}\n")
    Path("/etc/faith.toml").write_text(CONFIGURATION % "80,8000")
    systemctl("enable", "--now", "faithd")
    assert active("faithd")
    assert shown("faithd", "StatusText")
    assert relays(80)
    assert refuses(8001)
    owners = {Path(f"/proc/{pid}").owner() for pid in workers("faithd")}
    assert owners == {"root", "faith"}


def proxied() -> list[Session]:
    """Return new sessions by each proxy."""
    return [
        ProxiedSession(PROXY, SERVER_V4, 80),
        ProxiedSession(PROXY, SERVER_NAME, 80),
        SecuredSession(TLS_PROXY, SERVER_NAME, 80, CERTIFICATE, USER, PASSWORD),
    ]


def both_proxies_serve() -> None:
    held = proxied()
    assert all(one.answers() for one in held)
    sessions = json.loads(run("faith", "sessions", "--json"))
    asked = sorted((one["method"], one["asked"]) for one in sessions)
    name = ("socks5", f"{SERVER_NAME}:80")
    assert asked == [("socks5", f"{SERVER_V4}:80"), name, name], asked
    assert all(one.end() for one in held)
    status, via = page(PROXY, f"http://{SERVER_NAME}:{PAGE}/")
    assert (status, via[:10]) == (200, "1.1 faith-"), via
    assert page(PROXY, "http://127.0.0.1:8080/")[0] == 403
    wait(
        lambda: any("asked=server.example:80" in one["MESSAGE"] for one in records("faithd")),
        "a record with the name",
    )


def daemons() -> list[str]:
    """Return the command lines of faithds."""
    lines = [
        path.read_bytes().replace(b"\0", b" ") for path in Path("/proc").glob("[0-9]*/cmdline")
    ]
    return [line.decode() for line in lines if b"bin/faithd" in line]


def workers(unit: str) -> list[str]:
    """Return all processes of *unit*, the supervisor too."""
    group = Path("/sys/fs/cgroup" + shown(unit, "ControlGroup"))
    return (group / "cgroup.procs").read_text().split()


def records_have_their_fields_in_the_journal() -> None:
    wait(lambda: records("faithd.service"), "a record")
    (record, *_) = records("faithd.service")
    assert record["SYSLOG_IDENTIFIER"] == "faithd"
    assert record["PRIORITY"] == "6"
    assert record["_SYSTEMD_UNIT"] == "faithd.service"
    assert "mapped=[2001:db8:ffff::c000:250]:80" in record["MESSAGE"]
    assert "server=192.0.2.80:80" in record["MESSAGE"]


def records(unit: str) -> list[dict[str, str]]:
    return [one for one in journal("-u", unit) if "client=[2001:db8:6::2]" in one["MESSAGE"]]


def a_reload_keeps_sessions() -> None:
    held, pid = Session(80), main_pid("faithd")
    Path("/etc/faith.toml").write_text(CONFIGURATION % "80,8000-8001")
    systemctl("reload", "faithd")
    assert relays(8001)
    assert held.answers()
    assert held.end()
    assert main_pid("faithd") == pid
    Path("/etc/faith.toml").write_text("nonsense")
    assert "failed" in run("systemctl", "reload", "faithd", check=False)
    assert relays(8001), "a file that cannot be used changes nothing"
    assert [one for one in journal("-u", "faithd") if "stays as it was" in one["MESSAGE"]]
    Path("/etc/faith.toml").write_text(CONFIGURATION % "80,8000-8001")
    systemctl("reload", "faithd")


def an_upgrade_of_the_package_keeps_sessions() -> None:
    systemctl("start", "faithd@9000.service")
    held = [Session(80), Session(9000), *proxied()]
    assert all(one.answers() for one in held)
    pids = main_pid("faithd"), main_pid("faithd@9000")
    before = status()
    said = apt("install", str(PACKAGES / "new.deb"))
    assert "upgraded faithd" in said, said
    assert (main_pid("faithd"), main_pid("faithd@9000")) == pids
    assert all(one.answers() for one in held)
    assert relays(80)
    assert relays(9000)
    after = status()
    assert [(one["pid"], one["programs"] + 1) for one in before] == [
        (one["pid"], one["programs"]) for one in after
    ]
    assert all(one.end() for one in held)
    assert active("faithd")
    systemctl("stop", "faithd@9000.service")


def status() -> list[dict[str, int]]:
    report = json.loads(run("faith", "status", "--json", check=False))
    found: list[dict[str, int]] = report["daemons"]
    return found


def a_package_that_cannot_run_is_not_put_in_its_place() -> None:
    held, pid = Session(80), main_pid("faithd")
    program = Path("/usr/lib/faithd/faith/daemon/supervisor.py")
    good = program.read_text()
    program.write_text("raise SystemExit('broken')\n")
    assert "broken" in run("faith", "upgrade", check=False)
    assert main_pid("faithd") == pid
    assert held.answers()
    assert relays(80)
    program.write_text(good)
    run("faith", "upgrade")
    assert held.answers()
    assert held.end()


def the_watchdog_replaces_one_that_hangs() -> None:
    drop_in = Path("/etc/systemd/system/faithd.service.d/trial.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=3\n")
    systemctl("daemon-reload")
    systemctl("restart", "faithd")
    held, pid = Session(80), main_pid("faithd")
    assert held.answers()
    os.kill(pid, signal.SIGSTOP)
    wait(lambda: main_pid("faithd") not in (0, pid) and active("faithd"), "another supervisor")
    assert [one for one in journal("-u", "faithd") if "atchdog timeout" in one["MESSAGE"]]
    assert held.answers(), "its worker goes on"
    wait(lambda: relays(80), "new connections")
    assert held.end()
    drop_in.unlink()
    drop_in.parent.rmdir()
    systemctl("daemon-reload")


def a_stop_waits_for_sessions() -> None:
    held = Session(80)
    assert held.answers()
    stop = subprocess.Popen(["systemctl", "stop", "faithd"])
    wait(lambda: refuses(80), "no new connections")
    assert held.answers()
    assert stop.poll() is None
    assert "1 session" in shown("faithd", "StatusText")
    assert held.end()
    assert stop.wait(PATIENCE) == 0
    assert not daemons()
    assert "faith" not in ruleset()
    systemctl("start", "faithd")


def a_drain_ends_the_service_for_good() -> None:
    held = Session(80)
    drain = subprocess.Popen(["faith", "drain", "--forever"], stdout=subprocess.DEVNULL)
    wait(lambda: refuses(80), "no new connections")
    assert held.answers()
    assert held.end()
    assert drain.wait(PATIENCE) == 0
    wait(lambda: not active("faithd"), "its end")
    assert shown("faithd", "Result") == "success"


def piece_by_piece() -> None:
    systemctl("start", PREFIX_UNIT)
    assert "faith" in ruleset()
    systemctl("start", "faithd@80.socket", "faithd@80.service", "faith-inetd@8000.socket")
    assert relays(80)
    assert relays(8000)
    wait(lambda: records("faith-inetd@*"), "a record of one connection")
    held = Session(80)
    systemctl("reload", "faithd@80.service")
    wait(
        lambda: [one for one in journal("-u", "faithd@80") if "read again" in one["MESSAGE"]],
        "rules",
    )
    assert held.answers()
    systemctl("stop", "faithd@80.service")
    waiting = Session(80)  # the socket's backlog has it
    systemctl("start", "faithd@80.service")
    assert waiting.answers()
    assert waiting.end()
    assert not lives(held), "it had the five seconds of a drain"
    names_are_answered()
    systemctl("stop", "faithd@80.socket", "faithd@80.service", "faith-inetd@8000.socket")
    systemctl("stop", PREFIX_UNIT)
    assert "faith" not in ruleset()


def lives(session: Session) -> bool:
    try:
        return session.answers()
    except OSError:
        return False


def names_are_answered() -> None:
    Path("/etc/resolv.conf").write_text("nameserver 192.0.2.80\n")
    systemctl("start", "faith-dns.service")
    wait(lambda: "2001:db8:ffff::c000:aa" in looks_up("ipv4only.arpa"), "RFC 7050's addresses")
    pid = main_pid("faith-dns")
    systemctl("reload", "faith-dns.service")
    assert main_pid("faith-dns") == pid
    systemctl("stop", "faith-dns.service")


def what_is_enabled_comes_after_a_boot() -> None:
    """Enable the pieces, and nftables.service, which removes all tables at its start."""
    systemctl("enable", "--quiet", "nftables.service", PREFIX_UNIT, "faithd@9000.service")
    Path("/etc/nftables.conf").write_text("flush ruleset\n")


def all_of_it_has_come() -> None:
    for unit in ("faithd", "faithd@9000", PREFIX_UNIT):
        wait(lambda unit=unit: active(unit), unit)  # type: ignore[misc]
        assert shown(unit, "NRestarts") in ("0", "")
    came = "ActiveEnterTimestampMonotonic"
    assert 0 < int(shown("nftables", came)) < int(shown("faithd", came))
    assert "faith" in ruleset(), "the flush came before"
    assert relays(80), "from links that came after the daemon"
    assert all(one.answers() and one.end() for one in proxied())
    assert relays(9000)


def a_removal_leaves_the_configuration() -> None:
    run("faith", "-e", "-p", "2001:db8:aaaa::/96")
    apt("remove", "faithd")
    assert Path("/etc/faith.toml").exists()
    assert USERS.exists()
    assert not Path("/usr/bin/faithd").exists()
    assert not Path("/usr/lib/faithd").exists()
    assert "faith" not in ruleset(), "what was reserved by hand, too"
    assert "2001:db8:ffff" not in run("ip", "-6", "route", "show", "table", "all")
    assert not daemons()


def a_purge_leaves_nothing() -> None:
    apt("purge", "--auto-remove", "faithd")
    before = set(json.loads(STATE.read_text()))
    left = [path for path in files() if path not in before | OURS]
    assert not left, left
    assert USERS.exists(), "what is the administrator's own"
    assert "faithd" not in run("dpkg", "--list")
    run("getent", "passwd", "faith")  # as Debian's policy has it
    failed = systemctl("list-units", "--failed", "--plain", "--no-legend")
    assert not failed, failed


PARTS = {
    "before": (
        it_is_installed_and_changes_nothing_else,
        a_gateway_starts_by_its_file,
        both_proxies_serve,
        records_have_their_fields_in_the_journal,
        a_reload_keeps_sessions,
        an_upgrade_of_the_package_keeps_sessions,
        a_package_that_cannot_run_is_not_put_in_its_place,
        the_watchdog_replaces_one_that_hangs,
        a_stop_waits_for_sessions,
        a_drain_ends_the_service_for_good,
        piece_by_piece,
        what_is_enabled_comes_after_a_boot,
    ),
    "after": (
        all_of_it_has_come,
        a_removal_leaves_the_configuration,
        a_purge_leaves_nothing,
    ),
}


def main() -> None:
    """Do one part of the trial, and say what is good; an AssertionError ends it."""
    network.set_up()
    echo(80, 8000, 8001, 9000)
    serve_page(PAGE)
    for step in PARTS[sys.argv[2]]:
        began = time.monotonic()
        step()
        name = step.__name__.replace("_", " ")
        print(f"{name}: good, {time.monotonic() - began:.1f} s", flush=True)


main()
