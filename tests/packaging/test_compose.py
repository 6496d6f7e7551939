"""The compose file: what it says is run by podman, and its health check asked."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from faith.daemon.config import config
from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.netns.service import Echo, answers, connect
from tests.packaging.container import IMAGE, Container, Podman

if TYPE_CHECKING:
    from faith.lab import ThreeHosts

COMPOSE = Path(__file__).parents[2] / "packaging" / "compose"
FILE = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVICE = FILE["services"]["faithd"]
PORT = 8000


def test_the_gateway_has_the_network_of_the_host_and_no_more_rights_than_it_needs() -> None:
    assert SERVICE["network_mode"] == "host"
    assert SERVICE["read_only"]
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges"]
    assert not SERVICE.keys() & {"privileged", "pid", "ipc", "devices"}
    state, _, directory = SERVICE["volumes"][1].partition(":")
    assert state in FILE["volumes"]
    assert directory == "/var/lib/faith"


def test_the_gateway_has_time_to_drain() -> None:
    settings = config.load(COMPOSE / "faith.toml")
    grace = SERVICE["stop_grace_period"]
    assert grace.endswith("s")
    assert settings.lame_duck + settings.drain_timeout < int(grace[:-1])


@pytest.mark.netns
@pytest.mark.skipif(not IMAGE, reason="no image: scripts/image builds it and runs this")
def test_a_gateway_by_the_compose_file_relays_and_is_healthy(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    text = (COMPOSE / "faith.toml").read_text()
    assert PREFIX in text
    assert f"{CLIENT.partition('::')[0]}::/48 permit" in text
    directory = SERVICE["volumes"][1].partition(":")[2]
    options = [
        f"--volume={COMPOSE / 'faith.toml'}:/etc/faith.toml:ro",
        *(f"--tmpfs={one}" for one in (*SERVICE["tmpfs"], f"{directory}:mode=1777")),
    ]
    container = Container(
        Podman(lab.gateway, tmp_path),
        tmp_path / "log",
        capabilities=SERVICE["cap_add"],
        options=options,
    )
    with closing(container), closing(Echo(lab.server, PORT, SERVER)):
        container.wait_said("serving")
        with connect(lab, port=PORT) as connection:
            assert answers(connection)
        shell, *check = SERVICE["healthcheck"]["test"]
        assert shell == "CMD"
        assert container.run(*check) == "ready\n"
        container.run("faith", "drain", "--lame-duck", "60")
        assert not container.succeeds(*check)
