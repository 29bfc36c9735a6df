"""From any loaded image to upright 8-bit RGB: orientation once, alpha on white, 16-bit grey scaled; nothing is guessed.

Colour profiles are not applied. Float and 32-bit pixels have no known range and are refused.
"""

from __future__ import annotations

from chiasm_registry.errors import InputError
from PIL import Image

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE_IS_ZERO = 0  # TIFF's PhotometricInterpretation, tag 262


def upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """`image`, which must be loaded, as a new RGB image without metadata, so that nobody turns it a second time."""
    turn = _TURNS.get(_orientation(image))
    try:
        rgb = _rgb(image, name)
        rgb = rgb.transpose(turn) if turn is not None else rgb
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name} cannot be converted to RGB; save it as 8-bit RGB") from error
    rgb.info = {}
    return rgb


def _orientation(image: Image.Image) -> int:
    """1 to 8; anything unreadable or out of range counts as 1. Asked after loading: Pillow turns TIFF files itself."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
    return value if type(value) is int and value in _TURNS else 1


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _from_16_bit(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    if image.mode in ("RGB", "RGBX", "L", "1", "P", "CMYK", "YCbCr", "HSV"):
        return image.convert("RGB")
    raise InputError(f"{name} has pixels of kind {image.mode}, whose range is not known; save it as 8-bit RGB")


def _on_white(rgba: Image.Image) -> Image.Image:
    """Dropping alpha would show the colours that hide under transparent pixels."""
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _from_16_bit(image: Image.Image) -> Image.Image:
    """0..65535 to 0..255; Pillow's own conversion would make everything from 255 on white."""
    import numpy as np

    table = np.rint(np.arange(65536) / 257.0).astype(np.uint8)
    if getattr(image, "tag_v2", {}).get(262) == _WHITE_IS_ZERO:
        table = table[::-1]
    pixels = np.asarray(image)
    grey = table[pixels]
    clear = image.info.get("transparency")  # of a PNG: the one grey that is not there
    if isinstance(clear, int):
        grey[pixels == clear] = 255
    return Image.fromarray(grey)
