"""Certificates for tests, of openssl's making."""

import subprocess
from pathlib import Path

from tests.conftest import require


def make_certificate(folder: Path, name: str) -> None:
    """tls.pem and tls.key: self-signed, in the name of `name` and of this machine."""
    command = [
        *(require("openssl"), "req", "-x509", "-newkey", "ec"),
        *("-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.pem")),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
