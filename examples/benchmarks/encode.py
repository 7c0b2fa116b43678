"""CLIP's image tower against the packages that users would pick instead, and FOCUS's scores against the plain tower.

All have the same random weights. pip install open_clip_torch clip-anytorch transformers onnx onnxscript onnxruntime
"""

from __future__ import annotations

import copy
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import Results, check, parser
from torch import Tensor, nn

from clip_impl import CLIPConfig
from clip_impl.convert import to_huggingface, to_timm
from focuscli.storage import machine
from focuscli.tools.bench import random_model

Tower = Callable[[Tensor], Tensor]
OURS, TOWER, SCORES = "ours fp32", "plain image tower", "image to 51 scores"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BOUNDS = {"fp32": 1e-5, "bf16": 5e-3, "fp16": 2e-3, "int8": 2e-2}  # of features of unit length


def openai(state: dict[str, Tensor], config: CLIPConfig) -> Tower:
    import packaging.version

    # Of setuptools, which may be too new to have it; the package only takes `packaging` from it.
    sys.modules.setdefault("pkg_resources", types.SimpleNamespace(packaging=packaging))  # type: ignore[arg-type]
    from clip.model import build_model

    return build_model(state).visual.float()


def open_clip(state: dict[str, Tensor], config: CLIPConfig) -> Tower:
    import open_clip

    model = open_clip.create_model("ViT-B-16-quickgelu")
    model.load_state_dict(state)
    return model.visual


def timm(state: dict[str, Tensor], config: CLIPConfig) -> Tower:
    import timm

    model = timm.create_model("vit_base_patch16_clip_quickgelu_224", num_classes=config.embed_dim)
    model.load_state_dict(to_timm(state))
    return model


def hugging_face(state: dict[str, Tensor], config: CLIPConfig) -> Tower:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    model = CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=16, projection_dim=config.embed_dim))
    wanted = model.state_dict().keys()
    model.load_state_dict({name: value for name, value in to_huggingface(state).items() if name in wanted})
    model.eval()
    return lambda images: model(pixel_values=images).image_embeds


BASELINES = {
    "OpenAI CLIP fp32": openai,
    "open_clip fp32": open_clip,
    "timm fp32": timm,
    "Hugging Face fp32": hugging_face,
}


def onnx_towers(tower: nn.Module, images: Tensor, threads: int) -> dict[str, Tower]:
    """The tower as `focus export` makes it, in fp32 and int8."""
    from focuscli.tools.export.graph import fold_constants, for_export, quantise, to_onnx

    import onnxruntime  # isort: skip

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False):
        axes = {"images": {0: "batch"}}
        fp32 = fold_constants(to_onnx(for_export(tower), {"images": images.clone()}, "features", axes), Path(folder))
        models = {"fp32": fp32.SerializeToString(), "int8": quantise(fp32, Path(folder)).SerializeToString()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    sessions = {
        precision: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for precision, model in models.items()
    }
    return {
        f"ours ONNX {precision}": lambda pixels, run=session.run: torch.from_numpy(
            run(None, {"images": pixels.numpy()})[0]
        )
        for precision, session in sessions.items()
    }


@torch.inference_mode()
def main() -> int:
    options = parser(__doc__ or "", batch=16, rounds=7).parse_args()
    results = Results("encode", options)
    torch.set_num_threads(options.threads)
    model = random_model(options.model)[0].eval()
    clip, config = model.clip, model.clip.config
    for parameter in clip.parameters():
        if parameter.dim() == 1:
            parameter.add_(0.1 * torch.randn_like(parameter))  # a bias or LayerNorm that is ignored shows
        parameter.copy_(parameter.half())  # OpenAI's package rounds to fp16
    upright = {"vit-b16": (256, 128), "tiny": (128, 32)}[options.model]
    images = torch.randn(options.batch, 3, *config.vision.image_size)
    small = torch.randn(options.batch, 3, *upright)
    exact = copy.deepcopy(model).double()
    model.to(options.device)
    own = images.to(options.device)
    precisions = ["fp32", "bf16"] if options.device != "cpu" or machine.cpu_has_bf16() else ["fp32"]
    casts = {name: copy.deepcopy(model).to(DTYPES[name]) for name in precisions}

    towers: dict[str, tuple[Tower, Tensor, str]] = {}
    for name, build in BASELINES.items():
        try:
            if options.model != "vit-b16":
                raise ValueError("only CLIP's own shape exists there")
            tower = build({key: value.cpu().clone() for key, value in clip.state_dict().items()}, config)
            if isinstance(tower, nn.Module):
                tower.eval().to(options.device)
            towers[name] = tower, own, "fp32"
        except Exception as error:  # whatever another package does, the rest is still measured
            results.skip(name, machine.one_line(error))
    baselines = [*towers]
    for precision, cast in casts.items():
        name = OURS if precision == "fp32" else f"ours {precision} weights"
        towers[name] = cast.clip.visual, own.to(DTYPES[precision]), precision
    towers[f"{OURS} {upright[0]}x{upright[1]}"] = clip.visual, small.to(options.device), "fp32"
    if options.device == "cpu":
        for name, tower in onnx_towers(clip.visual, own, options.threads).items():
            towers[name] = tower, own, name.rpartition(" ")[2]

    checks = {}
    for name, (tower, pixels, precision) in towers.items():
        wanted = F.normalize(exact.clip.visual(pixels[:2].cpu().double()), dim=-1)
        difference = (F.normalize(tower(pixels)[:2].cpu().double(), dim=-1) - wanted).abs().max()
        bound = 1e-3 if options.device != "cpu" and precision == "fp32" else BOUNDS[precision]  # TF32 on GPUs
        checks[name] = check("features of unit length against float64", float(difference), bound)
    compare = {name: (OURS, *baselines) for name in towers if name not in baselines}
    calls = {name: (lambda tower=tower, pixels=pixels: tower(pixels)) for name, (tower, pixels, _) in towers.items()}
    results.time(calls, "ms/image", 1000 / options.batch, compare=compare, checks=checks, note=f"batch {options.batch}")

    results.work = "score"
    calls, checks = {}, {}
    wanted = exact.score(exact.encode_image(images[:2].double()).tokens, exact.encode_texts()).scores
    for precision, cast in casts.items():
        pixels, texts = own.to(DTYPES[precision]), cast.encode_texts()
        calls[f"{TOWER} {precision}"] = lambda cast=cast, pixels=pixels: cast.clip.visual(pixels)
        name = f"{SCORES} {precision}"
        calls[name] = lambda cast=cast, pixels=pixels, texts=texts: (
            cast.score(cast.encode_image(pixels).tokens, texts).scores
        )
        scale = float(clip.logit_scale.exp())
        difference = float((calls[name]()[:2].cpu().double() - wanted).abs().max()) / scale
        checks[name] = check("cosines against float64", difference, 10 * BOUNDS[precision])  # sums of 512 products
    compare = {f"{SCORES} {precision}": [f"{TOWER} {precision}"] for precision in casts}
    results.time(calls, "ms/image", 1000 / options.batch, compare=compare, checks=checks, note=f"batch {options.batch}")
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
