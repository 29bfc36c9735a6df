"""The rules that every task should keep, each with its promise and with what an author does when it is broken."""

from __future__ import annotations

from collections.abc import Sequence

from . import declared, decoding, learning, manners, saving
from .bench import Bench
from .rule import Finding, Rule, tried

RULES: tuple[Rule, ...] = (
    Rule(
        "spec",
        "the spec is valid, can be written down as JSON, and every option has a default",
        "mend the TaskSpec; docs/tasks.md says what each field wants",
        declared.check_spec,
    ),
    Rule(
        "light",
        "reading the spec imports no torch",
        "import heavy libraries inside decoder(), targets() and metric(), never at the top of a file",
        declared.check_light,
    ),
    Rule(
        "token",
        "the routing token is one id of its own, also after the tokenizer is saved and loaded",
        "choose a word of your own in brackets, as [DEPTH]",
        declared.check_token,
    ),
    Rule(
        "empty",
        "an answer that nothing is there is valid",
        "give every field a default that means nothing, or do not override is_empty()",
        declared.check_empty,
    ),
    # before any other that calls the decoder: a class that was changed once stays so
    Rule(
        "beside",
        "another task answers the same with this one beside it",
        "change no class or function that is not yours",
        manners.check_beside,
    ),
    Rule(
        "answers",
        "each answer is of the declared class, finite, and inside the image",
        "return spec.output in pixels of scene.size_hw and clip places to it",
        decoding.check_answers,
    ),
    Rule(
        "batches",
        "none, one and three phrases are answered in order, each as if it had been asked alone",
        "treat each route by itself, and return [] where there is none",
        decoding.check_batches,
    ),
    Rule(
        "round_trip",
        "an answer read back from its JSON is the same",
        "keep plain values in the fields, and let no serializer round or drop them",
        decoding.check_round_trip,
    ),
    Rule(
        "scale",
        "the same picture with twice as many pixels gives the same places",
        "compute in units of the view and multiply with scene.size_hw at the very end",
        decoding.check_scale,
    ),
    Rule(
        "precision",
        "answers are finite in float32 and in bfloat16",
        "make new tensors with the type of the slots, and compute roots, logarithms and exponents in float32",
        decoding.check_precision,
    ),
    Rule(
        "seed",
        "under one seed a decoder is built and answers the same",
        "draw from torch.Generator().manual_seed(...) alone, never from the clock or the system",
        decoding.check_seed,
    ),
    Rule(
        "maps",
        "the decoder works with one feature map as well as with five",
        "build from all of core.maps, or from the last one; ask for no fixed number",
        decoding.check_maps,
    ),
    Rule(
        "losses",
        "targets() gives one target a phrase, and loss() named finite scalars",
        "return a dict of tensors without a dimension",
        learning.check_losses,
    ),
    Rule(
        "absent",
        "losses are finite where nothing is there",
        "take no mean over nothing: divide by max(1, count)",
        learning.check_absent,
    ),
    Rule(
        "gradients",
        "gradients reach the slots, the embeddings and every trained parameter of the decoder, and nothing else",
        "do not detach the slots; take out or freeze what the loss does not use; leave the core's tensors as they are",
        learning.check_gradients,
    ),
    Rule(
        "metric",
        "the metric gives finite numbers by name",
        "return {name: float} from compute(), also where nothing was to be found",
        learning.check_metric,
    ),
    Rule(
        "saved",
        "a decoder filled from another's tensors answers as that one",
        "keep everything that is drawn or learned in parameters and persistent buffers",
        saving.check_saved,
    ),
    Rule("drawing", "draw() says whether it drew", "return True, or False to leave it to core", saving.check_drawing),
    Rule(
        "inputs",
        "decode() changes nothing that it is handed",
        "clone a tensor before you change it in place",
        manners.check_inputs,
    ),
    Rule(
        "state",
        "no process-wide state is changed",
        "set no default, seed no global generator and change no directory; draw from a torch.Generator of your own",
        manners.check_state,
    ),
    Rule(
        "leftovers",
        "no thread, file, process or hook is left behind",
        "close and join what you open, with `with` where there is one",
        manners.check_leftovers,
    ),
)


def check_bench(bench: Bench, rules: Sequence[Rule] = RULES) -> list[Finding]:
    """Every rule tried on one task, in order; a broken one does not keep the others from being tried."""
    return [tried(rule, bench)[0] for rule in rules]
