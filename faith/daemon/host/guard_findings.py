"""The guard in the status report: its state, and what is amiss with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.observe.findings import finding
from faith.daemon.observe.status_report import Guard, PrefixReport
from faith.kernel.nft.guard import PRIORITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from faith.daemon.observe.status_report import Finding
    from faith.kernel.nft.guard import GuardState
    from faith.kernel.nft.translators import Translator
    from faith.translation.prefix import Prefix


def guard_report(state: GuardState | None) -> Guard | None:
    """Return the guard for a report; None where it could not be read."""
    return Guard(state.present, state.intact, str(state.open_ports)) if state else None


def prefix_reports(state: GuardState | None, prefixes: Iterable[Prefix]) -> list[PrefixReport]:
    """Return *prefixes* for a report, each with whether the guard holds it."""
    return [
        PrefixReport(
            str(prefix), prefix.layout, state.intact and state.covers(prefix) if state else None
        )
        for prefix in prefixes
    ]


def about_the_guard(
    state: GuardState, prefixes: Sequence[Prefix], exposed: str
) -> Iterator[Finding]:
    """Yield what is amiss with the guard of *prefixes*; without one, *exposed* says the risk."""
    if prefixes and not state.present:
        yield finding("guard-off", f"the guard is off: {exposed}", "faith -e puts it back")
        return
    if state.present and not state.intact:
        text = "the guard has been altered"
        yield finding("guard-altered", text, "faith -e puts it back as it should be")
    for prefix in prefixes:
        if not state.covers(prefix):
            text = f"{prefix} is not in the guard"
            yield finding("guard-incomplete", text, "faith -e puts it there")
    if prefixes:
        yield from map(_passed_by, state.passed_by)


def _passed_by(translator: Translator) -> Finding:
    return finding(
        "guard-passed-by",
        f"{translator}, translates addresses before the guard sees them: it may take connections"
        " under the prefixes elsewhere",
        f"give it a priority above {PRIORITY}"
        if translator.priority <= PRIORITY
        else "faith -e puts the guard before it, and a running faithd does so by itself",
    )
