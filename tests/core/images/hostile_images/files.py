"""Items 21 to 34: other kinds of file, special files, strange paths, hostile content."""

from __future__ import annotations

import io
import os
import pathlib
import re
import socket
import sys
import time
import zipfile
import zlib
from typing import Any

from making import TRUNCATED, accepted, all_of, case, chunk, coded, file, picture, png, refused


@case
def item21_other_documents() -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("a.png", coded(picture(), "PNG"))
    svg = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'
    documents = (svg, b"<!doctype html><html>", b"%PDF-1.7\n%%EOF", archive.getvalue(), b"hello\n", bytes(5_000))
    return all_of(*(refused(document, "not an image of an allowed kind") for document in documents))


@case
def item22_eps_starts_no_ghostscript() -> str:
    import shutil
    import subprocess

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a program was started")

    subprocess.Popen = subprocess.check_call = os.system = shutil.which = never  # type: ignore[assignment,misc]
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    return all_of(refused(eps, "allowed kind"), refused(file("picture.png", eps), "allowed kind"))


@case
def item23_other_parsers_stay_shut() -> str:
    fits = b"SIMPLE  =                    T".ljust(2880)
    heads = (
        fits,
        b"8BPS\0\1" + bytes(40),
        b"icns" + bytes(40),
        b"\0\0\1\xb3" + bytes(40),
        b"\xd7\xcd\xc6\x9a" + bytes(40),
    )
    more = (
        b"\x89HDF\r\n\x1a\n" + bytes(40),
        b"GRIB" + bytes(40),
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        b"P6 1 1 255 abc",
    )
    wrong = all_of(*(refused(head, "allowed kind") for head in heads + more))
    opened = [
        name for name in sys.modules if re.fullmatch(r"PIL\.(Eps|Fits|Psd|Icns|Mpeg|Wmf|Hdf5|Grib|Jpeg2K)\w*", name)
    ]
    return wrong or ", ".join(opened)


@case
def item24_hardly_a_file() -> str:
    magics = (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"RIFF\0\0\0\0WEBP",
        b"II+\0",
    )
    wrong = [refused(magic, TRUNCATED) for magic in magics]
    return all_of(
        *wrong, refused(b"", "empty"), refused(file("empty.png", b""), "empty"), refused(b"x", "allowed kind")
    )


@case
def item25_folder() -> str:
    return refused(".", "is a folder")


@case
def item26_pipe_does_not_block() -> str:
    os.mkfifo("pipe.png")
    start = time.monotonic()
    wrong = refused("pipe.png", "not a regular file")
    return wrong or ("" if time.monotonic() - start < 5 else "took too long")


@case
def item27_devices_and_sockets() -> str:
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket.png")
    return all_of(
        *(refused(path, "not a regular file") for path in ("/dev/zero", "/dev/stdin", "/dev/null", "socket.png"))
    )


@case
def item28_links() -> str:
    good = file("target.png", coded(picture(), "PNG"))
    for name, target in (("good.png", good), ("passwd", "/etc/passwd"), ("dangling", "nowhere"), ("loop", "loop")):
        os.symlink(target, name)
    return all_of(
        accepted("good.png", picture()),
        refused("passwd", "allowed kind"),
        refused("dangling", "does not exist"),
        refused("loop", "link that leads to itself"),
    )


@case
def item29_strange_names() -> str:
    data = coded(picture(), "PNG")
    names = ("a\nb.png", "a\tb.png", "a\x1b[31mb.png", "a\u202egnp.exe.png", os.fsdecode(b"a\xff\xfe.png"), "ü 😀.png")
    wrong = [accepted(file(name, data), picture()) for name in names]
    wrong += [refused("no_" + name, "does not exist") for name in names]
    return all_of(
        *wrong, refused("n" * 300, "too long"), refused("a\0b.png", "not a valid"), refused("\ud800", "not a valid")
    )


@case
def item30_addresses_and_home() -> str:
    addresses = (
        "http://localhost/a.png",
        "https://x/a",
        "file:///etc/passwd",
        "ftp://x/a",
        "data:image/png;base64,AAAA",
    )
    unc = ("\\\\server\\share\\a.png", "//server/share/a.png", "file:a.png", pathlib.Path("http://localhost/a.png"))
    wrong = [refused(address, "only paths of local files") for address in addresses + unc]
    return all_of(
        *wrong, refused("~/a.png", "not expanded"), refused("~root/a.png", "not expanded"), refused("", "empty")
    )


@case
def item31_exchanged_between_check_and_read() -> str:
    file("swap.png", coded(picture(), "PNG"))
    file("other.png", b"something else")
    honest = os.fstat

    def exchange(descriptor: int) -> os.stat_result:
        os.replace("other.png", "swap.png")
        return honest(descriptor)

    os.fstat = exchange  # type: ignore[assignment]
    return accepted("swap.png", picture())


@case
def item31_shortened_between_check_and_read() -> str:
    data = coded(picture(), "PNG")
    file("short.png", data)
    honest = os.fstat

    def shorten(descriptor: int) -> os.stat_result:
        status = honest(descriptor)
        os.truncate("short.png", len(data) // 2)
        return status

    os.fstat = shorten  # type: ignore[assignment]
    return refused("short.png", "truncated")


@case
def item31_a_file_that_is_too_large() -> str:
    with open("large.png", "wb") as out:
        out.truncate(129 * 2**20)
    return refused("large.png", "larger than 128 MiB")


@case
def item32_compressed_bombs() -> str:
    bomb = zlib.compress(bytes(80 * 2**20), 9)
    chunks = (
        chunk(b"zTXt", b"a\0\0" + bomb),
        chunk(b"iCCP", b"a\0\0" + bomb),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
    )
    return all_of(*(refused(png(8, 8, bad, data=bytes(72)), TRUNCATED) for bad in chunks[:1] + chunks[2:]))


@case
def item32_profile_bomb_is_bounded() -> str:
    data = png(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80 * 2**20), 9)), data=bytes(72))
    return refused(data, TRUNCATED) and accepted(data)


@case
def item33_bad_checksum() -> str:
    data = bytearray(coded(picture(), "PNG"))
    data[data.index(b"IDAT") + 20] ^= 0xFF
    header = bytearray(coded(picture(), "PNG"))
    header[29] ^= 0xFF
    return all_of(refused(bytes(data), TRUNCATED), refused(bytes(header), TRUNCATED))


@case
def item34_png_with_a_tail() -> str:
    return accepted(coded(picture(), "PNG") + b"PK\x03\x04" + bytes(100), picture())
