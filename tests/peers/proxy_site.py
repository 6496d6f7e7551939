"""What the servers of the proxy's lab offer to real clients: pages, packages, repositories."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faith.lab.topology import SERVER
from tests.peers import servers
from tests.peers.proxy_lab import V6_SERVER

if TYPE_CHECKING:
    from faith.lab import Host
    from tests.peers.site import Payload, Site

PACKAGE, VERSION = "tiny", "1.0"
"""The name and the version of what apt, pip and npm download."""
WHEEL = f"{PACKAGE}-{VERSION}-py3-none-any.whl"
DEB = f"{PACKAGE}_{VERSION}_all.deb"
TARBALL = f"{PACKAGE}-{VERSION}.tgz"
NAMES = ("v4.example", "v6.example", "both.example")
SLOW = "/slow"
"""The path of a payload that comes no faster than 2 MiB a second."""


@dataclass(frozen=True)
class Files:
    """A directory to be served: *payload* stands in all that is made of it."""

    root: Path
    payload: Payload
    certificate: Path
    key: Path


def make_files(maker: Site, payload: Payload) -> Files:
    """Write pages, an index of pip's, registries of npm's, a repository of apt's and one of git's.

    *maker* runs what makes them.
    """
    root = maker.directory / "www"
    (root / "upload").mkdir(parents=True)
    (root / "payload").hardlink_to(payload.path)
    (root / "index.html").write_text("<!DOCTYPE html><title>served</title><p>It is served.\n")
    _python_index(root, payload)
    _npm_registries(root, payload)
    _debian_repository(maker, root / "apt", payload)
    _git_repository(maker, root / "project.git", payload)
    certificate, key = maker.directory / "cert.pem", maker.directory / "key.pem"
    names = [f"DNS:{name}" for name in NAMES] + [f"IP:{SERVER}", f"IP:{V6_SERVER}"]
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2 -nodes -subj /CN=test"
    options = ["-addext", f"subjectAltName={','.join(names)}"]
    maker.run("openssl", *words.split(), "-out", certificate, "-keyout", key, *options)
    return Files(root, payload, certificate, key)


def _python_index(root: Path, payload: Payload) -> None:
    files = root / "simple" / PACKAGE
    files.mkdir(parents=True)
    about = f"{PACKAGE}-{VERSION}.dist-info"
    contents: dict[str, bytes | str] = {
        f"{PACKAGE}/data": payload.path.read_bytes(),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    with zipfile.ZipFile(files / WHEEL, "w") as wheel:
        record = ""
        for name, text in contents.items():
            content = text if isinstance(text, bytes) else text.encode()
            wheel.writestr(name, content)
            hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            record += f"{name},sha256={hashed.decode()},{len(content)}\n"
        wheel.writestr(f"{about}/RECORD", f"{record}{about}/RECORD,,\n")
    (files / "index.html").write_text(f'<!DOCTYPE html><a href="{WHEEL}">{WHEEL}</a>\n')


def npm_registry(scheme: str, host: str) -> str:
    """Return the URL of the registry of a host, which has a name."""
    return f"{scheme}://{host}/npm/{scheme}/{host}/"


def _npm_registries(root: Path, payload: Payload) -> None:
    """Write one for each of the `NAMES`, by HTTP and by HTTPS: a package's page has a whole URL."""
    about = {"name": PACKAGE, "version": f"{VERSION}.0"}
    work = root.parent / "package"
    work.mkdir()
    (work / "package.json").write_text(json.dumps(about))
    (work / "data").hardlink_to(payload.path)
    tarball = root / "npm" / TARBALL
    tarball.parent.mkdir()
    with tarfile.open(tarball, "w:gz", compresslevel=1) as archive:
        archive.add(work, "package")
    hashed = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    for scheme in ("http", "https"):
        for name in NAMES:
            found = {"tarball": f"{scheme}://{name}/npm/{TARBALL}", "integrity": f"sha512-{hashed}"}
            page = {
                "name": PACKAGE,
                "dist-tags": {"latest": about["version"]},
                "versions": {about["version"]: {**about, "dist": found}},
            }
            file = root / "npm" / scheme / name / PACKAGE
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(page))


def _debian_repository(maker: Site, directory: Path, payload: Payload) -> None:
    tree = maker.directory / "deb"
    (tree / "DEBIAN").mkdir(parents=True, mode=0o755)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {PACKAGE}\nVersion: {VERSION}\nArchitecture: all\n"
        "Maintainer: Nobody <nobody@example.net>\nDescription: what is downloaded\n"
    )
    (tree / "data").hardlink_to(payload.path)
    directory.mkdir()
    maker.run("dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, directory / DEB)
    (directory / "Packages").write_text(_ftparchive(maker, directory, "packages"))
    (directory / "Release").write_text(_ftparchive(maker, directory, "release"))


def _ftparchive(maker: Site, directory: Path, command: str) -> str:
    program = maker.need("apt-ftparchive")
    words = [program, command, "."]
    return maker.host.run(words, cwd=directory, env=maker.environment()).stdout


def _git_repository(maker: Site, directory: Path, payload: Payload) -> None:
    work = maker.directory / "work"
    maker.run("git", "init", "-q", work)
    (work / "large").write_bytes(payload.path.read_bytes())
    author = ("-C", work, "-c", "user.name=Author", "-c", "user.email=author@example.net")
    maker.run("git", *author, "add", "large")
    maker.run("git", *author, "commit", "-q", "-m", "Add a large file")
    maker.run("git", "clone", "-q", "--bare", work, directory)
    maker.run("git", "-C", directory, "update-server-info")


def serve(site: Site, files: Files) -> None:
    """Serve *files* by HTTP and HTTPS, and git's by its own protocol; and WebSockets."""
    temporary = "".join(
        f"{kind}_temp_path {site.directory}/{kind};\n"
        for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
    )
    v6 = _has_v6(site.host)
    at = [f"{'[::]:' if v6 else ''}{port}" for port in (servers.HTTP, 443)]
    file = site.directory / "nginx.conf"
    file.write_text(
        "daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr;\n"
        "events {}\n"
        f"http {{\naccess_log off; sendfile on; default_type text/html;\n{temporary}"
        f"ssl_certificate {files.certificate}; ssl_certificate_key {files.key};\n"
        f"server {{ listen {at[0]}; listen {at[1]} ssl; root {files.root};\n"
        f"location = {SLOW} {{ alias {files.payload.path}; limit_rate 2m; }}\n"
        "location /upload/ { dav_methods PUT; client_max_body_size 0; }\n}\n}\n"
    )
    site.serve(443, "nginx", "-p", site.directory, "-e", "stderr", "-c", file)
    servers.git_server(site, files.root / "project.git")
    script = Path(__file__).with_name("websocket_echo.py")
    where = "::" if v6 else "0.0.0.0"
    site.serve(servers.WEBSOCKET, sys.executable, str(script), str(servers.WEBSOCKET), where)


def _has_v6(host: Host) -> bool:
    return host.sysctl("net.ipv6.conf.all.disable_ipv6") == "0"
