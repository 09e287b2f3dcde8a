"""ext4 in a file, mounted. Rule of this module: a copy of the file, taken while it is mounted, is
what a power cut leaves: what the kernel has not written yet is not in it, and what it wrote is, up
to one moment. A copy takes longer than that, so the file is on a file system that can be frozen:
writes to it, those of the file system in it, wait meanwhile.
"""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import require

JOURNAL = 4 * 2**20
# What the file system that carries an image takes for itself.
CARRIER = 24 * 2**20
FREEZE, THAW = 0xC0045877, 0xC0045878


class CannotMount(Exception):
    """The kernel refuses it: no rights, or no file system."""


def make_image(image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    journal = f"size={JOURNAL // 2**20}"
    run("mkfs.ext4", "-q", "-J", journal, "-E", "lazy_itable_init=1,nodiscard", image)


def need_mounts(tmp_path: Path) -> None:
    """Skips the test where nothing can be mounted: a right that containers seldom have."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    image = tmp_path / "try"
    make_image(image, 16 * 2**20)
    try:
        with mounted(image, tmp_path / "tried"):
            pass
    except CannotMount as error:
        pytest.skip(f"nothing can be mounted: {error}")
    image.unlink()


@contextmanager
def mounted(image: Path, folder: Path, options: str = "") -> Iterator[Path]:
    """:raises CannotMount:"""
    folder.mkdir(exist_ok=True)
    try:
        run("mount", "-o", f"loop,{options}".rstrip(","), image, folder)
    except subprocess.CalledProcessError as error:
        raise CannotMount(error.stderr.decode().strip()) from error
    try:
        yield folder
    finally:
        run("umount", "--lazy", folder)


@contextmanager
def carried(image: Path, size: int) -> Iterator[Path]:
    """An image as `make_image` makes it, which `copy_image` can copy."""
    folder = image.with_name(f"{image.name}-carrier")
    outer = image.with_name(f"{image.name}-outer")
    make_image(outer, size + CARRIER)
    with mounted(outer, folder, "noatime") as carrier:
        make_image(carrier / image.name, size)
        yield carrier / image.name


def copy_image(image: Path, copy: Path) -> None:
    """Of one moment, however long it takes."""
    carrier = os.open(image.parent, os.O_RDONLY)
    try:
        fcntl.ioctl(carrier, FREEZE, 0)
        try:
            run("cp", "--sparse=always", image, copy)
        finally:
            fcntl.ioctl(carrier, THAW, 0)
    finally:
        os.close(carrier)


def run(program: str, *arguments: str | Path) -> None:
    subprocess.run([require(program), *arguments], check=True, capture_output=True, timeout=30)
