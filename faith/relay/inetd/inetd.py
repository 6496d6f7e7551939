"""Inetd mode: the one connection on descriptor 0, relayed or given to the local server.

This runs once for every connection, so what it imports is bounded by its test: the client waits
for Python to start, and for little else.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal would bring enum
import _socket
import errno
import os
import select
import stat
import struct
import sys
import time

from faith.errors import ConfigError, FaithError, SetupError, meant
from faith.kernel import text_file
from faith.kernel.netlink.routes import own_ipv4, reserved
from faith.kernel.title import set_title
from faith.relay.inetd.blocking_relay import Pair
from faith.relay.inetd.syslog import Syslog
from faith.relay.tcp import dial
from faith.relay.tcp.record import Record, endpoint
from faith.relay.tcp.routing import route_of
from faith.translation.access import Access
from faith.translation.address import number
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.prefix import Prefixes
from faith.translation.proxy_protocol import VERSIONS, header
from faith.translation.reasons import CLOSED, NO_SOURCE, STOPPED
from faith.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from faith.relay.tcp.routing import Route

USAGE = """\
usage: faithd --inetd [-dp] [-f conf] [--proxy v1|v2] [--connect-timeout seconds]
              [--idle-timeout seconds] [--half-closed-timeout seconds]
              [serverpath [serverargs]]
       faithd --inetd [--version]
"""
SERVER_DIRECTORIES = ("/usr/libexec", "/usr/sbin", "/usr/bin", "/sbin")
"""Directories to search for a serverpath without a slash; KAME's faithd knew the first."""
CONF = "/etc/faithd.conf"
_HINT = "inetd, xinetd and systemd start this with the connection there"


class Options:
    """The command line after ``--inetd``; times in seconds, 0 for no limit."""

    def __init__(self) -> None:
        self.debug = False
        self.help = False
        self.version = False
        self.reserved_port = False
        self.conf = ""
        self.proxy = ""
        self.connect_timeout = 10.0
        self.idle_timeout = 7440.0
        self.half_closed_timeout = 300.0
        self.server: list[str] = []


_FLAGS = {
    "-d": "debug",
    "-h": "help",
    "--help": "help",
    "-p": "reserved_port",
    "--version": "version",
}
_VALUES = {
    "-f": "conf",
    "--connect-timeout": "connect_timeout",
    "--half-closed-timeout": "half_closed_timeout",
    "--idle-timeout": "idle_timeout",
    "--proxy": "proxy",
}


def parse(arguments: list[str]) -> Options:
    """Read the options, and the local server that follows them.  Raises ConfigError."""
    options = Options()
    words = list(arguments)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        name, _, value = word.partition("=")
        if word == "--":
            break
        if word in _FLAGS:
            setattr(options, _FLAGS[word], True)
        elif word[:2] in _FLAGS:  # -dp
            words[:0] = [word[:2], f"-{word[2:]}"]
        elif name not in _VALUES:
            near = meant(name, (*_FLAGS, *_VALUES))
            raise ConfigError(f"{word} is not an option of inetd mode{near}")
        elif not value and not words:
            raise ConfigError(f"{word} needs a value")
        else:
            value = value or words.pop(0)
            setattr(options, _VALUES[name], _READERS.get(name, _seconds)(name, value))
    options.server = words
    return options


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise ConfigError(f"{name} {value}: give seconds, or 0 for no limit")
    return seconds


def _conf(_: str, value: str) -> str:
    return value


def _version(name: str, value: str) -> str:
    if value not in VERSIONS:
        raise ConfigError(f"{name} {value}: give one of {', '.join(VERSIONS)}")
    return value


_READERS: dict[str, Callable[[str, str], str | float]] = {"-f": _conf, "--proxy": _version}
"""Of the options whose value is no time."""


def main(arguments: list[str]) -> int:
    """Serve the connection on descriptor 0; *arguments* are those after ``--inetd``.

    Returns the exit status: 0 after a session that ended well or that nobody serves, 1 after all
    else.  Does not return when the local server takes over.
    """
    log = Syslog()
    sys.excepthook = log.defect
    try:
        return _serve_by(arguments, log)
    finally:
        log.finish()


def _serve_by(arguments: list[str], log: Syslog) -> int:
    """Serve by these *arguments*, and log why not; return the exit status."""
    try:
        options = parse(arguments)
        if options.help:
            return _show(USAGE)
        if options.version:
            return _show(f"faithd {VERSION}\n")
        log.debugging = options.debug
        client = _connection()
        try:
            return serve(client, options, log)
        finally:
            client.close()
    except FaithError as error:
        log.error(str(error))
    except OSError as error:  # the client's: it has gone already
        log.error(str(error.strerror))
    return 1


def _show(text: str) -> int:
    if not stat.S_ISSOCK(os.fstat(1).st_mode):  # that would be the client
        os.write(1, text.encode())
    return 0


def _connection() -> _socket.socket:
    try:
        client = _socket.socket(fileno=0)
    except OSError as error:
        raise SetupError("descriptor 0", str(error.strerror), _HINT) from None
    if client.family not in (_socket.AF_INET, _socket.AF_INET6):
        raise SetupError("descriptor 0", "not a TCP connection", _HINT)
    return client


def serve(client: _socket.socket, options: Options, log: Syslog) -> int:
    """Relay *client* or hand it to the local server; returns the exit status.

    Raises FaithError and OSError.
    """
    (host, port), (mapped, service) = client.getpeername()[:2], client.getsockname()[:2]
    record = Record((host, port), (mapped, service), "", time.time())
    set_title(f"faithd: inetd {service}")
    told = endpoint(record.client), endpoint(record.mapped)
    log.debug(f"accepted a client from {told[0]} for {told[1]}")
    prefixes = Prefixes(reserved())
    if client.family != _socket.AF_INET6 or prefixes.find(number(mapped)) is None:
        return _serve_locally(told[0], options.server, log)
    # From here on an end that was not agreed on must not look like one, not even to SIGKILL.
    _abort_on_close(client, True)
    policy = Policy(prefixes, Networks(32, own_ipv4()), _access(options.conf))
    route = route_of(policy, host, mapped)
    if route.refused:
        log.error(f"translation to {told[1]} not permitted for {told[0]}: {route.refused}")
        return 1
    _relay(client, route, record, options, log)
    log.info(record.text())
    return 0 if record.end == CLOSED else 1


def _access(conf: str) -> Access:
    file = conf or CONF
    try:
        return Access.parse(text_file.read_leniently(file), file)
    except OSError as error:
        if error.errno == errno.ENOENT and not conf:
            return Access()  # as KAME had it: no file permits
        raise SetupError(f"reading {file}", str(error.strerror)) from error


def _abort_on_close(sock: _socket.socket, wanted: bool) -> None:
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, struct.pack("=ii", wanted, 0))


# -- the local server ----------------------------------------------------------------------------


def _serve_locally(client: str, server: list[str], log: Syslog) -> int:
    if not server:
        log.info(f"no local service for {client}")
        return 0
    path = find(server[0])
    log.info(f"executing local {path} for {client}")
    for signum in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(signum, _signal.SIG_DFL)  # Python ignores them, and exec would keep that
    log.finish()
    try:
        os.execv(path, [path, *server[1:]])
    except OSError as error:
        raise SetupError(f"executing local {path}", str(error.strerror)) from error


def find(server: str) -> str:
    """The path of a local server; one without a slash is looked for.  Raises SetupError."""
    if "/" in server:
        return server
    for directory in SERVER_DIRECTORIES:
        path = f"{directory}/{server}"
        if os.access(path, os.X_OK):
            return path
    raise SetupError(f"executing local {server}", f"not in {', '.join(SERVER_DIRECTORIES)}")


# -- the relay -----------------------------------------------------------------------------------


class _Stopped(Exception):
    """SIGTERM came."""


def _stop(*_: object) -> NoReturn:
    raise _Stopped


def _relay(
    client: _socket.socket, route: Route, record: Record, options: Options, log: Syslog
) -> None:
    """Dial, pump until the end, and complete *record*."""
    started = time.monotonic()
    record.server = route.server, record.mapped[1]
    log.debug(f"connecting to {endpoint(record.server)} from {route.source or 'any address'}")
    try:
        server, error = dial.connect(
            route.server, record.mapped[1], route.source, reserved_port=options.reserved_port
        )
    except OSError as failure:
        record.end = f"{NO_SOURCE}: {failure.strerror}".lower()
        return
    record.source = server.getsockname()
    if error == errno.EINPROGRESS:
        error = _connected(server, options.connect_timeout)
    if error and error not in dial.AFTERWARDS:
        record.end = dial.kind(error)
    else:
        log.debug(f"connected from {endpoint(record.source)}")
        server.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
        pair = Pair(_ready(client), server, options.idle_timeout, options.half_closed_timeout)
        error = error or _introduce(server, record, options.proxy)
        if error:
            pair.fail(error)
        record.end = _run(pair)
        record.sent, record.received = pair.client.moved, pair.server.moved
    record.seconds = time.monotonic() - started


def _introduce(server: _socket.socket, record: Record, version: str) -> int:
    """Tell *server* its client, if there is a *version* to do so; returns the errno, or 0."""
    try:
        if version:
            server.send(header(version, record.client, record.mapped))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _connected(server: _socket.socket, limit: float) -> int:
    """Wait for a connect(2) that is under way; returns its errno, 0 when it has succeeded."""
    poll = select.poll()
    poll.register(server.fileno(), select.POLLOUT)
    if not poll.poll(limit * 1000 if limit else None):
        return errno.ETIMEDOUT
    return server.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)


def _ready(client: _socket.socket) -> _socket.socket:
    """Give *client* what the plane's clients inherit from their listener."""
    client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    client.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    client.setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, 1)
    client.setblocking(False)
    return client


def _run(pair: Pair) -> str:
    _abort_on_close(pair.server.sock, True)
    _signal.signal(_signal.SIGTERM, _stop)
    try:
        end = pair.run()
    except _Stopped:
        end = STOPPED
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    if end == CLOSED:
        for leg in (pair.client, pair.server):
            _abort_on_close(leg.sock, False)
    return end


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
