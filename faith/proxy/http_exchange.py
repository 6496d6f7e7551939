"""One request that is forwarded, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faith.proxy import body_framing, forwarded_heads, own_answers
from faith.proxy.body_framing import Body, Chunked, KnownLength, UntilClose
from faith.proxy.http_head import BadMessage, values
from faith.proxy.proxy_events import Target
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.http_head import Field, Request, Response
    from faith.proxy.request_target import Asked

INTERIM = 64
"""Responses of status 1xx that an answer may begin with."""


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

    def answered(self, response: Response, pseudonym: str, date: tuple[Field, ...]) -> bytes:
        """Begin the answer; return its head for the client, with *date* if it has none.

        Raises BadMessage for an answer that is not passed on.
        """
        if response.status == 407:
            raise BadMessage("a server has no proxy's password to ask for")
        is_empty = self.asks_head or response.status in (204, 304)
        bare = self.minor == 0
        answer = body_framing.of_response(
            response.fields, response.minor, is_empty=is_empty, bare=bare
        )
        self.again = False
        self.answer = answer
        self.closes = own_answers.leaves(response) or isinstance(answer, UntilClose)
        self.ends_by_close = not is_empty and (bare or isinstance(answer, UntilClose))
        self.leaves = self.leaves or self.ends_by_close
        return forwarded_heads.response_head(
            response,
            pseudonym,
            chunked=forwarded_heads.is_chunked(answer),
            closes=self.leaves,
            more=() if values(response.fields, b"date") else date,
        )

    def interim_head(self, response: Response, pseudonym: str) -> bytes:
        """Return the head of a response of status 1xx for the client, nothing if it gets none.

        Raises BadMessage for one that nobody asked for.
        """
        self.interim += 1
        self.again = False
        if self.interim > INTERIM or (response.status == 101 and not self.upgrades):
            raise BadMessage("an interim response that nobody asked for")
        if self.minor == 0:  # RFC 9110 §15.2
            return b""
        return forwarded_heads.response_head(response, pseudonym, chunked=False, closes=False)

    def is_cut_by(self, why: str) -> bool:
        """Return whether a server that ends as *why* cuts an answer that its client takes for a
        whole one."""
        is_whole = why == reasons.CLOSED and isinstance(self.answer, UntilClose)
        return self.ends_by_close and not is_whole

    def state(self) -> dict[str, Any]:
        """Return the state for `restored`, fit for JSON."""
        return {
            "target": self.target.state(),
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


def begun(
    request: Request, asked: Asked, body: KnownLength | Chunked, hops: int | None, pseudonym: str
) -> Exchange:
    """Return the exchange that a *request* begins, with that *body* to come.

    *hops* is the value of Max-Forwards for the next hop, None without.
    """
    assert asked.server
    return Exchange(
        target=asked.server,
        head=forwarded_heads.request_head(
            request,
            asked,
            pseudonym,
            chunked=forwarded_heads.is_chunked(body),
            max_forwards=hops,
        ),
        body=body,
        minor=request.minor,
        asks_head=request.method == b"HEAD",
        upgrades=body.over and forwarded_heads.upgrades(request),
        leaves=own_answers.leaves(request),
    )


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
