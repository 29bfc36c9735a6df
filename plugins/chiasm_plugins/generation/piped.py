"""Any text-to-image pipeline of diffusers as the thing that draws: projected slots take the place of its words.

The large form of generation: `chiasm.load(folder, plugins=[PipelinePlugin("a/pipeline")])` adds the task "pipeline".
What is trained is the projection alone, to say what the pipeline's own text encoder says of the phrase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from chiasm_registry import CoreInfo, InputError, Picture, Route, Sample, Scene, Task, TaskSpec, TrainingError, hookimpl
from torch import Tensor, nn

from .pipeline import prompt_width, read_pipeline
from .task import GenerationOptions

SLOTS = 4
STEPS, GUIDANCE = 20, 5.0
TOKENS = 77  # of a prompt, where a pipeline does not say


class SlotPrompts(nn.Module):
    """(K, D) slots of a route to (1, tokens, width) prompt embeddings: what is trained, while the pipeline stands."""

    def __init__(self, slots: int, width: int, tokens: int, out: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.project = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out), nn.GELU(), nn.Linear(out, out))
        self.spread = nn.Linear(slots, tokens)
        self.nothing = nn.Parameter(torch.randn(1, tokens, out) * 0.02)  # what an empty prompt is for guidance

    def forward(self, slots: Tensor) -> Tensor:
        said: Tensor = self.spread(self.project(slots).transpose(-1, -2)).transpose(-1, -2)
        return said[None] if said.ndim == 2 else said


class PipelineDecoder(nn.Module):
    """Implements `Decoder` on a pipeline of diffusers; the pipeline itself is neither trained nor saved here."""

    def __init__(self, pipeline: Any, core: CoreInfo) -> None:
        super().__init__()
        tokens = int(getattr(getattr(pipeline, "tokenizer", None), "model_max_length", TOKENS))
        self.prompts = SlotPrompts(SLOTS, core.width, tokens, prompt_width(pipeline))
        self._pipeline = (pipeline,)

    @property
    def pipeline(self) -> Any:
        """The pipeline that draws."""
        return self._pipeline[0]

    @torch.no_grad()
    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Picture]:
        """One picture a route; where the pipeline takes an image (image-to-image), it starts from the scene."""
        return [self._picture(scene, route) for route in routes]

    def _picture(self, scene: Scene, route: Route) -> Picture:
        options = route.options
        given: dict[str, Any] = {
            "prompt_embeds": self.prompts(route.slots),
            "negative_prompt_embeds": self.prompts.nothing.detach(),
            "generator": torch.Generator().manual_seed(options.seed),
            "num_inference_steps": options.steps or STEPS,
            "guidance_scale": GUIDANCE if options.guidance is None else options.guidance,
            "output_type": "pil",
        }
        if "Img2Img" in type(self.pipeline).__name__:
            if not scene.maps:
                raise InputError("this pipeline draws from an image; give one, as in run('generation', image, phrases)")
            given["image"] = scene.pixels(options.size or _native_side(self.pipeline))[None]
        elif options.size is not None:
            given |= {"height": options.size, "width": options.size}
        if options.on_step is not None:
            given["callback_on_step_end"] = _told(options.on_step, given["num_inference_steps"])
        return Picture.from_image(self.pipeline(**given).images[0])


    def prepare(self, options: Mapping[str, Any], initial: Mapping[str, Tensor]) -> None:
        """There is nothing to set."""
        if options:
            raise TrainingError(f"tasks.pipeline takes no keys, not {', '.join(options)}")

    def loss(
        self, scenes: Sequence[Scene], routes: Sequence[Sequence[Route]], targets: Sequence[Sequence[None]]
    ) -> Mapping[str, Tensor]:
        """How far the projected slots are from what the pipeline's text encoder makes of the phrases."""
        flat = [route for of_image in routes for route in of_image]
        device = flat[0].slots.device
        with torch.no_grad():
            encoded = self.pipeline.to(device).encode_prompt([route.phrase for route in flat], device, 1, True)
        said = self.prompts(torch.stack([route.slots for route in flat])).float()
        nothing = F.mse_loss(self.prompts.nothing.float().expand_as(said), encoded[1].float())
        return {"words": F.mse_loss(said, encoded[0].float()), "nothing": nothing}


class PipelineTask(Task):
    """Pictures by a pipeline of diffusers; with `image_to_image` they start from the image that is given."""

    def __init__(self, folder: str | Path, *, image_to_image: bool = False) -> None:
        self.folder, self.image_to_image = folder, image_to_image
        self.spec = TaskSpec(  # type: ignore[misc]  # one class, and whether an image is needed depends on the use
            name="pipeline",
            token="[PIPE]",
            embeddings=SLOTS,
            output=Picture,
            options=GenerationOptions,
            summary="a picture of what a phrase says, by a pipeline of diffusers",
            needs_image=image_to_image,
        )

    def decoder(self, core: CoreInfo) -> PipelineDecoder:
        """The pipeline, read from its folder, behind a fresh projection."""
        return PipelineDecoder(read_pipeline(self.folder, image_to_image=self.image_to_image), core)

    def targets(self, sample: Sample) -> Sequence[None]:
        """Nothing: the phrase itself is the truth."""
        return [None] * len(sample.phrases)


class PipelinePlugin:
    """A plugin object with the one task."""

    def __init__(self, folder: str | Path, *, image_to_image: bool = False) -> None:
        self._task = PipelineTask(folder, image_to_image=image_to_image)

    @hookimpl
    def chiasm_tasks(self) -> Sequence[Task]:
        """A `PipelineTask` for the folder."""
        return [self._task]


def _native_side(pipeline: Any) -> int:
    """Pixels a side of what the pipeline was made for."""
    network = getattr(pipeline, "unet", None) or pipeline.transformer
    return int(network.config.sample_size) * int(getattr(pipeline, "vae_scale_factor", 8))


def _told(on_step: Callable[[int, int], None], steps: int) -> Callable[..., dict[str, Any]]:
    """Diffusers' step callback that calls ours."""

    def callback(pipeline: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1, steps)
        return values

    return callback
