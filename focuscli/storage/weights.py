"""CLIP weights on this machine: one file in `FOCUS_HOME/weights`, downloaded or copied there after a look inside.

Beside the file lies `<name>.json` with its sha256, format and activation: a copy has no `config.json` beside it any more
that could tell the activation.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import shutil
import urllib.parse
from dataclasses import asdict, dataclass
from pathlib import Path

from focuscli.errors import InputError, RequirementError
from focuscli.storage import files, paths
from focuscli.storage.download import Progress, download


@dataclass(frozen=True)
class WeightSource:
    """A published weight file: its usual name, address, and sha256."""

    name: str
    url: str
    sha256: str


_SHA256 = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
OPENAI_VIT_B_16 = WeightSource(
    name="ViT-B-16.pt",
    url=f"https://openaipublic.azureedge.net/clip/models/{_SHA256}/ViT-B-16.pt",
    sha256=_SHA256,
)


@dataclass(frozen=True)
class InstalledWeights:
    """What was installed: the file, its sha256, its format, how many tensors, and the activation."""

    path: Path
    sha256: str
    format: str
    tensors: int
    activation: str
    activation_source: str = ""


def install_weights(source: str | None, *, force: bool = False, progress: Progress | None = None) -> InstalledWeights:
    """Put CLIP weights into `paths.weights_dir()`.

    Args:
        source: a file, a folder as `transformers` saves it, an http(s) address, or None for OpenAI's ViT-B/16.
        force: replace what is installed.
        progress: called during a download.

    Raises:
        InputError: something is installed already; the source does not exist or is no complete CLIP; a download has
            another sha256 than its address says. Nothing is changed then.
        RequirementError: downloading is off or fails (the same call again goes on where it broke off), the disk is full.
    """
    present = installed_weights()
    if present is not None and not force:
        raise InputError(f"{present} is installed already; nothing was changed.", "Add --force to replace it.")
    if source is None or _is_url(source):
        return _install_download(source or OPENAI_VIT_B_16.url, progress)
    path = _existing(source)
    return _install(path, path.name, replaces=present, move=False)


def installed_weights() -> Path | None:
    """The installed weight file, or None: the one installed last, or a `ViT-B-16.pt` that was put there by hand."""
    folder = paths.weights_dir()
    records = [record for record in folder.glob("*.json") if record.with_suffix("").is_file()]
    if records:
        return max(records, key=lambda record: record.stat().st_mtime_ns).with_suffix("")
    default = folder / OPENAI_VIT_B_16.name
    return default if default.is_file() else None


def resolve_weights(spec: str | None) -> Path:
    """The weight file that a user names: a path, the name of a file in `paths.weights_dir()`, None for the installed one.

    Raises:
        RequirementError: None, and nothing is installed.
        InputError: nothing of that name.
    """
    if spec is not None:
        return _existing(spec)
    installed = installed_weights()
    if installed is not None:
        return installed
    if paths.offline():
        raise _offline("CLIP ViT-B/16 weights not found, and downloading is off (FOCUS_OFFLINE=1).")
    raise RequirementError(
        f"CLIP ViT-B/16 weights not found (looked in {paths.weights_dir()}).",
        "Install them with: focus prepare weights   (downloads 335 MiB), or from a file: focus prepare weights PATH",
    )


def _install_download(url: str, progress: Progress | None) -> InstalledWeights:
    if paths.offline():
        raise _offline(f"Downloading is off (FOCUS_OFFLINE=1), so {url} cannot be fetched.")
    try:
        address = urllib.parse.urlsplit(url)
        host = address.hostname
    except ValueError:
        host = None
    parts = address.path.strip("/").split("/") if host else [""]
    name = Path(urllib.parse.unquote(parts[-1])).name
    if not name:
        raise InputError(f"{url} is no address of a file.", "It looks like https://HOST/FOLDER/FILE")
    # Every hub has a model.safetensors: what has arrived of one must not be taken for the beginning of another.
    part = paths.weights_dir() / f"{name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part"
    try:
        download(url, part, progress)
        wanted = parts[-2] if len(parts) > 1 else ""
        # OpenAI's addresses hold the sha256 of the file.
        if len(wanted) == 64 and set(wanted.lower()) <= set("0123456789abcdef"):
            found = files.file_sha256(part)
            if found != wanted.lower():
                raise InputError(
                    f"{url} gave a wrong or damaged file: sha256 {found}, want {wanted.lower()}. It was removed.",
                    "Run the same command again; if that does not help, get the file in another way and run: "
                    "focus prepare weights PATH",
                )
        return _install(part, name, replaces=installed_weights(), move=True)
    except InputError:
        part.unlink(missing_ok=True)
        raise


def _install(path: Path, name: str, *, replaces: Path | None, move: bool) -> InstalledWeights:
    """Look into the file, bring it to its place, and write its record; `replaces` goes once all that is done."""
    from clip_impl.errors import WeightsError
    from clip_impl.weights import check_model, read_state_dict, weight_file

    try:
        path = weight_file(path)
        name = name if move else path.name
        weights = read_state_dict(path, name=name)
        check_model(weights)
    except WeightsError as error:
        problem = error.problem if str(path) in error.problem else f"{path}: {error.problem}"
        raise InputError(problem, error.hint) from error
    target = paths.weights_dir() / name
    if not (target.exists() and target.samefile(path)):
        if move:
            os.replace(path, target)
        else:
            with files.atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)
    installed = InstalledWeights(
        path=target,
        sha256=weights.sha256,
        format=weights.format,
        tensors=len(weights.tensors),
        activation=weights.activation,
        activation_source=weights.activation_source,
    )
    files.write_json(_record(target), {**asdict(installed), "path": target.name})
    if replaces is not None and replaces != target:
        _record(replaces).unlink(missing_ok=True)
        replaces.unlink(missing_ok=True)
    return installed


def _existing(spec: str) -> Path:
    path = Path(spec).expanduser()
    if path.exists():
        return path
    installed = paths.weights_dir() / spec
    if installed.is_file():
        return installed
    names: dict[str, str] = {}
    for folder, shown in ((paths.weights_dir(), ""), (path.parent, str(path.parent))):
        with contextlib.suppress(OSError):
            names |= {file.name: os.path.join(shown, file.name) for file in folder.iterdir() if file.suffix != ".json"}
    close = difflib.get_close_matches(path.name, names, n=1)
    hint = (
        f"Did you mean {names[close[0]]}?"
        if close
        else "Name a CLIP weight file, or leave it out for the installed one."
    )
    raise InputError(f"No such weight file: {spec}.", hint)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _is_url(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def _offline(problem: str) -> RequirementError:
    return RequirementError(
        problem,
        f"Put {OPENAI_VIT_B_16.name} (335 MiB, sha256 {OPENAI_VIT_B_16.sha256[:8]}...) anywhere and run: "
        "focus prepare weights PATH",
    )
