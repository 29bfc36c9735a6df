"""`chiasm draw`: pictures from words, each from a seed of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from chiasm_registry.errors import InputError, shown, shown_path

from .errors import complain
from .options import Device, ModelName

_MOST = 1000  # pictures of one call


def command(
    prompt: Annotated[str, typer.Argument(metavar="WORDS", help="What to draw: 'a red bus'.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the picture goes.", show_default=False)],
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed is another picture.")] = 0,
    count: Annotated[
        int, typer.Option(metavar="N", min=1, max=_MOST, help="So many, from this seed on: FILE-0, FILE-1 ...")
    ] = 1,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Steps from noise to picture.")] = None,
    guidance: Annotated[
        float | None, typer.Option(metavar="X", help="How closely to follow the words; 1 is not at all.")
    ] = None,
    size: Annotated[int | None, typer.Option(metavar="PIXELS", help="Side of the picture.")] = None,
    model: ModelName = "nano",
    device: Device = "cpu",
) -> None:
    """Draw what words say."""
    from .progress import Progress
    from .start import kept_for_good

    with Progress(count, "loading the model") as progress:
        with kept_for_good():
            import chiasm
            from chiasm.export import picture_format, save_picture

            picture_format(out)  # before any work
            loaded = chiasm.load(model, device=device)
        progress.say("drawing")
        for number in range(seed, seed + count):
            result = loaded.draw(prompt, seed=number, steps=steps, guidance=guidance, size=size)
            with progress.step():
                for notice in result.notices:
                    complain(shown(notice.text, 400))
                if not result.pictures:
                    raise InputError("no picture came of it; what the model had to note stands above")
                target = out if count == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
                save_picture(result.pictures[0].image, target)
                typer.echo(shown_path(target, 200))
