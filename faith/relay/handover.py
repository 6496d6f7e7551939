"""The sessions of one relay, on their way to the relay of another process.

They go in small lots, so that none stands still for longer than a lot takes, and the others run on
meanwhile.  What another relay has not taken can be taken back.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from faith.relay.tcp.session import Session
from faith.relay.tcp.session_state import MOST_DESCRIPTORS, adopt, freeze, thaw

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

    from faith.relay.alg.data_listeners import DataListeners
    from faith.relay.alg.ftp import Ftp
    from faith.relay.proxy.proxies import Proxies
    from faith.relay.tcp.accounting import Accounting
    from faith.relay.tcp.plane import Plane
    from faith.relay.tcp.session_state import State
    from faith.relay.tcp.timeouts import StageTimeouts

DIALLING, FLOWING, CONTROL, LISTENER = "dialling", "flowing", "control", "listener"
"""Stages of a state: of a session, by its holder, or of a listener for data connections."""
PROXIED = "proxied"
"""The stage of a proxy's client whose session is not the plane's yet."""


class Handover:
    """Takes sessions out of a relay (`give`), or into it (`adopt`).

    They are on *plane*, *dialling*, control connections of *ftp*, or clients of *proxies*, and
    *accounting* counts them; the *data_listeners* go with them.
    """

    def __init__(
        self,
        accounting: Accounting,
        plane: Plane,
        dialling: StageTimeouts,
        data_listeners: DataListeners,
        ftp: Ftp | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._accounting = accounting
        self._data_listeners = data_listeners
        self._plane = plane
        self._dialling = dialling
        self._ftp = ftp
        self._proxies = proxies
        self._own_name = os.urandom(8).hex()  # several may give to one
        self._names: dict[Session, str] = {}  # of parents that have gone: others name them
        self._parents: dict[str, Session] = {}  # that came, by the name given where they came from

    @property
    def left(self) -> bool:
        """Return whether sessions are left to give, even if none can be given at this moment."""
        return self._accounting.open_sessions > 0

    def give(self, room: int) -> tuple[list[State], list[int]]:
        """Some sessions: states fit for JSON, and at most *room* descriptors, now the caller's.

        Nothing, while `Accounting.open_sessions` is not 0, means that those which are left wait for
        an answer, of the supervisor's or about a password.  Listeners for data connections are the
        last to come: whom they let in belongs to a session.
        """
        states: list[State] = []
        descriptors: list[int] = []
        for session, stage in self._movable():
            if len(descriptors) + MOST_DESCRIPTORS > room:
                break
            state, its = self._release(session, stage)
            states.append(state)
            descriptors += its
        if not states and not self._accounting.open_sessions:
            descriptors = self._data_listeners.release()
            states = [{"stage": LISTENER} for _ in descriptors]
        return states, descriptors

    def adopt(self, states: list[State], descriptors: list[int]) -> None:
        """Go on with what `give` gave, here or in another process; *descriptors* are ours.

        Raises LookupError, TypeError, ValueError or OSError for what it makes no sense of.  Then
        nothing goes on here; but the process has to end, for a descriptor that it holds keeps a
        connection open that others close.
        """
        rest = iter(descriptors)
        self._parents = {name: one for name, one in self._parents.items() if one.end is None}
        # All is read before anything goes on.
        for state, it, further in [(state, *self._read(state, rest)) for state in states]:
            if isinstance(it, Session):
                self._resume(state, it, further)
            else:
                self._data_listeners.add(it)

    # -- giving ------------------------------------------------------------------------------

    def _movable(self) -> list[tuple[Session, str]]:
        """Sessions that can go: first those that others are the data of, so that these find them.

        What waits for its supervisor stays until it was answered.
        """
        controls = self._ftp.movable() if self._ftp else []
        found = [(session, CONTROL) for session in controls]
        found += [(session, FLOWING) for session in self._plane.sessions()]
        found += [(session, DIALLING) for session in self._dialling.sessions()]
        if self._proxies:
            found += [(session, PROXIED) for session in self._proxies.movable()]
        return [one for one in found if one[0].parent is None] or [
            one for one in found if one[0].parent in self._names or _is_orphan(one[0])
        ]

    def _release(self, session: Session, stage: str) -> tuple[State, list[int]]:
        more: State = {"stage": stage}
        its: list[int] = []
        if self._ftp:
            more["secured"] = self._ftp.secured.hand_over(session)
        if stage == PROXIED:
            assert self._proxies
            more["client"], its = self._proxies.hand_over(session)
        else:
            if stage == CONTROL:
                assert self._ftp
                more["control"], its = self._ftp.hand_over(session)
            elif stage == DIALLING:
                self._dialling.remove(session)
            self._plane.hand_over(session)
        self._accounting.handed_over(session)
        if session.data:
            more["name"] = self._names[session] = f"{self._own_name}.{len(self._names)}"
        if session.parent is not None:
            more["parent"] = self._names.get(session.parent)
        state, sockets = freeze(session)
        return state | more, sockets + its

    # -- taking ------------------------------------------------------------------------------

    def _read(
        self, state: State, descriptors: Iterator[int]
    ) -> tuple[Session | _socket.socket, list[int]]:
        """Return the session or listener of *state*, and the descriptors left for a session."""
        if state["stage"] == LISTENER:
            return adopt(next(descriptors)), []
        session = thaw(state, descriptors)
        if state["stage"] == PROXIED:
            further = state["client"]["descriptors"]
        else:
            further = len(state["control"]["doorways"]) if state["stage"] == CONTROL else 0
        return session, [next(descriptors) for _ in range(further)]

    def _resume(self, state: State, session: Session, descriptors: list[int]) -> None:
        if "name" in state:
            self._parents[state["name"]] = session
        if "parent" in state:
            # An orphan is its own parent: it belongs to nobody, and is no control connection.
            session.parent = self._parents.get(state["parent"], session)
            session.parent.data += 1
        self._accounting.adopted(session)
        if state["stage"] == PROXIED:
            assert self._proxies
            self._proxies.resume(session, state["client"], iter(descriptors))
            return
        if self._ftp and state["secured"]:
            self._ftp.secured.adopt(session)
        if state["stage"] == CONTROL:
            assert self._ftp
            self._ftp.resume(session, state["control"], iter(descriptors))
            return
        self._plane.adopt(session)
        if state["stage"] == DIALLING:
            self._dialling.adopt(session)


def _is_orphan(session: Session) -> bool:
    """Return whether *session* has no control connection any more, or left it elsewhere."""
    parent = session.parent
    return parent is not None and (parent is session or parent.end is not None)
