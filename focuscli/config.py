"""The configuration of a run: one tree of frozen values, checked when built and saved with every run; methods, presets."""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from focuscli.errors import InputError, UsageError, closest, did_you_mean
from focuscli.storage.paths import ZERO_SHOT

SCRATCH = "from scratch"
"""The origin of a model's weights where training started from random values instead of CLIP's."""
PLAIN_CLIP = {"rlp": False, "mgmt": False, "avfe": False}


@dataclass(frozen=True)
class MethodEntry:
    """A row of the table of methods.

    Attributes:
        title: a description of one line.
        model: module:class of its model.
        changes: configuration that defines the method, over the preset and under file and flags.
        trainable: False for a method that uses CLIP's weights without training.
    """

    title: str
    model: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trainable: bool = True


METHODS: dict[str, MethodEntry] = {
    "focus": MethodEntry("FOCUS: Mix Tokens, attribute-guided extraction, RACL", "focuscli.models.focus:FocusModel"),
    ZERO_SHOT: MethodEntry(
        "Zero-shot CLIP: class token against plain phrases, no training",
        "focuscli.models.focus:FocusModel",
        {"model": PLAIN_CLIP},
        trainable=False,
    ),
    "clip-ft": MethodEntry(
        "CLIP fine-tuned: class token against plain phrases, many-to-many loss",
        "focuscli.models.focus:FocusModel",
        {"model": PLAIN_CLIP, "loss": {"lsim": 0.0, "racl": 0.0}},
    ),
    "poar": MethodEntry(
        "POAR: region tokens behind fixed patch masks, many-to-many loss",
        "focuscli.models.poar:PoarModel",
        {"model": PLAIN_CLIP, "loss": {"lsim": 0.0, "racl": 0.0}},
    ),
    "vtb": MethodEntry(
        "VTB: texts and patches fused by the last block, one classifier per attribute, weighted BCE",
        "focuscli.models.vtb:VtbModel",
        {"data": {"complements": False}, "model": PLAIN_CLIP, "loss": {"lsim": 0.0, "racl": 0.0}},
    ),
}


def method_entry(name: str) -> MethodEntry:
    """The row of a method.

    Raises:
        UsageError: there is no such method.
    """
    if name not in METHODS:
        raise UsageError(f'Unknown method "{name}".', did_you_mean(name, METHODS))
    return METHODS[name]


ABLATIONS = ("rlp", "mgmt", "avfe", "racl", "lsim")


RENAMED = {"accumulate": "gradient_accumulation_steps", "clip_gradient": "max_grad_norm"}
"""Old name of a setting -> its name now; files and runs that have the old one still load."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, values: Any) -> Any:
        return {RENAMED.get(key, key): value for key, value in values.items()} if isinstance(values, dict) else values


class DataConfig(_Section):
    """The training data."""

    dataset: str = ""
    train_split: Literal["train", "trainval"] = "train"
    val_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of train held out (identity-disjoint) as val where the dataset has no val split."""
    regions: Literal["coarse", "fine"] = "coarse"
    """Grouping behind the block matrix (Eq. 6): six regions, or `whole` split into age, gender, view, body, role, action."""
    complements: bool = True
    """Whether the complement phrases of groups ("none of these") are training texts."""
    uncertain: Literal["mask", "negative"] = "mask"
    """Labels of value 2: excluded from losses and per-attribute metrics, or counted as 0."""
    cache: Literal["auto", "memory", "none"] = "auto"
    """Whether resized images are kept in memory; auto: where they need less than `cache_limit_mb`."""
    cache_limit_mb: Annotated[int, Field(ge=0)] = 4096
    workers: Annotated[int, Field(ge=0)] = 2
    resize: Literal["pillow", "torch"] = "pillow"
    """What resizes training crops: Pillow, as for CLIP and for every evaluation, or torch: faster, equal to a grey level."""


class AugmentConfig(_Section):
    """Training-time augmentation, in pixels and factors; the defaults follow POAR."""

    margin: Annotated[int, Field(ge=0)] = 8
    """Images are resized this much larger than the input on both sides, then cropped at random."""
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.8
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.8
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.8
    erase: Annotated[float, Field(ge=0, le=1)] = 0.5
    erase_area: tuple[float, float] = (0.03, 0.08)
    erase_ratio: tuple[float, float] = (0.3, 3.3)


class ModelConfig(_Section):
    """The shape of the model and the ablation switches of the paper's Table III."""

    method: str = "focus"
    """The method: a row of `METHODS`."""
    preset: Literal["vit-b16", "tiny"] = "vit-b16"
    image_size: tuple[int, int] = (224, 224)
    """Input height and width; any multiples of the patch size."""
    patch: Annotated[int, Field(ge=0)] = 0
    """Patch size of the visual tower in pixels, for training from scratch; 0: the preset's (16, tiny 8)."""
    layers: Annotated[int, Field(ge=0)] = 0
    """Layers of the visual tower; 0: the preset's (12, tiny 4). Of pretrained weights the first ones are kept."""
    global_tokens: Annotated[int, Field(ge=0)] = 8
    local_tokens: Annotated[int, Field(ge=0)] = 4
    partitions: Annotated[int, Field(ge=1)] = 4
    """r: number of equal, contiguous patch subsets for the local Mix Tokens."""
    prompt_length: Annotated[int, Field(ge=1, le=32)] = 4
    """m: learnable context vectors per attribute."""
    attention_heads: Annotated[int, Field(ge=1)] = 8
    avfe_init: Literal["identity", "random"] = "identity"
    mix_init_noise: Annotated[float, Field(ge=0)] = 0.02
    rlp: bool = True
    mgmt: bool = True
    avfe: bool = True

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.method not in METHODS:
            raise ValueError(f'model.method="{self.method}" is unknown. {did_you_mean(self.method, METHODS)}')
        if self.global_tokens + self.local_tokens < 1:
            raise ValueError("model needs at least one Mix Token: global_tokens + local_tokens is 0")
        if self.local_tokens % self.partitions:
            raise ValueError(
                f"model.local_tokens={self.local_tokens} does not divide over {self.partitions} patch subsets. "
                f"Valid: 0, {self.partitions}, {2 * self.partitions}, {3 * self.partitions}, ..."
            )
        patch, (height, width) = self.patch_size, self.image_size
        if min(height, width) < patch or height % patch or width % patch:
            raise ValueError(f"model.image_size={height},{width} is not a multiple of the patch size {patch}")
        patches = (height // patch) * (width // patch)
        if self.local_tokens and patches % self.partitions:
            valid = [r for r in range(1, 17) if patches % r == 0 and self.local_tokens % r == 0]
            raise ValueError(
                f"model.partitions={self.partitions} does not divide the {patches} patches of a {height} x {width} "
                f"input. Valid: {', '.join(map(str, valid))}"
            )
        return self

    @property
    def patch_size(self) -> int:
        return self.patch or {"vit-b16": 16, "tiny": 8}[self.preset]


class LossConfig(_Section):
    """Weights of the four losses (Eq. 8) and how the two cosines reach (0, 1)."""

    v2t: Annotated[float, Field(ge=0)] = 1.0
    t2v: Annotated[float, Field(ge=0)] = 1.0
    lsim: Annotated[float, Field(ge=0)] = 1.0
    racl: Annotated[float, Field(ge=0)] = 1.0
    racl_ramp: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the run over which the weight of RACL rises linearly from 0; 0 means constant."""
    racl_over: Literal["image", "batch"] = "image"
    """Whether RACL compares the attention maps of each image, or their mean over the batch."""
    eps: Annotated[float, Field(gt=0, lt=0.5)] = 1e-4
    """Cosines are clamped to [eps, 1 - eps] before the logarithms of Eq. 4 and 7."""


class TrainConfig(_Section):
    """Optimisation; the defaults follow POAR."""

    weights: str = ""
    """CLIP weights to start from: a file, empty for the installed ones, or `none` for training from scratch."""
    epochs: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=2)] = 128
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = 1
    """Micro-batches per optimiser step; the text-to-visual loss contrasts within each."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    max_grad_norm: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of the gradient; 0 does not clip."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights, which is evaluated and saved as best; 0 for none."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many evaluations without improvement; 0 never stops early."""
    eval_every: Annotated[int, Field(ge=1)] = 1
    save_every_steps: Annotated[int, Field(ge=0)] = 0
    """Also save `last` every so many steps within an epoch; 0 saves at the end of epochs only."""
    gradient_checkpointing: bool = False
    compile: bool = False
    """Compile the layers of the visual tower (torch.compile), which takes half a minute and makes the steps of large models
    and batches faster."""
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 leaves the choice to torch. A resumed run is bit-identical for the same number."""
    seed: Annotated[int, Field(ge=0)] = 0


class EvalConfig(_Section):
    """How val chooses decision thresholds and the best epoch."""

    criterion: Literal["mA", "F1", "Acc"] = "mA"
    """What a threshold maximises, per attribute: balanced accuracy, F1, or intersection over union of the positives."""
    select: Literal["mA", "Acc", "F1", "AUC"] = "mA"
    """The val metric that chooses the best epoch."""
    batch_size: Annotated[int, Field(ge=1)] = 128


class RunConfig(_Section):
    """Everything that determines a run."""

    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()

    @property
    def effective_loss(self) -> LossConfig:
        """The weights that apply: without Mix Tokens there is no L_sim, without attention over them no RACL."""
        lsim = self.loss.lsim if self.model.mgmt else 0.0
        racl = self.loss.racl if self.model.mgmt and self.model.avfe else 0.0
        return self.loss.model_copy(update={"lsim": lsim, "racl": racl})


Origins = dict[str, str]
Layer = tuple[str, Mapping[str, Any]]
"""Where values come from, and the values by section: ("--lr", {"train": {"learning_rate": 1e-4}})."""
Layers = list[Layer]

PRESETS: dict[str, dict[str, Any]] = {
    "vit-b16": {"model": {"preset": "vit-b16"}},
    "tiny": {
        "model": {"preset": "tiny", "image_size": [128, 64]},
        "augment": {"margin": 8, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3},
        "train": {"learning_rate": 5e-4, "weight_decay": 0.05, "epochs": 30, "ema": 0.99, "max_grad_norm": 1.0},
    },
}
"""What `--model NAME` changes against the defaults; files, flags and --set override it."""


def build_config(layers: Iterable[Layer]) -> tuple[RunConfig, Origins]:
    """Merge nested mappings, later ones winning, into a checked configuration.

    Args:
        layers: (origin, values) pairs, e.g. ("preset tiny", {...}), ("--lr", {"train": {"learning_rate": 1e-4}}).

    Returns:
        The configuration, and for every key that a layer set ("train.learning_rate") the origin of its value.

    Raises:
        UsageError: an unknown key (with the nearest known one) or a wrong value, by name.
    """
    defaults = RunConfig()
    merged: dict[str, dict[str, Any]] = {}
    origins: Origins = {}
    for origin, values in layers:
        for section, fields in values.items():
            if section not in RunConfig.model_fields:
                raise _unknown_key(section, list(RunConfig.model_fields), origin)
            if not isinstance(fields, Mapping):
                raise UsageError(f"{section} is a section, not a value ({origin}).", f"Write {section}.KEY=VALUE.")
            known = type(getattr(defaults, section)).model_fields
            for given, value in fields.items():
                key = RENAMED.get(str(given), str(given))
                if key not in known:
                    raise _unknown_key(f"{section}.{key}", [f"{section}.{name}" for name in known], origin)
                merged.setdefault(section, {})[key] = value
                origins[f"{section}.{key}"] = origin
    try:
        return RunConfig.model_validate(merged), origins
    except ValidationError as error:
        raise UsageError(*_describe(error, origins)) from error


def stacked(layers: Sequence[Layer]) -> list[Layer]:
    """The layers on top of those of the preset and the method that they choose.

    Raises:
        UsageError: an unknown preset or method, or a method that is not trained.
    """
    model: dict[str, Any] = {"preset": "vit-b16", "method": "focus"}
    for _, values in layers:
        section = values.get("model")
        model |= section if isinstance(section, Mapping) else {}
    preset, method = model["preset"], model["method"]
    if preset not in PRESETS:
        raise UsageError(f'Unknown model "{preset}".', did_you_mean(str(preset), PRESETS))
    entry = method_entry(method)
    if not entry.trainable:
        raise UsageError(
            f"Method {method} is not trained.", f"Use it without training: focus eval --checkpoint {method}"
        )
    return [(f"preset {preset}", PRESETS[preset]), (f"method {method}", entry.changes), *layers]


def parse_override(text: str) -> dict[str, dict[str, Any]]:
    """`section.key=value` as a nested mapping; the value is read as TOML (a list also without brackets), else as a string.

    Raises:
        UsageError: there is no `=` or no section.
    """
    path, equals, raw = text.partition("=")
    section, dot, key = path.strip().partition(".")
    if not equals or not dot or not key:
        raise UsageError(f'--set takes section.key=value; got "{text}".', "Example: --set train.learning_rate=3e-4")
    for toml in (raw, f"[{raw}]") if "," in raw else (raw,):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            return {section: {key: tomllib.loads(f"value = {toml}")["value"]}}
    return {section: {key: raw.strip()}}


def read_config_file(path: Path) -> dict[str, Any]:
    """A TOML file with the sections of `RunConfig`.

    Raises:
        InputError: it does not exist or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"No such configuration file: {path}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not a readable TOML file: {error}.") from error


def dump_config(config: RunConfig) -> str:
    """The configuration as TOML that `read_config_file` reads back to an equal one."""
    import tomlkit

    return tomlkit.dumps(json.loads(config.model_dump_json()))


def without(parts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The settings that switch parts of the method off: rlp, mgmt, avfe (model), racl, lsim (loss weight 0).

    Raises:
        UsageError: an unknown part.
    """
    values: dict[str, dict[str, Any]] = {}
    for part in parts:
        if part not in ABLATIONS:
            raise UsageError(f'Unknown part "{part}" in --without.', did_you_mean(part, ABLATIONS))
        if part in ModelConfig.model_fields:
            values.setdefault("model", {})[part] = False
        else:
            values.setdefault("loss", {})[part] = 0.0
    return values


def _unknown_key(key: str, known: list[str], origin: str) -> UsageError:
    near = closest(key, known)
    if near is None:
        return UsageError(f"Unknown key {key} ({origin}).", did_you_mean(key, known, limit=len(known)))
    section, _, name = near.partition(".")
    default = f" (default {getattr(getattr(RunConfig(), section), name)})" if name else ""
    return UsageError(f"Unknown key {key} ({origin}).", f"Did you mean {near}{default}?")


def _describe(error: ValidationError, origins: Origins) -> tuple[str, str | None]:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"][:2])
    if first["type"] == "value_error":
        return str(first["ctx"]["error"]), None
    where = f" ({origins[key]})" if key in origins else ""
    return f"{key}={first['input']!r}{where}: {first['msg']}.", None
