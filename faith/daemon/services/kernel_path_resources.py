"""The supervisor's part of the kernel path: the tc program, its maps, nftables and sockets."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from faith.daemon.observe.findings import finding
from faith.daemon.observe.status_report import Finding, FlowTable
from faith.errors import SetupError
from faith.kernel.bpf.bpf import Map
from faith.kernel.descriptor import Descriptor, descriptors
from faith.kernel.flow import flow_conditions, flow_guard
from faith.kernel.flow.flow_guard import Guarded
from faith.kernel.flow.flow_links import FlowLinks
from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.flow.flow_pins import is_bpf
from faith.kernel.flow.layout import KEY4, LAYOUT
from faith.kernel.flow.syn_capture import TABLE, SynCapture
from faith.kernel.netlink import rtnetlink
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink
from faith.kernel.nft.nftables import Nftables
from faith.kernel.sockets.flow_sockets import FlowSockets
from faith.translation.address import text4
from faith.translation.networks import Networks
from faith.translation.ports import NO_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import KernelPath
    from faith.flow.flow_settings import FlowSettings
    from faith.kernel.descriptor import Source

log = logging.getLogger("faith.supervisor")

_STEP = "the kernel path"
_LOOPBACK = 127


class KernelPathResources:
    """The kernel's part of the kernel path; `steer` says what is served.

    The process *owner* undoes everything in `close`; a copy in another process only lets go.
    """

    def __init__(
        self,
        links: FlowLinks,
        capture: SynCapture,
        sockets: FlowSockets,
        owner: int,
        *,
        outlives: bool,
        before: tuple[Descriptor, ...] = (),
    ) -> None:
        self.maps = links.maps
        self.links = links
        self._capture = capture
        self.flow_sockets = sockets
        self._owner = owner
        self.outlives = outlives
        """True if flows go on when the daemon is killed."""
        self._before = before
        self.taken: frozenset[bytes] = frozenset()
        """The keys of flows of another layout, whose ports no new flow may have."""
        self.is_beside = False
        """True until `update` if flows of another layout go on by the predecessor's code."""
        self._flows: FlowSettings | None = None
        self._addresses: dict[int, None] = {}  # flows from one that is used no more go on
        self._own: tuple[tuple[int, int], ...] = ()
        self._generation = -1  # of nftables, when the guard was last seen as it should be

    @classmethod
    def create(cls, wanted: KernelPath) -> KernelPathResources:
        """Set everything up, or take over what a daemon that was killed has left; serve nothing.

        Raises SetupError with the reasons; nothing stays behind then.
        """
        flows = wanted.flows
        missing = [*flow_conditions.missing(), *flow_conditions.offloads(_names())]
        needed = not flows.addresses or not flow_conditions.only_free(flows.shared_ports)
        if needed and (taken := flow_conditions.ports_free(flows.shared_ports)):
            missing.append(taken)
        if missing:
            raise SetupError(_STEP, "; ".join(missing))
        with ExitStack() as undo:
            sockets = FlowSockets.create()
            undo.callback(sockets.close)
            capture = SynCapture.between(sockets.syns, sockets.fallen)  # one daemon at a time
            undo.callback(capture.close)
            directory = _pins(wanted.pins)
            links = _left(directory) or _made(flows.limit)
            undo.callback(links.maps.close)
            undo.callback(links.close)
            links.update()
            links.follow(_interfaces())
            if directory:
                links.pin(directory)
            undo.pop_all()
        return cls(links, capture, sockets, os.getpid(), outlives=directory is not None)

    @classmethod
    def adopt(cls, state: Any, slots: int = 0) -> KernelPathResources:
        """Adopt the resources whose `state` the predecessor process left.

        Flows of another layout go on by the code and the maps that they have, which are kept for as
        long as this process lives; there is a new table of *slots* beside theirs.  Raises
        SetupError.
        """
        rest = (
            SynCapture.adopt(state["capture"]),
            FlowSockets.adopt(state["sockets"]),
            state["owner"],
        )
        before = tuple(map(Descriptor, state["before"]))
        links, maps = state["links"], state["maps"]
        if maps["layout"] == LAYOUT:
            adopted = FlowLinks.adopt(links, FlowMaps.adopt(maps))
            return cls(adopted, *rest, outlives=state["outlives"], before=before)
        held = map(Descriptor, (*links["held"], *maps["maps"].values()))
        made = cls(_made(slots, links), *rest, outlives=False, before=(*before, *held))
        made.is_beside = True
        made.taken = frozenset(Map.adopt(maps["maps"]["flows4"]).keys(KEY4))
        return made

    def state(self) -> Any:
        """Return the state from which the next program resumes the resources, fit for JSON."""
        return {
            "maps": self.maps.state(),
            "links": {**(links := self.links.state()), "held": descriptors(links)},
            "capture": self._capture.state(),
            "sockets": self.flow_sockets.state(),
            "owner": self._owner,
            "outlives": self.outlives,
            "before": list(self._before),
        }

    def sockets(self) -> KernelPathResources:
        """Return the resources themselves: the process that serves uses maps and sockets."""
        return self

    def kept(self) -> Iterable[Source]:
        """Return the descriptors that the process keeps."""
        return (*self.flow_sockets, *self.maps.maps.values())

    def update(self) -> None:
        """Have packets translated by this program's code.

        The predecessor's is replaced, or goes on beside it.  Raises SetupError.
        """
        if self.is_beside:
            self.links.follow(_interfaces())
        else:
            self.links.update()

    def configure(self, flows: FlowSettings) -> None:
        """Guard the addresses of flows by these settings.  Raises SetupError."""
        self._flows = flows
        self._addresses.update(dict.fromkeys(flows.addresses))
        if self._own:
            self.guard(self._own)

    def guard(self, own: tuple[tuple[int, int], ...]) -> None:
        """Guard the flows' addresses and ports, where *own* are the gateway's networks.

        All addresses that do not belong to flows alone are shared with the gateway's sockets: a
        rule, a source or the kernel may choose any.  Raises SetupError.
        """
        self._own = own
        if self._flows:
            flow_guard.install(*self._guarded(self._flows))

    def _guarded(self, flows: FlowSettings) -> tuple[Guarded, Guarded, int]:
        alone = tuple((address, 32) for address in self._addresses)
        shared = (one for one in self._own if one not in alone and one[0] >> 24 != _LOOPBACK)
        return (
            Guarded(alone, flows.address_ports),
            Guarded(tuple(shared), flows.shared_ports),
            self.flow_sockets.fallen.group,
        )

    def look(self) -> bool:
        """Restore the guard if another program changed it; return whether it did.  Raises
        SetupError."""
        if not (self._own and self._flows):
            return False
        generation = flow_guard.generation()
        if generation == self._generation:
            return False
        wanted = self._guarded(self._flows)
        if flow_guard.is_intact(*wanted):
            self._generation = generation
            return False
        flow_guard.install(*wanted)
        log.warning("the guard of the flows was changed by another program; restored it")
        return True

    def steer(self, policy: PolicyInputs) -> None:
        """Follow the gateway's addresses; prefixes are for the process, which knows the policy."""
        if policy.own != self._own:
            self.guard(policy.own)

    def leave_all_to_the_relay(self) -> None:
        """Take no SYN from now on; the process takes those to its ports again once it is told."""
        self.maps.set_ports(NO_PORTS)

    def report(self) -> FlowTable:
        """Return what the kernel path has at this moment, for operators."""
        counters = self.maps.counters()
        numbers = self.links.interfaces
        names = sorted(link.name for link in _interfaces().values() if link.index in numbers)
        dropped = counters["limited_client"] + counters["limited_total"]
        return FlowTable(names, self.maps.open(), self.maps.slots, dropped, self.outlives)

    def findings(self) -> list[Finding]:
        """Return what keeps flows from their work now."""
        own = Networks(32, self._own)
        addresses = self._flows.addresses if self._flows else ()
        absent = [text4(one) for one in addresses if one not in own]
        return [
            *(
                finding("offload-harmful", text, action)
                for text, _, action in (
                    one.rpartition(": ") for one in flow_conditions.offloads(_names())
                )
            ),
            *(
                finding(
                    "source-absent",
                    f"no flow comes from {address} until this host has it",
                    f"ip address add {address}/32 dev lo",
                )
                for address in absent
            ),
        ]

    def has_open_flows(self) -> bool:
        """Return whether a flow has not ended yet."""
        return self.maps.open() > 0

    def follow_links(self) -> None:
        """Translate on every interface that there is now.  Raises OSError."""
        self.links.follow(_interfaces())

    def close(self) -> None:
        """Undo everything, as the owner; the flows end with it."""
        if self._owner == os.getpid():
            self.links.close()
            flow_guard.remove()
        else:
            self.links.release()
        self._capture.close()
        self.flow_sockets.close()
        self.maps.close()


def end_left(pins: Path) -> bool:
    """End the flows that a killed daemon has left, for one without a kernel path; False for none.

    Does nothing where another daemon has them.  Raises SetupError or OSError.
    """
    with Nftables() as nft:
        if nft.exists(TABLE):
            return False
    if links := _left(_pins(pins)):
        links.close()
        links.maps.close()
    return flow_guard.remove()


def _pins(directory: Path) -> Path | None:
    """Return where this network namespace has its pins, or None without a BPF file system."""
    if not is_bpf(directory):
        return None
    return directory / f"faith-{os.stat('/proc/thread-self/ns/net').st_ino}"


def _left(directory: Path | None) -> FlowLinks | None:
    """Return what a daemon that was killed has left, with its maps."""
    if directory is None or not directory.exists():
        return None
    try:
        return FlowLinks.from_pins(directory)
    except (OSError, ValueError) as error:
        log.warning("the flows kept in %s are lost: %s", directory, error)
        return None


def _made(slots: int, left: Any = None) -> FlowLinks:
    try:
        maps = FlowMaps.create(slots)
    except OSError as error:
        raise SetupError(_STEP, f"maps of {slots} flows: {error.strerror}") from error
    try:
        return FlowLinks.create(maps, left)
    except BaseException:
        maps.close()
        raise


def _names() -> list[str]:
    return [link.name for link in _interfaces().values()]


def _interfaces() -> dict[int, rtnetlink.Link]:
    with Netlink.create(NETLINK_ROUTE) as netlink:
        return rtnetlink.links(netlink)
