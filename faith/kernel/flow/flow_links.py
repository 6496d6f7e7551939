"""The program of flows at the ingress of interfaces: links (tcx, Linux 6.6), else filters (clsact).

A link is a descriptor, and detaches the program when its last copy is closed; a filter stays until
`close`, and so do those of other layouts, which have other handles.  Attaching needs CAP_BPF and
CAP_NET_ADMIN, and applies to the network namespace of the calling thread.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from faith.kernel.bpf import bpf
from faith.kernel.flow import flow_program, ingress_filter
from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.flow.flow_pins import Pins
from faith.kernel.flow.flow_program import ETHERNET, LAYER3
from faith.kernel.flow.layout import LAYOUT
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink
from faith.kernel.process import capabilities

if TYPE_CHECKING:
    import os
    from typing import Any, Self

    from faith.kernel.netlink.rtnetlink import Link

CAPABILITIES = ("CAP_BPF", "CAP_NET_ADMIN")
"""The capabilities that attaching needs."""

_PROGRAMS = {14: ETHERNET, 0: LAYER3}
_NO_TCX = (errno.EINVAL, errno.EOPNOTSUPP)
_GONE = (errno.ENODEV, errno.ENXIO)


class _Attached(NamedTuple):
    """The *program* at one interface, by a *link*, or by a filter: whose clsact was *made*."""

    program: str
    link: bpf.Object | None
    made: bool = False


class FlowLinks:
    """The program that uses *maps*, attached to *interfaces*.

    The filters of another layout go on *beside* it, at interfaces whose clsact was made for these,
    or not.  Methods that change anything raise SetupError, and PermissionNeeded without
    CAPABILITIES.
    """

    def __init__(
        self,
        maps: FlowMaps,
        attached: dict[int, _Attached] | None = None,
        beside: dict[int, bool] | None = None,
        *,
        tcx: bool = True,
    ) -> None:
        self.maps = maps
        self._attached = attached or {}
        self._beside = beside or {}
        self._tcx = tcx
        self._loaded: dict[str, bpf.Object] = {}
        self._pins: Pins | None = None

    @classmethod
    def create(cls, maps: FlowMaps, left: Any = None, *, tcx: bool = True) -> Self:
        """Load the program, attached to nothing yet; without *tcx* it will be by filters.

        Links and filters of another layout, whose `state` the predecessor process *left*, stay.
        """
        filters = (one for one in left["attached"] if one[2] is None) if left else ()
        links = cls(maps, beside={index: made for index, _, _, made in filters}, tcx=tcx)
        links._program(ETHERNET)
        return links

    @classmethod
    def adopt(cls, state: Any, maps: FlowMaps) -> Self:
        """Adopt what is attached, whose `state` the predecessor process left; *maps* are its."""
        attached = {
            index: _Attached(program, None if fd is None else bpf.Object.adopt(fd), made)
            for index, program, fd, made in state["attached"]
        }
        links = cls(maps, attached, tcx=state["tcx"])
        if state["pins"] is not None:
            links._pins = Pins(state["pins"])
        return links

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""
        attached = [
            [index, program, link and link.state(), made]
            for index, (program, link, made) in self._attached.items()
        ]
        pins = None if self._pins is None else self._pins.directory
        return {"attached": attached, "tcx": self._tcx, "pins": pins}

    @property
    def interfaces(self) -> frozenset[int]:
        """The indices of the interfaces that the program is attached to."""
        return frozenset(self._attached)

    def follow(self, interfaces: dict[int, Link]) -> None:
        """Attach the program to those of *interfaces* that are new, and forget those that vanished.

        Interfaces whose packets begin with a header of another kind are left alone.
        """
        for index in self._attached.keys() - interfaces.keys():
            self._detach(index)
        for index in interfaces.keys() - self._attached.keys():
            program = _PROGRAMS.get(interfaces[index].header)  # type: ignore[arg-type]
            if program is not None:
                self._attach(index, program, interfaces[index].name)

    def update(self) -> None:
        """Replace the program at every interface by that of this version; no packet is missed."""
        self._unload()
        for index, (program, link, made) in self._attached.items():
            loaded = self._program(program)
            try:
                if link is not None:
                    bpf.change(link, loaded)
                else:
                    with Netlink.create(NETLINK_ROUTE) as netlink:
                        ingress_filter.attach(netlink, index, loaded, flow_program.NAME, LAYOUT)
            except OSError as error:
                if error.errno not in (*_GONE, errno.ENOLINK):  # `follow` forgets it
                    step = f"replace the program of flows at interface {index}"
                    raise capabilities.refusal(step, error, *CAPABILITIES) from error
            self._attached[index] = _Attached(program, link, made)

    def close(self) -> None:
        """Detach the program from every interface, and remove the pins.  The maps stay open."""
        self.unpin()
        for index in list(self._attached):
            self._detach(index)
        self._unload()

    def release(self) -> None:
        """Close the descriptors: pins and filters stay, and so do links in other processes."""
        for _, link, _ in self._attached.values():
            if link is not None:
                link.close()
        self._attached.clear()
        self._unload()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- pins ------------------------------------------------------------------------------------

    def pin(self, directory: str | os.PathLike[str]) -> None:
        """Keep the maps and whatever is attached, by names in *directory*, until `unpin`.

        It is in a file system of type bpf; what is there is removed first.
        """
        pins = Pins(directory)
        try:
            pins.prepare()
            for name, each in self.maps.maps.items():
                pins.add(name, each)
            for index in self._attached:
                self._pin(pins, index)
        except OSError as error:
            with suppress(OSError):
                pins.clear()
            raise capabilities.refusal(f"keep flows in {directory}", error, "CAP_BPF") from error
        self._pins = pins

    @classmethod
    def from_pins(cls, directory: str | os.PathLike[str], *, tcx: bool = True) -> Self:
        """Return what `pin` kept, with its maps.

        Raises OSError for what is missing there, and ValueError for maps of another layout; what is
        there stays.
        """
        pins = Pins(directory)
        maps = FlowMaps.from_pins(pins.get)
        attached: dict[int, _Attached] = {}
        try:
            for name in pins.names():
                index, _, program = name.partition("-")
                if program:
                    program, _, kind = program.partition("-")
                    thing = bpf.Object(pins.get(name))
                    attached[int(index)] = _Attached(program, thing)
                    if kind:  # of a filter only the program is kept
                        thing.close()
                        attached[int(index)] = _Attached(program, None, kind == "made")
        except OSError:
            cls(maps, attached).release()
            maps.close()
            raise
        links = cls(maps, attached, tcx=tcx)
        links._pins = pins
        return links

    def unpin(self) -> None:
        """Remove the names that `pin` gave."""
        if self._pins is not None:
            self._pins.clear()
            self._pins = None

    def _pin(self, pins: Pins, index: int) -> None:
        program, link, _ = self._attached[index]
        pins.add(_name(index, self._attached[index]), link or self._program(program))

    # -- one interface ---------------------------------------------------------------------------

    def _attach(self, index: int, program: str, name: str) -> None:
        loaded = self._program(program)
        try:
            self._attached[index] = self._attached_now(index, program, loaded)
            if self._pins is not None:
                self._pin(self._pins, index)
        except OSError as error:
            if error.errno in _GONE:
                return
            step = f"attach the program of flows to {name}"
            raise capabilities.refusal(step, error, *CAPABILITIES) from error

    def _attached_now(self, index: int, program: str, loaded: bpf.Object) -> _Attached:
        if self._tcx:
            try:
                return _Attached(program, bpf.link(loaded, index, bpf.ATTACH_TC_INGRESS))
            except OSError as error:
                if error.errno not in _NO_TCX:
                    raise
            self._tcx = False
        with Netlink.create(NETLINK_ROUTE) as netlink:
            if index not in self._beside:  # else a killed daemon may have left some
                ingress_filter.detach(netlink, index, made=False)
            made = ingress_filter.attach(netlink, index, loaded, flow_program.NAME, LAYOUT)
        return _Attached(program, None, made or self._beside.get(index, False))

    def _detach(self, index: int) -> None:
        attached = self._attached.pop(index)
        if self._pins is not None:
            self._pins.remove(_name(index, attached))
        if attached.link is not None:
            attached.link.close()
            return
        with Netlink.create(NETLINK_ROUTE) as netlink:
            ingress_filter.detach(netlink, index, attached.made)

    def _program(self, name: str) -> bpf.Object:
        if name not in self._loaded:
            try:
                self._loaded[name] = flow_program.load(self.maps, name)
            except OSError as error:
                step = "load the program of flows"
                raise capabilities.refusal(step, error, *CAPABILITIES) from error
        return self._loaded[name]

    def _unload(self) -> None:
        for each in self._loaded.values():
            each.close()
        self._loaded.clear()


def _name(index: int, attached: _Attached) -> str:
    if attached.link is not None:
        return f"{index}-{attached.program}"
    return f"{index}-{attached.program}-{'made' if attached.made else 'found'}"
