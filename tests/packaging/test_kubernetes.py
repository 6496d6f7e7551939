"""The manifests: built by kustomize, validated against Kubernetes' schemas, and run by podman."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from faith.cli import faith
from faith.daemon.config import config
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER
from tests.netns import service
from tests.netns.gateway import metrics
from tests.netns.service import Echo, answers, connect
from tests.netns.test_proxy_daemon import PROXY, is_served
from tests.packaging.container import IMAGE, Podman

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import ThreeHosts

    Document = dict[str, Any]

KUBERNETES = Path(__file__).parents[2] / "packaging" / "kubernetes"
BASE, MONITORING = (KUBERNETES / name for name in ("base", "monitoring"))
VERSIONS = ("1.30", "1.37")
OF_OTHERS = {"ServiceMonitor"}
"""Kinds of the Prometheus operator, whose schema is not Kubernetes'."""
WELL_KNOWN = "64:ff9b::/96"
PORT = 8000


def manifests(directory: Path) -> list[Document]:
    """Return the resources of a kustomization as they are written."""
    resources = loaded(directory / "kustomization.yaml")["resources"]
    return [loaded(directory / name) for name in resources]


def loaded(file: Path) -> Document:
    found: Document = yaml.safe_load(file.read_text())
    return found


def of_kind(documents: list[Document], kind: str) -> Document:
    (found,) = (one for one in documents if one["kind"] == kind)
    return found


def config_map() -> Document:
    """Return what kustomize is to make of faith.toml."""
    data = {"faith.toml": (BASE / "faith.toml").read_text()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "faithd"}, "data": data}


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_key(version: str) -> None:
    policy = loaded(KUBERNETES / "examples" / "networkpolicy.yaml")
    documents = [*manifests(BASE), *manifests(MONITORING), config_map(), policy]
    for document in documents:
        if document["kind"] not in OF_OTHERS:
            kubernetes_validate.validate(document, version, strict=True)
    seen = {document["kind"] for document in documents}
    assert seen == {"Namespace", "ConfigMap", "DaemonSet", "Service", "NetworkPolicy", *OF_OTHERS}


@pytest.mark.parametrize("directory", [BASE, MONITORING], ids=lambda path: path.name)
def test_every_manifest_is_a_resource(directory: Path) -> None:
    named = loaded(directory / "kustomization.yaml")["resources"]
    there = {file.name for file in directory.glob("*.yaml")} - {"kustomization.yaml"}
    assert sorted(named) == sorted(there)


def test_kustomize_builds_the_base_with_the_component(
    tmp_path: Path, need: Callable[[str], str]
) -> None:
    kubectl = need("kubectl")
    asked = [kubectl, "version", "--client", "--output=json"]
    known = subprocess.run(asked, capture_output=True, check=True)
    minor = int(yaml.safe_load(known.stdout)["clientVersion"]["minor"].rstrip("+"))
    if minor < 21:
        pytest.skip(f"the kustomize of kubectl 1.{minor} knows no components")
    base, monitoring = (os.path.relpath(one, tmp_path) for one in (BASE, MONITORING))
    (tmp_path / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: ['{base}']\ncomponents: ['{monitoring}']\n"
    )
    text = subprocess.run([kubectl, "kustomize", tmp_path], capture_output=True, check=True).stdout
    built = list(yaml.safe_load_all(text))
    written = [*manifests(BASE), *manifests(MONITORING), config_map()]
    assert {one["kind"] for one in built} == {one["kind"] for one in written}
    made = of_kind(built, "ConfigMap")
    assert made["metadata"] == {"name": "faithd", "namespace": "faithd"}
    assert made["data"] == config_map()["data"]
    pod, as_written = (of_kind(each, "DaemonSet")["spec"] for each in (built, written))
    assert pod == as_written


def test_the_file_is_one_that_faithd_takes() -> None:
    assert faith.main(["check", str(BASE / "faith.toml")]) == 0


def test_the_pod_has_time_to_drain() -> None:
    settings = config.load(BASE / "faith.toml")
    pod = of_kind(manifests(BASE), "DaemonSet")["spec"]["template"]["spec"]
    grace = pod["terminationGracePeriodSeconds"]
    assert settings.lame_duck + settings.drain_timeout < grace


@pytest.fixture
def podman(lab: ThreeHosts, tmp_path: Path) -> Iterator[Podman]:
    """Podman in the gateway, with the pod of the DaemonSet."""
    if not IMAGE:
        pytest.skip("no image: scripts/image builds it and runs this")
    pod = of_kind(manifests(BASE), "DaemonSet")["spec"]["template"]
    pod |= {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"]["name"] = "faithd"
    for container in pod["spec"]["containers"]:
        container |= {"image": IMAGE, "imagePullPolicy": "Never"}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            container.pop(probe, None)  # podman runs curl in the container for them
    settings = config_map()
    # 64:ff9b::/96 may not stand for the lab's addresses.
    data = settings["data"]
    data["faith.toml"] = data["faith.toml"].replace(WELL_KNOWN, PREFIX)
    data["faith.toml"] += f'\n[[proxy]]\nlisten = ":{PROXY}"\n'
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
    with closing(Echo(lab.server, service.PORT, SERVER)):
        assert is_served((lab.client, GATEWAY_V6))


def is_ready(lab: ThreeHosts) -> bool:
    """Return whether the kubelet's readiness probe would pass."""
    return lab.gateway.run(["curl", "-sf", "http://[::1]:9064/readyz"], check=False).returncode == 0
