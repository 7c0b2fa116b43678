"""Documentation: every fenced `focus` command runs, generated pages are fresh, links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs/tutorials").glob("*.md")),
    *sorted((ROOT / "docs/how-to").glob("*.md")),
]
SMALL = ["--model", "tiny", "--weights", "none", "--set", "model.image_size=32,16", "--set", "augment.margin=2"]
SMALL += ["--set", "train.batch_size=8", "--set", "train.threads=1"]
"""What turns a documented training into the smallest one."""
IMAGES = ["--images", "40"]
UNSEEN = (
    "focus prepare market1501 ~/data/Market-1501",
    "focus prepare pickle ~/data/PETA/dataset_all.pkl --images ~/data/PETA/images",
)  # downloads that are not here
EXPECTED = {"focus prepare weights": 4, **dict.fromkeys(UNSEEN, 3)}
"""Documented commands that cannot succeed here, and the exit code they end with: this one needs the network."""


def focus_commands(page: Path) -> list[str]:
    """The `focus` commands of a page's shell blocks, in order; of a pipe, the part that is one."""
    blocks = re.findall(r"^```(?:bash|console|sh)?\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    lines = [re.split(r"\s+# ", line)[0] for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines if not line.lstrip().startswith("#") for part in line.split("|")]
    return [part for part in parts if part.startswith("focus ")]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory):
    """A home with a synthetic dataset and a run, the folders that the pages name, and a function that calls `focus` there."""
    import torch

    from clip_impl import CLIP, TINY
    from focuscli.cli.main import app

    home = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("FOCUS_OFFLINE", "1")

        def focus(*arguments: str, stdin: str | None = None):
            patch.setenv("FOCUS_HOME", str(home / "focus-home"))
            patch.setenv("FOCUS_RUNS", str(home / "runs"))
            return CliRunner().invoke(app, list(arguments), input=stdin)

        def must(*arguments: str) -> None:
            result = focus(*arguments)
            assert result.exit_code == 0, result.stderr

        must("prepare", "synthetic", *IMAGES)
        must("train", "--dataset", "synthetic", *SMALL, "--epochs", "1", "--run", str(home / "runs/first-run"))
        for name, folder in {"peta": "PETA", "pa100k": "PA-100K", "rapv1": "RAP"}.items():
            must("prepare", "synthetic", "--as", name, *IMAGES, "--out", str(home / "data" / folder))
        must("prepare", "peta", str(home / "data/PETA"))
        (home / "crops").mkdir()
        splits = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
        images = sorted((home / "focus-home/datasets/synthetic").rglob("*.jpg"))
        rows = []
        for number, (split, image) in enumerate(zip(splits, images, strict=False), start=1):
            shutil.copy(image, home / "crops" / f"{number:04}.jpg")
            rows.append(f"{number:04}.jpg,{split},{number},{number % 2},{number // 2 % 2}")
        shutil.copytree(home / "crops", home / "photos")
        (home / "table.csv").write_text("\n".join(["image,split,person,red hat,backpack", *rows]) + "\n")
        (home / "examples").symlink_to(ROOT / "examples")
        square = replace(TINY, vision=replace(TINY.vision, image_size=(64, 64)))
        torch.save(CLIP(square).state_dict(), home / "ViT-B-16.pt")  # a random CLIP as a plain state dict
        yield home, focus, set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_documented_command_runs(page, sandbox, tmp_path, monkeypatch):
    home, focus, prepared = sandbox
    monkeypatch.chdir(tmp_path)
    for name in ("crops", "photos", "table.csv", "examples", "ViT-B-16.pt", "gallery"):
        if (home / name).exists():
            (tmp_path / name).symlink_to(home / name)
    for command in focus_commands(page):
        arguments = [os.path.expanduser(word) for word in shlex.split(command)[1:]]
        if command in prepared:
            continue  # by another page
        if arguments[0] == "prepare":
            prepared.add(command)
        stdin = "\n".join(map(str, sorted((home / "crops").iterdir()))) if "-" in arguments else None
        result = focus(*small(arguments), stdin=stdin)
        assert result.exit_code == EXPECTED.get(command, 0), f"{command}\n{result.stderr}"


def small(arguments: list[str]) -> list[str]:
    """The same command on less data."""
    if arguments[0] in ("train", "reproduce") and not {"--resume", "--print-config", "--dry-run"} & {*arguments}:
        added = [*SMALL, *(["--epochs", "1"] if arguments[0] == "train" else [])]
        for option in {"--model", "--weights", "--epochs"} & {*arguments} & {*added}:  # is given once
            place = arguments.index(option)
            arguments = [*arguments[:place], *arguments[place + 2 :]]
        return [*arguments, *added]
    if arguments[:2] == ["prepare", "synthetic"]:
        return [*arguments, *IMAGES, "--force"]
    if arguments[0] == "prepare" and arguments[1] != "weights":
        return [*arguments, "--force"]
    return arguments


def test_generated_pages_are_fresh():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert not generate.stale(), "write them anew: make reference"


def test_links_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
