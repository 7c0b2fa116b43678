"""`focus datasets`: what is prepared, and what is wrong with it."""

from __future__ import annotations

import shutil

import pytest

from focuscli.data.folder import read_folder, summarise
from focuscli.errors import InputError
from focuscli.storage import paths


@pytest.fixture
def prepared(coloured_dataset):
    """prepared(name, change): a copy of the coloured dataset under FOCUS_HOME, with its labels.csv changed."""

    def copy(name, change=lambda text: text):
        folder = shutil.copytree(coloured_dataset, paths.datasets_dir() / name)
        file = folder / "labels.csv"
        file.write_text(change(file.read_text()))
        return folder

    return copy


@pytest.mark.parametrize(
    ("command", "advice"), [("datasets", "focus prepare synthetic"), ("runs", "focus train --dataset NAME")]
)
def test_where_there_is_nothing_to_list_the_first_step_is_named(focus, command, advice):
    empty = focus(command)
    assert (empty.code, empty.stdout, advice in empty.stderr) == (0, "", True)
    assert focus(command, "--json").json[command] == []


def test_datasets_are_listed_and_damaged_ones_named(focus, prepared):
    sound = prepared("sound")
    prepared("cell", lambda text: text.replace(",1,", ",maybe,", 1))
    (prepared("words") / "schema.toml").write_text("name = ")
    found = {item["name"]: item for item in focus("datasets", "--json").json["datasets"]}
    counts = {"images": 72, "splits": {"train": 40, "val": 16, "test": 16}, "attributes": 4, "evaluated": 3}
    assert found["sound"].items() >= {**counts, "folder": str(sound), "labels_only": False}.items()
    assert "maybe" in found["cell"]["problem"]
    assert "schema.toml" in found["words"]["problem"]
    shown = focus("datasets")
    assert "train 40, val 16, test 16" in shown.stdout
    assert [line.split(" is damaged")[0] for line in shown.stderr.splitlines()] == ["! cell", "! words"]


@pytest.mark.parametrize(
    "change",
    [lambda text: text.replace(",val,", ",train,"), lambda text: text.replace(",1,", ",7,", 1), lambda _: ""],
)
def test_a_summary_counts_and_refuses_what_the_reader_does(prepared, change):
    def outcome(read):
        try:
            found = read(folder)
        except InputError as error:
            return str(error)
        return found["splits"] if read is summarise else found.counts

    folder = prepared("changed")
    assert outcome(summarise) == outcome(read_folder)
    file = folder / "labels.csv"
    file.write_text(change(file.read_text()))
    assert outcome(summarise) == outcome(read_folder)
    (folder / "prepare.json").unlink()
    assert outcome(summarise) == outcome(read_folder)
