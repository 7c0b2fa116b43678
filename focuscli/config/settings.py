"""The settings of a run: one tree of frozen values, checked when built and saved with every run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from focuscli.config.methods import METHODS
from focuscli.errors import did_you_mean

SCRATCH = "from scratch"
"""The origin of a model's weights where training started from random values instead of CLIP's."""
RENAMED = {"accumulate": "gradient_accumulation_steps", "clip_gradient": "max_grad_norm"}
"""Old name of a setting -> its name now; files and runs that have the old one still load."""
BEFORE = {"data": {"single_texts": "alone"}}
"""How runs were trained whose saved configuration lacks a setting, where that is not its default."""

Side = Annotated[int, Field(ge=1, le=2048)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, values: Any) -> Any:
        return {RENAMED.get(key, key): value for key, value in values.items()} if isinstance(values, dict) else values


class DataConfig(_Section):
    """The training data."""

    dataset: str = ""
    """Name or folder of the prepared dataset."""
    train_split: Literal["train", "trainval"] = "train"
    """Train on train, or on train and val together, as published results do."""
    val_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of train held out (identity-disjoint) as val where the dataset has no val split."""
    regions: Literal["coarse", "fine"] = "coarse"
    """Grouping behind the block matrix (Eq. 6): six regions, or `whole` split into age, gender, view, body, role, action."""
    complements: bool = True
    """Whether the complement phrases of groups ("none of these") are training texts."""
    single_texts: Literal["together", "alone"] = "together"
    """Groups of one text without a complement, which have nothing to contrast it with: contrasted together, as one group in
    which several texts can be true of an image, or left alone, so that v2t does not see them."""
    uncertain: Literal["mask", "negative"] = "mask"
    """Labels of value 2: excluded from losses and per-attribute metrics, or counted as 0."""
    cache: Literal["auto", "memory", "none"] = "auto"
    """Whether resized images are kept in memory; auto: where they need less than `cache_limit_mb`."""
    cache_limit_mb: Annotated[int, Field(ge=0, le=2**30)] = 4096
    """Largest size of that cache in MiB, for all processes of a machine together."""
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    """Threads that decode images."""
    resize: Literal["pillow", "torch"] = "pillow"
    """What resizes training crops: Pillow, as for CLIP and for every evaluation, or torch: faster, equal to a grey level."""


class AugmentConfig(_Section):
    """Training-time augmentation, in pixels and factors; the defaults follow POAR."""

    margin: Annotated[int, Field(ge=0, le=1024)] = 8
    """Images are resized this much larger than the input on both sides, then cropped at random."""
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability of a horizontal flip."""
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Brightness is multiplied by a factor from 1 - this to 1 + this."""
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.8
    """The same for contrast."""
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.8
    """The same for saturation."""
    erase: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that a random rectangle is erased."""
    erase_area: tuple[float, float] = (0.03, 0.08)
    """Smallest and largest area of that rectangle, as a share of the image's."""
    erase_ratio: tuple[float, float] = (0.3, 3.3)
    """Smallest and largest ratio of its sides."""


class ModelConfig(_Section):
    """The shape of the model and the ablation switches of the paper's Table III."""

    method: str = "focus"
    """The method: a row of `METHODS`."""
    preset: Literal["vit-b16", "tiny"] = "vit-b16"
    """Shape of the towers: CLIP ViT-B/16, or a small CLIP for upright crops that trains on a CPU."""
    image_size: tuple[Side, Side] = (224, 224)
    """Input height and width; any multiples of the patch size."""
    patch: Annotated[int, Field(ge=0, le=256)] = 0
    """Patch size of the visual tower in pixels, for training from scratch; 0: the preset's (16, tiny 8)."""
    layers: Annotated[int, Field(ge=0, le=64)] = 0
    """Layers of the visual tower; 0: the preset's (12, tiny 4). Of pretrained weights the first ones are kept."""
    global_tokens: Annotated[int, Field(ge=0, le=256)] = 8
    """K_g: Mix Tokens that read all patches (Eq. 2)."""
    local_tokens: Annotated[int, Field(ge=0, le=256)] = 4
    """K_l: Mix Tokens that read one subset of patches each (Eq. 3); a multiple of `partitions`."""
    partitions: Annotated[int, Field(ge=1, le=256)] = 4
    """r: number of equal, contiguous patch subsets for the local Mix Tokens."""
    prompt_length: Annotated[int, Field(ge=1, le=32)] = 4
    """m: learnable context vectors per attribute."""
    attention_heads: Annotated[int, Field(ge=1, le=64)] = 8
    """Heads of the attribute-guided cross-attention (Eq. 5)."""
    avfe_init: Literal["identity", "random"] = "identity"
    """Initial value of its projections."""
    mix_init_noise: Annotated[float, Field(ge=0)] = 0.02
    """Standard deviation of the noise on the initial Mix Tokens."""
    rlp: bool = True
    """Region-specific learnable prompts; off: plain phrases."""
    mgmt: bool = True
    """Multi-Granularity Mix Tokens; off: the class token."""
    avfe: bool = True
    """Attribute-guided visual feature extraction; off: one feature per image."""

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.method not in METHODS:
            raise ValueError(f'model.method="{self.method}" is unknown. {did_you_mean(self.method, METHODS)}')
        if self.global_tokens + self.local_tokens < 1:
            raise ValueError("model needs at least one Mix Token: global_tokens + local_tokens is 0")
        if self.local_tokens % self.partitions:
            raise ValueError(
                f"model.local_tokens={self.local_tokens} is not a multiple of model.partitions={self.partitions}"
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
    """Weight of the loss that contrasts the texts of a group for each image."""
    t2v: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the loss that contrasts the images of a batch for each text."""
    lsim: Annotated[float, Field(ge=0)] = 1.0
    """Weight of L_sim, which keeps the Mix Tokens apart (Eq. 4)."""
    racl: Annotated[float, Field(ge=0)] = 1.0
    """Weight of RACL: attributes of one region attend to the same Mix Tokens (Eq. 7)."""
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
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Passes over the training images."""
    extended_from: tuple[int, ...] = ()
    """The numbers of epochs that the run had before `--resume --epochs` extended it. Set by focus."""
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 128
    """Images per micro-batch, over all processes."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Micro-batches per optimiser step; the text-to-visual loss contrasts within each."""
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 1e-4
    """Peak learning rate of AdamW; it falls to 0 along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Weight decay of AdamW, for matrices only."""
    warmup_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 100
    """Optimiser steps over which the learning rate rises linearly."""
    warmup_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Largest share of the run that `warmup_steps` may take; the preset tiny, whose runs can be short, has 0.1."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of the gradient; 0 does not clip."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights, which is evaluated and saved as best; 0 for none."""
    patience: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Stop after this many evaluations without improvement; 0 never stops early."""
    eval_every: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Epochs between two evaluations on val."""
    save_every_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Also save `last` every N steps within an epoch; 0 saves at the end of epochs only."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    compile: bool = False
    """Compile the layers of the visual tower (torch.compile), which takes half a minute and makes the steps of large models
    and batches faster."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of matrix products; auto: bf16 on GPUs, fp32 elsewhere."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads; 0 leaves the choice to torch. A resumed run is bit-identical for the same number."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """Random seed."""


class EvalConfig(_Section):
    """How val chooses decision thresholds and the best epoch."""

    criterion: Literal["mA", "F1", "Acc"] = "mA"
    """What a threshold maximises, per attribute: balanced accuracy, F1, or intersection over union of the positives."""
    select: Literal["mA", "Acc", "F1", "AUC"] = "mA"
    """The val metric that chooses the best epoch."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Images per batch when val is scored."""


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
