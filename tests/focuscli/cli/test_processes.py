"""Commands in several processes: one prints and writes, files are those of one process, and a lost worker loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from focuscli.engine.checkpoint import read_checkpoint
from focuscli.engine.distributed import VARIABLES
from focuscli.tools.gallery.store import read_gallery


@pytest.mark.parametrize("options", [["--threshold", "val"], ["--open-domain", "--other-data"]])
def test_eval_writes_the_file_of_one_process(workers, trained_run, coloured_dataset, options):
    where = ["--target" if "--open-domain" in options else "--dataset", coloured_dataset]
    line = ["eval", "-c", trained_run, *options, *where, "--split", "all"]
    found = []
    for count in (1, 3):
        outcomes = workers(count, "focus", *line)
        assert [code for code, _, _ in outcomes] == count * [0], outcomes
        assert {out for _, out, _ in outcomes[1:]} <= {""}
        written = max(trained_run.rglob("*coloured-all*.json"), key=lambda path: path.stat().st_mtime_ns)
        found.append((outcomes[0][1], written.name, written.read_bytes()))
    assert found[0] == found[1]


@pytest.fixture
def pictures(coloured_dataset, tmp_path) -> Path:
    """Images in a folder, one of them unreadable."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for place in sorted((coloured_dataset.parent / "images").iterdir())[:20]:
        (folder / place.name).symlink_to(place)
    (folder / "007b.png").write_text("no image")
    return folder


def test_predict_says_what_one_process_says(workers, trained_run, pictures, tmp_path):
    line = ["predict", pictures, "-c", trained_run, "--format", "jsonl", "--batch", 3, "-a", "red hat", "-a", "scarf"]
    alone, shared = (workers(count, "focus", *map(str, line)) for count in (1, 2))
    assert alone[0][0] == 0
    assert len(alone[0][1].splitlines()) > 19
    assert shared == [alone[0], (0, "", "")]
    written = workers(2, "focus", *map(str, line), "-o", tmp_path / "out")
    assert [(code, out) for code, out, _ in written] == 2 * [(0, "")]
    assert (tmp_path / "out").read_text() == alone[0][1]

    alone, shared = (workers(count, "focus", *map(str, line), "--strict") for count in (1, 3))
    assert (alone[0][0], "007b.png" in alone[0][2]) == (3, True)
    assert shared == [alone[0], *2 * [(3, "", "")]]


def stored_crops(folder):
    """Paths and features of the crops, in order of the paths."""
    parts = [(part.crops(), part.tokens()) for part in read_gallery(folder).parts]
    found = sorted((crop.path, row.tolist()) for crops, rows in parts for crop, row in zip(crops, rows, strict=True))
    return zip(*found, strict=True)


def test_index_and_search_give_what_one_process_gives(workers, trained_run, pictures, tmp_path):
    """Twenty crops in parts of six: some processes have two, and of five one has none."""
    galleries = [tmp_path / "one", tmp_path / "three"]
    for count, gallery in zip((1, 3), galleries, strict=True):
        line = ["index", pictures, "-o", gallery, "-c", trained_run, "--part-size", 6, "--batch", 4]
        outcomes = workers(count, "focus", *map(str, line))
        assert [code for code, _, _ in outcomes] == count * [0], outcomes
        assert f"{gallery}: 20 crops in 4 parts" in outcomes[0][1]
        assert {outcome[1:] for outcome in outcomes[1:]} <= {("", "")}
    one, three = ({file.name: file.read_bytes() for file in folder.glob("[!.]*")} for folder in galleries)
    assert one == three
    for options in (["--recall"], ["--fast", "--each", "--not", "scarf"]):
        line = ["search", galleries[0], "red hat", "blue sock", "-k", 7, "--format", "jsonl", *options]
        alone, shared = (workers(count, "focus", *map(str, line)) for count in (1, 5))
        assert alone[0][0] == 0, alone
        assert len(alone[0][1].splitlines()) >= 7
        assert [outcome[:2] for outcome in shared] == [alone[0][:2], *4 * [(0, "")]], shared


def test_a_worker_killed_while_indexing_loses_only_its_part(workers, trained_run, pictures, tmp_path):
    expected, gallery = tmp_path / "expected", tmp_path / "Gallery"
    line = ["index", str(pictures), "-c", str(trained_run), "--part-size", "3", "--batch", "3"]
    assert workers(1, "focus", *line, "-o", expected)[0][0] == 0
    outcomes = workers(2, "shot", 1, 2, *line, "-o", str(gallery))
    assert [outcome[0] for outcome in outcomes] == [4, -9], outcomes
    words = ("Another worker has gone", f"are in {gallery}", "torchrun ... -m focuscli index", "--resume")
    assert all(word in outcomes[0][2] for word in words)
    assert outcomes[0][2].count("error:") == 1
    resumed = workers(3, "focus", *line, "-o", gallery, "--resume")
    assert [code for code, _, _ in resumed] == [0, 0, 0], resumed
    assert "stored" in resumed[0][2]
    (paths, tokens), (others, theirs) = stored_crops(gallery), stored_crops(expected)
    assert (paths, len(paths)) == (others, 20)
    np.testing.assert_allclose(tokens, theirs, atol=2e-3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "--batch-size", "9"], 2, ["9 images does not divide over 2 processes", "a multiple of 2"]),
        (["train", "--device", "cuda:0"], 2, ["one device for 2 processes"]),
        (["train", "--method", "paor"], 2, ["Did you mean poar"]),
        (["eval", "--threshold", "none"], 2, ['Unknown threshold "none"']),
        (["doctor"], 2, ["focus doctor runs in one process", "train, eval, predict, index, search"]),
    ],
)
def test_what_is_wrong_is_said_once(workers, coloured_dataset, micro, tmp_path, arguments, code, words):
    place = micro.index(arguments[1]) if arguments[1:2] and arguments[1] in micro else len(micro)
    more = ["--dataset", str(coloured_dataset), *micro[:place], *micro[place + 2 :], "--run", str(tmp_path / "run")]
    outcomes = workers(2, "focus", arguments[0], *(more if arguments[0] == "train" else []), *arguments[1:])
    assert [outcome[0] for outcome in outcomes] == [code, code], outcomes
    assert all(word in outcomes[0][2] for word in words)
    assert (outcomes[0][2].count("error:"), outcomes[1][1:]) == (1, ("", ""))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("what", "words"), [("data", "Worker 1 sees other data"), ("step", "only here")])
def test_a_failure_of_one_worker_ends_all_and_is_left_for_torchruns_report(
    workers, coloured_dataset, micro, tmp_path, what, words
):
    """The dataset of the second worker has other labels, as on a machine with an older copy; or it alone fails."""
    line = ["train", "--dataset", coloured_dataset, *micro, "--run-folder", tmp_path / "run"]
    outcomes = workers(2, "broken", what, *line)
    assert outcomes[1] == (3, "", "")
    recorded = json.loads((workers.folder / "1.error").read_text())
    assert words in recorded["message"]["message"]
    assert outcomes[0][0] in (3, 4), outcomes  # the same failure, or the loss of the other worker
    assert (outcomes[0][2].count("error:"), "Traceback" in outcomes[0][2]) == (1, False)


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGKILL, 4, ["Another worker has gone", "is saved in", "torchrun ... -m focuscli train --resume"]),
        (signal.SIGTERM, 130, ["Stopped at step", "torchrun ... -m focuscli train --resume --run-folder"]),
    ],
)
def test_a_worker_that_is_killed_ends_the_job_and_nothing_is_lost(
    workers, coloured_dataset, micro, tmp_path, number, code, words
):
    run = tmp_path / "run"
    line = ["train", "--dataset", coloured_dataset, *micro, "--epochs", "100000", "--set", "train.eval_every=100000"]
    # In the first epoch, when nothing has been saved yet.
    kill = {"rank": 1, "signal": int(number), "when": str(run / "config.toml")}
    outcomes = workers(2, "focus", *line, "--run-folder", run, kill=kill)
    assert [outcome[0] for outcome in outcomes] == [code, -9 if number == signal.SIGKILL else code], outcomes
    errors = outcomes[0][2]
    assert all(word in errors for word in words)
    assert (errors.count("error:"), "Traceback" in errors, outcomes[1][1:]) == (1, False, ("", ""))
    step = int(errors.lower().rsplit(" step ", 1)[1].split()[0])
    saved = read_checkpoint(run / "checkpoints" / "last")
    assert saved.state["step"] == step < 5
    assert saved.tensors("model")


@pytest.mark.parametrize(
    ("count", "changes"),
    [
        (3, {"2": {"RANK": "1", "LOCAL_RANK": "1"}}),
        (2, {"1": {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"}}),
    ],
)
def test_workers_that_contradict_each_other_are_refused_by_all(workers, count, changes):
    outcomes = workers(count, "differing", changes, "predict", "nothing.png")
    assert [code for code, _, _ in outcomes] == count * [2], outcomes
    assert (outcomes[0][2].count("do not fit together"), outcomes[0][2].count("error:")) == (1, 1)


WORKER_1_IS_KILLED_ONCE = """
import os, signal
from focuscli.cli.main import main
from focuscli.engine import trainer
if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    trainer.augment = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
main()
"""


@pytest.mark.slow
def test_torchrun_itself_which_starts_all_again_when_one_is_killed(coloured_dataset, micro, tmp_path):
    run, program = tmp_path / "run", tmp_path / "program.py"
    program.write_text(WORKER_1_IS_KILLED_ONCE)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    line = ["train", "--dataset", coloured_dataset, *micro, "--epochs", "1", "--run-folder", run, "--resume", "--json"]
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, *command, program, *map(str, line)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["run"] == str(run)  # the first ones may have said why they end
    assert (done.stderr.count("2 processes on cpu"), "cannot reach" in done.stderr) == (2, False)
    assert json.loads((run / "env.json").read_text())["processes"] == 2
    assert read_checkpoint(run / "checkpoints" / "last").state["step"] == 5
