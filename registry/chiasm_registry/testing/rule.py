"""A rule of the conformance kit: what is promised, how it is tried, and what an author does when it is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..errors import PluginError, shown
from ..guard import clean, fault_text

if TYPE_CHECKING:
    from .bench import Bench

Verdict = Literal["ok", "failed", "skipped"]

REASON_CHARS = 400


class BrokenRuleError(PluginError):
    """A task does not keep a rule; the message is the fact alone, the cure is the rule's."""


class NotApplicableError(PluginError):
    """A rule says nothing about this task; the message says why."""


@dataclass(frozen=True)
class Rule:
    """One thing that every task should keep."""

    name: str
    promise: str
    cure: str
    check: Callable[[Bench], None]


@dataclass(frozen=True)
class Finding:
    """What came of one rule; `reason` is one line, empty where it is kept."""

    rule: str
    verdict: Verdict
    reason: str = ""


def tried(rule: Rule, bench: Bench) -> tuple[Finding, BaseException | None]:
    """The finding of one rule, and the exception behind it; only KeyboardInterrupt comes through."""
    try:
        rule.check(bench)
    except KeyboardInterrupt:
        raise
    except NotApplicableError as error:
        return Finding(rule.name, "skipped", clean(str(error), REASON_CHARS)), None
    except BaseException as error:  # a plugin may raise anything
        fact = str(error) if isinstance(error, BrokenRuleError) else f"it raised {fault_text(error, bench.home)}"
        return Finding(rule.name, "failed", clean(f"{shown(fact, 240)}; {rule.cure}", REASON_CHARS)), error
    return Finding(rule.name, "ok"), None
