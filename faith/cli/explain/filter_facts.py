"""The rules of packet filters here: of nftables by netlink, and the legacy ones."""

from __future__ import annotations

import errno
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from faith.cli.explain.facts import LegacyFilter
from faith.errors import SetupError
from faith.kernel.nft import guard, legacy_tables, rule_dump

if TYPE_CHECKING:
    from faith.cli.explain.facts import Facts
    from faith.cli.explain.packet_filter import Fate

_RULE_LENGTH = 120


def rules(facts: Facts) -> Facts:
    """Return *facts* with the guard and the rules of nftables, or why they are not seen."""
    try:
        of_family = guard.NETWORKS if facts.from_v4 else guard.PREFIXES
        facts = replace(facts, guard=of_family.inspect())
    except SetupError:
        facts = replace(facts, guard=None)  # the rules say why
    try:
        return replace(facts, ruleset=rule_dump.read())
    except PermissionError:
        return replace(facts, ruleset_error="reading it needs CAP_NET_ADMIN")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP):
            return replace(facts, ruleset=rule_dump.Ruleset())  # this kernel has no nftables
        return replace(facts, ruleset_error=error.strerror or str(error))


def legacy(family: str) -> LegacyFilter:
    """Return the legacy tables of *family*; their text is None without the right to read them."""
    if not legacy_tables.names(family):
        return LegacyFilter()
    try:
        return LegacyFilter(True, legacy_tables.read(family))
    except OSError:
        return LegacyFilter(True)


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


@cache
def _listing(chain: rule_dump.DumpedChain) -> str:
    program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not program:
        return ""
    return _output([program, "-a", "list", "chain", *str(chain).split()]) or ""


def show_rule(fate: Fate) -> str:
    """Return the rule of *fate* as nft(8) prints it, "" where that program is missing."""
    if fate.chain is None or not fate.handle:
        return ""
    for line in _listing(fate.chain).splitlines():
        rule, mark, handle = line.rpartition("# handle ")
        if mark and handle.strip() == str(fate.handle):
            return rule.strip()[:_RULE_LENGTH]
    return ""
