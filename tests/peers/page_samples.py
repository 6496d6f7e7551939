"""Status reports of a gateway that is used, for the page: the numbers of a story, moment by moment.

Addresses are those of documentation.
"""

from __future__ import annotations

import math
from typing import Any

from msgspec.structs import replace

from faith.daemon.observe.status_report import (
    Daemon,
    Dialling,
    Finding,
    FlowTable,
    Guard,
    Names,
    NameServer,
    PrefixReport,
    Probe,
    Process,
    Reload,
    Repairs,
    Report,
    ServedPath,
    Traffic,
    Use,
)

START = 1_790_000_000.0
"""The Unix time at which the daemon of the story started."""
UP = 273_600.0
"""Seconds for which it had been up when the page was opened."""

RECENT_RELOAD = Reload(START + 250_000, True)


def report(moment: float, *findings: Finding, **changes: Any) -> Report:
    """Return the report *moment* seconds after the page was opened; *changes* are of its daemon."""
    daemon = replace(_daemon(moment), findings=list(findings), **changes)
    good = not any(one.severity in ("failure", "warning") for one in findings)
    return Report(
        START + UP + moment,
        "0.2.0",
        good,
        [
            PrefixReport("2001:db8:ffff::/96", "low32", True),
            PrefixReport("2001:db8:64::/96", "rfc6052", True),
        ],
        Guard(True, True, "22"),
        [daemon],
        list(findings),
    )


def _daemon(moment: float) -> Daemon:
    traffic = [
        _traffic(
            "relay",
            3_412,
            _Curve(moment, 46, 14, 41),
            (210_000, 2_900_000),
            {"closed": 0.98, "reset": 0.008, "idle": 0.0002, "timed out": 0.0001},
            {"denied by a rule": 0.004, "the client's share": 0.0003},
        ),
        _traffic(
            "kernel",
            6_588,
            _Curve(moment, 118, 37, 67),
            (820_000, 11_400_000),
            {"closed": 0.99, "reset": 0.009},
            {"denied by a rule": 0.002},
        ),
        _traffic("udp", 412, _Curve(moment, 21, 9, 29), (64_000, 81_000), {}, {"rate": 0.00002}),
        _traffic("ping", 8, _Curve(moment, 3, 1, 17), (180, 180), {}, {}),
    ]
    relayed = int(_Curve(moment, 46, 14, 41).sum)
    processes = [
        Process(f"worker {number}", 4100 + number, "serving", 0.3, 0, 853, relayed // 4)
        for number in range(1, 5)
    ]
    processes += [
        Process("flows", 4106, "serving", 0.1, 0, 6_588, int(_Curve(moment, 118, 37, 67).sum)),
        Process("dns 1", 4107, "serving", 0.5, 1, 3, int(_Curve(moment, 240, 60, 53).sum)),
        Process("udp", 4108, "serving", 0.4, 0, 412, int(_Curve(moment, 21, 9, 29).sum)),
        Process("admin", 4110, "serving", 0.2, 0, 1, 0),
    ]
    queries = int(_Curve(moment, 240, 60, 53).sum)
    return Daemon(
        4100,
        "http,https,8000-8100",
        "80,443,8000-8100",
        "route",
        START,
        ["2001:db8:ffff::/96", "2001:db8:64::/96"],
        ["2001:db8:ffff::/96"],
        "0.2.0",
        3_412,
        control="/run/faith/control.sock",
        reload=RECENT_RELOAD,
        processes=processes,
        paths=[
            ServedPath("80,443", "kernel"),
            ServedPath("8000-8100", "relay", "its servers expect PROXY"),
        ],
        flows=FlowTable(["eth0", "eth1"], 6_588, 65_536, 0, True),
        traffic=traffic,
        dialling=Dialling(9_284_869, 0.0113, 0.094, 0.0107, 0.083),
        uses=[
            Use("sessions", 3_412, 100_000),
            Use("flows", 6_588, 65_536, "flows"),
            Use("descriptors", 3_502, 16_384, "worker 1"),
            Use("descriptors", 13_941, 16_384, "worker 2"),
            Use("descriptors", 64, 16_384, "admin"),
            Use("source ports", 4_180, 28_232, "worker 1"),
            Use("look-ups", 611, 4_096, "dns 1"),
            Use("pool leases", 121, 126, "dns 1"),
            Use("local servers", 0, 256),
        ],
        names=Names(
            queries,
            int(queries * 0.873),
            int(queries * 0.12),
            214,
            1_902,
            int(queries * 0.31),
            [
                NameServer("192.0.2.53", True),
                NameServer("2001:db8:53::1", False, "no answer within 2 s"),
            ],
        ),
        probes=[Probe("IPv4 route", True), Probe("dns", True)],
        repairs=Repairs(2, 0),
    )


class _Curve:
    """A rate that swings by *swing* around *mean* in a *period* of seconds, and its *sum*."""

    def __init__(self, moment: float, mean: float, swing: float, period: float) -> None:
        self.phase = 2 * math.pi * moment / period
        self.rate = mean + swing * math.sin(self.phase) + swing / 3 * math.sin(2.7 * self.phase)
        swung = swing * (1 - math.cos(self.phase)) + swing / 8.1 * (1 - math.cos(2.7 * self.phase))
        self.sum = mean * (UP + moment) + swung * period / (2 * math.pi)


def _traffic(
    path: str,
    level: int,
    curve: _Curve,
    octets: tuple[int, int],
    ends: dict[str, float],
    refusals: dict[str, float],
) -> Traffic:
    """Return traffic of *curve*: *ends* and *refusals* are parts of its sum."""
    is_open = int(level * (1 + 0.04 * math.sin(curve.phase)))
    to_server, to_client = (int(curve.sum / 40 * each) for each in octets)
    counts = [{why: int(curve.sum * part) for why, part in of.items()} for of in (ends, refusals)]
    return Traffic(path, is_open, int(curve.sum), to_server, to_client, *counts)
