"""What a precision costs on labelled crops."""

from __future__ import annotations

import pytest

from focuscli.bench.accuracy import measure_accuracy, measure_checkpoint
from focuscli.bench.settings import Settings
from focuscli.data.folder import read_folder
from focuscli.errors import UsageError
from focuscli.recognizer import Recognizer


def test_ma_of_each_precision_at_the_same_thresholds(run, coloured_dataset):
    from focuscli.engine.evaluate import evaluate

    found = {item.name: item for item in measure_checkpoint(Settings(checkpoint=str(run)))}
    assert {*found} == {"mA, fp32", "mA, bf16 autocast", "mA, bf16 weights"}
    recognizer = Recognizer.from_checkpoint(run, device="cpu", precision="fp32")
    report = evaluate(recognizer, read_folder(coloured_dataset), split="test")
    assert found["mA, fp32"].spread.median == pytest.approx(100 * report.metrics["mA"])
    assert "largest score difference 0.000" in found["mA, fp32"].note
    assert "largest score difference 0.000" not in found["mA, bf16 weights"].note
    assert found["mA, bf16 autocast"].ratio_to("mA in fp32") is not None


def test_other_attributes_are_refused(run, coloured_dataset):
    recognizer = Recognizer.from_checkpoint(run, device="cpu")
    folder = read_folder(coloured_dataset)
    fewer = folder.schema.model_copy(update={"attributes": folder.schema.attributes[:1]})
    changed = type(folder)(**{**folder.__dict__, "schema": fewer})
    with pytest.raises(UsageError, match="other attributes"):
        measure_accuracy(recognizer, changed, Settings())
