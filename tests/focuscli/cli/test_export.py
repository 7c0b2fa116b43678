"""`focus export`, and `focus predict` with what it wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

HEAVY = {"timm", "torchvision", "matplotlib", "scipy", "pandas", "sklearn", "onnx"}
# The configuration imports pydantic, as Typer 0.29 does; of Pillow's plugins PDF is the slowest to import.
NO_TORCH = HEAVY | {"torch", "ftfy", "rich", "focuscli.config", "PIL.PdfImagePlugin"}


@pytest.fixture
def exported(exported_run):
    return exported_run / "export" / "model.onnx"


@pytest.fixture(scope="session")
def dynamic(exported_run, command, tmp_path_factory):
    target = tmp_path_factory.mktemp("dynamic") / "any.onnx"
    report = json.loads(command("export", "-c", exported_run, "--dynamic", "-o", target, "--json"))
    names = ("any.onnx", "any.texts.onnx", "any.onnx.sha256")
    assert report["files"] == [str(target.with_name(name)) for name in names]
    assert [parity["texts"] for parity in report["parity"]] == [6, 6]
    assert sorted(path.name for path in target.parent.iterdir()) == sorted(names)
    done = subprocess.run(["sha256sum", "--check", names[2]], cwd=target.parent, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["any.onnx: OK", "any.texts.onnx: OK"]
    return target


@pytest.fixture(scope="session")
def broken(exported_run, dynamic, tmp_path_factory):
    """A folder of files that are not exported models, or not any more."""
    import onnx

    folder, exported = tmp_path_factory.mktemp("broken"), exported_run / "export" / "model.onnx"
    proto = onnx.load(str(exported))
    card = json.loads(proto.metadata_props[0].value)
    for key, value in {"format": 99, "vocabulary": {}}.items():
        proto.metadata_props[0].value = json.dumps({**card, key: value})
        onnx.save(proto, str(folder / f"{key}.onnx"))
    del proto.metadata_props[:]
    onnx.save(proto, str(folder / "bare.onnx"))
    (folder / "no.onnx").write_text("no model")
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 1  # one bit of a weight, which gives wrong scores and no error
    (folder / "changed.onnx").write_bytes(content)
    shutil.copy(f"{exported}.sha256", folder / "changed.onnx.sha256")
    for name in ("alone", "other"):
        (folder / name).mkdir()
        shutil.copy(dynamic, folder / name)
    (folder / "other" / "any.texts.onnx").write_bytes(b"another")
    return folder


def same_records(ours, theirs):
    """Whether lines of --format jsonl agree, scores to rounding; which model gave them does not count."""
    for one, other in zip(ours.splitlines(), theirs.splitlines(), strict=True):
        one, other = json.loads(one), json.loads(other)
        assert one.pop("scores") == pytest.approx(other.pop("scores"), abs=2e-4)
        assert one.pop("model") != other.pop("model")
        assert one == other


def test_both_backends_give_the_same_output(focus, exported_run, crops):
    images = [crops / f"{number:03}.png" for number in range(7)]
    for arguments in (["--batch", 3], ["-a", "Dark", "-a", " RED hat"]):
        line = ["predict", *images, "-c", exported_run, "--format", "jsonl", *arguments]
        torch, onnx = focus(*line), focus(*line, "--backend", "onnx")
        assert onnx.code == torch.code == 0, onnx.stderr
        assert onnx.stderr.splitlines()[1:] == torch.stderr.splitlines()[1:]  # the first line names the model's file
        same_records(onnx.stdout, torch.stdout)


@pytest.mark.parametrize(
    ("kind", "arguments", "heavy"),
    [
        ("exported", [], NO_TORCH),
        ("dynamic", ["-a", "red hat"], NO_TORCH),
        ("exported_run", [], HEAVY | {"onnxruntime"}),
    ],
)
def test_what_predicting_imports(request, crops, kind, arguments, heavy):
    model = str(request.getfixturevalue(kind))
    code = (
        "import sys\n"
        f"sys.argv = ['focus', 'predict', {str(crops / '000.png')!r}, '-c', {model!r}, *{arguments!r}]\n"
        "from focuscli.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"heavy = {heavy!r} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hat" in done.stdout


def test_the_runtime_sends_no_telemetry(exported, crops, tmp_path):
    """onnxruntime leaves an identifier in the cache folder if it reports to its vendor (not in what it takes for CI)."""
    environment = {
        name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY" and "CI" not in name
    }
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}
    line = [sys.executable, "-m", "focuscli", "predict", str(crops / "000.png"), "-c", str(exported)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not [file for file in tmp_path.rglob("*") if "onnxruntime" in str(file)]


def test_a_dynamic_model_takes_any_text(focus, exported_run, dynamic, crops):
    asked = ["-a", "red hat", "-a", "a green scarf", "-a", "brown boots", "--format", "jsonl"]
    images = [crops / "003.png", crops / "004.png"]
    torch = focus("predict", *images, "-c", exported_run, *asked)
    onnx = focus("predict", *images, "-c", dynamic, *asked)
    assert onnx.code == 0, onnx.stderr
    assert onnx.stderr.splitlines()[1:] == torch.stderr.splitlines()[1:]
    same_records(onnx.stdout, torch.stdout)
    long = focus("predict", images[0], "-c", dynamic, "-a", "a man who " + "walks " * 90)
    assert long.code == 2
    assert "tokens; CLIP reads 77 (4 are taken" in long.stderr


def test_int8_with_chosen_texts(focus, exported_run, exported, crops, tmp_path):
    listed = tmp_path / "texts.txt"
    listed.write_text("# what to look for\nred hat\n\ngreen scarf\nRedHat\ngreen  Scarf\n", encoding="utf-8")
    outcome = focus("export", "-c", exported_run, "--int8", "--texts", listed, "--region", "lower", "--json")
    assert outcome.code == 0, outcome.stderr
    assert ": 2 texts," in outcome.stderr  # each once
    target = exported_run / "export" / "model-int8.onnx"
    assert outcome.json["files"] == [str(target), f"{target}.sha256"]
    assert target.stat().st_size < 0.5 * exported.stat().st_size
    synthetic, real = outcome.json["parity"]
    assert synthetic["largest"] > 1e-3
    assert 0 < real["rms"] < 0.1 * real["spread"]
    line = ["predict", crops / "000.png", "-c", exported_run, "--format", "jsonl"]
    asked = ["-a", "red hat", "-a", "green scarf", "--region", "lower"]
    predicted = focus(*line, "--backend", "onnx", "--precision", "int8").json["scores"]
    assert [*predicted] == ["red hat", "green scarf"]
    assert predicted == pytest.approx(focus(*line, *asked).json["scores"], abs=0.5)


@pytest.mark.parametrize(
    ("model", "arguments", "code", "words"),
    [
        ("exported", ["-a", "green scarf"], 2, 'cannot be asked for "green scarf"'),
        ("exported", ["-a", "red hat", "--region", "foot"], 2, "in region foot"),
        ("exported", ["--region", "head"], 2, "--region head"),
        ("exported", ["--precision", "int8"], 2, "is a model in fp32"),
        ("exported", ["--backend", "torch"], 2, "checkpoint"),
        ("exported", ["--device", "cuda"], 4, "CPU build"),
        ("exported", ["--device", "mps"], 2, "cpu, cuda"),
        ("trained_run", ["--precision", "fp16"], 2, "fp16"),
        ("trained_run", ["--precision", "int8"], 2, "focus export --int8"),
        ("trained_run", ["--backend", "onnx", "--precision", "int8"], 3, "coloured --int8"),
        ("trained_run", ["--backend", "onnx"], 3, "focus export -c"),
        ("no.onnx", [], 3, "no.onnx cannot be read as an ONNX model"),
        *(
            (f"{name}.onnx", [], 3, "no description by focus export, or a damaged one")
            for name in ("format", "vocabulary", "bare")
        ),
        ("gone.onnx", [], 3, "No such exported model"),
        ("changed.onnx", [], 3, "changed since it was exported: see changed.onnx.sha256.\nhint:  Export it again"),
        ("alone/any.onnx", ["-a", "scarf"], 3, "not the text tower"),
        ("other/any.onnx", [], 3, "not the text tower"),
    ],
)
def test_predict_refuses(refused, request, crops, broken, model, arguments, code, words):
    place = broken / model if model.endswith(".onnx") else request.getfixturevalue(model)
    refused(code, words, "predict", crops / "000.png", "-c", place, *arguments)


def test_an_export_that_differs_leaves_nothing_behind(focus, exported_run, tmp_path, monkeypatch):
    from focuscli.tools.export import build

    target = tmp_path / "new" / "model.onnx"
    assert focus("export", "-c", exported_run, "-o", target, "--dry-run").code == 0
    assert [*tmp_path.iterdir()] == []
    monkeypatch.setattr(build, "FP32_TOLERANCE", 0.0)
    target.parent.mkdir()
    target.write_text("mine")
    outcome = focus("export", "-c", exported_run, "-o", target, "--force")
    assert outcome.code == 5
    assert "differ by up to" in outcome.stderr
    assert [*target.parent.iterdir()] == [target]
    assert target.read_text() == "mine"


def test_requirements(refused, trained_run, onnx_extra, crops, tmp_path, monkeypatch):
    import torch

    from focuscli.storage import extras

    target = tmp_path / "m.onnx"
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.4.1+cpu")
        refused(4, "needs torch 2.5 or later; installed is 2.4.1+cpu", "export", "-c", trained_run, "-o", target)
    found = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name.startswith("onnx") else found(name))
    missing = refused(4, "onnx, onnxruntime, onnxscript", "export", "-c", trained_run, "-o", target)
    assert "focus-par[onnx]" in missing.stderr
    target.write_bytes(b"anything")
    refused(4, "onnxruntime", "predict", crops / "000.png", "-c", target)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--format", "tflite"], 2, "onnx"),
        (["--texts", "texts", "--dynamic"], 2, "--dynamic"),
        (["--texts", "gone.txt"], 3, "gone.txt"),
        (["--texts", "empty"], 3, "no text"),
        (["--texts", "texts", "--region", "tail"], 2, "tail"),
        (["--dynamic", "--region", "head", "--dry-run"], 2, "--region head"),
        (["-o", "model.pt"], 2, ".onnx"),
        (["-c", "model.onnx"], 2, "only focus predict uses it"),
        (["--images", "nowhere"], 3, "nowhere"),
        (["-o", "mine.onnx"], 3, "mine.onnx exists already; nothing was changed.\nhint:  Add --force"),
        (["--dynamic", "-o", "any.onnx"], 3, "any.texts.onnx exists already"),
    ],
)
def test_export_refuses(refused, trained_run, onnx_extra, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").write_text("green scarf\n")
    (tmp_path / "empty").write_text("# nothing\n")
    for name in ("mine.onnx", "any.texts.onnx"):
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.iterdir())
    usual = {"-o": "m.onnx", "-c": trained_run}
    given = [word for option in usual.items() if option[0] not in arguments for word in option]
    refused(code, words, "export", *given, *arguments)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "mine.onnx").read_text() == (tmp_path / "any.texts.onnx").read_text() == "mine"


def test_the_file_describes_itself_and_the_state_of_its_run(focus, refused, exported_run, crops, tmp_path):
    import onnx

    (entry,) = onnx.load(str(exported_run / "export" / "model.onnx")).metadata_props
    card = json.loads(entry.value)
    said = [card[name] for name in ("kind", "precision", "method", "weights", "threshold_source")]
    assert said == ["fixed", "fp32", "focus", "from scratch", "val, criterion mA"]
    assert "uint8" in card["input"]["layout"]
    hat = card["labels"][0]
    assert (hat["name"], hat["phrase"], hat["region"], hat["seen"]) == ("RedHat", "red hat", "head", True)
    run = shutil.copytree(exported_run, tmp_path / "coloured")
    state = run / "checkpoints" / "best" / "state.json"
    saved = json.loads(state.read_text())
    assert hat["threshold"] == saved["thresholds"]["RedHat"]
    saved["thresholds"]["RedHat"] += 1
    state.write_text(json.dumps(saved))
    line = ["predict", crops / "000.png", "-c"]
    refused(3, "another state of this run", *line, run, "--backend", "onnx")
    assert focus(*line, run / "export" / "model.onnx").code == 0
