"""The service of the kernel path, without a process: which path, why, and what a reload changes."""

from __future__ import annotations

from typing import Any

import pytest

from faith.daemon.config.settings import AUTO, KERNEL, PINS, KernelPath, Service, Settings
from faith.daemon.observe.status_report import ServedPath
from faith.daemon.process.messages import Drain
from faith.daemon.services import kernel_path
from faith.daemon.services.kernel_path_resources import KernelPathResources
from faith.errors import SetupError
from faith.flow.flow_settings import FlowSettings
from faith.translation.ports import NO_PORTS, Ports
from tests.test_datagram_service import Nobody, Policy, refused

WEB, FTP = Ports([(80, 80)]), Ports([(21, 21)])


def settings(path: str = KERNEL, *services: Service, wanted: bool = True) -> Settings:
    web = Service("http", WEB, path=path)
    flows = KernelPath(FlowSettings(WEB)) if wanted else None
    return Settings((web, *services), user="nobody", kernel_path=flows)


class Resources:
    """Stands for what is in the kernel."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.open = False
        self.is_beside = False

    def configure(self, flows: FlowSettings) -> None:
        self.done.append(flows.services)

    def steer(self, policy: Any) -> None:
        """There is nothing to guard."""

    def leave_all_to_the_relay(self) -> None:
        self.done.append("left")

    def report(self) -> Any:
        return "report"

    def findings(self) -> list[str]:
        return ["LRO is on"]

    def has_open_flows(self) -> bool:
        return self.open

    def update(self) -> None:
        self.done.append("updated")

    def close(self) -> None:
        self.done.append("closed")


@pytest.fixture(autouse=True)
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where flows were looked for that a killed daemon has left: there are some."""
    found: list[Any] = []

    def end_left(pins: Any) -> bool:
        found.append(pins)
        return True

    monkeypatch.setattr(kernel_path, "end_left", end_left)
    return found


@pytest.fixture
def resources(monkeypatch: pytest.MonkeyPatch) -> Resources:
    """What `KernelPathResources.create` returns."""
    made = Resources()
    monkeypatch.setattr("faith.daemon.services.datagram_service.WorkerPool", Nobody)
    watch = type("Watch", (), {"create": classmethod(lambda cls: cls()), "close": lambda _: None})
    monkeypatch.setattr(kernel_path, "LinkWatch", watch)
    monkeypatch.setattr(KernelPathResources, "create", lambda wanted: made)
    return made


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has no kernel path."""

    def create(wanted: Any) -> Any:
        raise SetupError("the kernel path", "LRO is on at eth0", "ethtool -K eth0 lro off")

    monkeypatch.setattr(KernelPathResources, "create", create)


def service(wanted: Settings, inherited: Any = None) -> kernel_path.KernelPath:
    loop: Any = type("Loop", (), {"watch": lambda *_: None, "forget": lambda *_: None})()
    queries: Any = type("Queries", (), {"add": lambda *_: None, "handlers": {}})()
    leases: Any = type("Leases", (), {"use": None})
    areas: Any = None
    made = kernel_path.KernelPath(loop, areas, leases, lambda kept: None, queries)
    methods = ("adopt", "hand_over")
    gone: Any = type("Gone", (), {"pool": Nobody(), **dict.fromkeys(methods, lambda _: None)})
    made._draining = gone
    policy: Any = Policy()
    made.set_up(wanted, policy, inherited, on_trial=False)
    return made


def reload(made: kernel_path.KernelPath, wanted: Settings) -> None:
    ready: list[None] = []
    made.prepare(wanted, lambda: ready.append(None), refused)
    made.apply()
    assert ready


@pytest.mark.usefixtures("resources")
def test_flows_of_a_killed_daemon_are_ended_where_all_is_relayed(
    ended: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    service(settings())
    assert ended == []
    service(settings("relay", wanted=False))
    assert ended == [PINS]
    assert "the flows that a daemon has left are ended" in caplog.text


def test_nothing_is_set_up_where_all_is_relayed(resources: Resources) -> None:
    made = service(settings("relay", wanted=False))
    assert made.group is None
    assert made.paths() == []
    assert made.report() is None
    assert made.findings() == []
    assert not made.has_open_flows


def test_the_path_is_told(resources: Resources) -> None:
    made = service(settings(AUTO, Service("ftp", FTP, path=AUTO)))
    assert made.paths() == [
        ServedPath("21", "relay", made.paths()[0].reason),
        ServedPath("80", "kernel"),
    ]
    assert "FTP" in made.paths()[0].reason


@pytest.mark.usefixtures("resources", "without")
def test_auto_is_relayed_where_the_host_has_none_and_the_reason_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = service(settings(AUTO))
    assert made.group is None
    (path,) = made.paths()
    assert (path.ports, path.path) == ("80", "relay")
    assert "LRO is on at eth0" in path.reason
    assert "port 80 is relayed: the kernel path: LRO is on at eth0" in caplog.text


@pytest.mark.usefixtures("resources", "without")
def test_kernel_is_refused_where_the_host_has_none() -> None:
    with pytest.raises(SetupError, match="LRO is on at eth0"):
        service(settings(KERNEL))


def test_a_reload_tries_again_what_has_failed(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:

        def create(wanted: Any) -> Any:
            raise SetupError("the kernel path", "not now")

        without.setattr(KernelPathResources, "create", create)
        made = service(settings(AUTO))
        assert made.group is None
    reload(made, settings(AUTO))
    assert made.group is not None
    assert made.paths() == [ServedPath("80", "kernel")]


def test_a_reload_starts_no_other_process(resources: Resources) -> None:
    made = service(settings())
    group = made.group
    for wanted in (settings(AUTO), settings("relay", wanted=False), settings()):
        reload(made, wanted)
        assert made.group is group
    pool: Any = group and group.pool
    assert pool.desired == ["policy", *["settings"] * 3]
    assert resources.done == [WEB, WEB, WEB]


def test_who_drains_takes_no_new_connections(resources: Resources) -> None:
    made = service(settings())
    group: Any = made.group
    made.drain()
    assert resources.done == ["left"]
    assert group._settings.flows.services == NO_PORTS
    reload(made, settings())
    assert group._settings.flows.services == NO_PORTS
    made.resume()
    reported: Any = made.report(), made.findings()
    assert reported == ("report", ["LRO is on"])
    assert group._settings.flows.services == WEB
    assert not made.has_open_flows
    resources.open = True
    assert made.has_open_flows


def test_what_was_left_is_adopted_and_goes_on(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KernelPathResources, "adopt", lambda state, slots: resources)
    made = service(settings("relay", wanted=False), {"group": {"maps": 7}, "workers": []})
    group: Any = made.group
    made.serve()
    assert resources.done == ["updated"]
    assert group._settings.flows.services == NO_PORTS


def test_flows_of_another_layout_stay_with_the_process_that_knows_it(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KernelPathResources, "adopt", lambda state, slots: resources)
    resources.is_beside = True
    made = service(settings(), {"group": {"maps": 7}, "workers": []})
    made.serve()
    others: Any = made._draining.pool
    assert others.told == [Drain()]


def test_code_that_the_kernel_refuses_leaves_the_old_one(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def update() -> None:
        raise SetupError("load the program of flows", "the verifier refuses it")

    monkeypatch.setattr(resources, "update", update)
    monkeypatch.setattr(KernelPathResources, "adopt", lambda state, slots: resources)
    service(settings(), {"group": {"maps": 7}, "workers": []}).serve()
    assert "the predecessor's code goes on translating: load the program" in caplog.text
