"""A BPF program as a filter at the ingress of an interface, for kernels without tcx (before 6.6).

The filter belongs to a queueing discipline clsact of the interface and stays until it is removed,
also after the death of the process that attached it.  The functions raise OSError.
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from faith.kernel.netlink.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, attribute

if TYPE_CHECKING:
    from faith.kernel.bpf.bpf import Object
    from faith.kernel.netlink.netlink import Netlink

_NEW_QDISC, _DEL_QDISC, _NEW_FILTER, _DEL_FILTER, _GET_FILTER = 36, 37, 44, 45, 46
_TCMSG = struct.Struct("=BxxxiIII")  # family, interface, handle, parent, priority and protocol
_CLSACT = 0xFFFF_FFF1
_CLSACT_HANDLE = 0xFFFF_0000
_INGRESS, _EGRESS = 0xFFFF_FFF2, 0xFFFF_FFF3
_KIND, _OPTIONS = 1, 2
_BPF_FD, _BPF_NAME, _BPF_FLAGS = 6, 7, 8
_DIRECT_ACTION = 1
_ALL_PROTOCOLS = 0x0003
_ALL = 0  # the handle that stands for all filters of a priority

PRIORITY = 0xFA17
"""The priority of our filters, behind those that the kernel gives by itself: it marks them."""


def attach(netlink: Netlink, interface: int, program: Object, name: str, handle: int = 1) -> bool:
    """Have *program* run for what arrives at *interface*; another one of *handle* is replaced.

    Filters of ours with other handles stay, and get what the newest leaves to the next.  Returns
    whether the interface had no clsact before.
    """
    made = True
    body = _TCMSG.pack(0, interface, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_KIND, b"clsact\0")
    try:
        netlink.request(_NEW_QDISC, body, NLM_F_CREATE | NLM_F_EXCL)
    except FileExistsError:
        made = False
    options = (
        attribute(_BPF_FD, struct.pack("=I", program.fd))
        + attribute(_BPF_NAME, name.encode() + b"\0")
        + attribute(_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION))
    )
    body = _ours(interface, handle) + attribute(_KIND, b"bpf\0") + attribute(_OPTIONS, options)
    try:
        netlink.request(_NEW_FILTER, body, NLM_F_CREATE | NLM_F_REPLACE)
    except OSError:
        if made:
            _remove_clsact(netlink, interface)
        raise
    return made


def detach(netlink: Netlink, interface: int, made: bool) -> None:
    """Remove our filters, and clsact if `attach` *made* it and nobody else uses it by now.

    An interface or filters that are gone are no error.
    """
    try:
        netlink.request(_DEL_FILTER, _ours(interface, _ALL) + attribute(_KIND, b"bpf\0"))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EINVAL):
            raise
        return
    if made and not any(_filters(netlink, interface, hook) for hook in (_INGRESS, _EGRESS)):
        _remove_clsact(netlink, interface)


def _ours(interface: int, handle: int) -> bytes:
    what = PRIORITY << 16 | socket.htons(_ALL_PROTOCOLS)
    return _TCMSG.pack(0, interface, handle, _INGRESS, what)


def _filters(netlink: Netlink, interface: int, hook: int) -> list[bytes]:
    return netlink.dump(_GET_FILTER, _TCMSG.pack(0, interface, 0, hook, 0))


def _remove_clsact(netlink: Netlink, interface: int) -> None:
    body = _TCMSG.pack(0, interface, _CLSACT_HANDLE, _CLSACT, 0)
    with suppress(FileNotFoundError):
        netlink.request(_DEL_QDISC, body)
