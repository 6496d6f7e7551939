"""One request that is forwarded, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from faith.proxy import body_framing
from faith.proxy.body_framing import Body, Chunked, KnownLength
from faith.proxy.proxy_events import Target


@dataclass(slots=True)
class Exchange:
    """A request for *target* and what has become of it.

    *head* is what the server is sent, *body* what follows it.  The answer begins with its *answer*
    set, the body that the server sends; *interim* counts responses before it.  The client speaks
    HTTP/1.*minor*, *asks_head* alone, *upgrades* if the server switches protocols; it *leaves*
    after the answer, as the server does if it *closes*.  With *again* the request may be sent
    another time: it has no body, is safe (RFC 9110 §9.2.1), and the connection was an old one.
    """

    target: Target
    head: bytes
    body: KnownLength | Chunked
    minor: int
    asks_head: bool
    upgrades: bool
    leaves: bool
    again: bool = False
    interim: int = 0
    answer: Body | None = None
    closes: bool = False
    ends_by_close: bool = False
    """The client knows the end of the answer by that of its connection."""

    @property
    def is_whole(self) -> bool:
        """Return whether the request has come whole."""
        return self.body.over

    @property
    def is_answered(self) -> bool:
        """Return whether the answer has come whole."""
        return self.answer is not None and self.answer.over

    def state(self) -> dict[str, Any]:
        """Return the state for `restored`, fit for JSON."""
        return {
            "target": [self.target.host, self.target.port, self.target.is_address],
            "head": self.head.decode("latin-1"),
            "body": self.body.state(),
            "minor": self.minor,
            "asks_head": self.asks_head,
            "upgrades": self.upgrades,
            "leaves": self.leaves,
            "again": self.again,
            "interim": self.interim,
            "answer": self.answer and self.answer.state(),
            "closes": self.closes,
            "ends_by_close": self.ends_by_close,
        }


def restored(state: dict[str, Any]) -> Exchange:
    """Return the exchange whose state it is."""
    body = body_framing.restored(state["body"])
    assert isinstance(body, KnownLength | Chunked)
    own = {
        "target": Target(*state["target"]),
        "head": state["head"].encode("latin-1"),
        "body": body,
        "answer": state["answer"] and body_framing.restored(state["answer"]),
    }
    return Exchange(**{**state, **own})
