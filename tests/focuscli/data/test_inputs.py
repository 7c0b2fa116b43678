from __future__ import annotations

from pathlib import Path

import pytest

from focuscli.data.inputs import expand_images, looks_like_image
from focuscli.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """b.png, a.JPG, notes.txt, deep/c.webp and an empty folder; the current folder is theirs."""
    for name in ("b.png", "a.JPG", "notes.txt", "deep/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expand(*arguments: str, stdin: tuple[str, ...] = ()) -> list[str]:
    return [path.as_posix() for path in expand_images(arguments, stdin)]


def test_files_keep_their_order(folder: Path) -> None:
    assert expand("b.png", "a.JPG") == ["b.png", "a.JPG"]


def test_file_is_taken_whatever_its_suffix(folder: Path) -> None:
    assert expand("notes.txt") == ["notes.txt"]


def test_folder_is_searched_recursively_for_images_sorted(folder: Path) -> None:
    assert expand(".") == ["a.JPG", "b.png", "deep/c.webp"]


def test_folder_named_like_an_image_is_no_image(folder: Path) -> None:
    (folder / "deep" / "folder.png").mkdir()
    assert expand("deep") == ["deep/c.webp"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*.png", ["b.png"]), ("[ab].*", ["a.JPG", "b.png"]), ("**/*.webp", ["deep/c.webp"]), ("?.JPG", ["a.JPG"])],
)
def test_globs_are_expanded(folder: Path, pattern: str, expected: list[str]) -> None:
    assert expand(pattern) == expected


def test_glob_leaves_folders_out(folder: Path) -> None:
    assert expand("*") == ["a.JPG", "b.png", "notes.txt"]


def test_existing_file_with_glob_characters_is_that_file(folder: Path) -> None:
    (folder / "a[1].png").write_bytes(b"")
    (folder / "a1.png").write_bytes(b"")
    assert expand("a[1].png") == ["a[1].png"]


def test_dash_reads_paths_from_stdin(folder: Path) -> None:
    assert expand("a.JPG", "-", stdin=("b.png\n", "\n", "  \n", "deep\n")) == ["a.JPG", "b.png", "deep/c.webp"]


def test_stdin_is_not_read_without_dash(folder: Path) -> None:
    assert expand("a.JPG", stdin=("b.png\n",)) == ["a.JPG"]


def test_stdin_lines_may_end_like_on_windows(folder: Path) -> None:
    """Python's stdin keeps them on Linux."""
    assert expand("-", stdin=("b.png\r\n", "a.JPG\r\n")) == ["b.png", "a.JPG"]


def test_file_named_twice_appears_once_at_its_first_place(folder: Path) -> None:
    assert expand("b.png", "*.png", ".", "b.png") == ["b.png", "a.JPG", "deep/c.webp"]


def test_tilde_is_the_user_s_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert expand("~/b.png") == [(folder / "b.png").as_posix()]
    assert expand("~/*.png") == [(folder / "b.png").as_posix()]


@pytest.mark.parametrize(("typed", "meant"), [("bb.png", "b.png"), ("deep/d.webp", "deep/c.webp")])
def test_close_file_names_are_proposed(folder: Path, typed: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"No such image: {typed}") as caught:
        expand(typed)
    assert caught.value.hint == f"Did you mean {meant}?"


@pytest.mark.parametrize("typed", ["zzzzzzzz", "no/such/folder/a.png", "*.gif"])
def test_name_close_to_nothing_gets_no_proposal(folder: Path, typed: str) -> None:
    with pytest.raises(InputError, match="No such image") as caught:
        expand(typed)
    assert caught.value.hint is None
    assert caught.value.exit_code == 3


def test_folder_without_images_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"No image in folder empty .*\.png"):
        expand("empty")


@pytest.mark.parametrize(("arguments", "stdin"), [((), ()), (("-",), ()), (("-",), ("\n",)), (("",), ())])
def test_nothing_given_is_refused(folder: Path, arguments: tuple[str, ...], stdin: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="No image in what was given"):
        expand(*arguments, stdin=stdin)


@pytest.mark.parametrize(("pattern"), ["emp*", "dee?"])
def test_glob_of_folders_alone_is_refused(folder: Path, pattern: str) -> None:
    with pytest.raises(InputError):
        expand(pattern)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.PNG", True), ("x/y.jpeg", True), ("red hat", False), ("png", False)]
)
def test_image_suffixes(name: str, expected: bool) -> None:
    assert looks_like_image(name) is expected
