"""The demo's videos, frame by frame. Rule of this module: stdlib only, the same frames every time.

Soft things (sky, lava) are small RGB frames that ffmpeg scales up; sharp ones (hills, sun, balloon)
are RGBA layers at full size that ffmpeg lays over them. A frame is a function of its second, so
that a seek shows where it landed.
"""

import math
import random
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise, product

from sample_images import Colour, fractal, hexes, mix, ramp, smoothstep

RATE = 24
WIDTH, HEIGHT = 640, 360
RATIO = WIDTH / HEIGHT
DAY = 24  # seconds of the long video: one an hour
CLIP = 8  # seconds of the short one
SOFT_WIDTH, SOFT_HEIGHT = 128, 72

Layer = Callable[[float, float], tuple[Colour, float]]

# The sky by the hour: from the zenith down to the horizon.
SKIES = {
    0: hexes("02030f", "060b24", "0d1838", "16264a"),
    4: hexes("050822", "141a45", "3a2f66", "6d4a78"),
    6: hexes("27306f", "7a5796", "ea8a7d", "ffd08a"),
    8: hexes("3f7fc4", "7db3e0", "c4dff0", "fff0d2"),
    12: hexes("1f6fc9", "4c9be6", "93c9f5", "dcf0fb"),
    16: hexes("3577bd", "78a9d8", "c9d6dc", "ffe6bd"),
    18: hexes("2c2c68", "83417f", "e2605c", "ffb25e"),
    20: hexes("0b0f35", "281d57", "54306b", "8a4b73"),
    24: hexes("02030f", "060b24", "0d1838", "16264a"),
}


def hour(second: float) -> float:
    """The video begins at five in the morning."""
    return (second + 5) % 24


def sun(second: float) -> tuple[float, float]:
    """Where the sun is, in heights of the picture; below the hills from 19 to 5."""
    angle = math.pi * (hour(second) - 5) / 14
    return RATIO * (0.10 + 0.80 * (hour(second) - 5) / 14), 0.66 - 0.52 * math.sin(angle)


def sky(second: float, x: float, y: float) -> Colour:
    now = hour(second)
    for before, after in pairwise(SKIES):
        if now <= after:
            low, high = ramp(SKIES[before], y / 0.72), ramp(SKIES[after], y / 0.72)
            colour = mix(low, high, (now - before) / (after - before))
            break
    sun_x, sun_y = sun(second)
    glow = 0.55 * math.exp(-4.5 * math.hypot(x * RATIO - sun_x, y - sun_y))
    return mix(colour, (1.0, 0.86, 0.60), glow * smoothstep(0.80, 0.55, sun_y))


def lava(second: float, x: float, y: float) -> Colour:
    heat = 0.0
    for n in range(7):
        turn = 2 * math.pi * second / CLIP
        bx = 0.5 + 0.36 * math.sin(turn * (1 + n % 2) + 2.4 * n)
        by = 0.5 + 0.40 * math.cos(turn * (1 + n % 3 // 2) + 1.7 * n)
        heat += (0.030 + 0.008 * n) / ((x - bx) ** 2 * RATIO**2 + (y - by) ** 2 + 0.006)
    return ramp(LAVA, (math.log1p(heat) - 0.35) / 2.6)


LAVA = hexes("10061e", "2b0b45", "6a1b6e", "c2334d", "f6803c", "ffd166", "fffbe6")


def soft_frames(colour: Callable[[float, float, float], Colour], seconds: int) -> Iterator[bytes]:
    """rgb24 frames of SOFT_WIDTH x SOFT_HEIGHT."""
    for number in range(seconds * RATE):
        frame = bytearray()
        for row, column in product(range(SOFT_HEIGHT), range(SOFT_WIDTH)):
            point = colour(number / RATE, (column + 0.5) / SOFT_WIDTH, (row + 0.5) / SOFT_HEIGHT)
            frame += bytes(int(255 * min(1.0, max(0.0, part)) + 0.5) for part in point)
        yield bytes(frame)


def pam(layer: Layer, width: int, height: int, samples: int = 2) -> bytes:
    """An RGBA picture (PAM). `layer(x, y)` takes heights of the picture: x in 0..width/height."""
    body = bytearray()
    inside = [(n + 0.5) / samples for n in range(samples)]
    for row, column in product(range(height), range(width)):
        points = [
            layer((column + dx) / height, (row + dy) / height) for dy in inside for dx in inside
        ]
        alpha = sum(point[1] for point in points)
        for channel in range(3):
            part = sum(point[0][channel] * point[1] for point in points)
            body.append(min(255, int(255 * part / alpha + 0.5)) if alpha else 0)
        body.append(min(255, int(255 * alpha / samples**2 + 0.5)))
    size = f"WIDTH {width}\nHEIGHT {height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
    return b"P7\n" + size.encode() + bytes(body)


def hills() -> Layer:
    """Four rows of hills; the far ones let the sky through, so that they take its colour."""
    shapes = [fractal(seed, 5) for seed in range(60, 64)]
    inks = hexes("51608c", "33406a", "1c2748", "0b1126")
    clear = (0.45, 0.62, 0.82, 1.0)

    def layer(x: float, y: float) -> tuple[Colour, float]:
        for n in (3, 2, 1, 0):
            top = 0.60 + 0.095 * n + (0.5 - shapes[n](x * (1.7 + 0.5 * n), n)) * (0.34 - 0.04 * n)
            if y > top:
                return inks[n][1], clear[n]
        return (0, 0, 0), 0.0

    return layer


def stars() -> Layer:
    rng = random.Random(2)
    lights = [(rng.random() * RATIO, rng.random() ** 1.3 * 0.7, rng.random()) for _ in range(150)]

    def layer(x: float, y: float) -> tuple[Colour, float]:
        for sx, sy, size in lights:
            if abs(sx - x) < 0.005 and abs(sy - y) < 0.005:
                away = math.hypot(sx - x, sy - y)
                return (1.0, 0.97, 0.88), smoothstep(0.0015 + 0.003 * size, 0.0, away)
        return (0, 0, 0), 0.0

    return layer


def disc() -> Layer:
    return lambda x, y: ((1.0, 0.96, 0.82), smoothstep(0.49, 0.46, math.hypot(x - 0.5, y - 0.5)))


def balloon() -> Layer:
    """A striped hot-air balloon with its basket."""
    inks = [(0.93, 0.33, 0.31), (0.98, 0.93, 0.83)]

    def layer(x: float, y: float) -> tuple[Colour, float]:
        px = x - 0.4
        half = 0.36 * math.sqrt(max(0.0, 1 - ((y - 0.37) / 0.36) ** 2))
        if y > 0.37:
            half *= 1 - 0.75 * smoothstep(0.40, 0.74, y)
        if abs(px) < half:
            angle = math.asin(px / half)
            light = 0.72 + 0.28 * math.cos(angle + 0.5)
            ink = inks[math.floor(angle / math.pi * 7 + 0.5) % 2]
            return (ink[0] * light, ink[1] * light, ink[2] * light), 1.0
        if 0.84 < y < 0.96 and abs(px) < 0.075:
            return (0.42, 0.26, 0.15), 1.0
        rope = abs(abs(px) - (0.055 + 0.35 * max(0.0, 0.84 - y) * 0.3)) < 0.008
        return (0.25, 0.2, 0.2), float(0.68 < y <= 0.84 and rope)

    return layer


RATE_OF_SOUND = 32_000
PENTATONIC = (0, 2, 4, 7, 9, 12, 9, 7, 4, 2)


def music(seconds: int) -> bytes:
    """16-bit samples: plucked notes, two a second, over a slow chord."""
    samples = bytearray()
    for number in range(seconds * RATE_OF_SOUND):
        now = number / RATE_OF_SOUND
        value = 0.0
        for back in range(3):  # a note rings into the next two
            step = int(now * 2) - back
            if step < 0:
                continue
            pitch = 293.66 * 2 ** (PENTATONIC[step * 7 % 10 if step % 4 else step % 10] / 12)
            since = now - step / 2
            turn = 2 * math.pi * pitch * since
            value += 0.20 * math.exp(-4 * since) * (math.sin(turn) + 0.3 * math.sin(2 * turn))
        for pitch in (73.42, 110.0, 146.83):
            swell = 0.035 * (1 + math.sin(2 * math.pi * now / 8 + pitch))
            value += swell * math.sin(2 * math.pi * pitch * now)
        fade = min(1.0, now * 2, (seconds - now) / 2)
        samples += struct.pack("<h", int(32767 * 0.8 * fade * max(-1.0, min(1.0, value))))
    return bytes(samples)
