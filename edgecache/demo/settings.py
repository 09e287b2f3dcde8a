"""The demo's config. Rule of this module: nothing of a real deployment's environment gets in,
neither its origin nor its cache folder.
"""

import socket
from collections.abc import Collection
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from edgecache.config import Cache, Config, Log, Origin, Route
from edgecache.config_fetch import Fetch
from edgecache.config_listen import Admin, Listen
from edgecache.core.errors import CannotStart
from edgecache.demo.bucket import BUCKET

HOST = "127.0.0.1"
ADMIN_PORT = 9180
PORTS_TRIED = 100
# The smallest there is: the demo's video has 0.7 MB, and a seek should land on other slices.
SLICE_SIZE = 64 * 2**10


class DemoConfig(Config):
    """A Config that EDGECACHE_* variables do not override."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def demo_config(endpoint: str, folder: Path, *, port: int, admin_port: int) -> Config:
    """Runs are as long in slices as they are by default."""
    return DemoConfig(
        listen=Listen(host=HOST, port=port, drain_timeout=2),
        admin=Admin(host=HOST, port=admin_port),
        origins={
            "demo": Origin(
                endpoint=endpoint,
                region="us-east-1",
                bucket=BUCKET,
                access_key="demo",
                secret_key=SecretStr("demo"),  # moto takes any
            )
        },
        # Tomorrow another edgecache may have this address: browsers must not keep these for a year.
        routes=(Route(browser_ttl=60),),
        cache=Cache(dir=folder, size=256 * 2**20, slice_size=SLICE_SIZE),
        fetch=Fetch(
            first_run=SLICE_SIZE, image_run=4 * SLICE_SIZE, max_run=16 * SLICE_SIZE, settle=0
        ),
        log=Log(level="warning", access="off"),
    )


def free_port(wanted: int, taken: Collection[int] = ()) -> int:
    """`wanted`, or the next port after it that nobody listens on; 0 stays 0: any.

    :raises CannotStart: there is none near.
    """
    ports = range(wanted, min(wanted + PORTS_TRIED, 65536))
    for port in ports:
        if port == 0 or (port not in taken and _is_free(port)):
            return port
    raise CannotStart(f"no free port from {ports[0]} to {ports[-1]}", hint="name one with --port")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers bind: connections that an ended one left in TIME_WAIT do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
