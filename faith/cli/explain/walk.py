"""The walk along the way of a connection: facts in, steps and a verdict out.  It asks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from faith.cli.explain import (
    access_steps,
    daemon_steps,
    filter_in_steps,
    limit_steps,
    map_steps,
    name_steps,
    way_in_steps,
    way_out_steps,
)
from faith.cli.explain.explanation import Explanation, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts, PathProbe

ORDER: tuple[Callable[[Facts], Iterator[Step]], ...] = (
    name_steps.name,
    way_in_steps.address,
    map_steps.mapped,
    way_in_steps.route_here,
    way_in_steps.client,
    filter_in_steps.way_in,
    daemon_steps.daemon,
    daemon_steps.service,
    daemon_steps.proxies,
    access_steps.access,
    limit_steps.limits,
    limit_steps.source,
    way_out_steps.route_out,
    way_out_steps.way_out,
    way_out_steps.server,
    way_out_steps.mtu,
)
"""The steps in the order of the way."""

_NEEDED = ("name", "way-in", "daemon", "service")
"""Steps without which it cannot be said whether the connection works."""
_OF_SETTINGS = ("map", "lease", "service", "access", "limits", "source")
"""Steps that follow from the settings of the daemon."""


def walk(facts: Facts) -> Explanation:
    """Return the explanation that *facts* amount to."""
    steps = [_weighed(facts, step) for explain in ORDER for step in explain(facts)]
    return Explanation(facts.question, steps, verdict(facts, steps))


def _weighed(facts: Facts, step: Step) -> Step:
    """Return *step*, of which nothing is certain that follows from a guess at the settings."""
    guess = facts.guessed and step.state == "problem" and step.step in _OF_SETTINGS
    if step.cause == "no-service" and facts.daemon:  # which has told its ports
        guess = guess and facts.question.port in facts.daemon.ports
    return replace(step, certain=False) if guess else step


def verdict(facts: Facts, steps: list[Step]) -> Verdict:
    """Return the verdict: the first certain problem on the way, or else the first likely one."""
    if found := of_problems([step for step in steps if step.state == "problem"]):
        return found
    unseen = [step for step in steps if step.state == "unknown" and step.step in _NEEDED]
    if unseen:
        return Verdict(None, None, False, f"it cannot be said: {unseen[0].text}", unseen[0].action)
    if not facts.answered:
        text = (
            "works as far as this gateway is concerned: nothing is in the way (the server was not"
            " asked)"
        )
        return Verdict(True, None, False, text, "--dial asks it")
    if not all(map(is_wide, (facts.probe, facts.client_probe))):
        text = "works: nothing is in the way, and the server answers (large packets are not tried)"
        return Verdict(True, None, False, text)
    return Verdict(True, None, True, "works: nothing is in the way, and the server answers")


def of_problems(problems: list[Step]) -> Verdict | None:
    """Return the verdict by *problems* in the order of the way, or None without any."""
    certain = [step for step in problems if step.certain]
    if not problems:
        return None
    step = next(iter(certain or problems))
    sentence = "does not work" if step.certain else "probably does not work"
    return Verdict(False, step.cause, step.certain, f"{sentence}: {step.text}", step.action)


def is_wide(probe: PathProbe | None) -> bool:
    """Return whether large packets are known to get through, or there is no way to try."""
    return probe is None or bool(probe.large) or bool(probe.reported)
