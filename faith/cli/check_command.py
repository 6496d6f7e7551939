"""``faith check``: what a file asks for, every mistake in it, and what this host would refuse."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faith.cli import check
from faith.daemon.config import config, map_file, proxy_table, tried_files
from faith.daemon.config.line_numbers import lines
from faith.daemon.config.policy import Rules
from faith.dns.endpoint import Endpoint
from faith.errors import FaithError, SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import reservation
from faith.kernel.sockets.holder import holder
from faith.translation.address import ANY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.daemon.config.settings import Settings

_VERBS = {"permit", "deny"}


def run(file: Path, *, rules: bool, maps: bool, elsewhere: bool) -> int:
    """Print what *file* asks for, and return the exit status: 1 if a daemon would refuse it here.

    With *elsewhere* nothing is said that depends on this host.  Raises ConfigError for all mistakes
    in the file.
    """
    if maps:
        found = map_file.read(file)
        print(f"maps     {check.counted(len(found), 'map')} in {file}")
        return 0
    if rules or _has_rules(file):
        _print_rules(Rules.read(file))
        return 0
    settings = config.load(file)
    print("\n".join(check.lines(settings)))
    open_to_all = proxy_table.warnings(settings.proxies)
    ended = settings.ended_certificates(time.time())
    for warning in (*open_to_all, *ended, *_shadowed(Rules.of(settings), file)):
        print(f"warning  {warning}")
    refused = [] if elsewhere else list(refusals(settings))
    for why in refused:
        print(f"refused  {why}")
    return 1 if refused else 0


def _has_rules(file: Path) -> bool:
    """Return whether *file* is a faithd.conf(5), by its first line that says something."""
    for line in (tried_files.text(file) or "").split("\n"):
        if words := line.partition("#")[0].split():
            return len(words) > 1 and words[1].lower() in _VERBS
    return False


def _print_rules(rules: Rules) -> None:
    print(f"access   {check.access(rules)}")
    for warning in _shadowed(rules):
        print(f"warning  {warning}")


def _shadowed(rules: Rules, file: Path | None = None) -> Iterator[str]:
    """Return a sentence for each rule that decides nothing; *file* is that of rules without one."""
    places = {}
    if file and rules.file == check.INLINE:
        places = lines(tried_files.text(file) or "")
    where = file if places else rules.file
    for rule, by in rules.access().shadowed():
        assert rule.line
        assert by.line
        one, other = (places.get(("access", "rules", at - 1), at) for at in (rule.line, by.line))
        verb = "permits" if by.permit else "denies"
        yield (
            f"{where}:{one}: this rule decides nothing: line {other} {verb} all of it before;"
            " put it above that line, or delete it"
        )


def refusals(settings: Settings) -> Iterator[str]:
    """Return why a daemon with *settings* would not start on this host, a sentence each."""
    for service in settings.services:
        if service.local_server:
            try:
                service.local_server.check()
            except SetupError as error:
                yield str(error)
    yield from _taken(settings)
    try:
        there = routes.reserved()
        reservation.check((one for one in settings.prefixes if one not in there), there)
    except FaithError as error:
        yield str(error)
    except OSError:  # a sandbox without netlink shows nothing of this host
        pass


def _taken(settings: Settings) -> Iterator[str]:
    """Return a sentence for each proxy whose port another program than a faithd has."""
    for proxy in settings.proxies:
        by = holder(proxy.port, "" if proxy.host in ANY.values() else proxy.host)
        if by and not by.startswith("faithd"):
            yield f"proxy on {Endpoint(proxy.host, proxy.port)}: the port is taken by {by}"
