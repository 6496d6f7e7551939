"""``faith setup``: asks, shows and writes a configuration, and prints what to do next."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

from faith.cli.setup import dialogue, writing
from faith.cli.setup.host_facts import Host
from faith.cli.setup.template import LAYOUT, NONE, YES, render, words
from faith.kernel.netlink import routes
from faith.kernel.sockets import tcp_sysctls
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.setup.template import Answers

UNIT_READS = Path("/etc/faith.toml")
"""The file that the systemd unit reads."""
SYSCTLS = "/etc/sysctl.d/60-faith.conf"
INTERRUPTED = 130
"""The exit status after Ctrl-C."""


def run(file: Path, *, defaults: bool, force: bool, show: bool) -> int:
    """Run the command, and return the exit status.  Raises FaithError."""
    try:
        return _set_up(file, defaults=defaults, force=force, show=show)
    except KeyboardInterrupt:
        dialogue.tell("\nnothing was written")
        return INTERRUPTED


def _set_up(file: Path, *, defaults: bool, force: bool, show: bool) -> int:
    if not show:
        writing.refuse(file, force=force)
    host = Host.look()
    for warning in routes.forwarding_warnings():
        dialogue.tell(f"warning: {warning}")
    if not defaults:
        dialogue.tell("An empty answer takes what is proposed in brackets; Ctrl-C ends it all.")
    answers = dialogue.without_asking(host) if defaults else dialogue.by_asking(host)
    text = render(answers)
    if not defaults:
        dialogue.tell("")
    print(text, end="", flush=True)
    if show:
        return 0
    if not defaults and not dialogue.agreed(f"\nWrite {file}?"):
        dialogue.tell("nothing was written")
        return 1
    writing.write(file, text, force=force)
    print()
    for line in _advice(host, answers):
        print(line)
    print(f"{file} is written.  What comes next:")
    commands = list(_commands(file, answers))
    widest = max(len(command) for command, _ in commands)
    for command, why in commands:
        print(f"  {command:{widest}}  # {why}")
    return 0


def _advice(host: Host, answers: Answers) -> Iterator[str]:
    """Return what clients have to know, as far as it follows from this host, and advice for it."""
    prefix = Prefix.parse(answers["prefix"], answers.get("layout", LAYOUT))
    own = [str(own.address) for own in host.own(words(answers["inside"]), 6)]
    if own:
        yield f"Clients need a route for {prefix}, if this host is not their default: via {own[0]}"
    if answers["dns"] == YES:
        yield f"Their name server: {', '.join(words(answers['listen'])) or ', '.join(own)}"
    elif answers["server"] != NONE:
        mapped = IPv6Address(prefix.map(int(IPv4Address(answers["server"]))))
        yield f"The name server {answers['server']} has the address {mapped} for them."


def _commands(file: Path, answers: Answers) -> Iterator[tuple[str, str]]:
    """Return the commands that make a gateway of this host, each with its reason."""
    settings = []
    for advice in tcp_sysctls.advice():
        command, _, why = advice.partition(": ")
        settings.append(command.rpartition(" ")[2])
        yield command, why
    if settings:
        yield f"printf '%s\\n' {' '.join(settings)} >{SYSCTLS}", "at every boot, too"
    yield f"faith check {file}", "shows what the file asks for"
    if file == UNIT_READS:
        yield "systemctl enable --now faithd", "with the units of contrib/systemd: now and at boots"
        yield "systemctl status faithd", "shows whether it serves"
    yield f"faithd --config {file}", "without systemd"
    yield "faith status", "shows what it serves, and what is amiss"
    if answers.get("metrics", NONE) != NONE:
        yield f"curl http://{answers['metrics']}/readyz", "for probes"
