"""Reasons to refuse a connection, a datagram or a ping, and the ends of sessions.

The words stand in records, metric labels and log lines, and in faithd(8), which a test compares
with these tables.  In a record, details may follow a refusal behind a colon.  This is no enum.Enum:
inetd mode starts without that import.
"""

from __future__ import annotations

# -- refusals by policy, of every protocol

DENIED = "denied by a rule"
NO_RULE = "no rule permits it"
SPECIAL = "special destination"
OWN = "the gateway's own address"
NOT_GLOBAL = "not global, behind the well-known prefix"
SOURCE_MAPPED = "source inside the prefix"
NOT_MAPPED = "not mapped"
LOOP = "mapped into a prefix"
NO_PREFIX = "no prefix for the client"

POLICY = (
    DENIED,
    NO_RULE,
    SPECIAL,
    OWN,
    NOT_GLOBAL,
    SOURCE_MAPPED,
    NOT_MAPPED,
    LOOP,
    NO_PREFIX,
)

# -- refusals of connections; the first two are ends of sessions too

PREFIX_GONE = "prefix gone"
MAP_GONE = "map gone"
NOT_EXPECTED = "not expected"
TOTAL = "too many sessions"
CLIENT = "too many sessions of the client"
PREFIX = "too many sessions of the client's prefix"
TOTAL_RATE = "too many new sessions"
CLIENT_RATE = "too many new sessions of the client"
PREFIX_RATE = "too many new sessions of the client's prefix"
CLIENT_SHARE = "over the client's share"
NO_SOURCE = "no source"
SHED = "shed"

LIMITS = (TOTAL, CLIENT, PREFIX, TOTAL_RATE, CLIENT_RATE, PREFIX_RATE)
CONNECTION = (*POLICY, PREFIX_GONE, MAP_GONE, NOT_EXPECTED, *LIMITS, CLIENT_SHARE, NO_SOURCE, SHED)

# -- refusals by a proxy, of a client or of what it asks for

NOT_A_CLIENT = "not a client of the proxy"
GREETING = "no request in time"
BAD_REQUEST = "bad request"
NO_METHOD = "method not allowed"
WRONG_PASSWORD = "wrong password"
PORT_CLOSED = "port not allowed"
PROXY_LOOP = "a loop of proxies"
NO_NAME = "no such name"
NAME_FAILED = "name not resolved"

PROXY = (
    NOT_A_CLIENT,
    GREETING,
    BAD_REQUEST,
    NO_METHOD,
    WRONG_PASSWORD,
    PORT_CLOSED,
    PROXY_LOOP,
    NO_NAME,
    NAME_FAILED,
)
"""A proxy refuses by policy and limits too, and for what the ends of failed dials say."""

# -- refusals of datagrams and pings

FLOWS = "too many flows"
CLIENT_FLOWS = "too many flows of the client"
FILTERED = "filtered"
NO_SOCKET = "no socket"
HOPS = "hop limit"
PINGS = "too many"
CLIENT_PINGS = "too many of the client"
NO_IDENTIFIER = "no identifier left"
BROKEN = "broken"
BAD_HEADER = "bad header"
FRAGMENT = "fragment"
TOO_LARGE = "too large"
QUEUE = "queue full"

DATAGRAM = (*POLICY, FLOWS, CLIENT_FLOWS, FILTERED, HOPS, NO_SOURCE, NO_SOCKET)
ASSOCIATION = (
    *(*POLICY, NOT_A_CLIENT, BAD_HEADER, FRAGMENT, TOO_LARGE, QUEUE, NO_NAME, NAME_FAILED),
    *(FLOWS, CLIENT_FLOWS, FILTERED, NO_SOURCE, NO_SOCKET),
)
"""Of datagrams that a proxy relays for clients of SOCKS5."""
PING = (*POLICY, PINGS, CLIENT_PINGS, NO_IDENTIFIER, HOPS, NO_SOURCE, BROKEN)

# -- ends of sessions

CLOSED = "closed"
REFUSED = "refused"
UNREACHABLE = "unreachable"
TIMEOUT = "timeout"
NO_PORT = "no free source port"
IDLE = "idle"
IDLE_HALF_CLOSED = "idle half-closed"
LIFETIME = "lifetime"
KILLED = "killed"
DISPLACED = "displaced"
OUT_OF_STEP = "out of step"
STOPPED = "stopped"
OUT_OF_MEMORY = "out of memory"
DEFECT = "defect"
BAD_STDERR_PORT = "bad stderr port"
NO_STDERR_PORT = "no stderr port"
LOST = "worker died"
EXPIRED = "expired"

CLIENT_ENDS = (
    "client reset",
    "client timed out",
    "client refused",
    "client unreachable",
    "client timeout",
    "client failed",
)
SERVER_ENDS = ("server reset", "server timed out", "server failed")
"""Rare failures of a side share the metric label "failed"; the record has the errno's text."""

FAILED_DIALS = (
    REFUSED,
    UNREACHABLE,
    TIMEOUT,
    NO_PORT,
    "client refused",
    "client unreachable",
    "client timeout",
)
"""Ends of sessions whose second leg was never connected."""

FLOW_END = (EXPIRED, STOPPED)
"""Ends of UDP flows."""

END = (
    CLOSED,
    REFUSED,
    UNREACHABLE,
    TIMEOUT,
    NO_PORT,
    *CLIENT_ENDS,
    *SERVER_ENDS,
    IDLE,
    IDLE_HALF_CLOSED,
    LIFETIME,
    KILLED,
    DISPLACED,
    PREFIX_GONE,
    MAP_GONE,
    OUT_OF_STEP,
    BAD_REQUEST,
    STOPPED,
    OUT_OF_MEMORY,
    DEFECT,
    BAD_STDERR_PORT,
    NO_STDERR_PORT,
    LOST,
)

OTHER = "other"
"""The metric label of a reason or an end without a label of its own."""
