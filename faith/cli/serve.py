"""``faithd SERVICE``: the daemon's command line, KAME's with additions."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faith.cli.arguments import Parser
from faith.daemon.config import config, kernel_path_table, proxy_table, tried_files
from faith.daemon.config.local_server import LocalServer
from faith.daemon.config.settings import ALGS, PATHS, RELAY, KernelPath, Service, Settings, union
from faith.daemon.host.socket_activation import PassedSockets
from faith.daemon.observe.health import ADMIN_PORT
from faith.daemon.observe.log import FORMS, Log, open_sink
from faith.daemon.observe.records import Recording
from faith.daemon.observe.roles import SUPERVISOR
from faith.daemon.process.daemonize import Background, is_supervised
from faith.daemon.process.role import supervise
from faith.daemon.supervisor import Supervisor
from faith.daemon.upgrade.inherited_state import InheritedState
from faith.dns import endpoint
from faith.errors import ConfigError, FaithError, lines_of, meant
from faith.kernel.process.capabilities import default_user
from faith.kernel.sockets import service_names
from faith.kernel.steering import METHODS
from faith.relay.tcp.admission import Limits
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation.prefix import LAYOUTS, Prefix
from faith.translation.proxy_protocol import V1, V2, VERSIONS
from faith.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USAGE = """faithd [-dpF] [-f conf] [-P prefix] [options] SERVICE [serverpath [serverargs...]]
       faithd [-dpF] [-f conf] [options] --proxy [ADDRESS]:PORT [SERVICE]
       faithd [-dF] --config FILE
       faithd --inetd [-dp] [-f conf] [options] [serverpath [serverargs...]]"""
EPILOG = """SERVICE is a name, a port, a range, or a list of them (telnet, 80,443,8000-8100).
serverpath serves connections to the gateway's own addresses; serverargs begin with its name.
Exit status: 0 good, 1 failed, 2 wrong usage."""

_LIMITS = {field.name: float if field.type == "float" else int for field in fields(Limits)}
TRUST = (
    "rsh and rlogin go by the address and the port that a client has: a server which trusts this"
    " gateway's trusts all clients of the gateway (RFC 3142 §7)"
)

log = logging.getLogger("faith")


def main(arguments: list[str]) -> int:
    """Run the daemon; *arguments* are the command line's.  Return the exit status.

    In the caller's process it returns only when the daemon stays in the foreground.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        inherited = InheritedState.found()
        passed = PassedSockets.found()
    except FaithError as error:
        print(f"faithd: {error}", file=sys.stderr)
        return 1
    if inherited and inherited.on_trial:
        tried_files.record()
    elif inherited:
        tried_files.reuse(inherited["tried"])
    try:
        reread = _settings_by(options, parser)
        settings = reread()
    except FaithError as error:
        if options.config is None and isinstance(error, ConfigError):
            parser.error(str(error))
        for line in lines_of(error):
            print(f"faithd: {line}", file=sys.stderr)
        return 1
    foreground = options.foreground or is_supervised()
    background = Background() if foreground else Background.enter(again=inherited is not None)
    labels = {"service": settings.name} if options.config is None else {}
    log_handler = _open_log(settings.log, labels, foreground=foreground)
    supervise("faithd", arguments, "trial" if inherited and inherited.on_trial else SUPERVISOR)
    log.setLevel(logging.DEBUG if options.debug else logging.INFO)
    if settings.relay.rsh or settings.relay.rlogin:
        log.warning("%s", TRUST)
    try:
        Supervisor(settings, log_handler, background, reread, inherited, passed).run()
    except FaithError as error:
        log.error("%s", error)
        return 1
    except Exception:
        log.exception("faithd failed")
        return 1
    if inherited and inherited.on_trial:
        tried_files.save(inherited["tried"])
    return 0


def _open_log(form: str, labels: dict[str, str], *, foreground: bool) -> Log:
    log_handler = Log(open_sink(foreground=foreground), form, **labels)
    root = logging.getLogger()
    root.addHandler(log_handler)
    if not foreground:
        # Until the daemon serves, its caller sees warnings too; afterwards this goes to /dev/null.
        caller = logging.StreamHandler()
        caller.setLevel(logging.WARNING)
        caller.setFormatter(logging.Formatter("faithd: %(message)s"))
        root.addHandler(caller)
    return log_handler


def _settings_by(
    options: argparse.Namespace, parser: argparse.ArgumentParser
) -> Callable[[], Settings]:
    """Return a function that returns the settings, now and whenever they are to be read again."""
    if options.config is None:
        settings = _settings(options)
        return lambda: settings
    # Beside the file, only -d and -F make sense.
    alone = vars(parser.parse_args(["--config", str(options.config)]))
    for name, value in vars(options).items():
        if name not in ("debug", "foreground") and value != alone[name]:
            raise parser.error(
                f"with --config, options belong into the file: {name} is not allowed"
            )
    return partial(config.load, options.config.absolute())


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings of the options; paths become absolute, as the daemon changes to ``/``."""
    versions = [word for word in options.proxy if word in VERSIONS]
    listeners = [word for word in options.proxy if word not in VERSIONS]
    services = tuple(_services(options, versions, listeners))
    ports = union(service.ports for service in services)
    settings = Settings(
        services=services,
        proxies=proxy_table.of_options(listeners, ports),
        via=options.via,
        prefixes=tuple(Prefix.parse(text, options.layout) for text in options.prefix),
        access_file=options.access_file and options.access_file.absolute(),
        workers=options.workers,
        user=options.user or default_user(),
        drain_timeout=options.drain_timeout,
        lame_duck=options.lame_duck,
        pid_file=options.pid_file and options.pid_file.absolute(),
        log=options.log,
        recording=Recording(
            sample=options.record_sample,
            destinations=not options.record_no_destinations,
            refusals=options.record_refusals,
            starts=options.record_starts,
        ),
        metrics=endpoint.parse(options.metrics, ADMIN_PORT)[:2] if options.metrics else None,
        relay=RelaySettings(
            connect_timeout=options.connect_timeout,
            idle_timeout=options.idle_timeout,
            half_closed_timeout=options.half_closed_timeout,
            lifetime=options.lifetime,
            limits=_limits(options.limit),
            reserved_port=options.reserved_port,
            ftp=union(service.ftp for service in services),
            rsh=union(service.rsh for service in services),
            rlogin=union(service.rlogin for service in services),
            proxy_v1=union(service.introduced(V1) for service in services),
            proxy_v2=union(service.introduced(V2) for service in services),
        ),
    )
    ports = settings.kernel_ports | settings.auto_ports
    if not ports:
        return settings
    return replace(
        settings, kernel_path=KernelPath(kernel_path_table.flow_settings(ports, settings.relay))
    )


def _services(
    options: argparse.Namespace, versions: list[str], listeners: list[str]
) -> Iterator[Service]:
    """Yield the service of the options, if there is one.  Raises ConfigError."""
    if len(versions) > 1:
        raise ConfigError(f"--proxy: {' and '.join(versions)}: servers expect one of them")
    if options.service is not None:
        yield Service(
            name=options.service,
            ports=service_names.ports(options.service),
            alg=options.alg,
            local_server=_local_server(options.server),
            proxy=versions[0] if versions else None,
            path=options.path,
        )
    elif not listeners:
        raise ConfigError("SERVICE is missing, or --proxy [ADDRESS]:PORT, or --config FILE")
    elif versions:
        raise ConfigError(f"--proxy {versions[0]}: that is for the servers of a SERVICE")


def _limits(words: list[str]) -> Limits:
    """Return the limits in a list of ``NAME=NUMBER``.  Raises ConfigError."""
    chosen: dict[str, Any] = {}
    for word in words:
        name, _, number = word.partition("=")
        kind = _LIMITS.get(name)
        if kind is None:
            raise ConfigError(f"--limit {word}: there is no such limit{meant(name, _LIMITS)}")
        try:
            chosen[name] = kind(number)
        except ValueError:
            raise ConfigError(f"--limit {word}: {number!r} is not a number") from None
    return Limits(**chosen)


def _local_server(words: list[str]) -> LocalServer | None:
    if not words:
        return None
    if words[0].startswith("-"):
        raise ConfigError(f"{words[0]}: options must precede SERVICE")
    return LocalServer.of(words)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "faithd",
        usage=USAGE,
        description="Relay TCP connections from IPv6 clients to IPv4 servers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    relay = RelaySettings()
    add = parser.add_argument
    add("--version", action="version", version=f"faithd {VERSION}")
    add("-d", dest="debug", action="store_true", help="log debug messages as well")
    add("-p", dest="reserved_port", action="store_true", help="connect from a port below 1024")
    add("-F", "--foreground", action="store_true", help="stay in the foreground")
    add("-f", dest="access_file", type=Path, metavar="conf", help="access rules (faithd.conf(5))")
    add(
        "-P",
        "--prefix",
        action="append",
        default=[],
        metavar="prefix",
        help="reserve the prefix while this faithd runs (repeatable)",
    )
    add("--layout", choices=LAYOUTS, help="of the prefixes of -P; 32 to 64 bits need one")
    add(
        "--path",
        choices=PATHS,
        default=RELAY,
        help="how connections go: relayed here, or as packets by the kernel; auto is kernel where"
        " it can be had (%(default)s)",
    )
    add("--via", choices=("auto", *METHODS), default="auto", help="steering method (%(default)s)")
    add(
        "--alg",
        choices=ALGS,
        default="auto",
        help="protocol to translate: auto is ftp for port 21, rsh and rlogin for shell and"
        " login (%(default)s)",
    )
    add(
        "--proxy",
        action="append",
        default=[],
        metavar="[ADDRESS]:PORT|v1|v2",
        help="be a proxy there for SOCKS and HTTP (repeatable; [::]:PORT is all addresses); v1, v2:"
        " send servers the client address by the PROXY protocol, which they must expect",
    )
    add(
        "--workers",
        type=_count,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes that relay (one per CPU: %(default)s)",
    )
    add("--user", help="user of the workers (faith where there is one, or else nobody)")
    for name, default in (
        ("connect", relay.connect_timeout),
        ("idle", relay.idle_timeout),
        ("half-closed", relay.half_closed_timeout),
    ):
        add(
            f"--{name}-timeout",
            type=_seconds,
            default=default,
            metavar="SECONDS",
            help="%(default)g; 0 is no limit",
        )
    add(
        "--lifetime",
        type=_seconds,
        default=relay.lifetime,
        metavar="SECONDS",
        help="of a session (%(default)g: no limit)",
    )
    add(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help=f"repeatable: {', '.join(field.name for field in fields(Limits))}",
    )
    add(
        "--drain-timeout",
        type=_seconds,
        default=Settings.drain_timeout,
        metavar="SECONDS",
        help="time for sessions to end when faithd is stopped (%(default)g)",
    )
    add(
        "--lame-duck",
        type=_seconds,
        default=Settings.lame_duck,
        metavar="SECONDS",
        help="time before that in which connections are accepted, and /readyz is 503 (%(default)g)",
    )
    add("--log", choices=FORMS, default=FORMS[0], help="form of the messages (%(default)s)")
    recording = Recording()
    add(
        "--record-sample",
        type=_whole,
        default=recording.sample,
        metavar="N",
        help="record one in N of the sessions that end well (%(default)s)",
    )
    add("--record-no-destinations", action="store_true", help="do not record where clients went")
    add(
        "--record-refusals",
        type=_whole_or_none,
        default=recording.refusals,
        metavar="N",
        help="record at most N refusals or failed dials a second for each worker and reason"
        " (%(default)s; 0: all)",
    )
    add("--record-starts", action="store_true", help="record the start of every session as well")
    add(
        "--metrics",
        metavar="ADDRESS[:PORT]",
        help=f"serve a page, /metrics and health over HTTP there (port {ADMIN_PORT})",
    )
    add("--pid-file", type=Path, metavar="FILE", help="file for the daemon's process number")
    add("--config", type=Path, metavar="FILE", help="serve everything in this file (faith.toml(5))")
    add("service", metavar="SERVICE", nargs="?", help="what to relay")
    add("server", nargs=argparse.REMAINDER, metavar="serverpath", help="the local server")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1024):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1024")
    return int(text)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _whole_or_none(text: str) -> int:
    return 0 if text == "0" else _whole(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds (0 or more)")
    return seconds
