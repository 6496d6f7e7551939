"""Why flows in the kernel cannot be had on this host, in sentences for its operator."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from faith.errors import SetupError
from faith.kernel import text_file
from faith.kernel.bpf.bpf import MAP_ARRAY, MAP_HASH, MAP_LPM_TRIE, MAP_LRU_HASH, MAP_RING, Map
from faith.kernel.flow import device_features
from faith.kernel.flow.flow_links import CAPABILITIES, FlowLinks
from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.flow.map_kinds import kinds
from faith.kernel.netlink import rtnetlink
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink
from faith.kernel.process import capabilities
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAPS = {
    MAP_HASH: "BPF hash tables",
    MAP_ARRAY: "BPF arrays that can be mapped as memory (Linux 5.5)",
    MAP_LRU_HASH: "BPF hash tables that drop what is oldest (Linux 4.10)",
    MAP_LPM_TRIE: "BPF tries of prefixes (Linux 4.11)",
    MAP_RING: "BPF ring buffers (Linux 5.8)",
}
_FILTERED = "bpf(2) is refused in spite of CAP_BPF: a container's seccomp filter has to allow it"
_PROGRAM = "the program of flows takes Linux 5.14 or later"
_PERFMON = "CAP_PERFMON"
"""Without it, older verifiers, as that of Linux 6.1, refuse what newer ones do not."""

_UNPRIVILEGED = "/proc/sys/kernel/unprivileged_bpf_disabled"
_ALLOWED_BY_DESCRIPTOR = (5, 19)

_NETLINK_XFRM, _GET_POLICY = 6, 0x15
_POLICY_ID = 64  # struct xfrm_userpolicy_id

_IPV4 = "/proc/sys/net/ipv4"

_REFUSED = {
    "rx-lro": ("lro", "joins packets in a way that cannot be undone"),
    "rx-gro-list": ("rx-gro-list", "joins packets of which only the first would be translated"),
}


def missing() -> list[str]:
    """Return what this host lacks for flows in the kernel, [] if nothing.

    It tries: the program is attached to lo for a moment.
    """
    held = capabilities.effective()
    if without := [name for name in CAPABILITIES if name not in held]:
        return [f"needs {' and '.join(without)}: run it as root"]
    return [*(_refused_maps() or _refused_program()), *_unprivileged(), *_policies()]


def _refused_maps() -> list[str]:
    found = {}
    for name, (kind, key, value, entries, flags) in kinds(1).items():
        try:
            Map.create(
                kind, f"faith_{name}", key=key, value=value, entries=entries, flags=flags
            ).close()
        except PermissionError:
            return [_FILTERED]
        except OSError as error:
            found[kind] = f"the kernel has no {_MAPS[kind]}: {error.strerror}"
    return list(found.values())


def _refused_program() -> Iterator[str]:
    try:
        with Netlink.create(NETLINK_ROUTE) as netlink:
            links = rtnetlink.links(netlink)
        with FlowMaps.create(1) as maps, FlowLinks.create(maps) as attached:
            attached.follow({rtnetlink.LOOPBACK: links[rtnetlink.LOOPBACK]})
    except (OSError, SetupError) as error:
        # of a verifier's log the last line but its statistics says what it refused
        lines = [line for line in str(error).splitlines() if not line.startswith("processed ")]
        more = "" if _PERFMON in capabilities.effective() else f", and {_PERFMON} on older kernels"
        yield f"{_PROGRAM}{more}: {' '.join(lines if len(lines) < 2 else (lines[0], lines[-1]))}"


def _unprivileged() -> Iterator[str]:
    """An older kernel refuses even descriptors of maps to who has no capability."""
    major, minor = map(int, re.findall(r"\d+", os.uname().release)[:2])
    with suppress(FileNotFoundError):
        if (major, minor) < _ALLOWED_BY_DESCRIPTOR and int(text_file.read_leniently(_UNPRIVILEGED)):
            yield (
                "kernel.unprivileged_bpf_disabled is set, which before Linux 5.19 also keeps a"
                " process without privileges from maps it was given: set it to 0"
            )


def _policies() -> Iterator[str]:
    """Packets of flows would go past IPsec."""
    try:
        with Netlink.create(_NETLINK_XFRM) as netlink:
            count = len(netlink.dump(_GET_POLICY, bytes(_POLICY_ID)))
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.ENOENT, errno.EINVAL):
            yield f"cannot read the IPsec policies of this host: {error.strerror}"
        return
    if count:
        yield (
            f"{count} IPsec {'policy' if count == 1 else 'policies'} (ip xfrm policy) would not"
            " apply to flows in the kernel"
        )


def offloads(names: Iterable[str]) -> list[str]:
    """Return which offloads of the interfaces *names* damage flows in the kernel, and how to turn
    them off.

    An interface that is gone, or has no such features, has none.
    """
    found = []
    for name in names:
        try:
            features = device_features.active(name)
        except OSError:
            continue
        found += [
            f"{name}: {feature} is on, which {why}: ethtool -K {name} {word} off"
            for feature, (word, why) in _REFUSED.items()
            if feature in features
        ]
    return found


def ports_free(ports: Ports) -> str | None:
    """Return why sockets of this host may take some of *ports*, None if none may."""
    first, last, reserved = _local_ports()
    shared = ports & Ports([(first, last)])
    if shared & reserved == shared:
        return None
    return (
        f"ports {shared} are in net.ipv4.ip_local_port_range ({first}-{last}), which sockets of"
        " this host may take: choose others, or add them to net.ipv4.ip_local_reserved_ports"
    )


def only_free(ports: Ports) -> Ports:
    """Return those of *ports* that the kernel gives to no socket of this host by itself."""
    first, last, reserved = _local_ports()
    return Ports((one, one) for one in ports if not first <= one <= last or one in reserved)


def _local_ports() -> tuple[int, int, Ports]:
    """Return the range that sockets have their ports from, and those in it that none gets."""
    first, last = map(int, text_file.read_proc(f"{_IPV4}/ip_local_port_range").split())
    text = text_file.read_proc(f"{_IPV4}/ip_local_reserved_ports").strip()
    pairs = [part.partition("-") for part in text.split(",") if part]
    return first, last, Ports((int(low), int(high or low)) for low, _, high in pairs)
