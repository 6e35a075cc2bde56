"""The colours that labels are given, in the order they are given."""

from __future__ import annotations

from collections.abc import Iterable

#: Red, green and blue, 0 to 255.
Colour = tuple[float, float, float]

# Chosen one after the other: each as far as can be (CIEDE2000) from the eight before it, as seen
# without and with protanopia, deuteranopia and tritanopia (Machado, Oliveira and Fernandes 2009),
# of twelve whose distances are large among all of them; none near grey (CIELAB chroma 38 or more),
# black, white, or the red of marks.
_HEX = """
0072b2 e69f00 872d1e 00f0e1 96a5ff c35a1e b4e196 00b487 3c00e1 7869ff 692d78 d278b4
d2e100 00875a a54b78 b42d00 87a55a 78d2a5 782dff 4b4ba5 f0b4ff 8787e1 ff96c3 782d5a
00693c d27800 a5c369 009678 875a96 6900b4 a578c3 1ed2f0 69965a 963c5a f078a5 f0d269
787800 a53cd2 87c387 004b87 b496e1 b4963c d24b78 0f784b d2c33c a50f00 b469a5 3cc3b4
4b3cd2 b478ff e18778 a50069 78873c ffc387 3c692d b45a87 00c300 690ff0 1e96ff f06987
871e4b 009600 f0a5e1 5a5a0f c32d87 00f05a 0069e1 a587f0 d26996 69b478 4b874b 96961e
005a2d b42d69 69e1c3 960fa5 9669d2 d296d2 0fa596 5a782d b4b44b ff4b96 b4005a 96e1a5
870fc3 d200ff f087ff 4b4b00 96692d ff964b f01e87 870f69 00d296 4b1ec3 5a78c3 c3b4ff
96002d 96782d 96d200 b44b69 f087b4 00f0b4 783c78 f02dc3 ffb4f0 96000f f02d00 69a569
b4c35a 962d4b 69d2b4 5a3c96 d269e1 d24b96 1e2dff 785a1e 87964b b4d278 871e3c 00d2d2
781e87 0f96d2 d27896 5a4bf0 1e7800 87a51e e1d24b a54b87 00e1f0 870078 6987f0 ffa596
d26978 3c783c 69962d 004be1 a5c31e 1ec3f0 963c78 0087d2 ff96a5 e15a87 2d5a00 00870f
003ce1 a5b45a 1eb4ff a50087 4b78e1 87f01e e169a5 1e5a1e a5783c 0000f0 d2a569 00b4e1
694b87 5a69f0 d2d20f ff3c87 963c3c 5a8700 3c00ff f09678 c387c3 873c96 8769e1 ffd200
c36978 783c0f 4ba52d 00e1b4 876900 78a5f0 1e5a96 964bff 96d269 b43c69 871e2d c3785a
5ae1d2 78691e d287f0 5a3cb4 a569b4 d2d287 96b400 873c69 d27878 96003c d23c00 00c3d2
003cb4 9669a5 6978ff b4a53c c3e178 00965a 872d4b f07887 e196e1 691ea5 c34ba5 b469f0
4b691e d2c369 4b964b 00d2b4 a52d5a c3a5f0 5a2d96 875ab4 b478b4 00691e ffb44b ff6969
5ac396 b44b78 8796ff 96005a 873cc3 69872d 5a4b00 f0c35a ff4bb4 4ba578 4be1ff 9696f0
b40069 694bb4 c3870f 696900 b4c378 f0d22d 00b4b4 00f0d2 8778c3 c34b78 2d2dd2 96873c
"""


def read_hex(text: str) -> Colour:
    """The colour of six hexadecimal digits, with or without ``#``."""
    digits = text.removeprefix("#")
    red, green, blue = (float(int(digits[place : place + 2], 16)) for place in (0, 2, 4))
    return red, green, blue


def hex_colour(colour: Colour) -> str:
    """A colour as HTML and SVG have it, ``#0072b2``."""
    return "#" + "".join(f"{min(255, max(0, round(part))):02x}" for part in colour)


#: Any of these and the eight before it differ for colour-blind eyes too.
PALETTE: tuple[Colour, ...] = tuple(map(read_hex, _HEX.split()))
# Closer ones (the sum of the differences of red, green and blue) are hard to tell apart.
_NEAR = 75.0


def free_colours(taken: Iterable[Colour], avoided: Iterable[Colour] = ()) -> list[Colour]:
    """What of the palette is left, in its order.

    Args:
        taken: colours of other labels.
        avoided: colours that none of them may come near, as those somebody chose.
    """
    used, chosen = set(taken), list(avoided)
    return [
        one
        for one in PALETTE
        if one not in used and all(_apart(one, other) >= _NEAR for other in chosen)
    ]


def _apart(one: Colour, other: Colour) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def shaded(colour: Iterable[float], shade: float) -> Colour:
    """A colour mixed with white (shade 0 to 1) or with black (0 to -1)."""
    towards = 255.0 if shade > 0 else 0.0
    red, green, blue = (float(part) + (towards - float(part)) * abs(shade) for part in colour)
    return red, green, blue
