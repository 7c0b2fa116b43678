"""`focus train` from outside: configuration, refusals, Ctrl-C, and a real process killed at random moments."""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from focuscli.cli.training import stop_on_signal
from focuscli.data.schema import Attribute, AttributeSchema
from focuscli.engine.checkpoint import read_checkpoint


def tensors_of(run, name):
    """The tensor files of a checkpoint."""
    return {file.name: file.read_bytes() for file in (run / "checkpoints" / name).glob("*.safetensors")}


def start(*arguments):
    command = [sys.executable, "-m", "focuscli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_it_ends_with_the_same_bits(tmp_path, coloured_dataset, micro):
    options = [*micro, "--epochs", "4", "--set", "train.save_every_steps=1", "--set", "train.ema=0.9"]
    line = ["train", "--dataset", coloured_dataset, *options, "--run"]
    whole, run = tmp_path / "whole", tmp_path / "killed"
    state, kills = run / "checkpoints" / "last" / "state.json", 0
    for _ in range(3):
        process = start(*line, run, "--resume")
        before = state.stat().st_mtime_ns if state.exists() else None
        # Wait until this process has saved something, so that the run gets on, then a moment more.
        while process.poll() is None and not (state.exists() and state.stat().st_mtime_ns != before):
            time.sleep(0.002)
        time.sleep(random.SystemRandom().random() * 0.4)
        process.kill()
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors
        kills += process.returncode != 0
    assert kills, "the run ended before it could be killed"
    for process in (start("train", "--resume", "--run", run), start(*line, whole)):
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    for name in ("last", "best"):
        assert tensors_of(whole, name) == tensors_of(run, name) != {}
    assert [len((folder / "metrics.jsonl").read_text().splitlines()) for folder in (whole, run)] == [4, 4]


def test_ctrl_c_saves_and_exits_with_130(tmp_path, coloured_dataset, micro):
    run = tmp_path / "run"
    endless = ["--epochs", "100000", "--set", "train.eval_every=100000"]
    process = start("train", "--dataset", coloured_dataset, "--run", run, *micro, *endless)
    while not (run / "checkpoints" / "last" / "state.json").exists():
        time.sleep(0.05)
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert f"focus train --resume --run {run}" in errors
    assert "Traceback" not in errors
    step = int(errors.split("Stopped at step ")[1].split()[0])
    assert read_checkpoint(run / "checkpoints" / "last").state["step"] == step


def test_print_config_shows_every_value_and_its_origin(focus, micro, coloured_dataset, tmp_path):
    """A file comes over preset and method, a flag over the file."""
    file = tmp_path / "recipe.toml"
    file.write_text('[model]\npreset = "tiny"\n[train]\nweights = "none"\nepochs = 7\nlearning_rate = 2e-4\n')
    options = ["--config", file, "--lr", "5e-4", "--set", "loss.racl=0.1", "--without", "mgmt, lsim", "--print-config"]
    shown = focus("train", "-d", coloured_dataset, *options, "--json").json
    config, origins = shown["config"], shown["origins"]
    train = config["train"]
    assert (train["epochs"], train["learning_rate"], train["weight_decay"]) == (7, 5e-4, 0.05)
    assert (config["model"]["mgmt"], config["loss"]["lsim"], config["loss"]["racl"]) == (False, 0.0, 0.1)
    assert (origins["train.epochs"], origins["train.learning_rate"]) == (str(file), "--lr")
    assert (origins["loss.racl"], origins["model.mgmt"]) == ("--set loss.racl=0.1", "--without")
    assert origins["train.weight_decay"] == "preset tiny"
    assert "train.seed" not in origins
    saved = tmp_path / "printed.toml"
    printed = focus("train", "-d", coloured_dataset, *options).stdout
    assert "learning_rate = 0.0005  # --lr\n" in printed
    saved.write_text(printed)
    assert focus("train", "--config", saved, "--print-config", "--json").json["config"] == config
    saved.unlink()
    dry = focus("train", "-d", coloured_dataset, "--run", tmp_path / "run", *micro, "--dry-run")
    assert "nothing was written" in dry.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_weights_must_say_their_activation(refused, weights, coloured_dataset, tmp_path):
    file = weights.rename(tmp_path / "model.safetensors")
    run = ("--run", tmp_path / "run", "--device", "cpu")
    refused(
        3, f"prepare weights {file} --activation quickgelu", "train", "-d", coloured_dataset, *run, "--weights", file
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "train.leanring_rate=1"], 2, "Did you mean train.learning_rate"),
        (["--model", "huge"], 2, "huge"),
        (["--method", "paor"], 2, "poar"),
        (["--method", "clip"], 2, "not trained"),
        (["--device", "cuda:7"], 4, "--device cpu"),
        (["--config", "nowhere.toml"], 3, "nowhere.toml"),
        (["--without", "everything"], 2, "mgmt"),
        (["--weights", "nowhere.pt"], 3, "nowhere.pt"),
        (["--weights", ""], 2, "--model tiny --weights none"),
        (["--weights", "", "--model", "vit-b16", "--set", "model.image_size=32,64"], 4, "focus prepare weights"),
        (["--weights", "", "--model", "vit-b16", "--set", "model.image_size=32,64"], 4, "--model tiny --weights none"),
        (["--dataset", "peta"], 3, "focus prepare peta"),
        (["--set", "data.dataset="], 2, "--dataset NAME"),
        (["--run", "TRAINED"], 3, "--resume"),
        (["--run", "OTHER"], 3, "exists already"),
        (["--run", "TRAINED", "--resume", "--lr", "1e-5"], 2, "train.learning_rate is 0.003"),
        (["--run", "TRAINED", "--resume", "--epochs", "9"], 2, "train.epochs is 10, not 9"),
        (["--run", "TRAINED", "--resume", "--epochs", "12", "--lr", "1e-5"], 2, "A larger --epochs alone extends"),
        (["--resume"], 3, "No run to resume in"),
    ],
)
def test_refusals(refused, micro, trained_run, coloured_dataset, tmp_path, arguments, code, words):
    """No run is begun, and no folder that holds one is touched."""
    folders = {"TRAINED": trained_run, "OTHER": tmp_path}
    dataset = [] if {"--dataset", "data.dataset=", "--resume"} & {*arguments} else ["-d", coloured_dataset]
    before = (trained_run / "metrics.jsonl").read_bytes()
    (tmp_path / "other.txt").touch()
    given = [folders.get(argument, argument) for argument in arguments]
    usual = ["--run", tmp_path / "run", *micro]
    for option in {*given} & {"--run", "--model", "--weights", "--device"}:  # given once
        del usual[usual.index(option) : usual.index(option) + 2]
    refused(code, words, "train", *dataset, *usual, *given)
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]
    assert (trained_run / "metrics.jsonl").read_bytes() == before


def test_resuming_a_finished_run_changes_nothing(focus, trained_run):
    before = tensors_of(trained_run, "last")
    outcome = focus("train", "--resume", "--run", trained_run, "--json")
    assert outcome.code == 0
    assert tensors_of(trained_run, "last") == before
    assert outcome.json["weights"] == "from scratch"
    assert json.loads((trained_run / "metrics.jsonl").read_text().splitlines()[-1])["epoch"] == 10


def test_a_run_has_one_trainer(refused, tmp_path, coloured_dataset, micro):
    run = tmp_path / "run"
    last = run / "checkpoints" / "last"
    endless = ["--epochs", "100000", "--set", "train.eval_every=100000"]
    with start("train", "--dataset", coloured_dataset, "--run", run, *micro, *endless) as process:
        try:
            while not (last / "state.json").exists():
                time.sleep(0.05)
                assert process.poll() is None, process.stderr.read()
            words = f"Another process is training run {run}"
            assert f"focus train --resume --run {run}" in refused(3, words, "train", "--resume", "--run", run).stderr
            refused(3, "already holds a run", "train", "--dataset", coloured_dataset, "--run", run, *micro)
        finally:
            process.kill()


def test_resuming_tidies_up_after_a_killed_process(focus, tmp_path, trained_run):
    run = shutil.copytree(trained_run, tmp_path / "run")
    before = {path for path in run.rglob("*") if "tfevents" not in path.name}
    last = run / "checkpoints" / "last"
    for left in (
        run / ".config.toml.0123abcd.tmp",
        last / ".model-3.safetensors.0123abcd.tmp",
        last / "ema-3.safetensors",
    ):
        left.touch()
    assert focus("train", "--resume", "--run", run).code == 0
    assert {path for path in run.rglob("*") if "tfevents" not in path.name} == before


def test_a_run_that_patience_ended_says_so(focus, tmp_path, coloured_dataset, micro):
    options = ["--epochs", "9", "--patience", "2", "--lr", "1e-9"]
    outcome = focus("train", "--dataset", coloured_dataset, "--run", tmp_path / "run", *micro, *options)
    assert re.search(r"stopped early after \d of 9 epochs: --patience 2", outcome.stdout)


def test_more_epochs_extend_a_run(focus, tmp_path, coloured_dataset, micro):
    """Its schedule is that of its new length; TensorBoard has every step once; env.json has both commands."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    options = ["--epochs", "2", "--set", "train.ema=0.9"]
    assert focus("train", "--dataset", coloured_dataset, "--run", run, *micro, *options).code == 0
    resume = ["train", "--resume", "--run", run, "--epochs", "3"]
    dry = focus(*resume, "--dry-run", "--json")
    assert (dry.json["step"], dry.json["steps_left"], dry.json["steps"], dry.json["epochs_left"]) == (10, 5, 15, 1)
    assert "5 of 15 steps would follow, 1 of 3 epochs" in dry.stderr
    extended = focus(*resume)
    assert "extended from 2 epochs: the learning rate goes on along the cosine of 3 epochs" in extended.stderr
    assert extended.code == 0
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    whole = 5e-4 * 0.5 * (1 + math.cos(math.pi * 14 / 15))
    assert [records[-1]["epoch"], records[-1]["learning_rate"]] == [3, pytest.approx(whole)]
    assert "0 of 15 steps" in focus("train", "--resume", "--run", run, "--dry-run").stderr
    config = read_checkpoint(run / "checkpoints" / "last").state["config"]["train"]
    assert (config["epochs"], config["extended_from"]) == (3, [2])

    environment = json.loads((run / "env.json").read_text())
    assert environment["command"][1:3] == ["train", "--dataset"]
    assert [(again["step"], again["command"][1:]) for again in environment["resumed"]] == [(10, [*map(str, resume)])]
    assert set(environment["resumed"][0]) == {"step", "command"}
    again = focus("train", "--resume", "--run", run).stdout
    assert f"nothing was left to train; more epochs: focus train --resume --run {run} --epochs 6" in again

    board = EventAccumulator(str(run)).Reload()
    tags = set(board.Tags()["scalars"])
    names = "loss v2t t2v lsim racl learning_rate gradient_norm images_per_second"
    assert {f"train/{name}" for name in names.split()} == {tag for tag in tags if tag.startswith("train/")}
    assert [event.step for event in board.Scalars("train/loss")] == [*range(1, 16)]
    assert [event.step for event in board.Scalars("epoch/loss")] == [5, 10, 15]
    assert not {tag for tag in tags if tag.endswith(("/step", "/epoch"))}


@pytest.mark.parametrize("alone", [False, True])
def test_single_texts_are_contrasted_with_each_other(focus, tmp_path, crops_as, micro, alone):
    """Left alone they give v2t nothing to learn, which is warned of once."""
    names = ("hat", "trousers", "coat")
    attributes = [Attribute(name=name, phrase=name, region="upper", category="c", group=name) for name in names]
    labels = np.random.default_rng(0).integers(0, 2, (72, 3))
    dataset = crops_as(AttributeSchema(name="single", attributes=attributes), labels).path
    line = ["train", "--dataset", dataset, "--run", tmp_path / "run", *micro, "--epochs", "20"]
    outcome = focus(*line, *(["--set", "data.single_texts=alone"] if alone else []))
    assert outcome.code == 0, outcome.stderr
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert (first["v2t"] == 0) is alone
    assert first["t2v"] > 0
    assert outcome.stderr.count("loss v2t has collapsed: 0 in step 10 of 100, 0 in the first") == alone
    assert ("3 groups have a single text" in outcome.stderr) is not alone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number, capsys):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stop_on_signal(twice=True) as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert "once more to stop at once" in capsys.readouterr().err
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before
    # A worker is never interrupted, and silent where torchrun ends it.
    with stop_on_signal(twice=False) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), number)
        assert stop()
    assert capsys.readouterr().err == ""
