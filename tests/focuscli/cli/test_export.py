"""`focus export`, and `focus predict` with what it wrote."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from focuscli.data.folder import read_folder
from focuscli.tools.export.card import ModelCard


HEAVY = {"torch", "timm", "matplotlib", "scipy", "pandas", "sklearn", "onnx", "ftfy", "rich", "pydantic"}
HEAVY |= {"PIL.PdfImagePlugin"}  # of Pillow's plugins the slowest to import, which Image.init() would do


@pytest.fixture
def crops(coloured_dataset):
    return read_folder(coloured_dataset).root


@pytest.fixture
def exported(exported_run):
    return exported_run / "export" / "model.onnx"


@pytest.fixture(scope="session")
def dynamic(exported_run, tmp_path_factory):
    from typer.testing import CliRunner

    from focuscli.cli.main import app

    target = tmp_path_factory.mktemp("dynamic") / "any.onnx"
    result = CliRunner().invoke(app, ["export", "-c", str(exported_run), "--dynamic", "-o", str(target), "--json"])
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["files"] == [str(target), str(target.with_name("any.texts.onnx"))]
    assert [parity["texts"] for parity in report["parity"]] == [6, 6]
    return target


def rows(text):
    return [*csv.reader(io.StringIO(text))]


def card_of(path) -> ModelCard:
    import onnx

    (card,) = onnx.load(str(path)).metadata_props
    return ModelCard.from_json(card.value)


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_both_backends_give_the_same_output(focus, exported_run, exported, crops, form):
    images = [crops / f"{number:03}.png" for number in range(7)]
    torch = focus("predict", *images, "-c", exported_run, "--format", form, "--batch", 3)
    onnx = focus("predict", *images, "-c", exported_run, "--backend", "onnx", "--format", form, "--batch", 3)
    assert onnx.code == torch.code == 0, onnx.stderr
    assert onnx.stderr == torch.stderr
    if form == "csv":
        theirs, ours = rows(onnx.stdout), rows(torch.stdout)
        assert theirs[0] == ours[0]
        assert len(theirs) == 8
        for one, other in zip(theirs[1:], ours[1:], strict=True):
            assert one[0] == other[0]
            assert np.allclose([*map(float, one[1:])], [*map(float, other[1:])], atol=2e-4)
    elif form == "jsonl":
        for one, other in zip(onnx.stdout.splitlines(), torch.stdout.splitlines(), strict=True):
            one, other = json.loads(one), json.loads(other)
            assert one.pop("scores") == pytest.approx(other.pop("scores"), abs=2e-4)
            assert one.pop("model") == str(exported)
            other.pop("model")
            assert one == other
    else:
        assert onnx.stdout == torch.stdout


def test_the_file_says_what_it_is(exported, exported_run, coloured_dataset):
    from focuscli.inference.recognizer import Recognizer
    from focuscli.storage.fingerprint import checkpoint_fingerprint

    card, recognizer = card_of(exported), Recognizer.from_checkpoint(exported_run, device="cpu")
    assert card.texts == recognizer.attributes
    assert card.vocabulary == recognizer.vocabulary
    assert card.fingerprint == checkpoint_fingerprint(recognizer.folder)
    assert (card.kind, card.precision, card.image_size, card.method) == ("fixed", "fp32", (32, 16), "focus")
    assert (card.weights, card.trained_on) == ("from scratch", recognizer.trained_on)
    assert card.threshold_source == "val, criterion mA"


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [("exported", []), ("exported", ["-a", "red hat", "--format", "jsonl"]), ("dynamic", ["-a", "red hat"])],
)
def test_predicting_with_it_imports_nothing_heavy(request, crops, kind, arguments):
    model = str(request.getfixturevalue(kind))
    code = (
        "import sys\n"
        f"sys.argv = ['focus', 'predict', {str(crops / '000.png')!r}, '-c', {model!r}, *{arguments!r}]\n"
        "from focuscli.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "red hat" in done.stdout


def test_the_runtime_reports_to_nobody(exported_run, crops, tmp_path):
    """onnxruntime leaves an identifier in the cache folder where it reports to its vendor (not in what it takes for CI)."""
    environment = {
        name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY" and "CI" not in name
    }
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}
    line = ["predict", str(crops / "000.png"), "-c", str(exported_run / "export" / "model.onnx")]
    done = subprocess.run([sys.executable, "-m", "focuscli", *line], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not [file for file in tmp_path.rglob("*") if "onnxruntime" in str(file)]


def test_predicting_with_a_checkpoint_imports_torch_and_nothing_else_that_is_heavy(exported_run, crops):
    code = (
        "import sys\n"
        f"sys.argv = ['focus', 'predict', {str(crops / '000.png')!r}, '-c', {str(exported_run)!r}]\n"
        "from focuscli.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'timm', 'torchvision', 'matplotlib', 'scipy', 'pandas', 'sklearn', 'onnx', 'onnxruntime'}\n"
        "sys.exit(f'imported: {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_open_texts_are_read_as_the_checkpoint_reads_them(focus, exported_run, dynamic, crops):
    asked = ["-a", "red hat", "-a", "a green scarf", "-a", "brown boots", "--format", "jsonl"]
    images = [crops / "003.png", crops / "004.png"]
    torch = focus("predict", *images, "-c", exported_run, *asked)
    onnx = focus("predict", *images, "-c", dynamic, *asked)
    assert onnx.code == 0, onnx.stderr
    assert onnx.stderr == torch.stderr
    for one, other in zip(onnx.stdout.splitlines(), torch.stdout.splitlines(), strict=True):
        one, other = json.loads(one), json.loads(other)
        assert one.pop("scores") == pytest.approx(other.pop("scores"), abs=2e-4)
        for value in (one, other):
            value.pop("model")
        assert one == other
    long = focus("predict", images[0], "-c", dynamic, "-a", "a man who " + "walks " * 90)
    assert long.code == 2
    assert "tokens; CLIP reads 77 (4 are taken" in long.stderr


def test_a_model_without_its_own_text_tower_is_refused(focus, dynamic, crops, tmp_path):
    alone = shutil.copy(dynamic, tmp_path / "any.onnx")
    outcome = focus("predict", crops / "000.png", "-c", alone)
    assert outcome.code == 3
    assert "any.texts.onnx, which is not beside it" in outcome.stderr
    (tmp_path / "any.texts.onnx").write_bytes(b"another")
    outcome = focus("predict", crops / "000.png", "-c", alone)
    assert outcome.code == 3
    assert "not the text tower" in outcome.stderr


def test_int8_with_texts_of_ones_own(focus, exported_run, exported, crops, tmp_path):
    listed = tmp_path / "texts.txt"
    listed.write_text("# what to look for\nred hat\n\ngreen scarf\nRedHat\ngreen  Scarf\n", encoding="utf-8")
    outcome = focus("export", "-c", exported_run, "--int8", "--texts", listed, "--region", "lower", "--json")
    assert outcome.code == 0, outcome.stderr
    assert 'taken once, the same text as one before: "RedHat", "green  Scarf"' in outcome.stderr
    target = exported_run / "export" / "model-int8.onnx"
    assert outcome.json["files"] == [str(target)]
    assert target.stat().st_size < 0.5 * exported.stat().st_size
    drawn, real = outcome.json["parity"]
    assert drawn["largest"] > 1e-3
    assert 0 < real["rms"] < 0.1 * real["spread"]
    card = card_of(target)
    assert [(text.phrase, text.region) for text in card.texts] == [("red hat", "head"), ("green scarf", "lower")]
    predicted = focus(
        "predict", crops / "000.png", "-c", exported_run, "--backend", "onnx", "--precision", "int8", "--format", "csv"
    )
    assert predicted.code == 0, predicted.stderr
    assert rows(predicted.stdout)[0] == ["image", "red hat", "green scarf"]
    exact = focus("predict", crops / "000.png", "-c", exported_run, "-a", "red hat", "--format", "csv")
    difference = abs(float(rows(predicted.stdout)[1][1]) - float(rows(exact.stdout)[1][1]))
    assert difference < 0.5


def test_one_text_of_many_is_found_by_its_column(focus, exported, crops):
    every = rows(focus("predict", crops / "005.png", "-c", exported, "--format", "csv").stdout)
    some = focus("predict", crops / "005.png", "-c", exported, "-a", "Dark", "-a", " RED hat", "--format", "csv")
    values = dict(zip(*every, strict=True))
    assert rows(some.stdout) == [
        ["image", "dark trousers", "red hat"],
        [values["image"], values["dark trousers"], values["red hat"]],
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["-a", "green scarf"], 2, 'cannot be asked for "green scarf"'),
        (["-a", "red hat", "--region", "foot"], 2, "in region foot"),
        (["--region", "head"], 2, "--region head is for no text"),
        (["--precision", "int8"], 2, "is a model in fp32"),
        (["--precision", "bf16"], 2, "is a model in fp32"),
        (["--backend", "torch"], 2, "wants a checkpoint"),
        (["--backend", "jax"], 2, "torch, onnx"),
        (["--device", "cuda"], 4, "CPU build"),
        (["--device", "mps"], 2, "cpu, cuda"),
    ],
)
def test_what_an_exported_model_cannot_do_is_one_clear_message(focus, exported, crops, arguments, code, word):
    outcome = focus("predict", crops / "000.png", "-c", exported, *arguments)
    assert outcome.code == code
    assert word in outcome.stderr
    assert outcome.stdout == ""
    assert len(outcome.stderr.splitlines()) == 2


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_that_a_checkpoint_does_not_run_in(focus, trained_run, crops, precision):
    outcome = focus("predict", crops / "000.png", "-c", trained_run, "--precision", precision)
    assert outcome.code == 2
    assert precision in outcome.stderr
    assert ("focus export --int8" in outcome.stderr) is (precision == "int8")
    assert focus("eval", "-c", trained_run, "--precision", precision).code == 2


def test_a_file_that_is_no_exported_model_is_refused(focus, exported, crops, tmp_path):
    import onnx

    image = crops / "000.png"
    (tmp_path / "no.onnx").write_text("no model")
    outcome = focus("predict", image, "-c", tmp_path / "no.onnx")
    assert outcome.code == 3
    assert "no.onnx cannot be read as an ONNX model: Protobuf parsing failed.\nhint:  Export it again" in outcome.stderr
    (tmp_path / "folder.onnx").mkdir()
    outcome = focus("predict", image, "-c", tmp_path / "folder.onnx")
    assert outcome.code == 3
    assert "folder.onnx is a folder" in outcome.stderr
    proto = onnx.load(str(exported))
    proto.metadata_props[0].value = "{}"

    onnx.save(proto, str(tmp_path / "damaged.onnx"))
    outcome = focus("predict", image, "-c", tmp_path / "damaged.onnx")
    assert outcome.code == 3
    assert "Export it again" in outcome.stderr
    del proto.metadata_props[:]
    onnx.save(proto, str(tmp_path / "bare.onnx"))
    outcome = focus("predict", image, "-c", tmp_path / "bare.onnx")
    assert outcome.code == 3
    assert "not made by focus export" in outcome.stderr
    assert focus("predict", image, "-c", tmp_path / "gone.onnx").code == 3
    for command in (["eval"], ["viz", image, "hat"], ["export"]):
        outcome = focus(*command, "-c", exported)
        assert outcome.code == 2
        assert "only focus predict uses it" in outcome.stderr


def test_a_model_whose_weights_have_changed_is_refused(focus, exported, crops, tmp_path):
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.onnx").write_bytes(content)
    outcome = focus("predict", crops / "000.png", "-c", tmp_path / "changed.onnx")
    assert outcome.code == 3
    assert "has changed since it was exported" in outcome.stderr
    assert outcome.stdout == ""


def test_a_run_without_an_exported_model_says_how_to_make_one(focus, trained_run, crops, tmp_path):
    outcome = focus("predict", crops / "000.png", "-c", trained_run, "--backend", "onnx")
    assert outcome.code == 3
    assert f"focus export -c {trained_run}" in outcome.stderr
    run = shutil.copytree(trained_run, tmp_path / "other")
    (run / "export").mkdir()
    (run / "export" / "model.onnx").touch()
    outcome = focus("predict", crops / "000.png", "-c", run, "--backend", "onnx", "--precision", "int8")
    assert outcome.code == 3
    assert f"focus export -c {run} --int8" in outcome.stderr
    assert "name one with -c" not in outcome.stderr
    (run / "export" / "model.onnx").rename(run / "export" / "model-int8.onnx")
    outcome = focus("predict", crops / "000.png", "-c", run, "--backend", "onnx")
    assert "There are: model-int8.onnx; name one with -c" in outcome.stderr


def test_a_model_of_another_state_of_its_run_is_refused(focus, exported_run, exported, crops, tmp_path):
    run = tmp_path / "coloured"
    shutil.copytree(exported_run, run)
    state = run / "checkpoints" / "best" / "state.json"
    saved = json.loads(state.read_text())
    saved["thresholds"]["RedHat"] += 1
    state.write_text(json.dumps(saved))
    outcome = focus("predict", crops / "000.png", "-c", run, "--backend", "onnx")
    assert outcome.code == 3
    assert "another state of this run" in outcome.stderr
    assert focus("predict", crops / "000.png", "-c", run / "export" / "model.onnx").code == 0


def test_an_export_that_differs_leaves_nothing_behind(focus, exported_run, tmp_path, monkeypatch, onnx_extra):
    from focuscli.tools.export import build

    monkeypatch.setattr(build, "fixed_graph", lambda *_: _double(exported_run))
    target = tmp_path / "new" / "model.onnx"
    outcome = focus("export", "-c", exported_run, "-o", target)
    assert outcome.code == 5
    assert "differ by up to" in outcome.stderr
    assert [*target.parent.iterdir()] == []
    target.write_text("mine")
    assert focus("export", "-c", exported_run, "-o", target, "--force").code == 5
    assert target.read_text() == "mine"


def _double(run):
    """The exported graph with all scores twice as large."""
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.load(str(run / "export" / "model.onnx"))
    output = proto.graph.output[0].name
    last = next(node for node in proto.graph.node if output in node.output)
    last.output[0] = "single"
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(2), "two"))
    proto.graph.node.append(helper.make_node("Mul", ["single", "two"], [output]))
    return proto


def test_nothing_is_replaced_unasked_and_a_dry_run_writes_nothing(focus, exported_run, exported, tmp_path):
    before = exported.read_bytes()
    outcome = focus("export", "-c", exported_run)
    assert outcome.code == 3
    assert "--force" in outcome.stderr
    target = tmp_path / "dry.onnx"
    assert focus("export", "-c", exported_run, "-o", target, "--dry-run").code == 0
    assert not target.exists()
    assert exported.read_bytes() == before


def test_a_file_where_the_text_tower_goes_is_not_replaced_unasked(focus, trained_run, tmp_path):
    (tmp_path / "any.texts.onnx").write_text("precious")
    outcome = focus("export", "-c", trained_run, "--dynamic", "-o", tmp_path / "any.onnx")
    assert outcome.code == 3
    assert "any.texts.onnx exists already" in outcome.stderr
    assert (tmp_path / "any.texts.onnx").read_text() == "precious"
    assert not (tmp_path / "any.onnx").exists()


def test_a_folder_is_no_place_for_an_output(focus, trained_run, crops, tmp_path, monkeypatch):
    from focuscli.inference.recognizer import Recognizer

    monkeypatch.setattr(Recognizer, "from_checkpoint", None)  # told before any work
    (tmp_path / "folder.onnx").mkdir()
    for command in (["export"], ["predict", crops / "000.png"]):
        outcome = focus(*command, "-c", trained_run, "-o", tmp_path / "folder.onnx", "--force")
        assert outcome.code == 3
        assert "folder.onnx is a folder" in outcome.stderr


@pytest.mark.parametrize("command", ["export", "predict"])
def test_a_package_that_is_there_but_broken_is_told(
    focus, trained_run, crops, onnx_extra, tmp_path, monkeypatch, command
):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libcuda.so.1: cannot open')")
    (tmp_path / "any.onnx").write_bytes(b"anything")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    arguments = {
        "export": ["export", "-c", trained_run, "-o", tmp_path / "new.onnx"],
        "predict": ["predict", crops / "000.png", "-c", tmp_path / "any.onnx"],
    }
    outcome = focus(*arguments[command])
    assert outcome.code == 4
    assert "onnxruntime, which is installed but does not load (ImportError: libcuda.so.1" in outcome.stderr
    assert "pip install --force-reinstall onnxruntime" in outcome.stderr


def test_a_torch_whose_exporter_is_too_old_is_told(focus, trained_run, onnx_extra, tmp_path, monkeypatch):
    from focuscli.storage import machine

    monkeypatch.setattr(machine, "installed_version", lambda _: "2.4.1+cpu")
    outcome = focus("export", "-c", trained_run, "-o", tmp_path / "m.onnx")
    assert outcome.code == 4
    assert "needs torch 2.5 or later; installed is 2.4.1+cpu" in outcome.stderr


def test_without_the_extra_there_is_one_clear_message(focus, trained_run, crops, tmp_path, monkeypatch):
    from focuscli.storage import extras

    found = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name.startswith("onnx") else found(name))
    outcome = focus("export", "-c", trained_run, "-o", tmp_path / "m.onnx")
    assert outcome.code == 4
    assert "onnx, onnxruntime, onnxscript, which are not installed" in outcome.stderr
    assert "focus-par[onnx]" in outcome.stderr
    (tmp_path / "m.onnx").write_bytes(b"anything")
    outcome = focus("predict", crops / "000.png", "-c", tmp_path / "m.onnx")
    assert outcome.code == 4
    assert "onnxruntime, which is not installed" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--format", "tflite"], 2, "onnx"),
        (["--texts", "TEXTS", "--dynamic"], 2, "--dynamic"),
        (["--texts", "gone.txt"], 3, "gone.txt"),
        (["--texts", "EMPTY"], 3, "no text"),
        (["--texts", "TEXTS", "--region", "tail"], 2, "tail"),
        (["--dynamic", "--region", "head", "--dry-run"], 2, "--region head is for no text"),
        (["-o", "model.pt"], 2, ".onnx"),
        (["--images", "nowhere"], 3, "nowhere"),
    ],
)
def test_export_refuses(focus, trained_run, onnx_extra, tmp_path, arguments, code, word):
    (tmp_path / "texts").write_text("green scarf\n")
    (tmp_path / "empty").write_text("# nothing\n")
    places = {"TEXTS": tmp_path / "texts", "EMPTY": tmp_path / "empty"}
    given = [places.get(argument, argument) for argument in arguments]
    if "-o" not in given:
        given += ["-o", tmp_path / "m.onnx"]
    outcome = focus("export", "-c", trained_run, *given)
    assert outcome.code == code, outcome.stderr
    assert word in outcome.stderr
    assert not (tmp_path / "m.onnx").exists()
