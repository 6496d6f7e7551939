"""Networks of namespaces on one machine, for the demo, the tests and the benchmarks.

It needs the kernel and pyroute2 only, and root or an unprivileged user namespace
(:func:`gain_rights`)::

    with Network() as network:
        lab = three_hosts(network)
        lab.server.popen([sys.executable, "-m", "http.server", "80"])
        lab.server.wait_listening(80)
        lab.gateway.run(["ping", "-c1", "192.0.2.80"])
"""

from __future__ import annotations

from faith.lab.host import Host
from faith.lab.keep import keep, remove_kept
from faith.lab.namespace import can_make_networks, enter_user_namespace, gain_rights
from faith.lab.network import Network
from faith.lab.topology import ThreeHosts, three_hosts
from faith.lab.waiting import wait_until

__all__ = [
    "Host",
    "Network",
    "ThreeHosts",
    "can_make_networks",
    "enter_user_namespace",
    "gain_rights",
    "keep",
    "remove_kept",
    "three_hosts",
    "wait_until",
]
