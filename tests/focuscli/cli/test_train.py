"""`focus train` from outside: configuration, refusals, Ctrl-C, and a real process killed at random moments."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from focuscli.cli.training import stop_on_signal
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
        (["--weights", ""], 2, "--weights none"),
        (["--weights", "", "--model", "vit-b16", "--set", "model.image_size=32,64"], 4, "focus prepare weights"),
        (["--dataset", "peta"], 3, "focus prepare peta"),
        (["--set", "data.dataset="], 2, "--dataset NAME"),
        (["--run", "TRAINED"], 3, "--resume"),
        (["--run", "OTHER"], 3, "exists already"),
        (["--run", "TRAINED", "--resume", "--lr", "1e-5"], 2, "train.learning_rate is 0.003"),
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
    refused(code, words, "train", *dataset, "--run", tmp_path / "run", *micro, *given)
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]
    assert (trained_run / "metrics.jsonl").read_bytes() == before


def test_resuming_a_finished_run_changes_nothing(focus, trained_run):
    before = tensors_of(trained_run, "last")
    outcome = focus("train", "--resume", "--run", trained_run, "--json")
    assert outcome.code == 0
    assert tensors_of(trained_run, "last") == before
    assert outcome.json["weights"] == "from scratch"
    assert json.loads((trained_run / "metrics.jsonl").read_text().splitlines()[-1])["epoch"] == 10


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
