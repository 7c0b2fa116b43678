"""What `focus bench` was asked for, and which precisions that means on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from focuscli.errors import RequirementError, UsageError
from focuscli.tools.bench import host
from focuscli.tools.bench.timing import Clock, clock_for

Model = Literal["vit-b16", "tiny"]
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MODELS: tuple[Model, ...] = ("vit-b16", "tiny")


@dataclass(frozen=True)
class Settings:
    """Options that hold for every work; None where the work chooses.

    Attributes:
        device: `cpu`, `cuda`, `cuda:N` or `mps`, resolved. threads: of each measured process.
        quick: few rounds and small batches, to see that it works; its figures are worth nothing.
        checkpoint, dataset: on what `encode` also shows what precisions cost in accuracy; None: not, or the checkpoint's own.
    """

    device: str = "cpu"
    precision: str = "auto"
    batch: int | None = None
    rounds: int | None = None
    threads: int = 1
    model: Model = "vit-b16"
    quick: bool = False
    checkpoint: str | None = None
    dataset: str | None = None

    @property
    def clock(self) -> Clock:
        return clock_for(self.device, self.threads)

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    def rounds_or(self, usual: int, quick: int = 2) -> int:
        return self.rounds or (quick if self.quick else usual)

    def batch_or(self, usual: int, quick: int) -> int:
        return self.batch or (quick if self.quick else usual)

    def record(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "precision": self.precision,
            "batch": self.batch,
            "rounds": self.rounds,
            "model": self.model,
            "quick": self.quick,
            "checkpoint": self.checkpoint,
            "dataset": self.dataset,
        }


def check_settings(settings: Settings) -> None:
    """Refuse what cannot be measured here.

    Raises:
        UsageError: no such precision or model. RequirementError: the device has no such arithmetic.
    """
    if settings.model not in MODELS:
        raise UsageError(f'Unknown model "{settings.model}".', f"Known: {', '.join(MODELS)}.")
    if settings.precision not in PRECISIONS:
        raise UsageError(f'Unknown precision "{settings.precision}".', f"Known: {', '.join(PRECISIONS)}.")
    reason = unsupported(settings.precision, settings.device)
    if reason:
        raise RequirementError(f"No {settings.precision} here: {reason}.", "Use --precision fp32.")


def unsupported(precision: str, device: str) -> str:
    """Why a precision cannot be measured on a device; empty where it can."""
    if device == "cpu" and precision == "fp16":
        return "torch computes fp16 on a CPU several times slower than fp32"
    if device == "cpu" and precision == "bf16" and not host.cpu_has_bf16():
        return f"this CPU ({host.cpu_model()}) has no bf16 instructions, and imitating them is many times slower"
    return ""


def precisions(settings: Settings, *, wanted: tuple[str, ...] = ("fp32", "bf16")) -> tuple[list[str], dict[str, str]]:
    """The precisions to measure, and those left out with the reason: all of `wanted` with `auto`, else the one asked for."""
    asked = wanted if settings.precision == "auto" else (settings.precision,)
    reasons = {name: unsupported(name, settings.device) for name in asked}
    return [name for name, reason in reasons.items() if not reason], {n: r for n, r in reasons.items() if r}
