"""The commands ``faith -e`` and ``faith -d``: reserve and release prefixes, with their guard.

A `Change` is planned first, and refused if it is not possible; then it is applied whole or not at
all.
"""

from __future__ import annotations

import ipaddress
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.daemon.host import discovery
from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard, reservation
from faith.kernel.nft.guard import GuardState
from faith.kernel.nft.reservation import keep_guarded
from faith.kernel.process import capabilities
from faith.translation.networks import Networks
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from faith.daemon.observe.status_report import Daemon
    from faith.translation.prefix import Prefix

CAPABILITIES = ("CAP_NET_ADMIN",)
_NO_PORTS = Ports([])


@dataclass(frozen=True)
class Change:
    """A planned change of the prefixes reserved on this host, with the state *before* it.

    *unchanged* are prefixes that were asked for and are already as they should be; *open_ports*
    become the open ports of the guard, and None leaves these.  *guard* is None when it cannot be
    read.
    """

    before: tuple[Prefix, ...]
    guard: GuardState | None
    reserve: tuple[Prefix, ...] = ()
    release: tuple[Prefix, ...] = ()
    unchanged: tuple[Prefix, ...] = ()
    open_ports: Ports | None = None

    @property
    def after(self) -> tuple[Prefix, ...]:
        """The prefixes reserved afterwards, which are those the guard is to hold."""
        return (*(prefix for prefix in self.before if prefix not in self.release), *self.reserve)

    @property
    def open_after(self) -> Ports:
        """The ports open to ordinary listeners afterwards."""
        if self.open_ports is not None:
            return self.open_ports
        return self.guard.open_ports if self.guard else _NO_PORTS

    def told(self) -> Iterator[str]:
        """Yield the report of the change, a line for each effect; correct once it is applied."""
        for prefix in self.release:
            yield f"released {prefix}"
        for prefix in self.reserve:
            yield f"reserved {prefix} (layout {prefix.layout})"
        before, faithds = set(self.before), discovery.running() if self.unchanged else ()
        for prefix in self.unchanged:
            yield _told_unchanged(prefix, prefix in before, faithds)
        if not (self.before or self.reserve or self.unchanged):
            yield "no prefix was reserved"
        if self.guard and self.before and self.after:
            yield from _told_guard(self.guard, self.before)


def _told_unchanged(prefix: Prefix, is_reserved: bool, faithds: Iterable[Daemon]) -> str:
    if not is_reserved:
        return f"{prefix} was not reserved"
    for faithd in faithds:
        if str(prefix) in faithd.sets_up:
            return f"{prefix} is reserved already, until faithd (pid {faithd.pid}) ends"
    return f"{prefix} was reserved already"


def _told_guard(was: GuardState, reserved: tuple[Prefix, ...]) -> Iterator[str]:
    if not was.present:
        yield "the guard was missing: put back, with no open port but those given now"
    elif not (was.intact and all(map(was.covers, reserved))):
        yield "the guard had been altered: put back as it should be"


def enabling(wanted: Sequence[Prefix], open_ports: Ports | None = None) -> Change:
    """Reserve *wanted*, and see that the guard holds all that is reserved.

    Raises SetupError for the first that cannot be reserved here, and when there is nothing to do.
    """
    owners = routes.owners()
    reserved = tuple(owners)
    if not wanted and not reserved:
        raise SetupError("put the guard back", "no prefix is reserved", "faith -e -p PREFIX")
    wanted = tuple(dict.fromkeys(wanted))
    dead = set(abandoned(owners))
    new = tuple(prefix for prefix in wanted if prefix not in owners or prefix in dead)
    reservation.check(new, reserved)
    changed = set(new)
    unchanged = tuple(prefix for prefix in wanted if prefix not in changed)
    return Change(reserved, _guard_now(), new, unchanged=unchanged, open_ports=open_ports)


def abandoned(owners: Mapping[Prefix, int]) -> list[Prefix]:
    """Return the prefixes reserved by daemons that have ended without releasing them."""
    theirs = [prefix for prefix, owner in owners.items() if owner == routes.OF_DAEMONS]
    if not theirs:
        return []
    held = {text for faithd in discovery.running() for text in faithd.sets_up}
    return [prefix for prefix in theirs if str(prefix) not in held]


def disabling(wanted: Sequence[Prefix] | None = None) -> Change:
    """Release *wanted*, whatever their layout, or all that is reserved."""
    reserved = tuple(routes.reserved())
    if wanted is None:
        return Change(reserved, _guard_now(), release=reserved)
    named = {(prefix.address, prefix.length): prefix for prefix in wanted}
    release = [prefix for prefix in reserved if named.pop((prefix.address, prefix.length), None)]
    unchanged = tuple(named.values())
    return Change(reserved, _guard_now(), release=tuple(release), unchanged=unchanged)


def _guard_now() -> GuardState | None:
    try:
        return guard.inspect()
    except SetupError:  # no right to see it, or no nftables: applying it will tell
        return None


def apply(change: Change) -> bool:
    """Do it; false when the kernel has no nftables, so that there is no guard.

    The guard holds a prefix before any packet for it is ours.  Raises SetupError, with everything
    as it was before.
    """
    capabilities.require("change what is reserved", *CAPABILITIES)
    owners = routes.owners()
    with ExitStack() as undo:
        if change.release:
            for owner in routes.OWNERS:
                theirs = [one for one in change.release if owners.get(one) == owner]
                undo.callback(routes.reserve, *theirs, owner=owner)
            routes.release(*change.release)
        undo.callback(keep_guarded, (), change.guard.open_ports if change.guard else None)
        keep_guarded(change.reserve, change.open_ports)
        if change.reserve:
            undo.callback(routes.release, *change.reserve)
            routes.reserve(*change.reserve)
        guarded = keep_guarded((), change.open_ports)
        undo.pop_all()
    return guarded


def script(change: Change) -> str:
    """The same as commands for a shell, with ip(8) and nft(8)."""
    lines = [
        f"ip -6 route del {_route(prefix)} metric {routes.METRICS[prefix.layout]}"
        for prefix in change.release
    ]
    if change.open_ports is None and change.guard is None and change.after:
        lines.append("# The ports that are open now could not be seen, and are closed by this.")
    if change.after:
        state = change.guard or GuardState()
        translated = bool(state.translators)
        rules = guard.render(change.after, change.open_after, state.users, translated=translated)
    else:
        rules = f"table ip6 {guard.TABLE}\ndelete table ip6 {guard.TABLE}\n"
    lines.append(f"nft -f - <<'END'\n{rules}END")
    lines += [
        f"ip -6 route replace {_route(prefix)} proto {routes.PROTOCOL}"
        f" metric {routes.METRICS[prefix.layout]}"
        for prefix in change.reserve
    ]
    return "".join(f"{line}\n" for line in lines)


def _route(prefix: Prefix) -> str:
    return f"local {prefix} dev lo table local"


def guarded_only(guarded: GuardState, reserved: Iterable[Prefix]) -> list[str]:
    """The networks under guard that are not reserved: their route was taken by somebody."""
    ours = Networks(128, ((prefix.address, prefix.length) for prefix in reserved))
    return [
        str(ipaddress.IPv6Network((first, length)))
        for first, length in sorted(guarded.networks)
        if ours.first_outside(first, first | (1 << 128 - length) - 1) is not None
    ]
