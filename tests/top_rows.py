"""Sessions and rows of ``faith top`` for tests, and a daemon they belong to."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from faith.cli.sessions import Session
from faith.cli.top.rates import Row
from faith.daemon.observe.status_report import Daemon


def session(name: str = "1-1", client: str = "[2001:db8:6::2]:1024", **fields: Any) -> Session:
    """An open session, 10 s old."""
    return Session(
        **{
            "id": name,
            "client": client,
            "mapped": "[2001:db8:ffff::c000:250]:80",
            "server": "192.0.2.80:80",
            "source": "192.0.2.1:4242",
            "stage": "open",
            "seconds": 10.0,
            "sent": 0,
            "received": 0,
            **fields,
        }
    )


def row(name: str = "1-1", client: str = "[2001:db8:6::2]:1024", **fields: Any) -> Row:
    """A row of a session, without rates."""
    return Row(
        **{
            "id": name,
            "client": client,
            "server": "192.0.2.80:80",
            "source": "192.0.2.1:4242",
            "mapped": "[2001:db8:ffff::c000:250]:80",
            "stage": "open",
            "seconds": 10.0,
            "sent": 0,
            "received": 0,
            **fields,
        }
    )


def daemon(**fields: Any) -> Daemon:
    """A daemon that is ready and has nothing to say."""
    return Daemon(
        **{
            "pid": 4711,
            "service": "http",
            "ports": "80",
            "via": "sk_lookup",
            "started": 1000.0,
            "prefixes": [],
            "sets_up": [],
            **fields,
        }
    )


_rates = st.none() | st.floats(0, 1e12)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Rows of sessions with addresses of both families, each with another id."""
    count = draw(st.integers(0, 12))
    found = []
    for number in range(count):
        client = draw(st.ip_addresses(v=6, network="2001:db8::/62") | st.ip_addresses(v=4))
        server = draw(st.ip_addresses(v=4, network="192.0.2.0/30"))
        host = f"[{client}]" if client.version == 6 else str(client)
        found.append(
            row(
                f"1-{number:x}",
                f"{host}:{draw(st.integers(1, 65535))}",
                server=f"{server}:80",
                stage=draw(st.sampled_from(["open", "dialling", "half-closed"])),
                seconds=draw(st.floats(0, 1e6)),
                sent=draw(st.integers(0, 2**40)),
                received=draw(st.integers(0, 2**40)),
                sent_rate=draw(_rates),
                received_rate=draw(_rates),
            )
        )
    return found
