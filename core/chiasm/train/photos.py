"""All photographs of a training set, decoded once and kept as one uint8 tensor; an unreadable one is named.

Every photograph is stretched to a square of `size` pixels (PIL bicubic), the form in which views are cut on the device.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import torch
from chiasm_registry.errors import ChiasmError, TrainingError

from .data import BadSample, Record

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 512  # photographs that the fallback remembers
REPORT_EVERY = 500


class PhotoStore:
    """`store[i]` is the (3, S, S) uint8 photograph of record i.

    Where the whole set fits into `limit_gib` it is decoded at once by threads into `pixels` (N, 3, S, S); else `pixels`
    is None and photographs are decoded when they are asked for. A bad one stops, or is reported and left out of
    `records`, as `on_bad` says; where nothing is kept, all are decoded once to find those that are to be left out.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        size: int = 480,
        limit_gib: float = 8.0,
        workers: int | None = None,
        on_bad: Literal["skip", "stop"] = "stop",
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.on_bad = on_bad
        self.records, self.size, self.report = tuple(records), size, report
        self.device = torch.device("cpu")
        self.pixels: Tensor | None = None
        self._recent: OrderedDict[int, Tensor] = OrderedDict()
        self._workers = workers or os.cpu_count() or 1
        need_gib = len(self.records) * 3 * size * size / 2**30
        if need_gib <= limit_gib:
            self.pixels = self._decode_all()
        else:
            report(f"{len(self.records)} photographs need {need_gib:.1f} GiB, over {limit_gib:g}: decoded as needed")
            if on_bad == "skip":
                self._each(lambda index: decode(self.records[index], size), "looked at")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Tensor:
        """(3, S, S) uint8; BadSample if the file cannot be read or has another size than its record says."""
        if self.pixels is not None:
            return self.pixels[index]
        if index not in self._recent:
            self._recent[index] = decode(self.records[index], self.size)
            while len(self._recent) > KEPT:
                self._recent.popitem(last=False)
        return self._recent[index]

    def to(self, device: torch.device | str) -> PhotoStore:
        """Move the tensor (in the fallback, where later batches go) and return self."""
        self.device = torch.device(device)
        if self.pixels is not None:
            self.pixels = self.pixels.to(self.device)
        return self

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """A tensor of photographs and the positions of those asked for in it: the whole store, or just these."""
        if self.pixels is not None:
            return self.pixels, index
        wanted, positions = torch.unique(index.cpu(), return_inverse=True)
        with ThreadPoolExecutor(self._workers) as pool:
            photographs = torch.stack(list(pool.map(self.__getitem__, wanted.tolist())))
        return photographs.to(self.device), positions.to(self.device)

    def _decode_all(self) -> Tensor:
        pixels = torch.empty((len(self.records), 3, self.size, self.size), dtype=torch.uint8)

        def fill(index: int) -> None:
            pixels[index] = decode(self.records[index], self.size)

        kept = self._each(fill, "decoded")
        return pixels if len(kept) == len(pixels) else pixels[kept]

    def _each(self, do: Callable[[int], object], deed: str) -> list[int]:
        """Do something with every record by its index, in threads; the indices of those that stay in `records`."""
        bad: dict[int, BadSample] = {}

        def attempt(index: int) -> None:
            try:
                do(index)
            except BadSample as error:
                if self.on_bad == "stop":
                    raise
                bad[index] = error

        with ThreadPoolExecutor(self._workers) as pool:
            try:
                for done, _ in enumerate(pool.map(attempt, range(len(self.records))), start=1):
                    if done % REPORT_EVERY == 0:
                        self.report(f"{done} of {len(self.records)} photographs {deed}")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        for index in sorted(bad):
            self.report(f"skipped {bad[index]}")
        kept = [index for index in range(len(self.records)) if index not in bad]
        if not kept:
            raise TrainingError("no photograph of the set can be read")
        self.records = tuple(self.records[index] for index in kept)
        return kept


def decode(record: Record, size: int) -> Tensor:
    """(3, size, size) uint8 RGB, the whole photograph stretched; BadSample if it is unreadable or of another size."""
    import numpy as np
    from PIL import Image

    from ..images import open_image

    try:
        opened = open_image(record.path)
    except ChiasmError as error:
        raise BadSample(record.image_id, f"{record.path.name} cannot be read as an image") from error
    if opened.size_hw != record.size_hw:
        was, want = opened.size_hw, record.size_hw
        raise BadSample(record.image_id, f"the file has {was[1]} x {was[0]} pixels, its record {want[1]} x {want[0]}")
    square = opened.rgb.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()
