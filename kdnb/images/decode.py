"""An image file becomes a square of pixels: the one rule, for images that are kept in memory and for those that are not.

It is turned as its EXIF orientation says and made RGB; of deeper grey the highest eight bits are taken. Then the largest
square in its middle is cut out and brought to the side asked for with Pillow's bicubic filter, which averages where it
shrinks. But for rounding that is the same as bringing the shorter side to the side asked for and cutting out the middle.
Augmentation crops from this square, so what lies outside it is never seen.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from kdnb.errors import DataError


def square(where: Path, file: str, read: Callable[[str], bytes], side: int, *, fit: bool = True) -> NDArray[np.uint8]:
    """The pixels of an image file, (side, side, 3).

    Args:
        where: the folder or archive that it is in, for messages.
        read: gives the bytes of the file of that name.
        fit: crop and resize it to the side; without it, an image of another size is an error.

    Raises:
        DataError: it cannot be read or decoded, or is of another size; the message names it.
    """
    try:
        with Image.open(io.BytesIO(read(file))) as image:
            bits, picture = _bits(image), ImageOps.exif_transpose(image)
            if bits > 8:
                picture = Image.fromarray((np.asarray(picture) >> (bits - 8)).clip(0, 255).astype(np.uint8))
            elif "transparency" in picture.info:  # as bytes, it would be warned about
                picture = picture.convert("RGBA")
            rgb = picture.convert("RGB")
    except Exception as error:
        raise DataError(f"{where}: {file} cannot be decoded ({error}); fetch it again or remove it") from None
    if rgb.size != (side, side):
        if not fit:
            raise DataError(f"{where}: {file} is {rgb.width}×{rgb.height} pixels; expected {side}×{side}")
        rgb = ImageOps.fit(rgb, (side, side), method=Image.Resampling.BICUBIC)
    return np.array(rgb)


def _bits(image: Image.Image) -> int:
    """Of a pixel's grey; 8 for every image that `convert` turns into RGB without clipping.

    Raises:
        ValueError: pixels whose range nobody knows, as of 32-bit and floating-point TIFFs.
    """
    if image.mode.startswith("I;16"):
        return int(image.tag_v2.get(258, (16,))[0]) if isinstance(image, TiffImagePlugin.TiffImageFile) else 16
    if image.mode == "I" and image.format in ("PPM", "PNG"):
        return 16
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are of mode {image.mode}, whose range is not known; convert it to 8 bits")
    return 8
