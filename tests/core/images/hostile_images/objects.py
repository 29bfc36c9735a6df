"""Items 35 to 41: arrays, tensors, buffers, PIL images, and what is no image at all."""

from __future__ import annotations

import io
import os
import pathlib
from typing import Any

from making import accepted, all_of, array, case, coded, file, picture, refused


@case
def item35_array_layouts() -> str:
    import numpy as np

    good = array()
    kept = good.copy()
    frozen = good.copy()
    frozen.flags.writeable = False
    row = np.broadcast_to(good[:1], good.shape)
    views = (good, good[::-1], good[:, ::-1], good[..., ::-1], np.asfortranarray(good), frozen, row, good[::2, ::3])
    wrong = [accepted(view, np.ascontiguousarray(view)) for view in views]
    return all_of(*wrong, "" if np.array_equal(good, kept) else "the caller's array was written")


@case
def item35_copies_are_private() -> str:
    from chiasm.images import open_image

    mine, image = array(), picture()
    for source in (mine, image):
        open_image(source).rgb.paste((0, 0, 0), (0, 0, 64, 48))
    opened = open_image(mine)
    mine[:] = 0
    return all_of(accepted(opened.rgb, picture()), accepted(image, picture()))


@case
def item36_other_dtypes() -> str:
    import numpy as np

    good = array()
    kinds = (np.float32, np.float64, np.float16, np.int64, np.uint16, ">u2", np.bool_, np.int8, np.complex64, object)
    wrong = [refused(good.astype(kind), "expected uint8 HxWx3") for kind in kinds]
    for value in (np.nan, np.inf):
        wrong.append(refused(np.full((4, 4, 3), value), "expected uint8 HxWx3"))
    structured = np.zeros((4, 4), [("r", np.uint8), ("g", np.uint8), ("b", np.uint8)])
    return all_of(*wrong, refused(structured, "expected uint8 HxWx3"))


@case
def item37_shapes() -> str:
    import numpy as np

    good = array()
    alpha = np.dstack([good, np.zeros((48, 64), np.uint8)])
    bad = ((48, 64, 1), (48, 64, 2), (48, 64, 5), (3, 48, 64), (2, 48, 64, 3), (64,), ())
    return all_of(
        accepted(good[..., 0], np.dstack([good[..., 0]] * 3)),
        accepted(alpha, np.full_like(good, 255)),
        *(refused(np.zeros(shape, np.uint8), "has the shape .*expected uint8 HxWx3") for shape in bad),
        *(refused(np.zeros(shape, np.uint8), "empty") for shape in ((0, 5, 3), (5, 0, 3), (0, 0))),
    )


@case
def item38_huge_broadcast() -> str:
    import numpy as np

    one = np.zeros((1, 1), np.uint8)
    return all_of(
        refused(np.broadcast_to(one, (20_000, 20_000)), "pixels; the limit"),
        refused(np.broadcast_to(one[..., None], (20_000, 20_000, 3)), "pixels; the limit"),
    )


@case
def item39_torch_tensors() -> str:
    import torch
    from chiasm.images import open_image

    good = torch.from_numpy(array()).permute(2, 0, 1)
    kept = good.clone()
    open_image(good).rgb.paste((0, 0, 0), (0, 0, 64, 48))
    bad = (good.float() / 255, good.to(torch.int64), good > 3, good.permute(1, 2, 0), good[0], good[None], good[:1])
    return all_of(
        *(accepted(view, view.permute(1, 2, 0).numpy()) for view in (good, good.contiguous(), good.flip(2))),
        *(refused(tensor, "expected uint8 3xHxW") for tensor in bad),
        refused(torch.empty(3, 4, 4, dtype=torch.uint8, device="meta"), "no plain pixels"),
        refused(torch.zeros(1, dtype=torch.uint8).expand(3, 20_000, 20_000), "pixels; the limit"),
        refused(torch.zeros(3, 0, 4, dtype=torch.uint8), "empty"),
        "" if torch.equal(good, kept) else "the caller's tensor was written",
    )


@case
def item39_buffers_and_closed_images() -> str:
    from PIL import Image

    data = coded(picture(), "PNG")
    stream, closed = io.BytesIO(data), Image.open(io.BytesIO(data))
    stream.seek(10)
    closed.close()
    loaded = picture()
    loaded.close()
    with open(file("opened.png", data), "rb") as handle:
        wrong = [refused(handle, "an image is a path")]
    wrong += [refused(handle, "an image is a path"), refused(stream, "an image is a path")]
    wrong += [refused(image, "closed") for image in (closed, loaded)]
    return all_of(accepted(memoryview(data), picture()), accepted(bytearray(data), picture()), *wrong)


@case
def item39_lazy_image_shared_by_threads() -> str:
    from concurrent.futures import ThreadPoolExecutor

    from PIL import Image

    wrong: list[str] = []
    for _ in range(10):
        lazy = Image.open(io.BytesIO(coded(picture(), "PNG")))
        with ThreadPoolExecutor(8) as pool:
            wrong += pool.map(lambda image: accepted(image, picture()), [lazy] * 8)
    return all_of(*wrong)


@case
def item40_bytes_are_no_path() -> str:
    name = file("path.png", coded(picture(), "PNG"))
    return all_of(
        accepted(coded(picture(), "PNG"), picture()),
        accepted(pathlib.Path(name), picture()),
        refused(os.fsencode(name), "allowed kind"),
        refused(coded(picture(), "PNG").decode("latin-1"), "not a valid file name"),
    )


@case
def item41_other_types() -> str:
    class Text(str):
        __slots__ = ()

    class Raising:
        def __fspath__(self) -> str:
            raise RuntimeError("0xdeadbeef")

    class BytesPath:
        def __fspath__(self) -> bytes:
            return b"path.png"

    others: tuple[Any, ...] = (None, 5, 1.5, True, [], ["a.png"], {}, (), object(), Text("a.png"), picture, b"".join)
    wrong = [refused(other, "an image is a path") for other in others]
    return all_of(*wrong, refused(Raising(), "does not give a path"), refused(BytesPath(), "path is text"))
