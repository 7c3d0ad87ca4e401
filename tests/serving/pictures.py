"""Pictures as users have them, and as they should not be."""

import base64
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image


def plain(value: int, mode: str = "RGB", size: tuple[int, int] = (20, 20)) -> Image.Image:
    """A picture of one grey value."""
    return Image.new("L", size, value).convert(mode)


def noise(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8))


def half_white() -> Image.Image:
    """Black, 20 wide and 40 high, but for the white upper left quarter."""
    pixels = np.zeros((40, 20, 3), np.uint8)
    pixels[:20, :10] = 255
    return Image.fromarray(pixels)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def text_of(content: bytes | Image.Image) -> str:
    return base64.b64encode(file_of(content) if isinstance(content, Image.Image) else content).decode()


def animation(kind: str, *values: int, **options: Any) -> bytes:
    first, *others = [plain(value) for value in values]
    return file_of(first, kind, save_all=True, append_images=others, **options)


def turned(kind: str) -> bytes:
    """`half_white` lying on its side, and a note that says so, as telephones write it."""
    note = Image.Exif()
    note[0x112] = 6
    return file_of(half_white().transpose(Image.Transpose.ROTATE_90), kind, exif=note)


def palette(**options: Any) -> bytes:
    """All pixels have the first colour of the palette, black."""
    image = Image.new("P", (20, 20))
    image.putpalette([0, 0, 0, 255, 0, 0])
    return file_of(image, **options)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, colour: int, interlaced: bool = False) -> bytes:
    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + size


def header_only(width: int, height: int) -> bytes:
    """The first bytes of a PNG of any size."""
    return header(width, height, 2) + chunk(b"IDAT", b"")


def late_header() -> bytes:
    """A PNG that Pillow opens, though another chunk stands where its header belongs and holds what reads as a size."""
    whole = grey_png([8] * 5, 5)
    return whole[:8] + chunk(b"tEXt", b"\x7f" * 20) + whole[8:]


def grey_png(rows: list[int], height: int, interlaced: bool = False) -> bytes:
    """A PNG of grey value 200, 8 wide, with rows of so many pixels, whether they are all or not."""
    pixels = b"".join(b"\0" + b"\xc8" * columns for columns in rows)
    return header(8, height, 0, interlaced) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
