"""The decision about a connection: of the daemon that runs, or by a file in its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from faith.cli import control_client
from faith.daemon.config import config, decision
from faith.daemon.config.policy import PolicyInputs, Rules
from faith.daemon.config.settings import RELAY, Service, Settings
from faith.daemon.observe.checked_decoding import checked
from faith.daemon.services.explain_query import Explained
from faith.errors import FaithError
from faith.kernel.flow import flow_conditions
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from faith.cli.explain.explanation import Question
    from faith.cli.explain.facts import Facts

CONFIGURATION = Path("/etc/faith.toml")
"""The file that the systemd unit reads."""


@dataclass(frozen=True)
class Asked:
    """A question, and how to answer it.

    *dial* makes a test connection, *config* is a file to answer from instead of a daemon, *dns* a
    name server that the client asks, *control* the socket of the daemon to ask.
    """

    question: Question
    dial: bool = False
    config: Path | None = None
    dns: str | None = None
    control: Path | None = None


def decide(facts: Facts, asked: Asked) -> Facts:
    """Have the daemon decide, or decide by a file in its place."""
    if not asked.config:
        try:
            answer = told(facts, asked, facts.question.client, facts.mapped)
        except FaithError as error:
            if asked.control:
                raise
            return replace(facts, explain_error=str(error))
        if answer:
            return replace(facts, explained=answer)
    file = asked.config or (CONFIGURATION if CONFIGURATION.exists() else None)
    if facts.hidden and not file:
        return replace(facts, explain_error="only root and its user may ask it")
    try:
        settings = config.load(file) if file else _usual(facts)
        inputs = PolicyInputs.gather(Rules.of(settings), settings.maps, settings.sources)
    except FaithError as error:
        if asked.config:
            raise
        return replace(facts, explain_error=str(error))
    question = facts.question
    words = question.client, facts.mapped, question.port, question.protocol
    made = decision.decide(inputs, settings, *words)
    found = Explained(made, path_reason="; ".join(_lacks(settings, made)))
    from_file = str(file or inputs.rules.file)
    return replace(facts, explained=found, from_file=from_file, guessed=not asked.config)


def _lacks(settings: Settings, made: decision.Decision) -> list[str]:
    """Return what this host lacks for the kernel path, if the service is to go by it."""
    if not made.service or made.service.path == RELAY or not settings.flows:
        return []
    return flow_conditions.missing()


def told(facts: Facts, asked: Asked, client: str, mapped: str) -> Explained | None:
    """Return the daemon's answer about *client* and *mapped*; None without one that can be asked.

    Raises FaithError.
    """
    found = facts.daemon
    control = asked.control or (Path(found.control) if found and found.control else None)
    if control is None:
        return None
    question = facts.question
    words = {
        "client": client,
        "destination": mapped,
        "port": question.port,
        "protocol": question.protocol,
    }
    answer = control_client.ask(control, "explain", patience=5.0, **words)
    try:
        return checked(msgspec.convert)(answer, Explained)
    except ValueError as error:
        raise FaithError(f"{control}: the answer is not understood: {error}") from None


def _usual(facts: Facts) -> Settings:
    """Return the settings of a daemon without a file: its ports, or the port that is asked for."""
    found = facts.daemon
    ports = found.ports if found else Ports([(facts.question.port, facts.question.port)])
    name = found.service if found else "tcp"
    return Settings((Service(name, ports),) if len(ports) else ())
