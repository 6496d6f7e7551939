"""A worker: an unprivileged process that serves its share of the connections."""

from __future__ import annotations

import _socket
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from faith.daemon.config import carried
from faith.daemon.config.policy import PolicyInputs
from faith.daemon.config.worker_settings import NO_PROXIES, ProxiesSettings, WorkerSettings
from faith.daemon.observe.log import NOTICE
from faith.daemon.observe.own_numbers import own
from faith.daemon.observe.records import Records
from faith.daemon.process.child import Child
from faith.daemon.process.messages import (
    Done,
    Drain,
    Give,
    Kept,
    Kill,
    Killed,
    Local,
    LocalRefused,
    OpenPinhole,
    Ready,
    Resume,
    Serve,
    SessionList,
    Sessions,
    Sock,
    Steer,
    Stop,
    Take,
    Unsteer,
    WantSockets,
)
from faith.daemon.process.preamble import confine_child
from faith.daemon.process.worker_handover import Giver, Room, Taker
from faith.daemon.services.map_removal import (
    ADOPTED_AFTER,
    GONE_AFTER,
    MapRemoval,
    PrefixRemoval,
)
from faith.daemon.services.session_dump import SessionDump
from faith.daemon.services.session_kill import SessionKill
from faith.daemon.services.session_queries import selected
from faith.daemon.services.worker_proxies import WorkerProxies
from faith.kernel.shared.leases import GRACE
from faith.kernel.sockets.tcp_sockets import cookie, reset
from faith.relay.alg.ftp_data import Supervised
from faith.relay.alg.socket_pool import SocketPool
from faith.relay.alg.supervisor_requests import SupervisorRequests
from faith.relay.alg.tls_sessions import TlsSessions
from faith.relay.relay import Relay
from faith.relay.tcp.accounting import Movement
from faith.relay.tcp.record import endpoint
from faith.relay.tcp.session_shares import SessionShares, places
from faith.translation.address import V4, V6, number
from faith.translation.destination import no_leases
from faith.translation.directions import V4_TO_V6
from faith.translation.map_table import NO_MAPS

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Sequence
    from typing import Any, Literal

    from faith.daemon.observe.log import Log
    from faith.daemon.observe.records import Recording
    from faith.daemon.process.messages import ProcessChannel, Report
    from faith.daemon.process.worker_handover import Part
    from faith.relay.tcp.admission import Admission
    from faith.relay.tcp.relay_counters import Counters
    from faith.relay.tcp.relay_settings import Settings
    from faith.relay.tcp.session import Session
    from faith.translation.destination import LeaseLookup
    from faith.translation.ports import Ports
    from faith.translation.selection import Selection

log = logging.getLogger("faith.worker")

POLICY, SETTINGS, LISTENERS = "policy", "settings", "listeners"
"""Topics of a worker's desired state: rules and maps, settings, what it serves beside its own."""
PROXIES, PROXY_LISTENERS = "proxies", "proxy listeners"
"""Others: the settings of proxies, and all of their listeners that it serves."""

carried.decoder(WorkerSettings)  # before a worker is forked, which would take its time


@dataclass(frozen=True)
class Task:
    """The task of a worker: its listeners, policy and settings, and the *user* that it runs as.

    *local*: on these ports, the supervisor starts a local server for connections that are not to a
    mapped address.  *leases* looks up the leases of a pool.  The worker *serves* from its start on,
    or else once the supervisor orders it to; it is one of so many *workers*.  *proxy_listeners* are
    those of the *proxies*.
    """

    listeners: Sequence[_socket.socket]
    redirected: bool
    policy_inputs: PolicyInputs
    user: str
    relay: Settings
    local: Ports
    counters: Counters
    admission: Admission
    recording: Recording
    leases: LeaseLookup = no_leases
    serves: bool = True
    workers: int = 1
    proxies: ProxiesSettings = NO_PROXIES
    proxy_listeners: Sequence[_socket.socket] = ()


def work(task: Task, channel: ProcessChannel, log_handler: Log) -> None:
    """Serve *task* until the supervisor says otherwise or is gone; *log_handler* gets records.

    The process drops its privileges here, for good.  Raises FaithError if it cannot serve.
    """
    confine_child(task.user, ["CAP_NET_BIND_SERVICE"] if task.relay.reserved else [])
    loop = uvloop.new_event_loop()
    log_handler.batch(loop)
    process = RelayProcess(loop, task, channel, log_handler)
    channel.send(Ready())
    loop.run_forever()
    process.close()
    log_handler.flush()
    loop.close()


class RelayProcess:
    """The relay of this process, and the orders it takes."""

    def __init__(
        self, loop: AbstractEventLoop, task: Task, channel: ProcessChannel, log_handler: Log
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._listeners = task.listeners
        self._redirected = task.redirected
        self._serves = False
        self._local = task.local
        self._log_handler = log_handler
        self._leases = task.leases
        self._own = {cookie(listener) for listener in task.listeners}
        self._borrowed: dict[bytes, _socket.socket] = {}
        self._drains = False
        self._is_leaving = False
        self._room = Room()
        self._records = Records(loop, task.recording, log_handler.record)
        self._pools = {one: SocketPool(partial(self._ask_for_sockets, one)) for one in (V4, V6)}
        if task.relay.ftp:
            self._pools[V6].fill()
        self._requests = SupervisorRequests(loop.call_soon)
        shares = SessionShares(places(len(task.listeners)), task.relay.limits.prefix_length)
        secured = TlsSessions(self._ask_for_steering, loop.call_later)
        self._proxies = WorkerProxies(task.proxy_listeners, task.proxies)
        self._relay = Relay(
            loop,
            task.policy_inputs.policy(task.leases),
            task.relay,
            self._records,
            self._not_mapped,
            Supervised(self._pools, secured, self._ask_for_pinhole),
            task.counters,
            task.admission,
            shares,
            task.workers,
            begun=self._records.begun,
            idle=loop.stop,
            names=self._proxies,
        )
        self._proxies.serve_by(self._relay.serve_proxies)
        own().fills |= {"session places": shares.fill, "source ports": self._relay.fill_ports}
        own().also(Movement(self._relay.sessions, task.counters.moved).count)
        self._parts: dict[str, Part] = {"sessions": self._relay.handover}
        if task.serves:
            self._serve()
        if task.policy_inputs.pool:
            self._keep_leases()
        loop.set_exception_handler(_report)
        self._child = Child(
            loop,
            channel,
            {
                Sessions: lambda order, _: self._list_sessions(order),
                Kill: lambda order, _: self._kill_session(order),
                Drain: lambda order, _: self._drain(),
                Resume: lambda order, _: self._resume(),
                Sock: self._receive_socket,
                Done: self._receive_answer,
                LocalRefused: lambda order, _: self._relay.report_refused(
                    (order.client, order.client_port), order.address, order.port, order.why
                ),
                Serve: lambda order, _: self._serve(),
                Give: self._give,
                Take: self._receive_handover,
                Stop: lambda order, _: loop.stop(),
            },
            self._go_on_alone,
            {
                POLICY: self._apply_policy,
                SETTINGS: self._apply_settings,
                LISTENERS: self._apply_listeners,
                PROXIES: self._proxies.apply,
                PROXY_LISTENERS: self._proxies.apply_listeners,
            },
        )

    def close(self) -> None:
        """End what is left, with resets."""
        self._relay.close()
        self._proxies.forget_names()
        self._records.sum_up()
        self._child.close()
        self._channel.close()

    def _go_on_alone(self) -> None:
        """The supervisor has died, and the steering with it: let what can end well do so."""
        for pool in self._pools.values():
            pool.close()
        self._requests.give_up()
        if self._redirected:
            log.log(NOTICE, "the supervisor is gone, and the redirection: sessions are reset")
            self._loop.stop()
        else:
            log.log(NOTICE, "the supervisor is gone: sessions go on, no new ones are accepted")
            self._drain()
            self._close_listeners()

    def _apply_policy(self, text: str, is_change: bool, descriptors: list[int]) -> None:
        known, prefixes = self._relay.policy.maps, self._relay.policy.prefixes
        inputs = PolicyInputs.loads(text, known if is_change else NO_MAPS)
        self._relay.policy = inputs.policy(self._leases)
        if inputs.maps is not known:
            MapRemoval(self._loop, self._relay, known)
        if {*prefixes} - {*inputs.prefixes}:
            self._loop.call_later(GONE_AFTER, PrefixRemoval, self._loop, self._relay, prefixes)
        log.debug("new policy: prefixes %r, rules from %s", inputs.prefixes, inputs.rules.file)

    def _keep_leases(self) -> None:
        """Let the addresses that sessions use keep their meaning."""
        routes = (session.route for session in self._relay.sessions())
        for mapped in {route.mapped for route in routes if route.direction is V4_TO_V6}:
            self._leases(number(mapped))
        self._loop.call_later(GRACE / 4, self._keep_leases)

    def _apply_settings(self, text: str, is_change: bool, descriptors: list[int]) -> None:
        orders = carried.loads(text, WorkerSettings)
        self._relay.settings = orders.relay
        self._local = orders.local
        self._records.recording = orders.recording
        self._log_handler.form = orders.log
        if orders.relay.ftp:
            self._pools[V6].fill()

    def _ask_for_sockets(self, family: int, count: int) -> None:
        try:
            wanted: Literal[2, 10] = 2 if family == V4 else 10
            self._channel.send(WantSockets(wanted, count))
        except OSError as error:
            log.error("no sockets for FTP data connections: %s", error.strerror)
            for _ in range(count):
                self._loop.call_soon(self._receive_socket, Sock(family), [])

    def _receive_socket(self, order: Sock, descriptors: list[int]) -> None:
        self._pools[order.family].add(
            _socket.socket(fileno=descriptors[0]) if descriptors else None
        )

    def _ask_for_steering(
        self, kind: str, client: str, mapped: str, then: Callable[[], None]
    ) -> None:
        asked = Steer(client, mapped) if kind == "steer" else Unsteer(client, mapped)
        self._requests.ask(partial(self._ask, asked), then)

    def _ask_for_pinhole(self, sock: _socket.socket, client: str, then: Callable[[], None]) -> None:
        def question() -> None:
            gone = sock.fileno() < 0  # while it was another's turn
            self._ask(OpenPinhole(client), [] if gone else [sock.fileno()])

        self._requests.ask(question, then)

    def _ask(self, message: Report, descriptors: Sequence[int] = ()) -> None:
        try:
            self._channel.send(message, descriptors)
        except OSError as error:
            log.error("no answer to be had for FTP data connections: %s", error.strerror)
            self._loop.call_soon(self._requests.answered)

    def _receive_answer(self, order: Done, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            self._relay.listen_for_data(_socket.socket(fileno=descriptor))
        self._requests.answered()

    def _list_sessions(self, order: Sessions) -> None:
        relay, now, wanted = self._relay, self._loop.time, selected(order.wanted)
        fields = (
            {**one.fields(now()), "stage": relay.stage(one)}
            if one.end is None and _is_in(one, wanted)
            else None
            for one in relay.sessions()
        )
        SessionDump(self._loop, fields, partial(self._tell_sessions, order.question))

    def _tell_sessions(self, question: int, file: int) -> None:
        with suppress(OSError):  # whoever asks will ask again
            self._channel.send(SessionList(question), [file])

    def _kill_session(self, order: Kill) -> None:
        wanted = selected(order.wanted)
        found = (
            one
            for one in self._relay.sessions()
            if order.serial in (None, one.serial) and _is_in(one, wanted)
        )
        SessionKill(self._loop, found, self._kill_some, partial(self._tell_killed, order.question))

    def _kill_some(self, sessions: list[Session]) -> int:
        """End those of *sessions* that are still here, and return how many that were."""
        here = set(self._relay.sessions())  # others have ended, or were handed over
        found = [one for one in sessions if one in here and one.end is None]
        for session in found:
            if session.end is None:  # it may have ended with one before it
                self._relay.kill(session)
        return len(found)

    def _tell_killed(self, question: int, ended: int) -> None:
        with suppress(OSError):
            self._channel.send(Killed(question, ended))

    # -- from one program to the next --------------------------------------------------------

    def _serve(self) -> None:
        self._serves = True
        self._relay.listen([*self._listeners, *self._borrowed.values()], self._redirected)
        self._proxies.serve()

    def _apply_listeners(self, text: str, is_change: bool, descriptors: list[int]) -> None:
        """Serve these listeners beside those of its own, and no others."""
        before, self._borrowed, new = self._borrowed, {}, []
        for listener in (_socket.socket(fileno=descriptor) for descriptor in descriptors):
            which = cookie(listener)
            if which in before:
                self._borrowed[which] = before.pop(which)
            elif which not in self._own | self._borrowed.keys():
                listener.setblocking(False)
                self._borrowed[which] = listener
                new.append(listener)
                continue
            listener.close()
        self._relay.leave(before.values())
        for listener in before.values():
            listener.close()
        if self._is_leaving:
            self._close_listeners()
        elif self._serves and not self._drains:
            self._relay.listen(new, self._redirected)

    def _give(self, order: Give, descriptors: list[int]) -> None:
        """Hand over to a worker of the next program."""
        if not descriptors:  # lost for want of room; the supervisor tries once more
            self._given(good=False)
            return
        self._relay.prepare()
        self._close_listeners()
        Giver(self._loop, descriptors[0], self._parts, self._given)

    def _given(self, good: bool) -> None:
        if good:
            self._loop.stop()
            return
        log.warning("sessions that nobody took go on here")
        self._relay.stay()
        self._drain()
        with suppress(OSError):  # the supervisor is gone
            self._channel.send(Kept(self._relay.open_sessions))

    def _receive_handover(self, order: Take, descriptors: list[int]) -> None:
        """Take over the sessions of a worker of the predecessor process."""
        for descriptor in descriptors:
            Taker(self._loop, descriptor, self._parts, self._loop.stop, self._room)
        # What comes may be by a prefix that the new program does not have.
        prefixes = self._relay.policy.prefixes
        self._loop.call_later(ADOPTED_AFTER, PrefixRemoval, self._loop, self._relay, prefixes)

    def _drain(self) -> None:
        """Accept no more; the listeners stay, for `_resume`: the supervisor has paused them."""
        self._drains = True
        self._proxies.pause()
        self._relay.stop_listening()

    def _resume(self) -> None:
        if self._drains:
            self._drains = False
            if self._serves:
                self._serve()

    def _close_listeners(self) -> None:
        """Accept never again; the kernel queues no connection once all copies are closed."""
        self._is_leaving = True
        for listener in (*self._listeners, *self._borrowed.values()):
            listener.close()
        self._borrowed.clear()
        self._proxies.close()

    def _not_mapped(self, connection: _socket.socket) -> None:
        """Have the supervisor start the local server on *connection*, if there is one."""
        try:
            if connection.getsockname()[1] in self._local:
                self._channel.send(Local(), [connection.fileno()])
            else:
                log.info("no local service for %s", endpoint(connection.getpeername()[:2]))
            connection.close()
        except OSError as error:
            log.error("a connection to the gateway itself failed: %s", error.strerror)
            reset(connection)


def _is_in(session: Session, wanted: Selection) -> bool:
    client = session.client_host, session.client_port
    return wanted.includes(client, (session.route.server, session.port), session.source)


def _report(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("%s", context["message"], exc_info=context.get("exception"))
