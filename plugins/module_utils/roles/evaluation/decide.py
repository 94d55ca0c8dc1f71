"""What is evaluated, and what stands in its way. Runs on the controller, before anything is started. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...core.settings import Settings
from ...evaluation import choice
from ...evaluation.asked import spec_of
from ...evaluation.spec import Spec
from ...evaluation.subjects import Subject
from ...findings.finding import Finding, finding
from ...machine.gpu import Gpu, names
from .observe import Observation


@dataclass(frozen=True)
class Decision:
    """`chosen`: what is evaluated, the base first. `lines`: the same in words, for a dry run."""

    chosen: tuple[Subject, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.chosen)


def decide(seen: Observation, settings: Settings, gpus: Sequence[Gpu]) -> Decision:
    """`gpus`: as the plan has seen them."""
    spec = spec_of(settings)
    chosen, findings = choice.choose(seen.found, spec)
    return Decision(chosen, (*findings, *_busy(seen), *_gpus(seen, spec, gpus)))


def _busy(seen: Observation) -> Iterator[Finding]:
    if seen.busy:
        yield finding(
            "EVALUATION_BUSY",
            variable="training_state",
            found=", ".join(f"{name} is {active}" for name, active in sorted(seen.busy.items())),
            expected="no training, and no evaluation of another run, on this host",
        )


def _gpus(seen: Observation, spec: Spec, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """Without a GPU nothing is judged: the role nvidia judges that. While our own evaluation works, it holds them."""
    if not spec.gpus or not gpus or seen.going or seen.found.need is None:
        return
    least = seen.found.need
    need = least.resident if least.streamed is None else least.streamed
    largest = max(gpus, key=lambda one: one.memory_bytes)
    if largest.memory_bytes < need:
        yield finding(
            "EVALUATION_GPU_SMALL",
            variable="evaluation_mode",
            found=f"{names(gpus)}, {largest.memory_bytes / 1e9:.1f} GB each",
            expected=f"{need / 1e9:.1f} GB for {spec.mode}",
        )
        return
    free = max(one.memory_bytes - one.memory_used_bytes for one in gpus)
    if free < need:
        holders = ", ".join(sorted({name for one in gpus for name in one.busy_processes})[:5])
        yield finding(
            "EVALUATION_BUSY",
            variable="evaluation_mode",
            found=f"at most {free / 1e9:.1f} GB of a GPU are free; held by {holders or 'unknown programs'}",
            expected=f"{need / 1e9:.1f} GB for {spec.mode}",
            remedy="end these programs, then evaluate again",
        )


def difference(seen: Observation, decision: Decision, mode: str) -> dict[str, str]:
    """Ansible's diff: what is evaluated."""
    before = sorted(seen.found.ended)
    after = sorted({*before, *decision.subjects})
    header = f"evaluated ({mode})"
    texts = {name: "".join(f"{one}\n" for one in ones) for name, ones in {"before": before, "after": after}.items()}
    return {**texts, "before_header": header, "after_header": header}
