"""Which model a command uses: a checkpoint, zero-shot CLIP (`-c clip`), or an exported model (`-c FILE.onnx`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from focuscli.cli import render
from focuscli.data.texts import normalise_phrase
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.errors import InputError, UsageError, did_you_mean
from focuscli.storage import paths
from focuscli.storage.paths import ZERO_SHOT

if TYPE_CHECKING:
    from focuscli.data.schema import AttributeSchema
    from focuscli.data.texts import Text
    from focuscli.inference.predict import Scorer
    from focuscli.inference.recognizer import Recognizer

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
            schema: for zero-shot CLIP, its default texts; None: those of the synthetic data, which are PA-100K's and more.
            process_group: the processes that share its work; each loads it to its own device.

        Raises:
            InputError: damaged. RequirementError: no such device. UsageError: no such precision.
        """
        from focuscli.inference.recognizer import Recognizer

        device, precision = device or "auto", precision or "auto"
        if process_group.world_size > 1:
            device = str(process_group.device(device))
        if self.weights is None:
            recognizer = Recognizer.from_checkpoint(self.folder, device=device, precision=precision)
        else:
            from focuscli.data.schema import builtin_schema

            known = schema or builtin_schema("synthetic")
            recognizer = Recognizer.zero_shot(
                self.weights, known, folder=self.folder, device=device, precision=precision
            )
        return recognizer.with_process_group(process_group)


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

        scorer = OnnxScorer(self.file, device=device or "auto", precision=precision or "auto")
        if self.fingerprint not in (None, scorer.fingerprint):
            raise InputError(
                f"{self.file} was exported from another state of this run: it has been trained since.",
                f"Export it again with --force, or use this one all the same: -c {self.file}",
            )
        return scorer


def find_model(name: str | None) -> ModelPlace:
    """The model of a run name, run folder, checkpoint folder, `latest` (also None), or `clip`.

    Raises:
        InputError: there is no such model. RequirementError: no run at all, or no CLIP weights installed.
        UsageError: an exported model, which only `find_scorer` finds.
    """
    if name is not None and Path(name).suffix.lower() == EXPORTED:
        raise UsageError(f"{name} is an exported model; only focus predict uses it.", "Name the run it was made from.")
    if name != ZERO_SHOT:
        return ModelPlace(paths.resolve_checkpoint(name))
    from focuscli.storage.weights import resolve_weights

    return ModelPlace(paths.runs_dir() / ZERO_SHOT, resolve_weights(None))


def find_scorer(
    name: str | None, *, backend: str | None = None, precision: str | None = None
) -> ModelPlace | ExportedPlace:
    """The model that scores: an exported one for FILE.onnx or backend "onnx", otherwise as `find_model`.

    For a run, backend "onnx" uses what `focus export` wrote into its folder; precision "int8" its int8 model.

    Raises:
        UsageError: an unknown backend, or one that contradicts the file. InputError, RequirementError: nothing there.
    """
    if backend not in (None, *BACKENDS):
        raise UsageError(f'Unknown backend "{backend}".', did_you_mean(str(backend), BACKENDS))
    if name is not None and Path(name).suffix.lower() == EXPORTED:
        if backend == "torch":
            raise UsageError(f"{name} is an exported model; --backend torch needs a checkpoint.", "Omit --backend.")
        file = Path(name).expanduser()
        if file.is_dir():
            raise InputError(f"{name} is a folder, not an exported model.", "Name a file: -c FILE.onnx")
        if not file.is_file():
            raise InputError(f"No such model: {name}.", "Make it with: focus export -c RUN -o FILE.onnx")
        return ExportedPlace(file)
    if backend != "onnx":
        return find_model(name)
    if name == ZERO_SHOT:
        raise UsageError("Zero-shot CLIP has no run that could hold an exported model.", "Name its file: -c FILE.onnx")
    return _exported_of_run(paths.resolve_checkpoint(name), int8=precision == "int8")


def _exported_of_run(checkpoint: Path, *, int8: bool) -> ExportedPlace:
    """What `focus export` wrote into the folder of a run."""
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

    from focuscli.storage.files import checkpoint_fingerprint

    return ExportedPlace(wanted, checkpoint_fingerprint(checkpoint))


def asked_texts(scorer: Scorer, words: Sequence[str], region: str | None) -> list[Text]:
    """The texts for a user's words, in their order, each once; a note names repeated ones.

    Raises:
        UsageError: no word, an unknown region or one without a text, or a text that the model does not support.
    """
    if region is not None and not words:
        raise UsageError(f"--region {region} needs a text.", "Give texts too, or omit --region.")
    found: dict[str, Text] = {}
    repeated = []
    for given in words:
        text = scorer.text(given, region=region)
        phrase = normalise_phrase(text.phrase)
        if phrase in found:
            repeated.append(f'"{given}"')
        found.setdefault(phrase, text)
    if repeated:
        render.note(f"  same text as an earlier one, used once: {', '.join(repeated)}")
    return [*found.values()]
