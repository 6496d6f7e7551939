"""The compose file: what it says is run by podman, and its health check asked."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.netns.service import Echo, answers, connect
from tests.packaging.container import IMAGE, Container, Podman

yaml = pytest.importorskip("yaml")

if TYPE_CHECKING:
    from faith.lab import ThreeHosts

COMPOSE = Path(__file__).parents[2] / "packaging" / "compose"
PORT = 8000

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not IMAGE, reason="no image: scripts/image builds it and runs this"),
]


def test_a_gateway_by_the_compose_file_relays_and_is_healthy(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    service = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]["faithd"]
    assert service["network_mode"] == "host"
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    text = (COMPOSE / "faith.toml").read_text()
    assert PREFIX in text
    assert f"{CLIENT.partition('::')[0]}::/48 permit" in text
    state, _, directory = service["volumes"][1].partition(":")
    assert state == "state"
    options = [
        f"--volume={COMPOSE / 'faith.toml'}:/etc/faith.toml:ro",
        *(f"--tmpfs={one}" for one in (*service["tmpfs"], f"{directory}:mode=1777")),
    ]
    container = Container(
        Podman(lab.gateway, tmp_path),
        tmp_path / "log",
        capabilities=service["cap_add"],
        options=options,
    )
    with closing(container), closing(Echo(lab.server, PORT, SERVER)):
        container.wait_said("serving")
        with connect(lab, port=PORT) as connection:
            assert answers(connection)
        shell, *check = service["healthcheck"]["test"]
        assert shell == "CMD"
        assert container.run(*check) == "ready\n"
        container.run("faith", "drain", "--lame-duck", "60")
        assert not container.succeeds(*check)
