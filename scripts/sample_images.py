"""The demo's pictures. Rule of this module: stdlib only, and the same picture every time.

Each picture is a function that is given the size and returns `pixel(x, y) -> (r, g, b)`, all of it
in 0..1, with y downwards; `render` turns it into a binary PPM.
"""

import math
import random
from collections.abc import Callable
from itertools import pairwise, product

Colour = tuple[float, float, float]
Pixel = Callable[[float, float], Colour]

WIDTH, HEIGHT = 960, 640
RATIO = WIDTH / HEIGHT


def render(pixel: Pixel, samples: int) -> bytes:
    """A binary PPM, `samples` x `samples` points a pixel."""
    rows = bytearray()
    inside = [(n + 0.5) / samples for n in range(samples)]
    share = 255.0 / samples**2
    for row, column in product(range(HEIGHT), range(WIDTH)):
        points = [
            pixel((column + dx) / WIDTH, (row + dy) / HEIGHT) for dy in inside for dx in inside
        ]
        for channel in zip(*points, strict=True):
            rows.append(min(255, max(0, int(share * sum(channel) + 0.5))))
    return b"P6\n%d %d\n255\n" % (WIDTH, HEIGHT) + bytes(rows)


def mix(a: Colour, b: Colour, t: float) -> Colour:
    t = min(1.0, max(0.0, t))
    return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t


def ramp(stops: list[tuple[float, Colour]], t: float) -> Colour:
    """The colour at `t` of a gradient through `stops`."""
    for (low, a), (high, b) in pairwise(stops):
        if t <= high:
            return mix(a, b, (t - low) / (high - low))
    return stops[-1][1]


def smoothstep(low: float, high: float, x: float) -> float:
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


def hexes(*colours: str) -> list[tuple[float, Colour]]:
    """Evenly spaced stops from RRGGBB."""
    triples = [tuple(byte / 255 for byte in bytes.fromhex(colour)) for colour in colours]
    return [(n / (len(triples) - 1), (r, g, b)) for n, (r, g, b) in enumerate(triples)]


def noise(seed: int) -> Callable[[float, float], float]:
    """Smooth value noise in 0..1 on a grid of 256 x 256."""
    rng = random.Random(seed)
    table = [rng.random() for _ in range(256)]
    order = list(range(256)) * 2
    rng.shuffle(order)

    def at(x: float, y: float) -> float:
        column, row = math.floor(x), math.floor(y)
        u, v = x - column, y - row
        u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
        left, right = order[column & 255], order[(column + 1) & 255]
        a, b = table[(left + row) & 255], table[(right + row) & 255]
        c, d = table[(left + row + 1) & 255], table[(right + row + 1) & 255]
        return (a + (b - a) * u) * (1 - v) + (c + (d - c) * u) * v

    return at


def fractal(seed: int, octaves: int) -> Callable[[float, float], float]:
    """Octaves of noise, 0..1."""
    at = noise(seed)
    total = 2 - 2 ** (1 - octaves)

    def sum_at(x: float, y: float) -> float:
        return sum(at(x * 2**n + 17 * n, y * 2**n) / 2**n for n in range(octaves)) / total

    return sum_at


def ridges() -> Pixel:
    """Mountains at dusk, one behind the other."""
    sky = hexes("1b1b4b", "5b3a80", "c8577d", "f79a6b", "ffd9a0")
    ground = hexes("e39a8e", "a2647f", "64406e", "332651", "120f2b")
    shapes = [fractal(seed, 5) for seed in range(40, 46)]
    cut = len(shapes) - 1

    def height(n: int, x: float) -> float:
        return 0.50 + 0.085 * n + (0.5 - shapes[n](x * (2.2 + 0.5 * n), n)) * (0.30 - 0.02 * n)

    def pixel(x: float, y: float) -> Colour:
        for n in range(cut, -1, -1):
            if y > (top := height(n, x)):
                mist = 0.45 * smoothstep(0.0, 0.22, y - top) * (1 - n / cut)
                return mix(ramp(ground, n / cut), (0.97, 0.75, 0.66), mist)
        away = math.hypot((x - 0.64) * RATIO, y - 0.40)
        colour = mix(ramp(sky, y / 0.60), (1.0, 0.86, 0.62), 0.75 * math.exp(-away * 5.0))
        return mix((1.0, 0.97, 0.87), colour, smoothstep(0.068, 0.072, away))

    return pixel


def mandelbrot() -> Pixel:
    """A spiral in the seahorse valley."""
    palette = hexes("05071f", "12306b", "2f8fc4", "e8f6f0", "f7b733", "a8322a", "2a0a2e", "05071f")

    def pixel(x: float, y: float) -> Colour:
        c = complex(-0.7449 + (x - 0.5) * 0.005 * RATIO, 0.1127 + (y - 0.5) * 0.005)
        z = 0j
        for n in range(500):
            z = z * z + c
            if (size := z.real * z.real + z.imag * z.imag) > 256.0:
                smooth = n - math.log2(math.log2(size))
                return ramp(palette, (0.22 * math.sqrt(max(0.0, smooth - 20))) % 1.0)
        return palette[0][1]

    return pixel


def julia() -> Pixel:
    """The Julia set of -0.79 + 0.15i, in embers."""
    palette = hexes("0b0410", "3b0f3f", "8c1c51", "dd4a3a", "f9a03f", "fff1b8", "ffffff")

    def pixel(x: float, y: float) -> Colour:
        z = complex((x - 0.5) * 2.25 * RATIO, (y - 0.5) * 2.25)
        for n in range(260):
            z = z * z + (-0.79 + 0.15j)
            if (size := z.real * z.real + z.imag * z.imag) > 64.0:
                return ramp(palette, (max(0.0, n - math.log2(math.log2(size))) / 130) ** 0.6)
        return palette[-1][1]

    return pixel


def glass() -> Pixel:
    """Voronoi cells as a stained glass window, lit from the middle."""
    rng = random.Random(7)
    palette = hexes("ffe8a3", "f7b74a", "f07f4f", "c9426b", "7a3b94", "31519c", "16305c")
    near = []
    seeds = []
    for column, row in product(range(-1, 13), range(-1, 9)):
        x, y = (column + rng.random()) / 12 * RATIO, (row + rng.random()) / 8
        away = math.hypot(x - 0.5 * RATIO, y - 0.5)
        seeds.append((x, y, ramp(palette, min(1.0, max(0.0, away + rng.uniform(-0.12, 0.12))))))
    for column, row in product(range(24), range(16)):
        middle = ((column + 0.5) / 24 * RATIO, (row + 0.5) / 16)
        near.append([s for s in seeds if math.dist(s[:2], middle) < 0.36])

    def pixel(x: float, y: float) -> Colour:
        px = x * RATIO
        cell = near[int(x * 24) * 16 + int(y * 16)]
        (first, a), (second, b) = sorted(
            (((s[0] - px) ** 2 + (s[1] - y) ** 2, s) for s in cell), key=lambda pair: pair[0]
        )[:2]
        edge = (second - first) / (2 * math.dist(a[:2], b[:2]))
        light = 1.25 - 0.55 * math.hypot(x - 0.5, y - 0.45) - 1.2 * math.sqrt(first)
        colour = mix((0, 0, 0), a[2], light)
        return mix((0.04, 0.04, 0.06), colour, smoothstep(0.004, 0.007, edge))

    return pixel


def marble() -> Pixel:
    """Noise that is bent by noise, twice."""
    palette = hexes("0d1b2a", "1b4965", "5fa8d3", "f1faee", "e9c46a", "bc6c25", "3d1308")
    field = fractal(11, 4)

    def pixel(x: float, y: float) -> Colour:
        px, py = x * 2.2 * RATIO, y * 2.2
        u, v = field(px, py), field(px + 5.2, py + 1.3)
        s, t = field(px + 3.4 * u, py + 3.4 * v), field(px + 3.4 * v + 8.3, py + 3.4 * u + 2.8)
        value = field(px + 3.0 * s, py + 3.0 * t)
        return mix(ramp(palette, 2.2 * (value - 0.28)), (1, 1, 1), 0.35 * smoothstep(0.5, 0.8, t))

    return pixel


def aurora() -> Pixel:
    """Northern lights above a dark shore."""
    bend, rays, stars = fractal(21, 3), fractal(22, 4), random.Random(23)
    shore = fractal(24, 5)
    lights = [(stars.random() * RATIO, stars.random() * 0.75) for _ in range(220)]

    def curtain(x: float, y: float, n: int) -> float:
        foot = 0.60 - 0.10 * n + 0.34 * (bend(x * 2.1 + 9 * n, 0.5 + n) - 0.5)
        rise = foot - y
        if rise < 0:
            return math.exp(rise * 55) * 0.9
        return (0.35 + 1.1 * rays(x * 26 + 40 * n, 0.3) ** 2) * math.exp(-rise * (4.2 + n))

    def pixel(x: float, y: float) -> Colour:
        if y > 0.80 + 0.13 * (shore(x * 4, 0.2) - 0.5):
            return 0.008, 0.016, 0.032
        red, green, blue = mix((0.012, 0.02, 0.075), (0.03, 0.10, 0.16), y)
        for n, tint in enumerate([(0.10, 0.95, 0.45), (0.22, 0.55, 0.85), (0.62, 0.16, 0.70)]):
            glow = curtain(x, y, n) * (0.85 - 0.2 * n)
            red, green, blue = red + tint[0] * glow, green + tint[1] * glow, blue + tint[2] * glow
        for sx, sy in lights:
            if abs(sy - y) < 0.003 and abs(sx - x * RATIO) < 0.003:
                spark = 0.8 * smoothstep(0.0022, 0.0, math.hypot(sx - x * RATIO, sy - y))
                red, green, blue = red + spark, green + spark, blue + spark
        return red, green, blue

    return pixel


def truchet() -> Pixel:
    """Quarter circles on a grid, turned at random: one endless ribbon."""
    rng = random.Random(5)
    turned = {cell: rng.random() < 0.5 for cell in product(range(12), range(8))}
    inks = [(0.96, 0.83, 0.37), (0.93, 0.42, 0.35), (0.16, 0.71, 0.65)]

    def pixel(x: float, y: float) -> Colour:
        column, row = int(x * 12), int(y * 8)
        u, v = x * 12 - column, y * 8 - row
        if turned[column, row]:
            u = 1 - u
        away = min(math.hypot(u, v), math.hypot(1 - u, 1 - v))
        for n, ink in enumerate(inks):
            if abs(away - 0.5) < 0.07 + 0.06 * n:
                return ink
        return 0.11, 0.14, 0.25

    return pixel


def phyllotaxis() -> Pixel:
    """A sunflower's seeds: each turned by the golden angle."""
    palette = hexes("fff3b0", "ffd166", "f78c3c", "ef476f", "8338ec", "3a86ff")
    grid: dict[tuple[int, int], list[tuple[float, float, float, Colour]]] = {}
    for n in range(1, 620):
        away, angle = 0.0225 * math.sqrt(n), n * math.pi * (3 - math.sqrt(5))
        x, y = 0.5 * RATIO + away * math.cos(angle), 0.5 + away * math.sin(angle)
        dot = (x, y, 0.0055 + 0.0105 * away / 0.56, ramp(palette, away / 0.56))
        home = (int(x * 20), int(y * 20))
        for dx, dy in product((-1, 0, 1), repeat=2):
            grid.setdefault((home[0] + dx, home[1] + dy), []).append(dot)

    def pixel(x: float, y: float) -> Colour:
        px = x * RATIO
        for dx, dy, size, ink in grid.get((int(px * 20), int(y * 20)), ()):
            if math.hypot(dx - px, dy - y) < size:
                return ink
        return 0.09, 0.08, 0.17

    return pixel


def contours() -> Pixel:
    """A map of islands with lines of equal height."""
    land = fractal(31, 4)
    tints = hexes("264653", "2f7f86", "8fc9b5", "e9e3c0", "c9c08a", "8fa369", "5c7f57")

    def pixel(x: float, y: float) -> Colour:
        height = land(x * 3 * RATIO, y * 3)
        level = (height - 0.2) * 24
        step = min(1.0, max(0.0, math.floor(level) / 14))
        slope = math.hypot(
            land(x * 3 * RATIO + 0.002, y * 3) - height, land(x * 3 * RATIO, y * 3 + 0.002) - height
        )
        line = abs(level - round(level)) / (slope * 24 / 0.002 + 1e-9)
        colour = ramp(tints, step)
        return mix(mix(colour, (0.1, 0.12, 0.14), 0.55), colour, smoothstep(0.0032, 0.0052, line))

    return pixel


def bokeh() -> Pixel:
    """Lights of a town at night, out of focus."""
    rng = random.Random(3)
    palette = hexes("ff9f1c", "ffd166", "ef476f", "f8f0e3", "4cc9f0", "7b61ff")
    lights = [
        (rng.random() * RATIO, rng.gauss(0.56, 0.17), rng.uniform(0.02, 0.085), rng.random())
        for _ in range(90)
    ]

    def pixel(x: float, y: float) -> Colour:
        px = x * RATIO
        red, green, blue = mix((0.02, 0.02, 0.07), (0.10, 0.05, 0.12), y)
        for lx, ly, size, hue in lights:
            if abs(lx - px) > size or abs(ly - y) > size:
                continue
            away = math.hypot(lx - px, ly - y) / size
            glow = smoothstep(1.0, 0.94, away) * (0.20 + 0.22 * away**4) * (0.5 + hue)
            ink = ramp(palette, hue)
            red, green, blue = red + ink[0] * glow, green + ink[1] * glow, blue + ink[2] * glow
        return red, green, blue

    return pixel


PICTURES: dict[str, tuple[Callable[[], Pixel], int]] = {
    "ridges": (ridges, 2),
    "mandelbrot": (mandelbrot, 2),
    "julia": (julia, 2),
    "glass": (glass, 2),
    "marble": (marble, 1),
    "aurora": (aurora, 1),
    "truchet": (truchet, 3),
    "phyllotaxis": (phyllotaxis, 3),
    "contours": (contours, 2),
    "bokeh": (bokeh, 1),
}
