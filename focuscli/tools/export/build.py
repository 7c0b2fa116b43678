"""`focus export`: a checkpoint as files that onnxruntime runs, compared with the checkpoint before they appear."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clip_impl.preprocess import MEAN, STD
from focuscli import __version__
from focuscli.data.folder import DatasetFolder
from focuscli.data.images import Pixels, chunks, read_pixels
from focuscli.data.schema import Text
from focuscli.engine.scoring import ScorePixels
from focuscli.errors import CheckFailed, InputError
from focuscli.evaluation.closed_set import check_same_attributes, label_split
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import pedestrian_metrics
from focuscli.storage.files import atomic_path, file_sha256
from focuscli.tools.export.card import KEY, ModelCard, Precision, tower_path
from focuscli.tools.export.graph import dynamic_graph, fixed_graph, text_tower, tower_graph
from focuscli.tools.export.parity import Parity, compare, drawn_crops
from focuscli.tools.export.passes import folded, quantised
from focuscli.tools.export.runtime import OnnxScorer
from focuscli.tools.export.seal import seal

if TYPE_CHECKING:
    import onnx

Progress = Callable[[int, int], None]
UNSEEN = ("green scarf", "a person who holds an umbrella", "white shoes")
"""Texts that a dynamic model is also compared on, beside the trained ones."""
BATCH = 16
DRAWN = 5  # neither the batch that the graph was traced with, nor a multiple of it


@dataclass(frozen=True)
class Crops:
    """Real crops to compare on: image files, and where they are labelled, what is true of them.

    Attributes:
        source: in words. truth, known: [N, A] for the trained attributes, or None.
    """

    source: str
    paths: Sequence[Path]
    truth: NDArray[np.bool_] | None = None
    known: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it compares; see `Parity`."""

    files: list[Path]
    kind: str
    precision: Precision
    texts: int
    parity: list[Parity]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "files": [str(file) for file in self.files]}


def crops_of(recognizer: Recognizer, folder: DatasetFolder, split: str, limit: int) -> Crops:
    """Crops of a dataset's split, evenly spread over it; with labels where its attributes are the trained ones.

    Args:
        limit: how many at most; 0 for all.

    Raises:
        InputError: no images, or no such split.
    """
    folder.require_images()
    try:
        check_same_attributes(recognizer, folder.schema)
    except InputError:
        indices = folder.select(split)
        rows = _spread(len(indices), limit)
        paths = [folder.image_path(int(index)) for index in indices[rows]]
        return Crops(f"{len(paths):,} crops of {folder.schema.name} {split}", paths)
    labelled = label_split(recognizer, folder, split)
    rows = _spread(len(labelled.indices), limit)
    paths = [labelled.paths[row] for row in rows]
    name = f"{len(paths):,} crops of {folder.schema.name} {split}"
    return Crops(name, paths, labelled.truth[rows], labelled.known[rows])


def crops_in(paths: Sequence[Path], limit: int) -> Crops:
    """Crops from files, evenly spread over them; `limit` 0 for all."""
    chosen = [paths[row] for row in _spread(len(paths), limit)]
    return Crops(f"{len(chosen):,} given crops", chosen)


def export_onnx(
    recognizer: Recognizer,
    target: Path,
    *,
    fingerprint: str,
    texts: Sequence[Text] | None = None,
    dynamic: bool = False,
    int8: bool = False,
    crops: Crops | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Write a model as ONNX, after comparing it with the checkpoint on drawn crops and on `crops`.

    Args:
        recognizer: on the CPU, in fp32. target: the file; a dynamic model has a second one beside it, `tower_path`.
        fingerprint: of the checkpoint. texts: of a fixed model; None: the trained attributes.
        int8: quantise the image side. The text tower of a dynamic model stays fp32: it runs once, and its errors would be
            in every score.

    Raises:
        CheckFailed: the scores differ by too much; nothing was written.
        UsageError: a text is too long, or the method takes no other texts. InputError: a crop cannot be read.
        RequirementError: no space, or the folder cannot be written.
    """
    chosen = tuple(texts or recognizer.attributes)
    precision: Precision = "int8" if int8 else "fp32"
    features = recognizer.encode_texts(chosen)
    tower, reading = text_tower(recognizer.model) if dynamic else (None, None)
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="focus-export-")))
        file = stack.enter_context(atomic_path(target))
        tower_file = None
        if tower is not None and reading is not None:
            proto = folded(tower_graph(tower, reading, chosen, recognizer.model.texts), work)
            tower_file = stack.enter_context(atomic_path(tower_path(target)))
            _save(proto, tower_file)
        make = dynamic_graph if dynamic else fixed_graph
        proto = folded(make(recognizer.model, features, recognizer.image_size), work)
        card = ModelCard(
            kind="dynamic" if dynamic else "fixed",
            precision=precision,
            method=recognizer.config.model.method,
            image_size=recognizer.image_size,
            mean=MEAN,
            std=STD,
            texts=chosen,
            vocabulary=recognizer.vocabulary,
            threshold_source=recognizer.threshold_source,
            checkpoint=str(recognizer.folder),
            fingerprint=fingerprint,
            weights=recognizer.weights,
            trained_on=recognizer.trained_on,
            made_by=f"focus {__version__}",
            reading=reading,
            tower=tower_path(target).name if tower_file else "",
            tower_sha256=file_sha256(tower_file) if tower_file else "",
        )
        _save(quantised(proto, work) if int8 else proto, file, card)
        seal(file)
        scorer = OnnxScorer.from_file(file, tower=tower_file)
        asked = [*chosen, *(recognizer.text(words) for words in UNSEEN)] if dynamic else [*chosen]
        parity = check_parity(recognizer, scorer, asked, crops, progress)
    files = [target, tower_path(target)] if dynamic else [target]
    return ExportReport(files, card.kind, precision, len(chosen), parity)


def check_parity(
    recognizer: Recognizer,
    scorer: OnnxScorer,
    texts: Sequence[Text],
    crops: Crops | None,
    progress: Progress | None = None,
) -> list[Parity]:
    """Compare an export with its checkpoint on drawn crops, and on real ones where there are any.

    What quantising costs is a matter of statistics, of which a handful of drawings has none to speak of: beside real crops
    they inform, and do not decide.

    Raises:
        CheckFailed: the scores differ by too much. InputError: a crop cannot be read.
    """
    ours, theirs = recognizer.score_fn(texts), scorer.score_fn(texts)
    thresholds = np.array([recognizer.threshold(text)[0] for text in texts])
    drawn = drawn_crops(DRAWN, recognizer.image_size)
    found = [compare(f"{DRAWN} drawn crops", ours(drawn), theirs(drawn), thresholds)]
    if crops is not None:
        pairs = _score_both(ours, theirs, crops.paths, recognizer.image_size, progress)
        mA = _balanced_accuracies(recognizer, texts, crops, pairs, thresholds)
        found.append(compare(crops.source, *pairs, thresholds, mA))
    int8 = scorer.card.precision == "int8"
    for parity in found[-1:] if int8 else found:
        problem = parity.problem(scorer.card.precision)
        if problem:
            raise CheckFailed(
                f"The exported model is not the checkpoint: {problem}. Nothing was written.",
                "Real crops decide instead of drawn ones: --images NAME or FOLDER" if int8 and crops is None else None,
            )
    return found


def _score_both(
    ours: ScorePixels, theirs: ScorePixels, paths: Sequence[Path], size: tuple[int, int], progress: Progress | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for batch in chunks(len(paths), BATCH):
        pixels: Pixels = np.stack([read_pixels(paths[index], size) for index in batch])
        rows.append((ours(pixels), theirs(pixels)))
        if progress is not None:
            progress(batch.stop, len(paths))
    return np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows])


def _balanced_accuracies(
    recognizer: Recognizer,
    texts: Sequence[Text],
    crops: Crops,
    pairs: tuple[NDArray[np.float32], NDArray[np.float32]],
    thresholds: NDArray[np.float64],
) -> tuple[float, float] | None:
    """mA of both in percent, where the texts begin with the trained attributes and the crops are labelled for them."""
    count = len(recognizer.attributes)
    if crops.truth is None or not recognizer.thresholds or tuple(texts[:count]) != recognizer.attributes:
        return None
    ours, theirs = (
        100 * pedestrian_metrics(crops.truth, scores[:, :count] > thresholds[:count], crops.known)["mA"]
        for scores in pairs
    )
    return float(ours), float(theirs)


def _save(proto: onnx.ModelProto, path: Path, card: ModelCard | None = None) -> None:
    import onnx

    del proto.metadata_props[:]
    proto.producer_name, proto.producer_version = "focus", __version__
    if card is not None:
        entry = proto.metadata_props.add()
        entry.key, entry.value = KEY, card.to_json()
    onnx.save(proto, str(path))


def _spread(count: int, limit: int) -> NDArray[np.int64]:
    """At most `limit` positions evenly spread over `count`; 0 for all."""
    if not limit or limit >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).round().astype(np.int64)
