"""The manifests: built by kustomize, validated against Kubernetes' schemas, and run by podman."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faith.lab import wait_until
from faith.lab.topology import PREFIX, SERVER
from tests.netns.gateway import metrics
from tests.netns.service import Echo, answers, connect
from tests.packaging.container import IMAGE, Podman

yaml = pytest.importorskip("yaml")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import ThreeHosts

KUBERNETES = Path(__file__).parents[2] / "packaging" / "kubernetes"
VERSIONS = ("1.30", "1.37")
WELL_KNOWN = "64:ff9b::/96"
PORT = 8000


def built(directory: Path) -> list[dict[str, Any]]:
    """Return what kustomize makes of a directory."""
    text = subprocess.run(
        ["kubectl", "kustomize", str(directory)], capture_output=True, check=True, text=True
    )
    return list(yaml.safe_load_all(text.stdout))


@pytest.fixture
def whole(tmp_path: Path, need: Callable[[str], str]) -> list[dict[str, Any]]:
    """The base with the component for the Prometheus operator."""
    need("kubectl")
    base, monitoring = (
        os.path.relpath(KUBERNETES / one, tmp_path) for one in ("base", "monitoring")
    )
    (tmp_path / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: ['{base}']\ncomponents: ['{monitoring}']\n"
    )
    return built(tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_key(whole: list[dict[str, Any]], version: str) -> None:
    policy = yaml.safe_load((KUBERNETES / "examples" / "networkpolicy.yaml").read_text())
    of_others = {"ServiceMonitor"}  # of the Prometheus operator, whose schema is not Kubernetes'
    seen = set()
    for document in [*whole, policy]:
        seen.add(document["kind"])
        if document["kind"] not in of_others:
            kubernetes_validate.validate(document, version, strict=True)
    assert seen == {"Namespace", "ConfigMap", "DaemonSet", "Service", "NetworkPolicy", *of_others}


def test_the_file_is_one_that_faithd_takes(tmp_path: Path) -> None:
    from faith.cli import faith

    assert faith.main(["check", str(KUBERNETES / "base" / "faith.toml")]) == 0


def test_the_pod_has_time_to_drain(whole: list[dict[str, Any]]) -> None:
    from faith.daemon.config import config

    settings = config.load(KUBERNETES / "base" / "faith.toml")
    pod = of_kind(whole, "DaemonSet")["spec"]["template"]["spec"]
    grace = pod["terminationGracePeriodSeconds"]
    assert settings.lame_duck + settings.drain_timeout < grace


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (one for one in documents if one["kind"] == kind)
    return found


@pytest.fixture
def podman(lab: ThreeHosts, tmp_path: Path) -> Iterator[Podman]:
    """Podman in the gateway, with the pod of the DaemonSet."""
    if not IMAGE:
        pytest.skip("no image: scripts/image builds it and runs this")
    documents = built(KUBERNETES / "base")
    pod = of_kind(documents, "DaemonSet")["spec"]["template"]
    pod |= {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"]["name"] = "faithd"
    for container in pod["spec"]["containers"]:
        container |= {"image": IMAGE, "imagePullPolicy": "Never"}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            container.pop(probe, None)  # podman runs curl in the container for them
    settings = of_kind(documents, "ConfigMap")
    # 64:ff9b::/96 may not stand for the lab's addresses.
    settings["data"]["faith.toml"] = settings["data"]["faith.toml"].replace(WELL_KNOWN, PREFIX)
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump_all([settings, pod]))
    engine = Podman(lab.gateway, tmp_path)
    try:
        engine.run("kube", "play", file)
        yield engine
    finally:
        with suppress(subprocess.CalledProcessError):
            engine.run("kube", "down", file)


@pytest.mark.netns
def test_the_pod_relays_and_its_probes_say_so(lab: ThreeHosts, podman: Podman) -> None:
    wait_until(partial(is_ready, lab), 30, "/readyz")
    with closing(Echo(lab.server, PORT, SERVER)):
        with connect(lab, port=PORT) as connection:
            assert answers(connection)
            assert metrics(lab)["faith_sessions_open"] == 1
        assert "watching" in podman.run("logs", "faithd-reload")


def is_ready(lab: ThreeHosts) -> bool:
    """Return whether the kubelet's readiness probe would pass."""
    return lab.gateway.run(["curl", "-sf", "http://[::1]:9064/readyz"], check=False).returncode == 0
