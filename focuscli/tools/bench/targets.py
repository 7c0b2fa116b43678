"""What is to be reached, as data: each a ratio within one run, or a figure of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from focuscli.tools.bench.results import Machine, Results, Spread

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Target:
    """A row of the table.

    Attributes:
        title: the work, in words.
        work, name: the measurement. to: the one it is compared with; empty for the figure itself.
        bound: how much; `at_least` says in which direction.
        unit: shown after a figure; `x` for ratios.
        device: where it holds. model: of which model; empty for any.
        also: a measurement whose check must hold as well, such as the imports of a command.
    """

    title: str
    work: str
    name: str
    bound: float
    to: str = ""
    at_least: bool = False
    unit: str = "x"
    device: Device = "cpu"
    model: str = "vit-b16"
    also: str = ""

    @property
    def text(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {shown(self.bound, self.unit)}"

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Verdict:
    """What a run says about a target: the figures, and whether it is met; None where it does not say."""

    spread: Spread | None
    met: bool | None
    reason: str = ""


_RIVAL, _OPENAI = "the fastest rival", "OpenAI CLIP fp32"
_TIMES = "images/s"
TARGETS = (
    Target("CLIP image tower fp32, batch 16, against the fastest rival", "encode", "ours fp32", 1.00, _RIVAL),
    Target("the same in bf16, against OpenAI's fp32", "encode", "ours bf16 weights", 0.47, _OPENAI),
    Target("the same in ONNX int8, against OpenAI's fp32", "encode", "ours ONNX int8", 0.31, _OPENAI),
    Target("256 x 128 input against 224 x 224", "encode", "ours fp32 256x128", 0.70, "ours fp32"),
    Target(
        "image to 51 attribute scores against the plain image tower, fp32",
        "score", "image to 51 scores fp32", 1.06, "plain image tower fp32",
    ),
    Target(
        "the same, bf16", "score", "image to 51 scores bf16", 1.06, "plain image tower bf16",
    ),
    Target(
        "text features of 51 descriptions, trimmed, forward and backward: times as fast as at length 77",
        "train", "text features at length 77", 3.0, "text features trimmed", at_least=True,
    ),
    Target("full training step, batch 32, against a visual-only step", "train", "full step", 1.15, "visual-only step"),
    Target(
        "peak memory of that step against the visual-only step",
        "train", "peak memory, full step", 1.15, "peak memory, visual-only step",
    ),
    Target(
        "activation memory with gradient checkpointing against without",
        "train", "activation memory, full step, gradient checkpointing", 0.5, "activation memory, full step",
    ),
    *(
        Target(f"data pipeline, one core, {what}, {size}", "data", f"{name}, {size}", 1000, unit=_TIMES, at_least=True, model="")
        for size in ("224x224", "256x128", "128x64")
        for what, name in (
            ("decode and resize by Pillow", "decode and resize (pillow)"),
            ("decode and resize by torch", "decode and resize (torch)"),
            ("all with augmentation on the same core, Pillow", "decode, resize (pillow) and augment"),
            ("all with augmentation on the same core, torch", "decode, resize (torch) and augment"),
        )
    ),
    Target("`focus --help`, CPU time", "startup", "focus --help", 0.3, unit="s", model="", also="heavy imports of focus --help"),
    Target(
        "`focus predict` on one image, tiny model, PyTorch",
        "startup", "focus predict, one image, tiny", 0.3,
        unit="s", model="", also="heavy imports of focus predict, one image, tiny",
    ),
    Target(
        "`focus predict --backend onnx` on one image, tiny model",
        "startup", "focus predict --backend onnx, one image, tiny", 0.3,
        unit="s", model="", also="heavy imports of focus predict --backend onnx, one image, tiny",
    ),
    Target("search, 1,000,000 crops, exact, a query", "search", "exact search", 10.0, unit="s", model=""),
    Target("search, 1,000,000 crops, two stages, a query", "search", "two-stage search", 1.0, unit="s", model=""),
    Target(
        "recall@100 of two stages against exact", "search", "two-stage recall@100", 0.95, unit="share", at_least=True, model="",
    ),
    Target(
        "training ViT-B/16, bf16, whole loop with data, share of the measured matrix rate",
        "train", "training loop, share of the matrix rate", 0.40, unit="share", at_least=True, device="cuda",
    ),
    Target("waiting for data, of a step's time", "train", "waiting for data", 0.01, unit="share", device="cuda"),
    Target("search, 1,000,000 crops, exact, a query, on a GPU", "search", "exact search", 0.1, unit="s", device="cuda", model=""),
)  # fmt: skip


def judge(target: Target, results: Results) -> Verdict:
    """Whether a run meets a target. A figure whose check failed meets nothing."""
    if not applies(target, results.machine, str(results.settings.get("model", ""))):
        return Verdict(None, None)
    found = results.find(target.work, target.name)
    if found is None:
        gone = next((item for item in results.missing if item.work == target.work and item.explains(target.name)), None)
        return Verdict(None, None, gone.reason if gone else "")
    spread = found.ratio_to(target.to) if target.to else found.spread
    if spread is None:
        return Verdict(None, None, f"{target.to} was not measured")
    checked = [found] + [other for other in [results.find(target.work, target.also)] if other is not None]
    wrong = [item for item in checked if item.check is not None and not item.check.passed]
    if wrong:
        return Verdict(spread, False, f"{wrong[0].name} failed its check")
    return Verdict(spread, target.met(spread.median))


def applies(target: Target, machine: Machine, model: str) -> bool:
    """Whether a target speaks of this device and model."""
    device = "cuda" if machine.device.startswith("cuda") else "cpu"
    return target.device == device and target.model in ("", model)


def shown(value: float, unit: str) -> str:
    """A figure as tables have it."""
    if unit == "x":
        return f"{value:.2f} x"
    if unit == "share":
        return f"{100 * value:.0f}%" if value >= 0.1 or not value else f"{100 * value:.1f}%"
    if unit == "images/s":
        return f"{value:,.0f} images/s"
    return f"{value:.2f} {unit}"
