"""Which files a user's arguments mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from focuscli.data.inputs import expand_images
from focuscli.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """b.png, a.JPG, a[1].png, notes.txt, deep/c.webp, deep/folder.png/ and an empty folder, in the current folder."""
    for name in ("b.png", "a.JPG", "a[1].png", "notes.txt", "deep/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep" / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "stdin", "expected"),
    [
        (["b.png", "a.JPG"], "", ["b.png", "a.JPG"]),  # in the order given
        (["notes.txt"], "", ["notes.txt"]),  # a file counts whatever its suffix
        (["."], "", ["a.JPG", "a[1].png", "b.png", "deep/c.webp"]),  # folders recursively, sorted, images only
        (["deep"], "", ["deep/c.webp"]),  # a folder named like an image is not one
        (["*.png"], "", ["a[1].png", "b.png"]),
        (["**/*.webp", "~/b.png"], "", ["deep/c.webp", "{home}/b.png"]),
        (["*"], "", ["a.JPG", "a[1].png", "b.png", "notes.txt"]),  # globs without folders
        (["a[1].png"], "", ["a[1].png"]),  # an existing file before a pattern
        (["a.JPG", "-"], "b.png\n\n  \ndeep\r\n", ["a.JPG", "b.png", "deep/c.webp"]),
        (["a.JPG"], "b.png\n", ["a.JPG"]),  # stdin only with -
        (["b.png", "*.png", ".", "b.png"], "", ["b.png", "a[1].png", "a.JPG", "deep/c.webp"]),  # each file once
    ],
)
def test_arguments_stand_for_image_files(folder: Path, arguments: list[str], stdin: str, expected: list[str]) -> None:
    found = [path.as_posix() for path in expand_images(arguments, stdin.splitlines(keepends=True))]
    assert found == [name.format(home=folder) for name in expected]


@pytest.mark.parametrize(
    ("arguments", "problem", "hint"),
    [
        (["bb.png"], "No such image: bb.png", "Did you mean b.png?"),
        (["no/such/folder/a.png"], "No such image", "folder no/such/folder does not exist"),
        (["*.gif"], "No such image", ""),
        (["empty"], "No image in folder empty (looked for .apng, .avif", ""),
        ([], "No image was given", "stdin"),
        (["-", ""], "No image was given", ""),
    ],
)
def test_arguments_without_an_image_are_refused(folder: Path, arguments: list[str], problem: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        expand_images(arguments, ["\n"])
    assert problem in caught.value.problem
    assert hint in (caught.value.hint or "")
