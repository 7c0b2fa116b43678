"""Which model a command uses: a checkpoint, CLIP as it is (`-c clip`), or an exported model (`-c FILE.onnx`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from focuscli.cli import render
from focuscli.data.texts import normalise_phrase
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.errors import InputError, UsageError
from focuscli.storage import paths
from focuscli.storage.paths import ZERO_SHOT

if TYPE_CHECKING:
    from focuscli.data.schema import AttributeSchema
    from focuscli.data.texts import Text
    from focuscli.inference.recognizer import Recognizer
    from focuscli.inference.scorer import Scorer

BACKENDS = ("torch", "onnx")
EXPORTED = ".onnx"


@dataclass(frozen=True)
class ModelPlace:
    """A model that was found but not loaded yet: a checkpoint's folder, or a CLIP weight file for zero-shot use."""

    folder: Path
    weights: Path | None = None

    def open(
        self,
        *,
        schema: AttributeSchema | None = None,
        device: str | None = None,
        precision: str | None = None,
        process_group: ProcessGroup = SINGLE,
    ) -> Recognizer:
        """Load it.

        Args:
            schema: for CLIP as it is, whose attributes are asked for by default; None: the built-in drawn people's, which
                are PA-100K's and some more.
            process_group: the processes that share its work; each loads it to its own device.

        Raises:
            InputError: damaged. RequirementError: no such device. UsageError: no such precision.
        """
        own = device or "auto" if process_group.world_size == 1 else str(process_group.device(device or "auto"))
        if self.weights is None:
            from focuscli.inference.recognizer import Recognizer

            found = Recognizer.from_checkpoint(self.folder, device=own, precision=precision or "auto")
            return found.with_process_group(process_group)
        from focuscli.data.schema import builtin_schema
        from focuscli.inference.zero_shot import clip_recognizer

        return clip_recognizer(
            self.weights,
            schema or builtin_schema("synthetic"),
            folder=self.folder,
            device=own,
            precision=precision or "auto",
        ).with_process_group(process_group)


@dataclass(frozen=True)
class ExportedPlace:
    """An exported model that was found but not loaded yet; `fingerprint` of the checkpoint that it has to be of, if any."""

    file: Path
    fingerprint: str | None = None

    def open(
        self, *, device: str | None = None, precision: str | None = None, process_group: ProcessGroup = SINGLE
    ) -> Scorer:
        """Load it, without torch; each process of a group on its own.

        Raises:
            InputError: damaged, or made from another state of its run. RequirementError: onnxruntime or the device is
                missing. UsageError: another precision than the file's.
        """
        from focuscli.tools.export.runtime import OnnxScorer

        scorer = OnnxScorer.from_file(self.file, device=device or "auto", precision=precision or "auto")
        if self.fingerprint not in (None, scorer.card.fingerprint):
            raise InputError(
                f"{self.file} was exported from another state of this run: it has been trained on since.",
                f"Export it again with --force, or use this one all the same: -c {self.file}",
            )
        return scorer


def find_scorer(
    name: str | None, *, backend: str | None = None, precision: str | None = None
) -> ModelPlace | ExportedPlace:
    """What scores: with backend "onnx", or for a file FILE.onnx, an exported model; else as `find_model`.

    Of a run, backend "onnx" takes what `focus export` wrote into its folder; "int8" as precision its int8 model.

    Raises:
        UsageError: an unknown backend, or one that contradicts the file. InputError, RequirementError: nothing there.
    """
    if backend not in (None, *BACKENDS):
        raise UsageError(f'Unknown backend "{backend}".', f"Known: {', '.join(BACKENDS)}.")
    is_file = name is not None and Path(name).suffix.lower() == EXPORTED
    if is_file and backend == "torch":
        raise UsageError(f"{name} is an exported model; --backend torch wants a checkpoint.", "Leave --backend out.")
    if is_file:
        file = Path(str(name)).expanduser()
        if file.is_dir():
            raise InputError(f"{name} is a folder, and no exported model.", "Name a file: -c FILE.onnx")
        if not file.is_file():
            raise InputError(f"No such model: {name}.", "Make it with: focus export -c RUN -o FILE.onnx")
        return ExportedPlace(file)
    if backend != "onnx":
        return find_model(name)
    if name == ZERO_SHOT:
        raise UsageError("Of CLIP as it is, an exported model has no run to lie in.", "Name its file: -c FILE.onnx")
    checkpoint = paths.resolve_checkpoint(name)
    int8 = precision == "int8"
    wanted = paths.export_path(checkpoint, int8=int8)
    if not wanted.is_file():
        others = sorted(
            file.name
            for file in wanted.parent.glob(f"*{EXPORTED}")
            if not file.stem.endswith(".texts") and (file.stem.endswith("-int8") or not int8)
        )
        there = f" There are: {', '.join(others)}; name one with -c." if others else ""
        raise InputError(
            f"This run has no exported model {wanted}.{there}",
            f"Make it with: focus export -c {paths.run_folder(checkpoint)}{' --int8' if int8 else ''}",
        )

    from focuscli.storage.fingerprint import checkpoint_fingerprint

    return ExportedPlace(wanted, checkpoint_fingerprint(checkpoint))


def asked_texts(scorer: Scorer, words: Sequence[str], region: str | None) -> list[Text]:
    """The texts that a user's words stand for, in their order, each once; a note tells which were there before.

    Raises:
        UsageError: no word, an unknown region or one for no text, or a text that the model cannot be asked.
    """
    if region is not None and not words:
        raise UsageError(f"--region {region} is for no text.", "Give texts too, or leave --region out.")
    found: dict[str, Text] = {}
    again = []
    for said in words:
        text = scorer.text(said, region=region)
        phrase = normalise_phrase(text.phrase)
        if phrase in found:
            again.append(f'"{said}"')
        found.setdefault(phrase, text)
    if again:
        render.note(f"  taken once, the same text as one before: {', '.join(again)}")
    return [*found.values()]


def find_model(name: str | None) -> ModelPlace:
    """The model of a run name, run folder, checkpoint folder, `latest` (also None), or `clip`.

    Raises:
        InputError: the name fits nothing. RequirementError: no run at all, or no CLIP weights installed.
        UsageError: an exported model, which only `find_scorer` finds.
    """
    if name is not None and Path(name).suffix.lower() == EXPORTED:
        raise UsageError(f"{name} is an exported model; only focus predict uses it.", "Name the run it was made from.")
    if name != ZERO_SHOT:
        return ModelPlace(paths.resolve_checkpoint(name))
    from focuscli.storage.weights import resolve_weights

    return ModelPlace(paths.runs_dir() / ZERO_SHOT, resolve_weights(None))
