"""The whole workflow on synthetic pedestrians: no data, weights, network or GPU needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from focuscli.config import PRESETS, build_config
from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.data.synthetic.generate import prepare_synthetic
from focuscli.engine.run import Run
from focuscli.evaluation.closed_set import EvaluationReport, evaluate
from focuscli.inference.predict import answers, decide, record
from focuscli.inference.recognizer import Recognizer
from focuscli.viz.explain import ModelMaps, attention_pages, token_page

SHOWN_TEXTS = ("hat", "backpack", "long sleeve", "trousers", "boots", "long hair")
SHOWN_IMAGES = 4
HOME_STYLE, OTHER_STYLE = "studio", "street"

CONFIG: dict[str, dict[str, Any]] = {
    "model": {"image_size": [64, 32], "patch": 4, "layers": 2, "global_tokens": 0, "local_tokens": 8, "partitions": 8},
    "augment": {"margin": 2, "erase": 0.0, "brightness": 0.1, "contrast": 0.1, "saturation": 0.1},
    "loss": {"racl_ramp": 1.0},
    "train": {
        "epochs": 14,
        "warmup_share": 1.0,
        "batch_size": 32,
        "learning_rate": 7e-4,
        "weights": "none",
        "device": "cpu",
        "eval_every": 7,
    },
}
"""What the demo changes in the preset `tiny`, so that its attention lies where the model finds what it decides on. Each layer
spreads what a patch shows over all patches, after which any token can serve any text: hence two layers, patches of 4 pixels,
and tokens that each read one of eight stripes. The weight of RACL rises during the run: at full weight from the start, it
fixes which tokens a region attends to before the texts have found out which tokens are of use to them."""


class Demo:
    """The steps of the demo, one method each, so that a caller can show what happens in between."""

    def __init__(self, folder: Path, *, images: int = 2800, seed: int = 0) -> None:
        self.folder, self.run_folder = folder, folder / "run"
        self._images, self._seed = images, seed

    def generate(self, style: str, progress: Callable[[int, int], None] | None = None) -> DatasetFolder:
        """Write the dataset of a camera style; the second style is for testing only, and smaller."""
        images = self._images if style == HOME_STYLE else self._images // 6
        return prepare_synthetic(
            self._data(style), images=images, seed=self._seed, style=style, overwrite=True, progress=progress
        )

    def open_run(self) -> Run:
        """A new run in the demo's folder, to be trained."""
        config = build_config([("preset tiny", PRESETS["tiny"]), ("demo", CONFIG)])[0]
        return Run(self.run_folder, config, self._data(HOME_STYLE), None)

    def evaluate(self, style: str) -> EvaluationReport:
        """Closed-set metrics on the test split of a style, with the thresholds from the first style's val."""
        return evaluate(self._recognizer(), read_folder(self._data(style)), "test")

    def explain(self) -> tuple[list[dict[str, Any]], Path, Path]:
        """Predictions for the test images that have most of the shown attributes, and the pictures of their attention and
        of the Mix Tokens' own attention."""
        recognizer = self._recognizer()
        texts = [recognizer.text(words) for words in SHOWN_TEXTS]
        dataset = read_folder(self._data(HOME_STYLE))
        phrases = [attribute.phrase for attribute in dataset.schema.attributes]
        test = dataset.select("test")
        shown = dataset.labels[test][:, [phrases.index(words) for words in SHOWN_TEXTS]]
        different = np.unique(shown, axis=0, return_index=True)[1]  # no two of them show the same
        most = test[sorted(different, key=lambda row: -shown[row].sum())[:SHOWN_IMAGES]]
        paths = [dataset.image_path(int(index)) for index in most]
        decisions = decide(recognizer.vocabulary, texts)
        scores = recognizer.scores(paths, texts).tolist()
        predictions = [
            record(path, answers(decisions, row), recognizer) for path, row in zip(paths, scores, strict=True)
        ]
        attention, tokens = self.folder / "attention.png", self.folder / "tokens.png"
        maps = ModelMaps(self.run_folder.name, recognizer, decisions, recognizer.attention(paths, texts))
        next(attention_pages(paths, [maps])).save(attention)
        token_page(paths[0], maps).save(tokens)
        return predictions, attention, tokens

    def _data(self, style: str) -> Path:
        return self.folder / f"synthetic-{style}"

    def _recognizer(self) -> Recognizer:
        return Recognizer.from_checkpoint(self.run_folder, device="cpu")
