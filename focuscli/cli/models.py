"""Which model a command uses: a checkpoint, zero-shot CLIP (`-c clip`), or an exported model (`-c FILE.onnx`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from focuscli.data.texts import normalise_phrase
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.errors import InputError, UsageError, did_you_mean
from focuscli.storage import paths
from focuscli.storage.documents import read_text
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
        """Load it, in each process of a group to its own device.

        Args:
            schema: for zero-shot CLIP, its default texts; None: those of the synthetic data, which are PA-100K's and more.
        """
        from focuscli.inference.recognizer import Recognizer

        device, precision = str(process_group.device(device or "auto")), precision or "auto"
        if self.weights is None:
            recognizer = Recognizer.from_checkpoint(self.folder, device=device, precision=precision)
        else:
            from focuscli.data.schema import builtin_schema

            schema = schema or builtin_schema("synthetic")
            recognizer = Recognizer.zero_shot(
                self.weights, schema, folder=self.folder, device=device, precision=precision
            )
        recognizer.process_group = process_group
        return recognizer


def find_model(name: str | None) -> ModelPlace:
    """The model of a run name, run folder, checkpoint folder, `latest` (also None), or `clip`.

    Raises:
        InputError: there is no such model. RequirementError: no run at all, or no CLIP weights installed.
        UsageError: an exported model, which only `open_scorer` opens.
    """
    if name is not None and Path(name).suffix.lower() == EXPORTED:
        raise UsageError(f"{name} is an exported model; only focus predict uses it.", "Name the run it was made from.")
    if name != ZERO_SHOT:
        return ModelPlace(paths.resolve_checkpoint(name))
    from focuscli.storage.weights import resolve_weights

    return ModelPlace(paths.runs_dir() / ZERO_SHOT, resolve_weights(None))


def open_scorer(
    name: str | None, *, backend: str | None, device: str | None, precision: str | None, process_group: ProcessGroup
) -> Scorer:
    """The model that scores: an exported one, without torch, for FILE.onnx or backend "onnx"; else as `find_model`.

    For a run, backend "onnx" uses what `focus export` wrote into its folder; precision "int8" its int8 model.

    Raises:
        UsageError: an unknown backend, one that contradicts the file, or another precision than the file's.
        InputError: no such model, damaged, or made from another state of its run.
        RequirementError: no run at all, onnxruntime or the device is missing.
    """
    if backend not in (None, *BACKENDS):
        raise UsageError(f'Unknown backend "{backend}".', did_you_mean(str(backend), BACKENDS))
    named = name is not None and Path(name).suffix.lower() == EXPORTED
    if backend == "torch" and named:
        raise UsageError(f"{name} is an exported model; --backend torch needs a checkpoint.", "Omit --backend.")
    if backend != "onnx" and not named:
        return find_model(name).open(device=device, precision=precision, process_group=process_group)
    if name == ZERO_SHOT:
        raise UsageError("Zero-shot CLIP has no run that could hold an exported model.", "Name its file: -c FILE.onnx")
    checkpoint = None if named else paths.resolve_checkpoint(name)
    file, command = paths.user_path(name or ""), "-c RUN -o FILE.onnx"
    if checkpoint is not None:
        int8 = precision == "int8"
        file = paths.export_path(checkpoint, int8=int8)
        command = f"-c {paths.argument(paths.run_folder(checkpoint))}{' --int8' if int8 else ''}"
    if not file.is_file():
        raise InputError(f"No such exported model: {file}.", f"Make it with: focus export {command}")

    from focuscli.storage.files import checkpoint_fingerprint
    from focuscli.tools.export.runtime import OnnxScorer

    scorer = OnnxScorer(file, device=device or "auto", precision=precision or "auto")
    if checkpoint is not None and checkpoint_fingerprint(checkpoint) != scorer.fingerprint:
        raise InputError(
            f"{file} was exported from another state of this run: it has been trained since.",
            f"Export it again with --force, or use this one all the same: -c {paths.argument(file)}",
        )
    return scorer


def asked_texts(
    scorer: Scorer, words: Sequence[str], region: str | None, *, free: bool, option: str = ""
) -> list[Text]:
    """The texts for a user's words, in their order, each once; without `free` as `Vocabulary.check` (with `option`) allows."""
    if region is not None and not words:
        raise UsageError(f"--region {region} needs a text.", "Give texts too, or omit --region.")
    found: dict[str, Text] = {}
    for given in given_texts(words):
        text = scorer.text(given, region=region)
        if not free and text not in scorer.default_texts:
            scorer.vocabulary.check(given, option=option)
        found.setdefault(normalise_phrase(text.phrase), text)
    return [*found.values()]


def given_texts(words: Sequence[str]) -> list[str]:
    """Texts as given, with those of FILE in the place of @FILE."""
    return [text for given in words for text in (read_texts(Path(given[1:])) if given.startswith("@") else [given])]


def read_texts(path: Path) -> list[str]:
    """The texts of a file, one per line; empty lines and those that begin with # are ignored.

    Raises:
        InputError: the file is missing, not UTF-8, or has no text.
    """
    hint = "Write one text per line in UTF-8: red scarf"
    lines = [line.strip() for line in read_text(path, hint, encoding="utf-8-sig").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise InputError(f"Cannot read {path}: it has no text.", hint)
    return found
