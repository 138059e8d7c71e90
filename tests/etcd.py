"""A real etcd of one test, with or without TLS and users, that can be stopped and started again. Knows no bus."""

import base64
import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.meeting import until

MISSING = "NO etcd HERE, so nothing is tested against it: apt-get install etcd-server"


class Certificates:
    """An authority, a certificate of the server, and one of each client, whose common name is its user."""

    def __init__(self, folder: Path, *clients: str) -> None:
        self.folder = folder
        usage = "-addext keyUsage=critical,keyCertSign,cRLSign"  # Python 3.13 asks for it, and for all in `san`
        self._openssl(f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca {usage} -keyout ca.key -out ca.pem")
        for name in ("server", *clients):
            subject = "/O=etcd" if name == "server" else f"/CN={name}"  # with a name, its gateway would refuse us
            self._openssl(f"req -newkey rsa:2048 -nodes -subj {subject} -keyout {name}.key -out {name}.csr")
            (folder / "san").write_text(
                "subjectAltName=IP:127.0.0.1,DNS:localhost\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash"
            )
            signing = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san"
            self._openssl(f"x509 -req -in {name}.csr {signing} -out {name}.pem")

    def _openssl(self, arguments: str) -> None:
        subprocess.run(["openssl", *arguments.split()], cwd=self.folder, check=True, capture_output=True, timeout=30)

    def environment(self, client: str) -> dict[str, str]:
        files = {"CONFIGMGR_CACERT": "ca.pem", "CONFIGMGR_CERT": f"{client}.pem", "CONFIGMGR_KEY": f"{client}.key"}
        return {variable: str(self.folder / file) for variable, file in files.items()}


class Etcd:
    def __init__(self, folder: Path, ports: list[int], certificates: Certificates | None = None) -> None:
        if shutil.which("etcd") is None:
            pytest.skip(MISSING)
        self.port = ports[0]
        self._folder = folder
        self._certificates = certificates
        self._token = ""
        scheme = "https" if certificates else "http"
        client, peer = f"{scheme}://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
        self._client = client
        self._command = ["nice", "-n", "5", "etcd", "--listen-client-urls", client, "--advertise-client-urls", client]
        self._command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        self._command += ["--initial-cluster", f"default={peer}"]
        self._context: ssl.SSLContext | None = None
        if certificates:
            files = {"cert-file": "server.pem", "key-file": "server.key", "trusted-ca-file": "ca.pem"}
            for option, file in files.items():
                self._command += [f"--{option}", str(certificates.folder / file)]
            self._command += ["--client-cert-auth"]
            self._context = ssl.create_default_context(cafile=str(certificates.folder / "ca.pem"))
            self._context.load_cert_chain(certificates.folder / "server.pem", certificates.folder / "server.key")
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        return {"ETCD_HOST": "127.0.0.1", "ETCD_CLIENT_PORT": str(self.port)}

    def start(self, data: str = "data") -> None:
        """Start it, with what is in `data`, and wait until it answers."""
        command = [*self._command, "--data-dir", str(self._folder / data)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(self._answers)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(timeout=20)

    def put(self, key: str, value: str) -> None:
        self.ask("kv/put", key=_coded(key), value=_coded(value))

    def delete(self, key: str) -> None:
        self.ask("kv/deleterange", key=_coded(key))

    def compact(self) -> None:
        """Forget every change before the last one."""
        revision = self.ask("kv/range", key=_coded("x"))["header"]["revision"]
        self.ask("kv/compaction", revision=revision, physical=True)

    def grant(self, user: str, *prefixes: str) -> None:
        """Let a user read what begins with some prefixes, and nothing else."""
        self.ask("auth/user/add", name=user, password="unused")
        self.ask("auth/role/add", name=user)
        for prefix in prefixes:
            end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
            permission = {"permType": "READ", "key": _coded(prefix), "range_end": _coded(end)}
            self.ask("auth/role/grant", name=user, perm=permission)
        self.ask("auth/user/grant", user=user, role=user)

    def enable_users(self) -> None:
        """Ask everybody who he is from now on; the test itself is root."""
        self.ask("auth/user/add", name="root", password="secret")
        self.ask("auth/role/add", name="root")
        self.ask("auth/user/grant", user="root", role="root")
        self.ask("auth/enable")
        self._token = self.ask("auth/authenticate", name="root", password="secret")["token"]

    def ask(self, what: str, **request: Any) -> Any:
        headers = {"Authorization": self._token} if self._token else {}
        asked = urllib.request.Request(f"{self._client}/v3/{what}", json.dumps(request).encode(), headers)  # noqa: S310
        try:
            with urllib.request.urlopen(asked, timeout=20, context=self._context) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{what}: {error.read().decode()}") from error

    def _answers(self) -> bool:
        assert self.process.poll() is None, "etcd ended"
        try:
            self.ask("kv/range", key=_coded("x"))
        except OSError:
            return False
        return True


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
