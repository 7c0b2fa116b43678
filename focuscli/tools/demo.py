"""The embedded default: the whole workflow on drawn pedestrians, without data, weights, network or GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focuscli.config import PRESETS, RunConfig, build_config
from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.data.prepare import PrepareReport
from focuscli.data.synthetic import prepare_synthetic
from focuscli.engine.run import Run
from focuscli.engine.trainer import Event
from focuscli.evaluation.closed_set import EvaluationReport, evaluate
from focuscli.inference.predict import Prediction, decide, predict, record
from focuscli.inference.recognizer import Recognizer
from focuscli.viz.explain import explain, explain_tokens

SHOWN_TEXTS = ("hat", "backpack", "long sleeve", "trousers", "boots", "long hair")
HOME_STYLE, OTHER_STYLE = "studio", "street"

CONFIG: dict[str, dict[str, Any]] = {
    "model": {
        "image_size": [64, 32],
        "patch": 4,
        "layers": 2,
        "global_tokens": 0,
        "local_tokens": 8,
        "partitions": 8,
    },
    "augment": {"margin": 2, "erase": 0.0, "brightness": 0.1, "contrast": 0.1, "saturation": 0.1},
    "loss": {"racl_ramp": 1.0},
    "train": {
        "epochs": 14,
        "batch_size": 32,
        "learning_rate": 7e-4,
        "weights": "none",
        "device": "cpu",
        "eval_every": 7,
    },
}
"""What the demo changes against the preset `tiny`, so that its maps lie where the model finds what it decides on. Each layer
spreads what a patch shows over all patches, after which any token can serve any text: so two layers, patches of 4 pixels, and
tokens that read one of eight stripes only. RACL rises over the run: at full weight from the start it fixes which tokens a
region attends to before the texts have found out which tokens are of use to them."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo measured and wrote."""

    home: EvaluationReport
    other: EvaluationReport
    predictions: list[dict[str, Any]]
    attention: Path
    tokens: Path
    seconds: float


class Demo:
    """The steps of the demo in order; each method is one step, so that a caller can show what happens."""

    def __init__(self, folder: Path, *, images: int = 2800, seed: int = 0) -> None:
        self.folder = folder
        self.images = images
        self.seed = seed
        self.started = time.perf_counter()
        self.config: RunConfig = build_config([("preset tiny", PRESETS["tiny"]), ("demo", CONFIG)])[0]

    def draw(self, style: str, progress: Callable[[int, int], None] | None = None) -> PrepareReport:
        """Draw one camera style's dataset; the second one is for testing only and smaller."""
        count = self.images if style == HOME_STYLE else self.images // 6
        return prepare_synthetic(
            self.folder / f"data-{style}", images=count, seed=self.seed, style=style, overwrite=True, progress=progress
        )

    def open_run(self, progress: Callable[[int, int], None] | None = None) -> Run:
        """A run in the demo's folder, from the start."""
        return Run(self.folder / "run", self.config, self.folder / f"data-{HOME_STYLE}", None, progress=progress)

    def train(self, run: Run) -> Iterator[Event]:
        return run.train()

    def evaluate(self, style: str) -> EvaluationReport:
        """Closed-set figures on the test split of a style, with the thresholds from the first style's val."""
        return evaluate(self._recognizer(), self._dataset(style), "test")

    def show(self, home: EvaluationReport, other: EvaluationReport) -> DemoResult:
        """Predict some test drawings and draw where the model looked."""
        recognizer, dataset = self._recognizer(), self._dataset(HOME_STYLE)
        texts = [recognizer.text(words) for words in SHOWN_TEXTS]
        paths = self._examples(dataset)
        decisions = decide(recognizer, texts)
        predictions = [
            record(item, decisions, recognizer)
            for item in predict(recognizer, paths, texts)
            if isinstance(item, Prediction)
        ]
        grid, _, _ = explain(recognizer, paths, texts)
        attention, tokens = self.folder / "attention.png", self.folder / "tokens.png"
        grid.save(attention)
        explain_tokens(recognizer, paths[0], texts).save(tokens)
        return DemoResult(home, other, predictions, attention, tokens, time.perf_counter() - self.started)

    def _recognizer(self) -> Recognizer:
        return Recognizer.from_checkpoint(self.folder / "run", device="cpu")

    def _dataset(self, style: str) -> DatasetFolder:
        return read_folder(self.folder / f"data-{style}")

    def _examples(self, dataset: DatasetFolder, count: int = 4) -> list[Path]:
        """Test drawings that together show as many of the shown attributes as possible."""
        names = {attribute.phrase: index for index, attribute in enumerate(dataset.schema.attributes)}
        columns = [names[text] for text in SHOWN_TEXTS if text in names]
        test = dataset.select("test")
        labels = dataset.labels[test][:, columns]
        missing = labels[:0].sum(axis=0) + 1
        chosen: list[int] = []
        for _ in range(min(count, len(test))):
            gain = labels @ missing
            gain[chosen] = -1
            chosen.append(int(gain.argmax()))
            missing = missing * (1 - labels[chosen[-1]]) + 0.1
        return [dataset.image_path(int(test[index])) for index in chosen]
