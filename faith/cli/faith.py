"""faith(8): reserves and releases prefixes, and shows and controls the daemons.

``-e``, ``-d`` and ``-p`` are those of KAME's faith(1).
"""

from __future__ import annotations

import json
import sys
from errno import ENOSPC
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faith.cli import (
    addr,
    completion,
    maps,
    names,
    open_listeners,
    prefixes,
    proxy_commands,
    readiness,
    running,
    session_commands,
    standard_output,
    status,
    status_lines,
    status_watch,
)
from faith.cli.explain import explain_command
from faith.cli.top import top_command
from faith.cli.version_option import VersionOption  # noqa: TC001 - typer reads the annotations
from faith.errors import ConfigError, FaithError, lines_of
from faith.kernel.netlink import routes
from faith.kernel.sockets import service_names
from faith.translation.ports import Ports
from faith.translation.prefix import LAYOUTS, LOW32, Prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Prefixes = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="PREFIX", help="An IPv6 prefix; /96 if it has no length."),
]
_Layout = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(LAYOUTS),
        help="Where the IPv4 address is: in the last 32 bits, or as in RFC 6052.",
        autocompletion=completion.words(*LAYOUTS),
    ),
]
_UsageError: Any = typer.BadParameter.__base__
"""The error of every command that makes no sense: before typer 0.26, click's."""
CONFIGURATION = Path("/etc/faith.toml")
"""The file that the systemd unit reads."""
INTERRUPTED = 130
"""The exit status after Ctrl-C."""
_Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command *argv*, or the process's own, and return its exit status.

    0 is success, 1 failure, 2 wrong usage; the last two come with a line on stderr.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may be limited to ASCII
    try:
        result = app(args=argv, prog_name="faith", standalone_mode=False)
        sys.stdout.flush()
        return result or 0
    except _UsageError as error:
        return _failed(f"{error.format_message()} (see faith --help)", error.exit_code)
    except ConfigError as error:
        return _failed(error, 2)
    except FaithError as error:
        return _failed(error)
    except BrokenPipeError:  # head(1) has read enough
        standard_output.discard()
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except OSError as error:
        where = error.filename or ""
        if error.errno == ENOSPC and not where:
            where = "standard output"
            standard_output.discard()
        return _failed(": ".join(filter(None, (where, error.strerror or str(error)))))


def _failed(why: object, code: int = 1) -> int:
    for line in lines_of(why):
        print(f"faith: {line}", file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def faith(
    context: typer.Context,
    enable: Annotated[
        bool, typer.Option("-e", help="Reserve the prefixes, and put the guard (back) in place.")
    ] = False,
    disable: Annotated[
        bool, typer.Option("-d", help="Release the prefixes, or all of them without -p.")
    ] = False,
    prefix: _Prefixes = None,
    layout: _Layout = None,
    open_ports: Annotated[
        str | None,
        typer.Option(
            "--open",
            metavar="PORTS",
            help="Let ordinary listeners (inetd) serve these ports, and no others, under the"
            " reserved prefixes: telnet,80,8000-8100 or none.",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--print", help="Show the commands for it instead; change nothing.")
    ] = False,
    version: VersionOption = False,
) -> int:
    """Reserve IPv6 prefixes for mapped addresses, so that faithd can relay connections to them.

    Without any option or command: show the status.
    """
    asked = any((enable, disable, prefix, layout, open_ports, show))
    if context.invoked_subcommand:
        if asked:
            raise ConfigError(f"options must follow the command: {context.invoked_subcommand} ...")
    elif not asked:
        return show_status()
    elif enable == disable:
        raise ConfigError("give either -e (reserve) or -d (release)")
    elif enable:
        ports = _ports(open_ports) if open_ports else None
        _change(prefixes.enabling(_prefixes(prefix, layout), ports), show=show)
    elif layout or open_ports:
        raise ConfigError("--layout and --open belong to -e")
    else:
        # Any layout will do: it is released whatever it has.
        _change(prefixes.disabling(_prefixes(prefix, LOW32) if prefix else None), show=show)
    return 0


def _prefixes(texts: list[str] | None, layout: str | None = None) -> list[Prefix]:
    if layout and not texts:
        raise ConfigError("--layout belongs to -p")
    return [Prefix.parse(text, layout) for text in texts or ()]


def _ports(text: str) -> Ports:
    return Ports([]) if text == "none" else service_names.ports(text)


def _change(change: prefixes.Change, *, show: bool) -> None:
    if show:
        print(prefixes.script(change), end="")
        return
    guarded = prefixes.apply(change)
    for line in change.told():
        print(line)
    if not guarded and change.after:
        _failed(
            f"warning: no guard, because this kernel has no nftables: {open_listeners.exposed()}"
        )


@app.command("status")
def show_status(
    as_json: _Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Argument(metavar="SECONDS", help="With --watch: the time in between; 2."),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Show the JSON Schema of --json instead.")
    ] = False,
) -> int:
    """Show what is reserved, which daemons serve it and what is wrong.

    The exit status is 0 if all is well, 1 with a failure or a warning, and 2 for wrong usage.
    """
    if seconds is not None and not watch:
        raise ConfigError("SECONDS belong to --watch")
    if schema:
        print(status_lines.schema())
        return 0
    text = status_lines.in_json if as_json else status_lines.text
    if watch:
        every = status_watch.INTERVAL if seconds is None else seconds
        found = status_watch.watch(status.read, text, every, in_lines=as_json)
    else:
        found = status.read()
        print(status_lines.in_json(found, indent=2) if as_json else text(found))
    return 0 if found.good else 1


@app.command("addr")
def show_addresses(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS")],
    prefix: _Prefixes = None,
    layout: _Layout = None,
    in_hex: Annotated[
        bool, typer.Option("--hex", help="Mapped addresses in hexadecimal, as in logs.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Show the mapped address of each IPv4 address, and the IPv4 address of each mapped one.

    The prefixes are those reserved on this host, or those given with -p.
    """
    under = _prefixes(prefix, layout) or routes.reserved()
    if not under:
        raise FaithError("no prefix is reserved here; give one with -p")
    pairs = addr.convert(addresses, under)
    if as_json:
        _print_json([pair.fields() for pair in pairs])
    else:
        print("\n".join(pair.answer(in_hex=in_hex) for pair in pairs))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


@app.command("check")
def check_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A faith.toml(5), or a faithd.conf(5).",
            autocompletion=completion.files,
        ),
    ] = CONFIGURATION,
    rules: Annotated[
        bool, typer.Option("--rules", help="FILE has access rules, whatever it looks like.")
    ] = False,
    maps: Annotated[bool, typer.Option("--maps", help="FILE has static maps, one a line.")] = False,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="The file is for another host: look at it alone.")
    ] = False,
) -> int:
    """Check a configuration as faithd --config does, and show what it asks for.

    All mistakes are shown, each with its line, and what this host would refuse.
    """
    from faith.cli import check_command

    if rules and maps:
        raise ConfigError("--rules and --maps exclude each other")
    try:
        return check_command.run(file.absolute(), rules=rules, maps=maps, elsewhere=elsewhere)
    except ConfigError as error:
        return _failed(error)


@app.command("setup")
def set_up(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The file to write.", autocompletion=completion.files),
    ] = CONFIGURATION,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Ask nothing: accept all proposals.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Show the file; write nothing.")] = False,
) -> int:
    """Make a configuration for this host by questions, each with a proposal."""
    from faith.cli.setup import setup_command

    return setup_command.run(file.absolute(), defaults=defaults, force=force, show=show)


@app.command("upgrade")
def upgrade_daemons(
    pids: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="PID",
            help="Only these, not every faithd.",
            autocompletion=completion.pids,
        ),
    ] = None,
    if_running: Annotated[
        bool, typer.Option("--if-running", help="Succeed where no faithd is running.")
    ] = False,
) -> None:
    """Upgrade every faithd to the program that is installed now; sessions continue."""
    from faith.cli import upgrade

    for line in upgrade.upgrade(pids or (), if_running=if_running):
        print(line)


@app.command("demo")
def run_demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the network, for use afterwards.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the network that --keep has kept.")
    ] = False,
) -> int:
    """Build a network of three hosts on this machine, and watch connections pass through it."""
    from faith.cli import extras

    if keep and remove:
        raise ConfigError("--keep and --remove exclude each other")
    extras.require("demo", "pyroute2", "rich")
    from faith.cli.demo import story

    return story.remove() if remove else story.run(stay=keep)


names.join(app)
session_commands.join(app)
running.join(app)
explain_command.join(app)
readiness.join(app)
top_command.join(app)
app.add_typer(maps.app, name="map")
app.add_typer(proxy_commands.app, name="proxy")

if __name__ == "__main__":
    sys.exit(main())
