"""Steering: how connections to the prefixes reach the listeners; one contract, several methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faith.kernel.steering import redirect, route, sk_lookup, tproxy
from faith.kernel.steering.base import Steering
from faith.kernel.steering.first_fit import first_fit
from faith.translation.ports import NO_PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

__all__ = ["METHODS", "Steering", "adopt", "change_ports", "create"]

_CREATE = {
    "route": route.create,
    "sk_lookup": sk_lookup.create,
    "tproxy": tproxy.create,
    "redirect": redirect.create,
}
_ADOPT = {
    "route": route.adopt,
    "sk_lookup": sk_lookup.adopt,
    "tproxy": tproxy.adopt,
    "redirect": redirect.adopt,
}
METHODS = tuple(_CREATE)
"""Every method, in the order in which "auto" tries them."""

_FEW_PORTS = 16
"""Up to this many, listeners of their own cost less than a program at every lookup of the host."""


def create(
    method: str,
    ports: Ports,
    prefixes: Iterable[Prefix],
    workers: int,
    *,
    own: Ports = NO_PORTS,
) -> Steering:
    """Steer *ports* of *prefixes* to listeners for each of *workers*, by one of `METHODS`.

    With "auto" it is the first method that works.  Connections to the host's own addresses arrive
    too on those of *ports* that are in *own*; on others they may (method "route") or may not.

    Raises SetupError; with "auto" it says why each method was refused.
    """
    prefixes = tuple(prefixes)
    route.check_number(own)
    methods, refused = _CREATE, ""
    if method == "auto" and len(ports) > _FEW_PORTS:
        methods = {name: make for name, make in _CREATE.items() if name != "route"}
        refused = f"route: {len(ports)} ports are more than {_FEW_PORTS}"
    step = f"steer ports {ports}"
    _, steering = first_fit(step, method, methods, ports, prefixes, workers, refused=refused)
    if steering.method != "route":
        _listen_too(steering, own)
    return steering


def change_ports(steering: Steering, ports: Ports, own: Ports) -> Callable[[], None]:
    """Call `Steering.change_ports`; raises SetupError too when there would be too many
    listeners."""
    route.check_number(ports if steering.method == "route" else own)
    return steering.change_ports(ports, own)


def adopt(state: dict[str, Any]) -> Steering:
    """Adopt the steering that the predecessor process left, from its `Steering.state`.

    Nothing changes in the kernel: what lives by a descriptor has never been without one.
    """
    return _ADOPT[state["way"]](state["listeners"], state["held"])


def _listen_too(steering: Steering, ports: Ports) -> None:
    try:
        for port in ports:
            steering.listen(port)
    except BaseException:
        steering.close()
        raise
