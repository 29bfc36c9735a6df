"""Bad packages, as somebody may well publish them: each a wheel, with what the platform says of it.

The numbers are those of the list of 32 kinds; most kinds have several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.bad_plugins.matrix import Where, filled, sound_code
from registry.installing import wheel

ENTRY = "[chiasm.plugins]\nbad = acme_bad\n"


@dataclass(frozen=True)
class Package:
    """One bad package. `reason` and `notice` are patterns of what is said when it is listed, and when it is asked."""

    number: int
    name: str
    code: str = ""
    status: str = "failed"
    reason: str = ""
    notice: str = ""
    survives: Where = "inside"
    entry: str = ENTRY
    metadata: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    rival: str = ""  # a second distribution with the same package's code and entry point
    good: str = "ok"  # what becomes of the neighbour

    @property
    def id(self) -> str:
        return f"{self.number:02}-{self.name}".replace(" ", "_")

    def wheels(self, folder: Path) -> list[Path]:
        """Its wheel, and its rival's."""
        files = {"acme_bad.py": self.code or sound_code(), **self.files}
        made = [wheel(folder, "acme-bad", files, self.entry, metadata=self.metadata)]
        if self.rival:
            other = ENTRY.replace("acme_bad", "acme_other")
            made.append(wheel(folder, self.rival, {"acme_other.py": sound_code()}, other))
        return made


def at_import(number: int, name: str, statement: str, reason: str, status: str = "failed", **more: object) -> Package:
    """It does something when it is imported, and would be sound otherwise."""
    code = f"{statement}\n{sound_code()}"
    return Package(number, name, code, status, reason, **more)  # type: ignore[arg-type]


def at_decode(number: int, name: str, statement: str, notice: str) -> Package:
    """It is sound until it is asked."""
    return Package(number, name, filled({"decode": statement}), "ok", notice=notice)


def hook(number: int, name: str, text: str, reason: str) -> Package:
    """Its hook is another one."""
    code = sound_code().replace("@hookimpl\ndef chiasm_tasks():\n    pass\n    return [BadTask()]", text)
    return Package(number, name, code, "failed", reason)


def spec(number: int, name: str, old: str, new: str, reason: str, **more: object) -> Package:
    """Its declaration is another one."""
    code = sound_code()
    assert old in code, old
    return Package(number, name, code.replace(old, new), reason=reason, **more)  # type: ignore[arg-type]


STATE = "state at import"
IN_DECODE = r"task 'bad' changed the .*{}.*; put back"
UNUSABLE = "task 'bad' gave an answer that cannot be used: "
BOX = "Answer.model_construct(items=(ScoredBox(box=Box(xyxy={}), score=0.5),), level=0.0)"
PARTS = "from chiasm_registry import Box, Mask, ScoredBox; import numpy, torch; "


def answering(number: int, name: str, value: str, notice: str) -> Package:
    """It answers something unusable."""
    return at_decode(number, name, f"{PARTS}return [{value} for _ in routes]", notice)


def changing(statement: str, what: str) -> Package:
    """It changes state of the libraries in decode."""
    return at_decode(
        15, f"changes the {what}", f"import torch, numpy, warnings, PIL.Image; {statement}", IN_DECODE.format(what)
    )


PACKAGES: tuple[Package, ...] = (
    at_import(1, "ImportError", "from os import nothing_of_the_kind", r"ImportError at acme_bad\.py:1"),
    at_import(
        1, "a module that is missing", "import nothing_of_the_kind", "needs the module 'nothing_of_the_kind'", "missing"
    ),
    at_import(2, "SyntaxError", "def", r"SyntaxError at acme_bad\.py:1"),
    at_import(3, "sys.exit", "import sys; sys.exit(3)", "SystemExit"),
    at_import(4, "SystemExit", "raise SystemExit", "SystemExit"),
    at_import(5, "KeyboardInterrupt", "raise KeyboardInterrupt", "", survives="interrupt"),
    at_import(6, "an exception of its own", "class E(BaseException): pass\nraise E", "E at acme_bad"),
    at_import(7, "RecursionError", "def f(): f()\nf()", "RecursionError"),
    at_import(8, "hangs", "import time; time.sleep(99)", "", survives="child"),
    at_import(9, "os._exit", "import os; os._exit(0)", "", survives="child"),
    at_import(10, "segfault", "import ctypes; ctypes.string_at(0)", "", survives="child"),
    at_import(11, "forks", "import os; os.fork()", "", "ok"),
    at_import(12, "prints", "print('noise')", "", "ok"),
    at_import(12, "closes stdout", "import sys; sys.stdout.close(); sys.__stdout__.close()", "", "ok"),
    at_import(13, "chdir", "import os; os.chdir('/')", "changed the working directory; put back", "ok"),
    at_import(13, "umask", "import os; os.umask(0)", "changed the umask; put back", "ok"),
    at_import(13, "excepthook", "import sys; sys.excepthook = print", "changed the sys.excepthook", "ok"),
    at_import(13, "sys.path", "import sys; sys.path.insert(0, '/acme')", "changed the path of imports", "ok"),
    at_import(13, "environ", "import os; os.environ['PATH'] = ''", "changed the environment", "ok"),
    at_import(
        14,
        "replaces pluggy's register",
        "import pluggy; pluggy.PluginManager.register = lambda *a, **k: None",
        "changed the registration of pluggy; put back",
        "ok",
    ),
    changing("torch.set_default_dtype(torch.float64)", "default dtype"),
    changing("torch.manual_seed(3); torch.rand(1)", "random generator of torch"),
    changing("torch.set_default_device('meta')", "default device"),
    changing("torch.set_num_threads(torch.get_num_threads() + 1)", "number of threads"),
    changing("torch.set_grad_enabled(True)", "grad mode"),
    changing("torch.use_deterministic_algorithms(True)", "deterministic mode"),
    changing("numpy.seterr(all='raise')", "numpy's error settings"),
    changing("warnings.simplefilter('error')", "filters of warnings"),
    changing("PIL.Image.MAX_IMAGE_PIXELS = None", "PIL.Image.MAX_IMAGE_PIXELS"),
    spec(16, "of the future", 'summary="bad"', 'summary="bad", api=">=2"', "asks for API '>=2'", status="incompatible"),
    spec(16, "for no version", 'summary="bad"', 'summary="bad", api=""', "asks for API ''", status="incompatible"),
    spec(16, "version is no text", 'summary="bad"', 'summary="bad", api=1', "TaskSpec does not fit its schema at api"),
    Package(
        17,
        "a name that another has",
        status="conflict",
        reason="claimed by acme-bad and acme-rival",
        rival="acme-rival",
    ),
    spec(
        18, "a token that another has", "[BAD]", "[GOOD]", "acme-bad and acme-good", status="conflict", good="conflict"
    ),
    hook(
        18,
        "one token twice",
        "class Twin(BadTask):\n    spec = BadTask.spec.model_copy(update={'name': 'twin'})\n"
        "@hookimpl\ndef chiasm_tasks():\n    return [BadTask(), Twin()]",
        r"two of its tasks have the token '\[BAD\]'",
    ),
    spec(18, "an empty token", "[BAD]", "", "TaskSpec does not fit its schema at token"),
    spec(18, "a word as token", "[BAD]", "cat", "TaskSpec does not fit its schema at token"),
    spec(18, "a token of ours", "[BAD]", "<ref>", "TaskSpec does not fit its schema at token"),
    spec(18, "a token with a tail", "[BAD]", "[GOOD]x", "TaskSpec does not fit its schema at token"),
    hook(
        19,
        "a hook misspelt",
        "@hookimpl\ndef chiasm_task():\n    return [BadTask()]",
        "a hook 'chiasm_task' that chiasm",
    ),
    hook(20, "a hook with an argument", "@hookimpl\ndef chiasm_tasks(core):\n    return []", "without arguments"),
    Package(
        21,
        "an entry point that is no module",
        entry="[chiasm.plugins]\nbad = what is this?\n",
        reason="names no module",
    ),
    Package(
        21, "an entry point to nothing", entry="[chiasm.plugins]\nbad = acme_bad:nobody\n", reason="has no 'nobody'"
    ),
    hook(
        22, "a wrapper", "@hookimpl(wrapper=True)\ndef chiasm_tasks():\n    yield\n    return []", "wrapper or tryfirst"
    ),
    hook(22, "a first", "@hookimpl(tryfirst=True)\ndef chiasm_tasks():\n    return []", "wrapper or tryfirst"),
    hook(23, "a hook that raises", "@hookimpl\ndef chiasm_tasks():\n    raise ValueError", "ValueError at acme_bad"),
    hook(23, "a hook that leaves", "@hookimpl\ndef chiasm_tasks():\n    raise SystemExit(0)", "SystemExit at acme_bad"),
    hook(24, "None", "@hookimpl\ndef chiasm_tasks():\n    return None", "returned NoneType; return a list"),
    hook(24, "a generator", "@hookimpl\ndef chiasm_tasks():\n    yield BadTask()", "returned generator; return a list"),
    hook(24, "a coroutine", "@hookimpl\nasync def chiasm_tasks():\n    return []", "returned coroutine; return a list"),
    hook(24, "a number", "@hookimpl\ndef chiasm_tasks():\n    return [1]", "returned a int where a Task"),
    hook(
        24,
        "a list that lies",
        "class Evil(list):\n    def __len__(self): return 1\n"
        "    def __iter__(self): return itertools.repeat(BadTask())\n"
        "    def __eq__(self, other): raise SystemExit\n@hookimpl\ndef chiasm_tasks():\n    return Evil()",
        "returned Evil; return a list",
    ),
    answering(25, "NaN", "Answer.model_construct(items=(), level=float('nan'))", UNUSABLE + "Answer does not fit"),
    answering(25, "infinity", "Answer.model_construct(items=(), level=float('inf'))", UNUSABLE + "Answer does not fit"),
    answering(25, "left of the image", BOX.format("(-9.0, 0.0, 1.0, 1.0)"), UNUSABLE + "a box at .* is outside"),
    answering(25, "off the image", BOX.format("(0.0, 0.0, 999.0, 1.0)"), UNUSABLE + "a box at .* is outside"),
    answering(
        25, "a tensor in a field", "Answer.model_construct(items=(), level=torch.zeros(()))", UNUSABLE + ".*Tensor"
    ),
    answering(25, "a uint16 mask", "Mask.from_numpy(numpy.ones((2, 2), numpy.uint16))", "task 'bad' failed: "),
    answering(25, "a tensor that learns", "torch.zeros(4, requires_grad=True)", UNUSABLE + ".*not Tensor"),
    answering(25, "the core's own memory", "scene.maps[0]", UNUSABLE + ".*not Tensor"),
    answering(
        26, "a million items", "Answer.model_construct(items=(1,) * 10**6, level=0.0)", UNUSABLE + ".*the limit is"
    ),
    answering(26, "a tensor of 10 GB", "torch.empty(10 * 2**30, dtype=torch.uint8)", ".*(not Tensor|RuntimeError)"),
    at_decode(26, "an endless iterator", "return itertools.repeat(Answer())", "must return a list or tuple"),
    spec(
        27,
        "a schema that takes anything",
        "output=Answer",
        "output=type('L', (Answer,), {'model_config': {'extra': 'allow'}})",
        "loosens Output's configuration",
    ),
    answering(
        27,
        "edited afterwards",
        "(lambda a: (vars(a).update(level='x'), a)[1])(Answer())",
        UNUSABLE + "Answer does not fit",
    ),
    at_decode(28, "spoils its inputs", "spoil(scene, routes)", ""),
    at_decode(
        28, "spoils them by numpy", "[m.numpy().fill(0) for m in scene.maps]; routes[0].slots.numpy().fill(0)", ""
    ),
    at_decode(
        29,
        "leaves a thread",
        "threading.Thread(target=lambda: time.sleep(5), daemon=True).start()",
        "left a running thread behind",
    ),
    at_decode(29, "leaves a file", "KEPT.append(open(__file__))", "left an open file"),
    at_decode(
        29,
        "leaves a hook",
        "import torch; KEPT.append(torch.nn.modules.module.register_module_forward_hook(lambda *_: None))",
        "left a hook on all modules",
    ),
    at_decode(
        30,
        "calls back",
        "import chiasm_registry; chiasm_registry.discover()",
        "called the platform back; it may only answer",
    ),
    at_decode(
        30,
        "calls back from a thread",
        "import chiasm_registry; t = threading.Thread(target=lambda: chiasm_registry.discover()); t.start(); t.join()",
        "",
    ),
    at_decode(30, "keeps its inputs", "KEPT.extend([scene, routes])", ""),
    Package(31, "a module called json", files={"json.py": "x = 1"}, reason="brings a module 'json'"),
    Package(31, "a package called torch", files={"torch/__init__.py": ""}, reason="brings a module 'torch'"),
    Package(31, "ours written over", files={"chiasm/model.py": ""}, reason="brings a module 'chiasm'"),
    Package(31, "a .pth file", files={"acme.pth": "import os"}, reason=r"brings a \.pth file"),
    at_decode(32, "slow", "time.sleep(0.4)", r"took \d\.\d s, more than its limit of 0\.3 s"),
    Package(
        32,
        "wants another torch",
        metadata="Requires-Dist: torch<2\n",
        status="incompatible",
        reason="it needs torch<2, and",
    ),
    Package(
        32,
        "wants what is missing",
        metadata="Requires-Dist: acme-nothing>=3\n",
        status="missing",
        reason="pip install 'acme-nothing>=3'",
    ),
)
