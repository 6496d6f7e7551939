"""What the kernel of a gateway holds for FAITH, as the tools of the system tell it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.faithd import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.lab import ThreeHosts

FAITH = [sys.executable, "-m", "faith.cli.faith"]
GUARD = {"guard", "reserved", "senders", "sent"}
"""The chains of the guard of prefixes."""
BEFORE_NAT = {"untranslated_prerouting", "untranslated_output"}
"""Those that it has besides where others translate addresses."""
OF_FLOWS, FALLEN = "ip faith_flows", {"fallen", "untracked"}
"""The table that guards the addresses of flows, and its chains."""
INTERFACES = {"lo", "to-client", "to-server"}
_NOT_OURS = "no-default-route", "log-lost", "process-restarting", "sysctl"
"""Warnings of the lab itself, and of processes that were killed, for a minute, and their lines."""
_ROUTE = re.compile(r"local (\S+) dev lo proto (70|71) .*metric (\d+)")


@dataclass
class HeldState:
    """What there is to be: *prefixes* and mapped addresses, and whether others *translate*.

    With *flows* by the kernel path it has tables of its own, and its program is at every interface.
    """

    prefixes: set[str]
    mapped: set[str]
    translated: bool = False
    flows: bool = False

    def differences(self, lab: ThreeHosts, supervisor: int, by: Sequence[str]) -> list[str]:
        """Say where the kernel, and ``faith status`` run *by* a command prefix, differ from it."""
        command = [*by, *FAITH, "status", "--json"]
        status = json.loads(lab.gateway.run(command, env=ENVIRONMENT, check=False).stdout)
        return [
            *self._in_status(status, supervisor),
            *self._in_routes(_routes(lab), supervisor),
            *self._in_rules(lab.gateway.run(["nft", "list", "ruleset"]).stdout, supervisor),
        ]

    def _in_status(self, status: dict[str, Any], supervisor: int) -> list[str]:
        said = []
        if {one["prefix"] for one in status["prefixes"] if one["guarded"]} != self.prefixes:
            said.append(f"status: prefixes {status['prefixes']}")
        if not (status["guard"]["present"] and status["guard"]["intact"]):
            said.append(f"status: guard {status['guard']}")
        if [one["pid"] for one in status["daemons"]] != [supervisor]:
            said.append(f"status: daemons {status['daemons']}")
        said += [
            f"status: {one}"
            for one in status["daemons"]
            if _serving(one) != 2 or {*one["prefixes"]} != self.prefixes
        ]
        for one in status["daemons"] if self.flows else ():
            if {*one["flows"]["interfaces"]} != INTERFACES or not one["flows"]["outlives"]:
                said.append(f"status: flows {one['flows']}")
        ours = (one for one in status["findings"] if one["id"] not in _NOT_OURS)
        return [*said, *(f"status: {one}" for one in ours)]

    def _in_routes(self, found: set[tuple[str, str, str]], supervisor: int) -> list[str]:
        expected = {(one, "71", "3142") for one in self.prefixes}
        expected |= {(one, "70", str(supervisor)) for one in self.mapped}
        return [f"routes: {found ^ expected}"] if found != expected else []

    def _in_rules(self, ruleset: str, supervisor: int) -> list[str]:
        tables = dict(re.findall(r"^table (.+?) \{(.*?)^\}", ruleset, re.MULTILINE | re.DOTALL))
        ours = {name.partition(" #")[0]: text for name, text in tables.items() if "faith" in name}
        said = []
        owned = {f"{family} faith-{supervisor}-ping" for family in ("ip", "ip6")}
        tables_of_flows = {OF_FLOWS, "ip6 faith-flows"} if self.flows else set()
        if strange := ours.keys() - owned - {"ip faith", "ip6 faith"} ^ tables_of_flows:
            said.append(f"tables: {strange}")
        if self.flows and not {*re.findall(r"chain (\w+) \{", ours.get(OF_FLOWS, ""))} >= FALLEN:
            said.append(f"{OF_FLOWS}: {ours.get(OF_FLOWS)}")
        for table, name, expected in (
            ("ip6 faith", "prefixes", self.prefixes),
            (f"ip6 faith-{supervisor}-ping", "prefixes", self.prefixes),
            ("ip faith", "networks", self.mapped),
            (f"ip faith-{supervisor}-ping", "networks", self.mapped),
        ):
            if (found := _elements(ours.get(table, ""), name)) != expected:
                said.append(f"{table}: {name} {found}")
        chains = {*re.findall(r"chain (\w+) \{", ours.get("ip6 faith", ""))}
        if (self.translated and not chains >= GUARD | BEFORE_NAT) or not chains >= GUARD:
            said.append(f"chains: {chains}")
        return said


def _routes(lab: ThreeHosts) -> set[tuple[str, str, str]]:
    """Destination, protocol and metric of each local route that is FAITH's."""
    text = "".join(
        lab.gateway.run(["ip", family, "route", "show", "table", "local"]).stdout
        for family in ("-4", "-6")
    )
    return {
        (found[1], found[2], found[3]) for found in map(_ROUTE.match, text.splitlines()) if found
    }


def _elements(table: str, name: str) -> set[str]:
    found = re.search(rf"set {name} \{{.*?elements = \{{(.*?)\}}", table, re.DOTALL)
    return {*re.split(r"[\s,]+", found[1].strip())} if found else set()


def _serving(daemon: dict[str, Any]) -> int:
    """Return how many workers of *daemon* serve."""
    return sum(
        one["role"].startswith("worker") and one["state"] == "serving"
        for one in daemon["processes"]
    )
