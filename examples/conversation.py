"""A conversation about two photographs, streamed: text as it is said, outputs the moment they are known."""

from __future__ import annotations

import chiasm
from skimage import data

model = chiasm.load("nano")
session = model.chat()
for question, image in [("Can you find the cat?", data.chelsea()), ("Find the cup and the spoon.", data.coffee())]:
    stream = session.ask(question, image, stream=True)
    for event in stream:
        if isinstance(event, str):
            print(event, end="", flush=True)
        else:
            print(f"«{event.phrase}: {len(event.items)}»", end="", flush=True)
    print()
    for thing in stream.result.objects:
        print(thing.label, thing.score, thing.box)
