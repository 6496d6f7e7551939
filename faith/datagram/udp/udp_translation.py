"""Translation of UDP datagrams, the part that both directions share: policy and refusals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from faith.datagram.report import error_for
from faith.datagram.udp.flow_reports import NO_REPORTS
from faith.datagram.udp.message import whole
from faith.translation.address import number
from faith.translation.reasons import CLIENT_FLOWS

if TYPE_CHECKING:
    from faith.datagram.icmp import Error, IpVersion
    from faith.datagram.pace import Paces
    from faith.datagram.send import Send
    from faith.datagram.udp.flow_reports import FlowReports
    from faith.datagram.udp.udp_counters import UdpCounters
    from faith.kernel.sockets.udp_sockets import Arrival
    from faith.translation.destination import Policy
    from faith.translation.udp.flows import Flow, Flows


class UdpTranslation(ABC):
    """The translator of datagrams in one direction.

    *policy* decides; *errors* limits the rate of the gateway's own errors.  *reports* are of what
    begins, ends early and is refused.
    """

    near: ClassVar[IpVersion]
    """The IP version of the clients."""

    def __init__(
        self,
        policy: Policy,
        flows: Flows,
        counters: UdpCounters,
        errors: Paces,
        reports: FlowReports = NO_REPORTS,
    ) -> None:
        self._policy = policy
        self._reports = reports
        self.flows = flows
        self._counters = counters
        self._errors = errors

    @property
    def policy(self) -> Policy:
        """The policy that decides; another one decides about every flow anew."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._forget_decisions()

    @abstractmethod
    def _forget_decisions(self) -> None:
        """Forget what the policy has decided."""

    @abstractmethod
    def forget_fields(self) -> None:
        """Have the next datagram of each flow set hop limit and traffic class anew."""

    @abstractmethod
    def end(self, flow: Flow) -> None:
        """Unregister *flow*, which has ended, and close what is its own."""

    def _no_room(self, address: int, now: float) -> str | None:
        """Return why a client at *address*, of 128 bits, gets no new flow, or None.

        Where others have more than their share, one of their flows ends for it.
        """
        why = self.flows.refuses(address)
        if why and (ended := self.flows.make_room(address)):
            self._counters.refused(CLIENT_FLOWS)
            self._reports.ended(ended, now, CLIENT_FLOWS)
            self.end(ended)
            return None
        return why

    def _refuse(self, why: str, arrival: Arrival, error: Error, now: float) -> Send | None:
        self._counters.refused(why)
        self._reports.refused(why, arrival)
        return self._error_for(arrival, error, now)

    def _error_for(self, arrival: Arrival, error: Error, now: float) -> Send | None:
        """Return *error* about *arrival* for its sender; None above the rate limit."""
        near, client = self.near, number(arrival.sender[0])
        if self._errors.refuses(near.above | client, now):
            return None
        return error_for(near, error, whole(near, arrival), client, arrival.scope)
