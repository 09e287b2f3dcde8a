"""The objects of the demo's bucket. Rule of this module: what is shipped, byte for byte."""

from importlib.resources import files

from edgecache.core.model import ByteSpan

PREFIX = "outputs/"  # what `access.public` serves by default
GALLERY = f"{PREFIX}index.html"
STYLE = f"{PREFIX}gallery.css"
VIDEO = f"{PREFIX}day.mp4"  # moov last
CLIP = f"{PREFIX}lava.mp4"  # moov first
IMAGES = tuple(
    PREFIX + name
    for name in (
        "ridges.jpg",
        "mandelbrot.webp",
        "aurora.webp",
        "glass.webp",
        "marble.jpg",
        "truchet.png",
        "julia.jpg",
        "contours.webp",
        "phyllotaxis.png",
        "bokeh.jpg",
    )
)
PAGE = (GALLERY, STYLE, *IMAGES)  # what a browser asks for when it opens the gallery


def load() -> dict[str, bytes]:
    """Every object: its key and its bytes."""
    assets = files("edgecache.demo") / "assets"
    return {key: (assets / key.removeprefix(PREFIX)).read_bytes() for key in (*PAGE, VIDEO, CLIP)}


def boxes(mp4: bytes) -> dict[str, ByteSpan]:
    """The top-level boxes of an MP4 in their order (ISO/IEC 14496-12 §4.2)."""
    found: dict[str, ByteSpan] = {}
    start = 0
    while start < len(mp4):
        size = int.from_bytes(mp4[start : start + 4], "big")
        kind = mp4[start + 4 : start + 8].decode("ascii")
        if not 8 <= size <= len(mp4) - start:
            raise ValueError(f"not a box at {start}: {kind!r} of {size} bytes")
        found[kind] = ByteSpan(start, start + size)
        start += size
    return found
