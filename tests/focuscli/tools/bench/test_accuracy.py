"""What a precision costs on labelled crops."""

from __future__ import annotations

import pytest

from focuscli.data.folder import read_folder
from focuscli.errors import UsageError
from focuscli.inference.recognizer import Recognizer
from focuscli.tools.bench import accuracy
from focuscli.tools.bench.accuracy import measure_accuracy, measure_checkpoint
from focuscli.tools.bench.settings import Settings


def test_ma_of_each_precision_at_the_same_thresholds(run, coloured_dataset, onnx_extra, monkeypatch):
    from focuscli.evaluation.closed_set import evaluate
    from focuscli.tools.export import parity

    # The model knows coloured rectangles; of drawn people, which an export is checked on, it says nothing that lasts.
    monkeypatch.setattr(parity, "INT8_TOLERANCE", 1.0)
    found = {item.name: item for item in measure_checkpoint(Settings(checkpoint=str(run))).measurements}
    assert {*found} == {"mA, fp32", "mA, bf16 autocast", "mA, bf16 weights", "mA, ONNX int8"}
    recognizer = Recognizer.from_checkpoint(run, device="cpu", precision="fp32")
    report = evaluate(recognizer, read_folder(coloured_dataset), split="test")
    assert found["mA, fp32"].spread.median == pytest.approx(100 * report.metrics["mA"])
    assert "largest score difference 0.000" in found["mA, fp32"].note
    assert "largest score difference 0.000" not in found["mA, bf16 weights"].note
    assert "largest score difference 0.000" not in found["mA, ONNX int8"].note
    assert 0.9 < found["mA, ONNX int8"].ratio_to("mA in fp32").median < 1.1
    assert found["mA, bf16 autocast"].ratio_to("mA in fp32") is not None


def test_an_int8_model_that_is_too_far_off_is_not_measured(run, coloured_dataset, onnx_extra, monkeypatch):
    from focuscli.tools.export import parity

    monkeypatch.setattr(parity, "INT8_TOLERANCE", 1e-3)
    recognizer = Recognizer.from_checkpoint(run, device="cpu", precision="fp32")
    outcome = measure_accuracy(recognizer, read_folder(coloured_dataset), Settings(quick=True))
    assert [item.name for item in outcome.missing] == ["mA, ONNX int8"]
    assert "drawn crops" in outcome.missing[0].reason


def test_without_the_extra_int8_is_left_out_and_said(run, coloured_dataset, monkeypatch):
    monkeypatch.setattr(accuracy, "absent_packages", lambda: ["onnxruntime"])
    recognizer = Recognizer.from_checkpoint(run, device="cpu", precision="fp32")
    outcome = measure_accuracy(recognizer, read_folder(coloured_dataset), Settings(quick=True))
    assert [item.name for item in outcome.measurements] == ["mA, fp32", "mA, bf16 autocast", "mA, bf16 weights"]
    assert [(item.name, item.reason) for item in outcome.missing] == [
        ("mA, ONNX int8", "not installed: pip install onnxruntime")
    ]


def test_other_attributes_are_refused(run, coloured_dataset):
    recognizer = Recognizer.from_checkpoint(run, device="cpu")
    folder = read_folder(coloured_dataset)
    fewer = folder.schema.model_copy(update={"attributes": folder.schema.attributes[:1]})
    changed = type(folder)(**{**folder.__dict__, "schema": fewer})
    with pytest.raises(UsageError, match="other attributes"):
        measure_accuracy(recognizer, changed, Settings())
