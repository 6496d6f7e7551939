"""Names looked up as the daemon does for clients of its proxies, and its name servers asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from faith.cli.explain import dialling, name_answers
from faith.cli.explain.facts import NO_NAME
from faith.cli.explain.proxied_facts import ProxiedName, ServerState
from faith.daemon.services.hosts_file import HOSTS, HostsFile
from faith.daemon.services.proxy_names import ProxyNames
from faith.dns.endpoint import in_resolv_conf
from faith.dns.race import DEADLINE
from faith.kernel import text_file
from faith.relay.proxy.happy_dial import MOST, Candidates
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.daemon.config.worker_settings import NameSettings
    from faith.dns.endpoint import Endpoint
    from faith.relay.proxy.name_search import Found

_RESOLV = "/etc/resolv.conf"
_MOST_SERVERS = 4
"""Name servers that are asked one by one."""
_ANYTHING = "localhost.arpa"
"""A name to ask for where it does not matter which."""


def look_up(
    name: str, settings: NameSettings, user: int | None = None, hosts: str = HOSTS
) -> ProxiedName:
    """Return the addresses of *name* by *settings* and the file *hosts*.

    The questions are those of *user*, if this process may be one.
    """
    import dns.query
    import dns.rdata

    # now, because that user may not read them
    dns.rdata.load_all_types(disable_dynamic_load=False)  # type: ignore[no-untyped-call]
    with dialling.as_user(user):
        return _looked_up(name, settings, hosts)


def _looked_up(name: str, settings: NameSettings, hosts: str) -> ProxiedName:
    asked = name.lower().removesuffix(".")
    found = asyncio.run(_found(asked, settings, hosts))
    addresses = _in_order(found)
    failure = "" if addresses else _failure(found)
    if HostsFile(hosts).addresses(asked) is not None:
        return ProxiedName(name, addresses, failure, hosts)
    states = [_state(asked, one, settings) for one in _named(settings)]
    return ProxiedName(name, addresses, failure, servers=tuple(states))


async def _found(name: str, settings: NameSettings, hosts: str) -> list[Found]:
    """Return what a worker would find for each family."""
    found: list[Found] = []
    whole = asyncio.Event()

    def take(one: Found) -> None:
        found.append(one)
        if len(found) == 2:
            whole.set()

    names = ProxyNames(settings, hosts)
    try:
        names.look_up(name, take, 0)
        async with asyncio.timeout(2 * DEADLINE):
            await whole.wait()
    except TimeoutError:
        pass
    finally:
        names.close()
    return found


def _in_order(found: list[Found]) -> tuple[str, ...]:
    candidates = Candidates()
    for one in found:
        candidates.add(one)
    tried: list[str] = []
    while candidates and len(tried) < MOST:
        tried.append(candidates.take())
    return tuple(tried)


def _failure(found: list[Found]) -> str:
    failures = [one.failure or reasons.NO_NAME for one in found]
    return next((one for one in failures if one != reasons.NO_NAME), reasons.NO_NAME)


def servers(settings: NameSettings) -> list[ServerState]:
    """Ask each name server of *settings* whether it is there: to refuse is an answer, too."""
    found = [_state(_ANYTHING, one, settings) for one in _named(settings)]
    return [replace(one, error="") if _is_code(one.error) else one for one in found]


def _is_code(error: str) -> bool:
    """Return whether *error* is a code of a reply, such as SERVFAIL."""
    return error.isupper()


def _named(settings: NameSettings) -> tuple[Endpoint, ...]:
    return (settings.forward or _of_the_system())[:_MOST_SERVERS]


def _of_the_system() -> tuple[Endpoint, ...]:
    try:
        return tuple(in_resolv_conf(text_file.read_leniently(_RESOLV)))
    except OSError:
        return ()


def _state(name: str, server: Endpoint, settings: NameSettings) -> ServerState:
    """Ask one *server* for *name*; an answer that there is no such name is one."""
    if server.name:  # by TLS, of which only the daemon's own code knows
        alone = replace(settings, forward=(server,))
        failure = _failure(asyncio.run(_found(name, alone, "")))
        return ServerState(str(server), failure if failure == reasons.NAME_FAILED else "")
    where = f"{server.host}#{server.port}"
    answer = name_answers.ask(name, [where], ours=False, configured=False)
    return ServerState(str(server), "" if answer.error == NO_NAME else answer.error)
