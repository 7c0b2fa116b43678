"""Which files a user's arguments mean."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from focuscli.data.formats import formats
from focuscli.data.inputs import describe, find_images, near_file, read_list, unlisted
from focuscli.errors import InputError, UsageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """b.png, a.JPG, a[1].png, notes.txt, deep/c.webp, deep/folder.png/ and an empty folder, in the current folder."""
    for name in ("b.png", "a.JPG", "a[1].png", "notes.txt", "deep/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep" / "folder.png").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").touch()
    os.mkfifo(tmp_path / "pipe")
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
        (["-"], "\ufeffgone.png\r\nb.png\r\n~x.png", ["gone.png", "b.png", "~x.png"]),  # a listed file may be missing
        (["b.png", "*.png", ".", "b.png"], "", ["b.png", "a[1].png", "a.JPG", "deep/c.webp"]),  # each file once
    ],
)
def test_arguments_stand_for_image_files(folder: Path, arguments: list[str], stdin: str, expected: list[str]) -> None:
    found = [path.as_posix() for path in find_images(arguments, io.BytesIO(stdin.encode())).images]
    assert found == [name.format(home=folder) for name in expected]


@pytest.mark.parametrize(
    ("arguments", "problem", "hint"),
    [
        (["bb.png"], "No such image: bb.png", "Did you mean b.png?"),
        (["xyz.png"], "No such image: xyz.png", None),  # .png alone makes no name near
        (["no/such/folder/a.png"], "No such image", "folder no/such/folder does not exist"),
        (["*.gif"], "No such image", ""),
        (["empty"], "No image in folder empty", ""),
        (["text"], "No image in folder text", "Left out: 1 other file (notes.txt)"),
        (["pipe"], "pipe is a pipe, not an image file", "list of paths"),
        (["a" * 300], "File name too long", ""),
        (["~nobody"], "No such image: ~nobody", ""),
        ([], "No image was given", "stdin"),
        (["-", ""], "No image was given", ""),
    ],
)
def test_arguments_without_an_image_are_refused(
    folder: Path, arguments: list[str], problem: str, hint: str | None
) -> None:
    with pytest.raises(InputError) as caught:
        find_images(arguments, io.BytesIO(b"\n"))
    assert problem in caught.value.problem
    assert caught.value.hint is None if hint is None else hint in (caught.value.hint or "")


def test_names_like_patterns_are_names_where_they_exist(folder: Path) -> None:
    for name in ("~x.png", "[1].png", "crops[1]/a.png", "-x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
        assert find_images([name]).images == [Path(name)]
    assert find_images(["crops[1]/*.png"]).images == [Path("crops[1]/a.png")]


@pytest.mark.parametrize(
    ("content", "null", "expected"),
    [
        (b"a.png\0b\nc.png\0", True, ["a.png", "b\nc.png"]),
        ("\ufeffa.png\r\nb.png".encode(), False, ["a.png", "b.png"]),
        ("a.png\r\nü.png\r\n".encode("utf-16"), False, ["a.png", "ü.png"]),
        (b"caf\xe9.png\n\n", False, [os.fsdecode(b"caf\xe9.png")]),
        (b"a.png\0b.png\0", False, "add --null"),
        (b"a.png\nb.png\n", True, "no NUL"),
        (b"\xff\xfea", False, "damaged UTF-16"),
    ],
)
def test_lists_of_paths(content: bytes, null: bool, expected: list[str] | str) -> None:
    if isinstance(expected, list):
        assert read_list(content, null=null) == expected
        return
    with pytest.raises(InputError, match=expected):
        read_list(content, null=null)


def test_what_a_folder_has_besides_images_is_counted_and_named(tmp_path: Path) -> None:
    for name in ("a.jfif", "b.HEIC", ".c.png", "d.txt", "e.png/f.png", "h"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    Image.new("RGB", (2, 2)).save(tmp_path / "g", "PNG")  # by its content
    (tmp_path / "link.png").symlink_to("nowhere")
    (tmp_path / "linked").symlink_to("e.png")
    os.mkfifo(tmp_path / "i.png")
    found = find_images([str(tmp_path)])
    assert [path.relative_to(tmp_path).as_posix() for path in found.images] == ["a.jfif", "e.png/f.png", "g"]
    said = describe(found.left_out)
    for words in (
        "3 other files (b.HEIC, d.txt, h)",
        "1 broken link (link.png)",
        "1 linked folder (linked)",
        "1 pipe or device (i.png)",
        "1 hidden file (.c.png)",
        "pip install pillow-heif",
    ):
        assert words in said or (words.startswith("pip") and ".heic" in formats())
    rest = unlisted(tmp_path, ["a.jfif", "b.HEIC", "./e.png/f.png"])
    assert "1 image (g)" in rest
    assert "b.HEIC" not in rest
    with pytest.raises(UsageError, match="--null"):
        find_images([str(tmp_path)], null=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_folders_without_permission(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "a.png").touch()
    assert find_images([str(tmp_path)]).left_out == {"unreadable folder": ["closed"]}
    with pytest.raises(InputError, match="Permission denied"):
        find_images([str(tmp_path / "closed")])
    with pytest.raises(InputError, match="Permission denied"):
        find_images([str(tmp_path / "closed" / "a.png")])


def test_only_an_image_is_suggested_for_an_image(tmp_path):
    (tmp_path / "NOTICE").touch()
    assert near_file(tmp_path / "notic.jpg") is None
    (tmp_path / "notice.png").touch()
    assert near_file(tmp_path / "notic.jpg") == f"Did you mean {tmp_path / 'notice.png'}?"
