"""Items 1 to 20: cut files, bombs, extreme sizes; modes, depth, frames, orientation, misleading names."""

from __future__ import annotations

import io
import struct
import time

from making import KINDS, TRUNCATED, accepted, all_of, case, chunk, coded, cut, exif, file, picture, png, refused


@case
def item01_cut_files() -> str:
    return all_of(*(refused(cut(kind, percent), "truncated") for kind in KINDS for percent in (10, 50, 99)))


@case
def item02_cut_files_while_pillow_is_lenient() -> str:
    from PIL import ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = True
    wrong = all_of(*(refused(cut(kind, percent), "truncated") for kind in KINDS for percent in (10, 50, 99)))
    return wrong or ("" if ImageFile.LOAD_TRUNCATED_IMAGES is True else "the flag was not put back")


@case
def item02_lazy_pil_image_while_pillow_is_lenient() -> str:
    from PIL import Image, ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = True
    return refused(Image.open(io.BytesIO(cut("JPEG", 50))), "truncated")


@case
def item03_png_of_179_million_pixels() -> str:
    side = 13_377
    return refused(png(side, side, depth=1, data=bytes((side // 8 + 2) * side)), "pixels; the limit is 50 million")


@case
def item04_webp_bomb_of_34_bytes() -> str:
    from PIL import Image

    data = bytearray(coded(Image.new("RGB", (1, 1), (9, 9, 9)), "WEBP", lossless=True))
    at = data.index(b"VP8L") + 9
    bits = (int.from_bytes(data[at : at + 4], "little") >> 28 << 28) | (16_383 - 1) | (5_460 - 1) << 14
    data[at : at + 4] = bits.to_bytes(4, "little")
    return refused(bytes(data), "16383 x 5460 pixels; the limit")


@case
def item05_png_with_two_thousand_million_columns() -> str:
    return refused(png(2**31 - 1, 1), "pixels; the limit|truncated")


@case
def item06_empty_png() -> str:
    return all_of(*(refused(png(w, h), f"empty|{TRUNCATED}") for w, h in ((0, 0), (0, 10), (10, 0))))


@case
def item07_one_pixel() -> str:
    from PIL import Image

    return all_of(*(accepted(coded(Image.new("RGB", (1, 1), (9, 9, 9)), k), [[[9, 9, 9]]], tolerance=2) for k in KINDS))


@case
def item08_lines() -> str:
    from PIL import Image

    lines = (coded(Image.new("L", size), "PNG") for size in ((20_000, 1), (1, 20_000)))
    return all_of(accepted(coded(Image.new("L", (200, 1)), "PNG")), *(refused(line, "200 times") for line in lines))


@case
def item09_long_jpeg_line() -> str:
    from PIL import Image

    return refused(coded(Image.new("L", (65_500, 1)), "JPEG"), "200 times")


# 10 to 20: modes, depth, frames, orientation, names


@case
def item10_cmyk_jpeg() -> str:
    from PIL import Image

    red = coded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    return accepted(red, [[[255, 0, 0]] * 8] * 8, tolerance=6)


@case
def item11_modes() -> str:
    from PIL import Image

    grey, wrong = picture().convert("L"), []
    for mode in ("L", "1", "P", "RGBA", "CMYK", "YCbCr", "HSV"):
        image = picture().convert(mode)
        wrong.append(accepted(image, image.convert("RGB")))
    half = grey.copy()
    half.putalpha(Image.new("L", grey.size, 0))
    clear = Image.new("RGB", grey.size, "white")
    palette = picture().convert("P")
    palette.info["transparency"] = bytes(256)
    for image in (half, half.convert("RGBA"), palette, Image.new("PA", grey.size, (5, 0))):
        wrong.append(accepted(image, clear))
    wrong.append(accepted(coded(half, "PNG"), clear))
    wrong.append(accepted(coded(picture().convert("P"), "PNG", transparency=bytes(256)), clear))
    wrong.append(
        accepted(coded(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3)), [[[255] * 3] * 4] * 4)
    )
    return all_of(*wrong)


@case
def item12_hidden_colours_stay_hidden() -> str:
    from PIL import Image

    white = [[[255] * 3] * 4] * 4
    clear = Image.new("RGBA", (4, 4), (200, 10, 10, 0))
    return all_of(*(accepted(coded(clear, k, lossless=True), white) for k in ("PNG", "WEBP")), accepted(clear, white))


@case
def item13_sixteen_bit_grey() -> str:
    import numpy as np
    from PIL import Image

    values = np.array([[0, 257, 32_768, 65_535]], np.uint16)
    wanted = np.repeat(np.array([[0, 1, 128, 255]])[..., None], 3, axis=2)
    grey = Image.fromarray(values)
    big = Image.frombytes("I;16B", (4, 1), values.astype(">u2").tobytes())
    tags = ((256, 4), (257, 1), (258, 16), (259, 1), (262, 0), (273, 8), (277, 1), (278, 1), (279, 8))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    dark = b"II*\0" + struct.pack("<I", 16) + values.tobytes() + struct.pack("<H", len(tags)) + entries + bytes(4)
    return all_of(
        *(accepted(coded(grey, kind), wanted) for kind in ("PNG", "TIFF")),
        accepted(coded(big, "TIFF"), wanted),
        accepted(grey, wanted),
        accepted(big, wanted),
        accepted(dark, 255 - wanted),  # a TIFF that says that white is zero
    )


@case
def item14_pixels_without_a_range() -> str:
    import numpy as np
    from PIL import Image

    images = [Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)), Image.new("I", (8, 8), 70_000)]
    return all_of(*(refused(source, "range") for i in images for source in (i, coded(i, "TIFF"))))


@case
def item15_animations() -> str:
    first, others = picture(), [picture(64, 48).rotate(180), picture().rotate(90)]
    wrong = []
    for kind in ("GIF", "PNG", "WEBP"):
        data = coded(first, kind, save_all=True, append_images=others, **({"lossless": True} if kind == "WEBP" else {}))
        wrong.append(accepted(data, None if kind == "GIF" else first, note="several frames"))
    return all_of(*wrong, accepted(coded(first, "GIF")))


@case
def item16_tiff_of_3000_pages() -> str:
    tags = ((256, 4), (257, 2), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2), (279, 8))
    data = b"II*\0" + struct.pack("<I", 16) + bytes(range(8))
    for _ in range(3_000):
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        data += struct.pack("<H", len(tags)) + entries + struct.pack("<I", len(data) + 6 + len(entries))
    start = time.process_time()
    wrong = accepted(data[:-4] + bytes(4), [[[v] * 3 for v in range(r, r + 4)] for r in (0, 4)], note="several frames")
    return wrong or ("" if time.process_time() - start < 0.1 else "all pages were visited")


@case
def item17_orientations() -> str:
    from PIL import Image, ImageOps

    wrong = []
    for orientation in range(1, 9):
        for kind, options in (("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
            data = coded(picture(), kind, exif=exif(orientation), **options)
            image = Image.open(io.BytesIO(data))
            image.load()
            upright = ImageOps.exif_transpose(image).convert("RGB")
            if upright.size != ((48, 64) if orientation > 4 else (64, 48)):
                wrong.append(f"the test's own picture is wrong: {kind} {orientation}")
            lazy = Image.open(io.BytesIO(data))
            wrong += [accepted(data, upright), accepted(lazy, upright), accepted(upright, upright)]
    return all_of(*wrong)


@case
def item17_turned_once() -> str:
    from chiasm.images import open_image

    once = open_image(coded(picture(), "JPEG", exif=exif(6))).rgb
    return accepted(once, once)


@case
def item18_orientation_out_of_range() -> str:
    data = (coded(picture(), "PNG", exif=exif(orientation)) for orientation in (0, 9, 10, 65_535))
    return all_of(*(accepted(image, picture()) for image in data))


@case
def item19_garbage_exif() -> str:
    entry = struct.pack("<HHHI4sI", 1, 0x0112, 2, 4, b"six\0", 0)
    blobs = [
        b"Exif\0\0II*\0\x08\0\0\0" + entry,
        b"Exif\0\0" + b"\xff" * 500,
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\1" * 60_000,
        b"Exif\0\0",
    ]
    wrong = [accepted(coded(picture(), kind, exif=blob)) for blob in blobs for kind in ("JPEG", "PNG", "WEBP")]
    return all_of(*wrong, accepted(png(8, 8, chunk(b"eXIf", b"\0" * 64_000), data=bytes(72))))


@case
def item20_name_and_content_disagree() -> str:
    return all_of(
        accepted(file("really_png.jpg", coded(picture(), "PNG")), picture(), note="is a PNG file"),
        accepted(file("really_jpeg.txt", coded(picture(), "JPEG")), note="is a JPEG file"),
        accepted(file("no_suffix", coded(picture(), "PNG")), picture()),
        accepted(file("GOOD.JPEG", coded(picture(), "JPEG"))),
    )
