"""`focus export`: a checkpoint as files for onnxruntime, compared with the checkpoint before they appear."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from clip_impl.preprocess import MEAN, STD
from focuscli import __version__
from focuscli.data.folder import read_folder
from focuscli.data.images import squash
from focuscli.data.inputs import find_images
from focuscli.data.schema import Text
from focuscli.data.synthetic.generate import STYLES, draw
from focuscli.data.synthetic.people import sample_person
from focuscli.engine.scoring import Progress, score_files
from focuscli.errors import CheckFailed, InputError
from focuscli.evaluation.closed_set import label_split
from focuscli.inference.predict import decide
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import pedestrian_metrics
from focuscli.storage.files import atomic_path, file_sha256, temporary_beside, write_errors
from focuscli.storage.paths import resolve_dataset
from focuscli.tools.export.graph import Scores, for_export, quantise, text_tower, to_onnx
from focuscli.tools.export.runtime import IDS, KEY, PIXELS, ROWS, SCORES, TEXTS, OnnxScorer, tower_path

if TYPE_CHECKING:
    import onnx

UNSEEN = ("green scarf", "a person who holds an umbrella", "white shoes")  # a dynamic model is compared on these too
FP32_TOLERANCE = 1e-4  # of the largest difference of a score in fp32, as a share of the largest score
INT8_TOLERANCE = 0.25  # of the root mean square difference in int8, in standard deviations; a sound export has half
SYNTHETIC = 5  # neither the batch size that the graph was traced with, nor a multiple of it


def export_onnx(
    recognizer: Recognizer,
    target: Path,
    texts: Sequence[Text],
    crops: Crops | None,
    progress: Progress,
    *,
    fingerprint: str,
    dynamic: bool,
    int8: bool,
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write a model as ONNX, after comparing it with the checkpoint on synthetic crops and on `crops`.

    Args:
        recognizer: on the CPU, in fp32. fingerprint: of its checkpoint. texts: of a fixed model.
        target: the model's file. Beside it go its checksums and, for a dynamic model, `tower_path`.
        int8: quantise the image side; errors of the text tower would be in every score.

    Returns:
        The files, and how their scores compare with the checkpoint's, see `compare`.

    Raises:
        CheckFailed: the scores differ by too much; nothing was written.
        UsageError: a text is too long, or the method takes no other texts. InputError: a crop cannot be read.
        RequirementError: no space, or the folder cannot be written.
    """
    features = recognizer.encode_texts(texts).detach().clone()
    model = for_export(recognizer.model)
    tower = text_tower(model) if dynamic else None
    files = [target, *([tower_path(target)] if dynamic else []), target.with_name(f"{target.name}.sha256")]
    with write_errors(target), temporary_beside(target, folder=True) as work:
        made = [work / file.name for file in files]
        card: dict[str, Any] = {"kind": "fixed", "reading": None, "tower": "", "tower_sha256": ""}
        pixels = torch.zeros(2, *recognizer.image_size, 3, dtype=torch.uint8)
        inputs, axes = {PIXELS: pixels}, {PIXELS: {0: "batch"}}
        if tower is not None:
            module, text_inputs = tower
            arrays = {IDS: text_inputs.ids(texts), ROWS: text_inputs.extra(texts, model.texts)}
            words = {name: torch.from_numpy(value) for name, value in arrays.items() if value is not None}
            sizes = {name: {0: "texts", 1: "length"} if name == IDS else {0: "texts"} for name in words}
            _save(to_onnx(module, words, TEXTS, sizes, work), made[1])
            card = {"kind": "dynamic", "reading": asdict(text_inputs), "tower": files[1].name}
            card["tower_sha256"] = file_sha256(made[1])
            inputs[TEXTS], axes[TEXTS] = features, {0: "texts"}
        graph = to_onnx(Scores(model, None if dynamic else features), inputs, SCORES, axes, work)
        card |= {"precision": "int8" if int8 else "fp32", "fingerprint": fingerprint}
        description = json.dumps(card | describe(recognizer, texts), ensure_ascii=False)
        _save(quantise(graph, work) if int8 else graph, made[0], description)
        made[-1].write_text("".join(f"{file_sha256(file)}  {file.name}\n" for file in made[:-1]), encoding="utf-8")
        compared = [*texts, *(recognizer.text(words) for words in UNSEEN)] if dynamic else texts
        parity = check_parity(recognizer, OnnxScorer(made[0]), compared, crops, progress)
        for source, file in zip(made, files, strict=True):
            with atomic_path(file) as temporary:
                source.replace(temporary)
    return files, parity


def describe(recognizer: Recognizer, texts: Sequence[Text]) -> dict[str, Any]:
    """What a model's metadata say about its checkpoint and `texts`, those of a fixed model's scores or the trained ones.
    `OnnxScorer` reads part of it; "labels", "input" and "output" are for those who use the model without focus."""
    return {
        "format": 1,
        "method": recognizer.config.model.method,
        "texts": [asdict(text) for text in texts],
        "vocabulary": asdict(recognizer.vocabulary),
        "threshold_source": recognizer.threshold_source,
        "checkpoint": str(recognizer.folder),
        "weights": recognizer.weights,
        "trained_on": recognizer.trained_on,
        "about": recognizer.about,
        "made_by": f"focus {__version__}",
        "input": {
            "size": recognizer.image_size,
            "mean": MEAN,
            "std": STD,
            "name": PIXELS,
            "layout": "uint8 [batch, height, width, 3], RGB",
            "resize": "to size = (height, width) with Pillow's bicubic filter, ignoring the aspect ratio, no cropping",
            "normalisation": "inside the graph: (pixels / 255 - mean) / std",
        },
        "output": {"name": SCORES, "layout": "float32 [batch, texts]", "decision": "score > threshold"},
        "labels": [
            {
                "name": label.text.attribute or label.text.phrase,
                "phrase": label.text.phrase,
                "region": label.text.region,
                "region_source": label.region_source,
                "seen": label.seen,
                "threshold": label.threshold,
                "threshold_source": label.threshold_source,
            }
            for label in decide(recognizer.vocabulary, texts)
        ],
    }


def _save(proto: onnx.ModelProto, path: Path, description: str = "") -> None:
    import onnx

    del proto.metadata_props[:]
    proto.producer_name, proto.producer_version = "focus", __version__
    if description:
        proto.metadata_props.add(key=KEY, value=description)
    onnx.save(proto, str(path))


@dataclass(frozen=True)
class Crops:
    """Real crops to compare on: which, in words, and labels [N, A] of the trained attributes, and which are known."""

    source: str
    paths: Sequence[Path]
    labels: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None


def real_crops(recognizer: Recognizer, source: str | None, split: str, limit: int, *, labels: bool) -> Crops:
    """Crops spread evenly over a folder of images or a dataset's split.

    Args:
        source: a folder, or a dataset's name; None: the training dataset. limit: how many at most; 0 for all.
        labels: with those of the trained attributes, if the dataset has them.

    Raises:
        InputError: no such dataset or split, no image, or the training dataset is unknown.
    """
    name = source or recognizer.config.data.dataset
    if not name:
        raise InputError(
            "The model does not say which dataset it was trained on.", "Name crops: --images NAME or FOLDER"
        )
    labelled = None
    if source and Path(source).is_dir() and not (Path(source) / "schema.toml").is_file():
        paths, kind = find_images([source]).images, "given crops"
    else:
        folder = read_folder(resolve_dataset(name))
        folder.require_images()
        paths = [folder.image_path(int(index)) for index in folder.select(split)]
        kind = f"crops of {folder.name} {split}"
        if labels:
            with contextlib.suppress(InputError):  # another dataset's attributes: its crops are compared without labels
                labelled = label_split(recognizer, folder, split)
    chosen = np.linspace(0, len(paths) - 1, min(limit or len(paths), len(paths))).round().astype(int)
    found = (labelled.truth[chosen], labelled.known[chosen]) if labelled else None
    return Crops(f"{len(chosen):,} {kind}", [paths[row] for row in chosen], found)


def compare(
    source: str, ours: NDArray[np.float32], theirs: NDArray[np.float32], thresholds: NDArray[np.float64]
) -> dict[str, Any]:
    """Compare scores [N, Z] of the checkpoint with those of the export; thresholds [Z] are NaN for texts without one."""
    difference = np.abs(ours.astype(np.float64) - theirs)
    decided = np.isfinite(thresholds)
    changed = (ours > thresholds) != (theirs > thresholds)
    return {
        "source": source,
        "images": len(ours),
        "texts": ours.shape[1],
        "largest": float(difference.max()),  # absolute difference
        "mean": float(difference.mean()),
        "rms": float(np.sqrt(np.square(difference).mean())),
        "scale": float(np.abs(ours).max()),
        "spread": float(
            ours.std(axis=0, dtype=np.float64).mean()
        ),  # of a text's scores over the crops, mean over texts
        "decisions": int(decided.sum()) * len(ours),  # scores with a threshold
        "changed": int(changed[:, decided].sum()),  # those that fall on the other side of it
        "mA": None,  # of the checkpoint and of the export, where labels are known
    }


def problem(parity: dict[str, Any], *, int8: bool) -> str | None:
    """Why the difference is too large for an export of this precision; None where it is not."""
    source, spread, limit = parity["source"], parity["spread"], FP32_TOLERANCE * parity["scale"]
    # Rounded as it is printed, so that the message never says that 0.250 is more than 0.250.
    share = round(parity["rms"] / spread, 3) if spread else math.inf if parity["rms"] else 0.0
    if not np.isfinite(parity["largest"]):
        return f"some scores on {source} are not finite"
    if int8 and share > INT8_TOLERANCE:
        return (
            f"int8 scores on {source} are off by {share:.3f} of their spread; at most {INT8_TOLERANCE:.3f} is allowed"
        )
    if not int8 and parity["largest"] > limit:
        return f"scores on {source} differ by up to {parity['largest']:.3g}; at most {limit:.3g} is allowed"
    return None


def check_parity(
    recognizer: Recognizer, exported: OnnxScorer, texts: Sequence[Text], crops: Crops | None, progress: Progress
) -> list[dict[str, Any]]:
    """Compare an export with its checkpoint on synthetic crops, and on real ones if there are any.

    In fp32 both decide. The error of int8 is judged by its mean square, for which a handful of synthetic crops is too small a
    sample: if there are real crops, they decide and the synthetic ones are only reported.

    Raises:
        CheckFailed: the scores differ by too much. InputError: a crop cannot be read.
    """
    thresholds = np.array([recognizer.threshold(text)[0] for text in texts])
    size, int8 = recognizer.image_size, exported.precision == "int8"
    rng = np.random.default_rng(0)
    people = [draw(sample_person(rng), STYLES["street"], rng=rng)[0] for _ in range(SYNTHETIC)]
    pixels = np.stack([squash(person, size) for person in people])
    score_fns = [recognizer.score_fn(texts), exported.score_fn(texts)]
    ours, theirs = (score_fn(pixels) for score_fn in score_fns)
    found = [compare(f"{SYNTHETIC} synthetic crops", ours, theirs, thresholds)]
    if crops is not None:
        ours, theirs = (score_files(fn, crops.paths, size, batch_size=16, progress=progress) for fn in score_fns)
        parity = compare(crops.source, ours, theirs, thresholds)
        count = len(recognizer.attributes)
        if crops.labels is not None and recognizer.thresholds and tuple(texts[:count]) == recognizer.attributes:
            truth, known = crops.labels
            above = [scores[:, :count] > thresholds[:count] for scores in (ours, theirs)]
            first, second = (pedestrian_metrics(truth, each, known)["mA"] for each in above)
            parity["mA"] = float(first), float(second)
        found.append(parity)
    for parity in found[-1:] if int8 else found:
        if too_far := problem(parity, int8=int8):
            hint = "Compare on real crops instead: --images NAME or FOLDER" if int8 and not crops else None
            raise CheckFailed(f"The exported model differs from the checkpoint: {too_far}. Nothing was written.", hint)
    return found
