"""Ten places where a plugin's code runs, twelve things that it may do there: a package for each of the 120 cells.

A platform has no name for some of the places: `schema` is the validator of the task's output, `embeddings` the options'
validator, which runs while the prompt is made, and the rows of the task's file; `postprocess` is `found`; `draw` is the
task's drawing and its output's serializer; `close` is a `__del__` of the decoder and, for what only another process
survives, a handler at exit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Where = Literal["inside", "child", "interrupt", "nowhere"]

PLACES = (
    *("import", "register", "schema", "build", "load_weights"),
    *("embeddings", "decode", "postprocess", "draw", "close"),
)

DEEDS = {  # the same statement, wherever it stands
    "raises": "raise ValueError('at <object 0x7f0123456789>\\nsecond line')",
    "interrupts": "raise KeyboardInterrupt",
    "hangs": "time.sleep(99)",
    "changes state": "os.chdir('/'); os.environ['ACME'] = '1'; random.seed(1); set_torch()",
    "leaks": "KEPT.append(open(__file__)); threading.Thread(target=time.sleep, args=(5,), daemon=True).start()",
    "dies": "os._exit(0)",
    "is noisy": "print('noise')",
    "calls back": "import chiasm_registry; chiasm_registry.discover()",
}
# the same fault in what the place gives back: what stands there instead, "" where nothing is given
VALUES = {
    "gives nothing": {
        "import": "chiasm_tasks = None",
        "register": "return None",
        "schema": "return None",
        "build": "return None",
        "load_weights": "NOTHING = True",
        "embeddings": "return None",
        "decode": "return None",
        "postprocess": "return None",
        "draw": "return None",
        "close": "return None",
    },
    "gives no number": {
        "register": "BadTask.spec = BadTask.spec.model_copy(update={'embeddings': float('nan')})",
        "schema": "vars(self)['level'] = float('nan')",
        "build": "NAN = True",
        "load_weights": "FILE: nan in the decoder",
        "embeddings": "FILE: huge embeddings",
        "decode": "return [Answer.model_construct(items=(), level=float('inf')) for _ in routes]",
        "postprocess": "return iter([Found(float('nan'))])",
        "draw": "canvas.box((float('nan'), 0, 1e9, -3), 'x'); return True",
    },
    "gives too much": {
        "register": "return [BadTask()] * 10**6",
        "schema": "vars(self)['items'] = (1,) * 10**6",
        "build": "HUGE = True",
        "load_weights": "FILE: a tensor too many",
        "embeddings": "FILE: a row too many",
        "decode": "return [Answer.model_construct(items=(1,) * 10**6, level=0.0) for _ in routes]",
        "postprocess": "return itertools.repeat(Found(0.5))",
        "draw": "[canvas.text(1, 1, 'x') for _ in range(20_000)]; return True",
    },
    "changes its inputs": {
        "register": "vars(BadTask.spec)['token'] = 'nonsense'",
        "schema": "vars(self)['items'] = 'nonsense'",
        "build": "object.__setattr__(core, 'width', 1)",
        "load_weights": "[t.zero_() for t in tensors.values()]",
        "embeddings": "ZERO = True",
        "decode": "spoil(scene, routes)",
        "postprocess": "vars(self)['items'] = ()",
        "draw": "vars(output)['level'] = 'nonsense'",
    },
}

FAULTS = (*DEEDS, *VALUES)


@dataclass(frozen=True)
class Cell:
    """One package: the code, the weights' fault, and who must survive it."""

    place: str
    fault: str
    survives: Where
    code: str = ""
    file_fault: str = ""
    statement: str = field(default="", compare=False)


MODULE = '''
"""A package that does one bad thing in one place."""
import itertools, os, random, threading, time
from chiasm_registry import Boxes, Found, Task, TaskSpec, hookimpl
from pydantic import BaseModel, ConfigDict, field_serializer, model_validator

KEPT = []
NOTHING = NAN = HUGE = ZERO = False

def set_torch():
    import sys
    if torch := sys.modules.get("torch"):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(True)
        torch.manual_seed(3)

def spoil(scene, routes):
    for tensor in (*scene.maps, scene.pixels(8), *(t for r in routes for t in (r.slots, r.embeddings))):
        tensor.data.zero_()

class Answer(Boxes):
    level: float = 0.0

    @model_validator(mode="after")
    def check(self):
        #schema#
        return self

    def found(self):
        #postprocess#
        return iter(())

    @field_serializer("level", when_used="json")
    def write(self, level):
        #serialise#
        return level

class BadOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    sure: bool = True

    @model_validator(mode="after")
    def check(self):
        #embeddings#
        return self

class BadTask(Task):
    spec = TaskSpec(name="bad", token="[BAD]", embeddings=2, output=Answer, summary="bad", options=BadOptions)

    def decoder(self, core):
        import torch
        from torch import nn

        class BadDecoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.gain = nn.Parameter(torch.ones(core.width))
                if NAN:
                    self.gain.data.fill_(float("nan"))
                if HUGE:
                    self.more = nn.Parameter(torch.empty(5 * 10**9, dtype=torch.bfloat16), requires_grad=False)

            def grow(self, tensors):
                #load_weights#
                pass

            def state_dict(self, *args, **more):
                return None if NOTHING else super().state_dict(*args, **more)

            def decode(self, scene, routes):
                if ZERO:
                    [r.embeddings.data.zero_() for r in routes]
                #decode#
                return [Answer(level=float((r.slots * self.gain).sum())) for r in routes]

            #close#

        #build#
        return BadDecoder()

    def draw(self, canvas, output):
        #draw#
        return False

@hookimpl
def chiasm_tasks():
    #register#
    return [BadTask()]

#import#
'''

_CLOSE = "def __del__(self):\n                {}"
_AT_EXIT = "import atexit; atexit.register(lambda: ({}))"
_FLAGS = ("NOTHING", "NAN", "HUGE", "ZERO")


def cells() -> list[Cell]:
    """All 120."""
    return [_cell(place, fault) for place in PLACES for fault in FAULTS]


def sound_code() -> str:
    """The package without a fault."""
    return filled({})


def _cell(place: str, fault: str) -> Cell:
    statement = DEEDS[fault] if fault in DEEDS else VALUES[fault].get(place, "")
    if not statement or (place, fault) == ("import", "calls back"):
        return Cell(place, fault, "nowhere")
    survives: Where = "inside"
    if fault in ("hangs", "dies"):
        survives = "child"
    elif fault == "interrupts" and place != "close":
        survives = "interrupt"
    if statement.startswith("FILE: "):
        return Cell(place, fault, survives, sound_code(), statement.removeprefix("FILE: "), statement)
    if statement.split(" = ")[0] in _FLAGS:
        flag = statement.split(" = ")[0]
        return Cell(place, fault, survives, filled({"import": f"{flag} = True"}), "", statement)
    return Cell(place, fault, survives, filled(_statements(place, fault, statement)), "", statement)


def _statements(place: str, fault: str, statement: str) -> dict[str, str]:
    if place == "close" and fault in ("hangs", "dies"):
        return {"import": _AT_EXIT.format(statement)}
    if place == "close":
        return {"close": _CLOSE.format(statement)}
    if place == "draw" and fault in DEEDS and fault != "interrupts":  # pydantic makes an error of that one
        return {"draw": statement, "serialise": statement}
    return {place: statement}


def filled(statements: dict[str, str]) -> str:
    """The package with a statement in each of these places."""
    code = MODULE
    for place in (*PLACES, "serialise"):
        code = code.replace(f"#{place}#", statements.get(place, "pass"))
    return code
