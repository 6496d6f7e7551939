"""A whole gateway by one file: prefix, services, FTP, names and the local server, by one daemon."""

from __future__ import annotations

import contextlib
import ftplib
import io
import json
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.message
import dns.query
import pytest

from faith.cli.sessions import KEYS
from faith.kernel.netlink import routes
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.faithd import ENVIRONMENT
from tests.netns.ftp_server import FtpServer
from tests.netns.gateway import Gateway, metrics, reread
from tests.netns.service import PORT, answers, connect, refuses, relays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import ThreeHosts

    Start = Callable[..., "Gateway"]

pytestmark = pytest.mark.netns

OTHER = "2001:db8:eeee::/96"
ZONE = f"""{EXAMPLE}www 60 IN A {SERVER}
"""
BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "ftp"
[[service]]
ports = "{PORT},8000-8001"
server = ["/bin/cat"]
"""
DNS = f"""
[dns]
listen = ["[{GATEWAY_V6}]:53"]
forward = ["{SERVER}"]
"""


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    """Start a faithd by the text of a file, and wait until it serves."""
    return lambda text=BASE: Gateway(lab, tmp_path, text)


@pytest.fixture
def zones(lab: ThreeHosts) -> Iterator[None]:
    with lab.server.call(lambda: NameServer(Zones(ZONE), SERVER, 53)):
        yield


def asked(lab: ThreeHosts) -> list[str]:
    """What the gateway tells the client of www.example."""
    query = dns.message.make_query("www.example.", "AAAA")
    reply = lab.client.call(lambda: dns.query.udp(query, GATEWAY_V6, timeout=5))
    return [str(rdata) for rrset in reply.answer for rdata in rrset]


@pytest.mark.usefixtures("echo", "zones")
def test_all_parts_are_served_by_one_daemon(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE + DNS)
    assert asked(lab) == [lab.mapped()]
    assert relays(lab)
    with connect(lab, GATEWAY_V6) as own:
        assert answers(own, b"cat says it again")
    assert refuses(lab, 22)

    server = FtpServer(lab.server)
    server.files["file"] = b"octets"
    received = io.BytesIO()

    def fetch() -> None:
        with ftplib.FTP(timeout=10) as ftp:
            ftp.connect(lab.mapped(), 21)
            ftp.login("me", "secret")
            ftp.retrbinary("RETR file", received.write)

    with contextlib.closing(server):
        lab.client.call(fetch)
    assert received.getvalue() == b"octets"

    assert faithd.stop() == 0
    with lab.gateway.inside():
        assert not routes.reserved()


@pytest.mark.usefixtures("zones")
def test_names_are_counted(lab: ThreeHosts, start: Start, need: Callable[[str], str]) -> None:
    start(f'{BASE}{DNS}[metrics]\nlisten = "[::1]:9064"\n')
    for _ in range(3):
        assert asked(lab) == [lab.mapped()]
    told = lab.gateway.run([need("curl"), "-sSg", "http://[::1]:9064/metrics"]).stdout
    assert 'faith_dns_queries_total{transport="udp"} 3.0' in told
    assert 'faith_dns_answers_total{how="at once"} 2.0' in told
    assert 'faith_dns_answers_total{how="looked up"} 1.0' in told
    assert "faith_dns_synthesised_total 1.0" in told
    assert 'faith_dns_upstream_total{result="answer"} 2.0' in told


def test_a_mistake_keeps_it_from_starting(lab: ThreeHosts, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"faith.toml:7: service.prots: .* is ports meant"):
        Gateway(lab, tmp_path, BASE.replace("ports = ", "prots = ", 1))
    with lab.gateway.inside():
        assert not routes.reserved()


def test_names_that_cannot_be_served_keep_it_from_starting(lab: ThreeHosts, tmp_path: Path) -> None:
    with (
        lab.gateway.call(lambda: socket.create_server((GATEWAY_V6, 53), family=socket.AF_INET6)),
        pytest.raises(AssertionError, match="the port is taken by"),
    ):
        Gateway(lab, tmp_path, BASE + DNS)
    with lab.gateway.inside():
        assert not routes.reserved()


# -- read again ----------------------------------------------------------------------------------


def relays_now(lab: ThreeHosts) -> bool:
    with contextlib.suppress(ConnectionResetError):
        return relays(lab)
    return False


@pytest.mark.usefixtures("echo", "zones")
def test_a_good_file_is_taken_under_traffic(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE)
    with connect(lab) as connection:
        assert answers(connection)
        rules = '[access]\nrules = ["2001:db8:9::/48 permit 0.0.0.0/0"]\n'
        reread(faithd, f'{BASE}{rules}[log]\nformat = "json"\n{DNS}', "read again")
        assert answers(connection), "what is there lives on"
        wait_until(lambda: not relays_now(lab), 5, "the workers following")
        assert asked(lab) == [lab.mapped()]
        faithd.wait_said('"end": "no rule permits it"')
        reread(faithd, f"{BASE}[timeouts]\nidle = 0.2\n{DNS}", "read again")
        assert asked(lab) == [lab.mapped()]
        wait_until(lambda: relays_now(lab), 5, "the workers following")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)  # it has been silent for too long
        reread(faithd, BASE, "read again")
        wait_until(lambda: len(faithd.workers) == 2, 5, "those that answered to be gone")


@pytest.mark.usefixtures("echo", "zones")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BASE.replace("8000", "x"), ":9: service.ports: 'x-8001' is not a TCP service"),
        (BASE + "[timeouts]\nidel = 1", ":12: timeouts.idel: no such key; is idle meant?"),
        (BASE.replace("]]", ']]\nvia = "tproxy"', 1), "prefix.via: to change this"),
        (BASE + "[access]\nfile = '/nonsense'", "/nonsense: no such file"),
        (BASE.replace("/bin/cat", "/bin/no"), "local server /bin/no: no such file"),
        (BASE + '[[prefix]]\naddress = "64:ff9b:1::/120"', "64:ff9b:1::/120"),
    ],
)
def test_a_bad_file_changes_nothing(lab: ThreeHosts, start: Start, text: str, says: str) -> None:
    faithd = start(BASE + DNS)
    with connect(lab) as connection:
        reread(faithd, text, "; everything stays as it was")
        assert says in faithd.said
        assert answers(connection)
    assert relays(lab)
    assert asked(lab) == [lab.mapped()]


@pytest.mark.usefixtures("echo", "zones")
def test_names_that_cannot_be_served_any_more_change_nothing(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE + DNS)
    elsewhere = BASE.replace(PREFIX, OTHER) + DNS.replace(":53", ":54")
    taken = lab.gateway.call(lambda: socket.create_server((GATEWAY_V6, 54), family=socket.AF_INET6))
    with taken:
        reread(faithd, elsewhere, "the port is taken by")
    faithd.wait_said("; everything stays as it was")
    assert relays(lab)
    assert asked(lab) == [lab.mapped()]
    reread(faithd, elsewhere, "read again")
    with lab.gateway.inside():
        assert list(map(str, routes.reserved())) == [OTHER]


@pytest.mark.usefixtures("echo")
def test_a_prefix_comes_and_goes(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE)
    reread(faithd, BASE.replace(PREFIX, OTHER), f"prefixes: {OTHER}")
    with lab.gateway.inside():
        assert list(map(str, routes.reserved())) == [OTHER]
    reread(faithd, BASE, f"prefixes: {PREFIX}")
    assert relays(lab)
    assert faithd.stop() == 0
    with lab.gateway.inside():
        assert not routes.reserved()


def test_systemd_is_told_of_all_of_it(lab: ThreeHosts, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
        faithd = Gateway(lab, tmp_path, BASE, **environment)

        def told() -> list[str]:
            return systemd.recv(4096).decode().splitlines()

        assert told()[0] == "READY=1"
        assert told() == ["WATCHDOG=1"]
        reread(faithd, BASE, "read again")
        assert told()[0] == "RELOADING=1"
        ready, status = told()
        assert ready == "READY=1"
        assert status.startswith("STATUS=serving ftp,")
        assert faithd.stop() == 0
        assert told() == ["STOPPING=1"]


# -- asked and told ------------------------------------------------------------------------------


def faith(lab: ThreeHosts, *words: str) -> str:
    """What ``faith WORDS`` prints on the gateway; raises CalledProcessError.

    The status is never good here: the gateway has no default route.
    """
    command = [sys.executable, "-m", "faith.cli.faith", *words]
    return lab.gateway.run(command, env=ENVIRONMENT, check=words[0] != "status").stdout


def sessions(lab: ThreeHosts, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(faith(lab, "sessions", "--json", *words))
    return found


@pytest.mark.usefixtures("echo")
def test_sessions_are_listed_and_killed(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    assert stat.S_IMODE(faithd.control.stat().st_mode) == 0o600
    with connect(lab) as first, connect(lab) as second:
        assert answers(first, b"a")
        assert answers(second, b"a little more")
        longer, shorter = sessions(lab, "--sort", "sent")
        assert (longer["sent"], shorter["received"]) == (13, 1)
        assert longer["client"] == "[{}]:{}".format(*second.getsockname()[:2])
        assert longer["mapped"] == f"[{lab.mapped()}]:{PORT}"
        assert longer["server"] == f"{SERVER}:{PORT}"
        assert longer["stage"] == "open"
        assert len(sessions(lab, "--client", "2001:db8:6::/64")) == 2
        assert not sessions(lab, "--client", "2001:db8:9::/48")
        header, *rows = faith(lab, "sessions").splitlines()
        assert header.split() == [key for key in KEYS if key not in ("method", "asked", "user")]
        assert sorted(row.split()[0] for row in rows) == sorted([longer["id"], shorter["id"]])
        assert f"pid {faithd.process.pid}" in faith(lab, "status")
        assert "2 sessions" in faith(lab, "status")

        faith(lab, "kill", longer["id"])
        with pytest.raises(ConnectionResetError):
            second.recv(1)
        assert answers(first)
        faithd.wait_said("end=killed")
        for word in (longer["id"], "7-1", "nonsense"):
            with pytest.raises(subprocess.CalledProcessError):
                faith(lab, "kill", word)
    assert faithd.stop() == 0
    assert not faithd.control.exists()


@pytest.mark.usefixtures("echo")
def test_a_reload_that_is_asked_for_tells_how_it_went(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    assert "in force" in faith(lab, "reload")
    faithd.write(BASE + "nonsense = 1")
    with pytest.raises(subprocess.CalledProcessError) as told:
        faith(lab, "reload", "--control", str(faithd.control))
    assert "service.nonsense: no such key" in told.value.stderr
    assert relays(lab)


@pytest.mark.usefixtures("zones")
def test_who_asked_for_a_reload_is_told_when_another_comes_first(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start(BASE)
    faithd.write(BASE + DNS)  # name servers take a while to come up
    asking = [
        lab.gateway.popen(
            [sys.executable, "-m", "faith.cli.faith", "reload"],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(4)
    ]
    told = [one.communicate(timeout=30)[0] for one in asking]
    assert all("in force" in text or "is read once more" in text for text in told)
    assert "in force" in "".join(told)
    assert asked(lab) == [lab.mapped()]


@pytest.mark.usefixtures("echo")
def test_drained_it_ends_with_its_last_session(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE + "[timeouts]\ndrain = 0.1")
    with connect(lab) as connection:
        assert answers(connection)
        assert "open sessions: 1" in faith(lab, "drain", "--forever")
        assert refuses(lab)
        assert "taking no more" in faith(lab, "status")
        time.sleep(0.3)  # time: more than a drain may usually take
        assert answers(connection)
        with pytest.raises(subprocess.CalledProcessError, match="exit status 1"):
            faith(lab, "drain")
    assert faithd.process.wait(5) == 0


def test_a_killed_one_leaves_a_socket_that_is_in_nobodys_way(lab: ThreeHosts, start: Start) -> None:
    first = start()
    workers = first.workers
    first.process.kill()
    first.process.wait()
    assert first.control.exists()
    wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5, "workers to be gone"
    )
    start()
    assert sessions(lab) == []


def test_two_cannot_have_the_same_control_socket(lab: ThreeHosts, start: Start) -> None:
    start()
    with pytest.raises(AssertionError, match="control: Address already in use"):
        start(BASE.replace("8000-8001", "9000").replace("ftp", "22").replace(str(PORT), "24"))


@pytest.mark.usefixtures("echo", "zones")
def test_an_upgrade_takes_all_parts_over_and_what_may_change_of_the_file(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start(BASE + DNS + '[metrics]\nlisten = "[::1]:9064"\n')
    session = connect(lab)
    assert answers(session)
    assert metrics(lab)["faith_sessions_open"] >= 1
    processes = len(faithd.workers)
    text = BASE + DNS + '[metrics]\nlisten = "[::1]:9064"\n'
    faithd.write(text.replace("[dns]", "[timeouts]\nidle = 60\n[dns]"))
    for number in (2, 3):
        faithd.signal(signal.SIGUSR2)
        faithd.wait_said(f"upgraded to program {number}", seconds=30)
        assert answers(session)
        assert asked(lab) == [lab.mapped()]
        assert relays(lab)
        with connect(lab, GATEWAY_V6) as own:
            assert answers(own, b"cat says it again")
        wait_until(lambda: metrics(lab)["faith_sessions_open"] == 1, 5, "one session counted")
        wait_until(lambda: len(faithd.workers) == processes, 5, "nobody of the old program left")
        told = subprocess.check_output(
            [sys.executable, "-m", "faith.cli.faith", "sessions", "--json", "--control",
             str(faithd.control)],
            env=ENVIRONMENT,
        )  # fmt: skip
        assert len(json.loads(told)) == 1
    session.close()
    assert faithd.stop() == 0
    assert not faithd.control.exists()


@pytest.mark.usefixtures("echo")
def test_an_upgrade_that_is_asked_for_tells_how_it_went(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    with connect(lab) as session:
        assert answers(session)
        assert "program 2, everything is handed over" in faith(lab, "upgrade")
        assert answers(session)
        faithd.write(BASE + "nonsense = 1")
        with pytest.raises(subprocess.CalledProcessError) as told:
            faith(lab, "upgrade")
        assert "not upgraded: the new program exited with 1" in told.value.stderr
        assert "service.nonsense: no such key" in told.value.stderr
        faithd.write(BASE)
        assert "program 3" in faith(lab, "upgrade", str(faithd.process.pid))
        assert answers(session)
    assert faithd.stop() == 0


def test_one_that_is_stopped_tells_who_waits_for_an_upgrade(
    lab: ThreeHosts, start: Start, tmp_path: Path
) -> None:
    faithd = start()
    with (tmp_path / "told").open("w+") as told:
        waiting = lab.gateway.popen(
            [sys.executable, "-m", "faith.cli.faith", "upgrade"], env=ENVIRONMENT, stderr=told
        )
        faithd.wait_said("trying the new program")
        assert faithd.stop() == 0
        assert waiting.wait(5) == 1
        told.seek(0)
        assert "it is being stopped" in told.read()
