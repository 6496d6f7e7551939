"""The facts about what a client asks a proxy for, gathered from the daemon and the kernel."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from faith.cli import control_client
from faith.cli.explain import decision_facts, gathering, proxied_names
from faith.cli.explain.filtered_packet import is_v4
from faith.cli.explain.proxied_facts import ProxiedFacts
from faith.daemon.config import config, proxy_table
from faith.daemon.config.decision import Decision
from faith.daemon.config.policy import PolicyInputs, Rules
from faith.daemon.config.proxied_decision import ProxiedExplained, decide_each, proxies_for
from faith.daemon.config.settings import Settings
from faith.daemon.config.worker_settings import NameSettings
from faith.daemon.observe.checked_decoding import checked
from faith.daemon.services.explain_query import Explained
from faith.dns.endpoint import Endpoint
from faith.errors import ConfigError, FaithError
from faith.kernel.netlink import interfaces, route_query
from faith.proxy import asked_target
from faith.proxy.asked_target import BadTarget
from faith.translation.address import ANY, V4, V6, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.cli.explain.decision_facts import Asked
    from faith.cli.explain.explanation import Question
    from faith.cli.explain.facts import DaemonFacts, Facts
    from faith.daemon.config.proxied_decision import ProxyForClient

Place = tuple[str, int | None]


def gather(asked: Asked, at: Place | None = None) -> ProxiedFacts:
    """Return the facts about *asked*, whose client connects to *at*, if that is known.

    Raises ConfigError for a name that a proxy does not take, FaithError for a file that cannot be
    read and a control socket that was named, and OSError where not even the routes can.
    """
    _check(asked.question)
    base = replace(gathering.host(asked), guard=None, steered=None)
    daemon = next((one for one in base.daemons if one.proxies), base.daemon)
    if daemon and daemon.proxies:
        base = replace(base, daemons=(daemon,), silent=())
    base, explained = _explained(base, asked, daemon, ())
    found = ProxiedFacts(asked.question, base, explained, at=at)
    proxy = _chosen(found)
    found = replace(found, proxy=proxy, front=_front(base, found, proxy))
    if explained is None or proxy is None:
        return found
    found = _named(found, asked)
    addresses = found.name.addresses if found.name else (asked.question.destination,)
    _, answer = _explained(base, asked, daemon, addresses)
    decisions = answer.decisions if answer else ()
    targets = [_target(found.front, one, explained, dial=asked.dial) for one in decisions]
    front = found.front
    if any(one.dial for one in targets):
        front = replace(front, client_probe=gathering.client_probe(front))
    return replace(found, targets=tuple(targets), front=front)


def _check(question: Question) -> None:
    try:
        asked_target.target(question.destination.encode(), question.port)
    except BadTarget as error:
        raise ConfigError(f"{question.destination}: a proxy does not take it: {error}") from None


# -- the daemon ----------------------------------------------------------------------------------


def _explained(
    facts: Facts, asked: Asked, daemon: DaemonFacts | None, addresses: Sequence[str]
) -> tuple[Facts, ProxiedExplained | None]:
    """Have the daemon explain, or do so by a file in its place."""
    question = asked.question
    control = asked.control or (Path(daemon.control) if daemon and daemon.control else None)
    if control and not asked.config:
        words = {"client": question.client, "addresses": [*addresses], "port": question.port}
        try:
            answer = control_client.ask(control, "explain-proxy", patience=5.0, **words)
            return facts, checked(msgspec.convert)(answer, ProxiedExplained)
        except (FaithError, ValueError) as error:
            if asked.control:
                raise FaithError(f"{control}: {error}") from None
            return replace(facts, explain_error=str(error)), None
    usual = decision_facts.CONFIGURATION
    file = asked.config or (usual if usual.exists() else None)
    if facts.hidden and not file:
        return replace(facts, explain_error="only root and its user may ask it"), None
    try:
        settings = config.load(file) if file else _usual(daemon)
        if file and not asked.config and daemon and not _are_those(settings, daemon):
            file, settings = None, _usual(daemon)
        inputs = PolicyInputs.gather(Rules.of(settings), settings.maps, settings.sources)
    except FaithError as error:
        if asked.config:
            raise
        return replace(facts, explain_error=str(error)), None
    found = ProxiedExplained(
        proxies_for(inputs, settings, question.client),
        decide_each(inputs, settings, question.client, addresses, question.port),
        names=NameSettings.of(settings),
        user=settings.user,
    )
    from_file = str(file or inputs.rules.file)
    return replace(facts, from_file=from_file, guessed=not asked.config), found


def _are_those(settings: Settings, daemon: DaemonFacts) -> bool:
    """Return whether the proxies of *settings* listen where those of *daemon* do."""
    places = {str(Endpoint(one.host, one.port)) for one in settings.proxies}
    return places == {one.listen for one in daemon.proxies}


def _usual(daemon: DaemonFacts | None) -> Settings:
    """Return the settings of a daemon without a file, as it reports its proxies."""
    places = [one.listen for one in daemon.proxies] if daemon else []
    ports = daemon.ports if daemon else Settings(()).ports
    return Settings((), proxies=proxy_table.of_options(places, ports))


# -- the way to the proxy ------------------------------------------------------------------------


def _chosen(found: ProxiedFacts) -> ProxyForClient | None:
    """Return the proxy that the client comes to: the one *at* its place, or the first for it."""
    proxies = found.explained.proxies if found.explained else []
    fitting = [one for one in proxies if fits(one, found.question.client, found.at)]
    serving = [one for one in fitting if one.serves]
    return next(iter([*serving, *fitting]), None)


def fits(proxy: ProxyForClient, client: str, at: Place | None) -> bool:
    """Return whether a connection of *client* to *at*, if that is known, is one to *proxy*."""
    v4 = is_v4(client)
    if ip_address(proxy.host).is_loopback and not ip_address(client).is_loopback:
        return False
    takes_all = proxy.host == ANY[V6] or (v4 and proxy.host == ANY[V4])
    if at is None:
        return takes_all or is_v4(proxy.host) == v4
    host, port = at
    if is_v4(host) != v4 or port not in (None, proxy.port):
        return False
    return takes_all or (is_v4(proxy.host) == v4 and number(proxy.host) == number(host))


def _front(base: Facts, found: ProxiedFacts, proxy: ProxyForClient | None) -> Facts:
    """Return the facts about the client's connection to *proxy*."""
    question = found.question
    if found.at:
        address = found.at[0]
    elif proxy and number(proxy.host):
        address = proxy.host
    else:
        address = _address_for(question.client) if proxy else ""
    port = proxy.port if proxy else (found.at and found.at[1]) or question.port
    to_proxy = msgspec.structs.replace(question, destination=address, port=port)
    facts = replace(base, question=to_proxy, mapped=address, user=_user(found))
    if found.explained:
        decision = Decision(address, port, question.protocol, from_v4=False)
        told = found.explained
        explained = Explained(decision, limit=told.limit, limits=told.limits, workers=told.workers)
        facts = replace(facts, explained=explained)
    return gathering.way_back(gathering.ways(facts))


def _address_for(client: str) -> str:
    """Return the address by which *client* would know this host, or else any of its family."""
    if source := route_query.route(client).source:
        return source
    own = (one.address for one in interfaces.addresses() if not one.is_link_local)
    version = 4 if is_v4(client) else 6
    fitting = (one for one in own if one.version == version and not one.is_loopback)
    return str(next(fitting, ""))


def _user(found: ProxiedFacts) -> int | None:
    return gathering.user(found.explained.user) if found.explained else None


# -- the servers ---------------------------------------------------------------------------------


def _named(found: ProxiedFacts, asked: Asked) -> ProxiedFacts:
    """Look the destination up, if it is a name."""
    destination = asked.question.destination
    try:
        number(destination)
    except OSError:
        assert found.explained
        names = found.explained.names
        return replace(found, name=proxied_names.look_up(destination, names, _user(found)))
    return found


def _target(front: Facts, decision: Decision, told: ProxiedExplained, *, dial: bool) -> Facts:
    """Return the facts about the server that *decision* is about."""
    question = msgspec.structs.replace(
        front.question, destination=decision.mapped, port=decision.port
    )
    explained = Explained(decision, limit=told.limit, limits=told.limits, workers=told.workers)
    facts = replace(
        front,
        question=question,
        mapped=decision.mapped,
        server=decision.server,
        explained=explained,
    )
    if decision.refused:
        return facts
    facts = gathering.way_out(facts)
    return gathering.server_dialled(facts) if dial else facts
