"""The policy of a running daemon, which files, the kernel's tables and commands change."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from faith.daemon.config import runtime_maps
from faith.daemon.config.policy import PolicyInputs
from faith.daemon.observe.log import NOTICE
from faith.errors import ConfigError, FaithError
from faith.translation.address import text4
from faith.translation.map_table import NO_MAPS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.daemon.config.policy import Rules
    from faith.daemon.config.settings import Settings
    from faith.translation.map_table import Maps

log = logging.getLogger("faith.supervisor")


class RunningPolicy:
    """Has *apply* called with the inputs of the policy in force whenever these have changed.

    Those of a standby are without maps (`PolicyInputs.in_force`).  *apply* raises FaithError when
    the kernel refuses a part of them.  *probe* is called with those of a command before that, and
    raises it when another host has an address that is new.
    """

    inputs: PolicyInputs
    """The inputs of the policy, as they are for the one that has the address of VRRP."""

    def __init__(
        self,
        apply: Callable[[PolicyInputs], None],
        probe: Callable[[PolicyInputs], None],
    ) -> None:
        self._apply = apply
        self._probe = probe
        self._read_maps = NO_MAPS
        self._vrrp: int | None = None

    def gather(
        self,
        settings: Settings,
        rules: Rules,
        pool: tuple[tuple[int, int], ...],
        inherited: Any = None,
    ) -> PolicyInputs:
        """Return the first inputs in force; the maps of the predecessor process at run time are
        among them.

        *inherited* is its `state`, or None.  Raises ConfigError for a map that must not be.
        """
        self._read_maps = maps = settings.maps
        self._vrrp = settings.vrrp
        if inherited:
            try:
                maps = runtime_maps.adopt(inherited, maps)
            except ConfigError as error:
                log.warning("changes of the maps that are in no file are over: %s", error)
        self.inputs = PolicyInputs.gather(rules, maps, settings.sources, pool)
        self.inputs.check(maps)
        self._report_role()
        return self.in_force

    def follow_kernel(self) -> None:
        """Use the prefixes and the addresses that the kernel has now.

        Raises FaithError or OSError.
        """
        now = self.inputs
        gathered = PolicyInputs.gather(now.rules, now.maps, now.sources, now.pool)
        self._change(gathered, self._vrrp)

    def apply_settings(self, settings: Settings, rules: Rules) -> None:
        """Use other settings and rules; maps that are in no file are over.  Raises FaithError."""
        added = runtime_maps.added(self.inputs.maps)
        for one in [one for one in added if one not in settings.maps]:
            log.log(NOTICE, "map over, for it is in no file: %s", one)
        self._read_maps = settings.maps
        self._change(
            replace(self.inputs, rules=rules, maps=settings.maps, sources=settings.sources),
            settings.vrrp,
        )

    def apply_maps(self, maps: Maps) -> None:
        """Use other maps, until other settings come.

        Raises FaithError, and then the old ones stay.
        """
        before = self.inputs
        inputs = replace(before, maps=maps)
        self._probe(inputs.in_force(self._vrrp))
        try:
            self._change(inputs, self._vrrp)
        except FaithError:
            with suppress(FaithError):
                self._change(before, self._vrrp)
            raise

    def state(self) -> Any:
        """Return the maps of run time, for the next program: `gather`."""
        return runtime_maps.state(self._read_maps, self.inputs.maps)

    @property
    def in_force(self) -> PolicyInputs:
        """The inputs that this gateway goes by at this moment."""
        return self.inputs.in_force(self._vrrp)

    @property
    def waits_for(self) -> str:
        """The address of VRRP that another gateway has; "" where this one has it, or none is."""
        vrrp = self._vrrp
        return text4(vrrp) if vrrp is not None and self.inputs.is_standby(vrrp) else ""

    def _change(self, inputs: PolicyInputs, vrrp: int | None) -> None:
        """Go by *inputs*, as a standby while the address *vrrp* is elsewhere."""
        before, was, waited = self.inputs, self.in_force, self.waits_for
        self.inputs, self._vrrp = inputs, vrrp
        self._report_role(waited)
        if self.in_force != was:
            self.report_absent(before.absent)
            self._apply(self.in_force)

    def _report_role(self, before: str = "") -> None:
        """Log whether this is the standby, if it was another one that it waited for *before*."""
        if self.waits_for == before:
            return
        if self.waits_for:
            log.log(NOTICE, "standby: no maps and added sources without %s", self.waits_for)
        else:
            log.log(NOTICE, "not a standby any more: maps and added sources are served")

    def report_absent(self, before: Sequence[str] = ()) -> None:
        """Log the source addresses that this host has not, unless they are those of *before*."""
        absent = self.inputs.absent
        if absent and absent != before:
            log.warning("not used as a source until this host has it: %s", ", ".join(absent))
        elif before and not absent:
            log.log(NOTICE, "this host has all addresses of the sources")
