"""CLIP's image tower against the packages that users would pick instead, and FOCUS's scores against the plain tower.

All have the same random weights. pip install open_clip_torch clip-anytorch transformers onnx onnxscript onnxruntime
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timing import Results, check, parser
from torch import Tensor, nn

from clip_impl.convert import HUGGINGFACE, TIMM, TRANSPOSED, rename
from focuscli.errors import one_line
from focuscli.models.base import Method
from focuscli.tools import machine
from focuscli.tools.bench import random_model

Tower, State = Callable[[Tensor], Tensor], dict[str, Tensor]
OURS, TOWER, SCORES = "ours fp32", "plain image tower", "image to 51 scores"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
BOUNDS = {"fp32": 1e-5, "bf16": 5e-3, "int8": 2e-2}  # of features of unit length


def load_renamed(model: nn.Module, state: State, table: dict[str, str]) -> nn.Module:
    """Fill another library's tower, whose names in OpenAI's words `table` gives."""
    known = {name: value.T if name in TRANSPOSED else value for name, value in state.items()}
    for name in [name for name in known if ".in_proj_" in name]:
        for letter, part in zip("qkv", known[name].chunk(3), strict=True):
            known[name.replace(".in_proj_", f".{letter}_proj.")] = part
    zero = {"head.bias": torch.zeros(len(state["text_projection"]))}  # timm's projection is a classifier
    shapes = model.state_dict()
    model.load_state_dict({n: zero[n] if n in zero else known[rename(n, table)].view_as(t) for n, t in shapes.items()})
    return model.eval()


def openai(state: State) -> nn.Module:
    import packaging.version

    # Of setuptools, which may be too new to have it; the package only takes `packaging` from it.
    sys.modules.setdefault("pkg_resources", types.SimpleNamespace(packaging=packaging))  # type: ignore[arg-type]
    from clip.model import build_model

    return build_model(state).visual.float().eval()


def open_clip(state: State) -> nn.Module:
    import open_clip

    model = open_clip.create_model("ViT-B-16-quickgelu")
    model.load_state_dict(state)
    return model.visual.eval()


def timm(state: State) -> nn.Module:
    import timm

    model = timm.create_model("vit_base_patch16_clip_quickgelu_224", num_classes=len(state["text_projection"]))
    return load_renamed(model, state, TIMM)


def hugging_face(state: State) -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return load_renamed(CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=16)), state, HUGGINGFACE)


def features(tower: nn.Module, images: Tensor) -> Tensor:
    found = tower(images)
    return getattr(found, "image_embeds", found)


BASELINES = {"OpenAI CLIP": openai, "open_clip": open_clip, "timm": timm, "Hugging Face": hugging_face}


def onnx_towers(tower: nn.Module, images: Tensor) -> dict[str, tuple[Tower, Tensor, str]]:
    """The tower as `focus export` makes it, in fp32 and int8."""
    from focuscli.tools.export.graph import for_export, quantise, to_onnx
    from focuscli.tools.export.runtime import open_session

    towers = {}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False):
        axes = {"images": {0: "batch"}}
        fp32 = to_onnx(for_export(tower), {"images": images.clone()}, "features", axes, Path(folder))
        for precision, model in {"fp32": fp32, "int8": quantise(fp32, Path(folder))}.items():
            (Path(folder) / precision).write_bytes(model.SerializeToString())
            run = partial(run_session, open_session(Path(folder) / precision))
            towers[f"ours ONNX {precision}"] = run, images, precision
    return towers


def run_session(session: Any, images: Tensor) -> Tensor:
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


@torch.inference_mode()
def main() -> int:
    results = Results("encode", parser(str(__doc__), batch=16, rounds=7).parse_args())
    options = results.options
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # for onnxruntime
    model = random_model("vit-b16")[0].eval()
    clip = model.clip
    for parameter in clip.parameters():
        if parameter.dim() == 1:
            parameter.add_(0.1 * torch.randn_like(parameter))  # a bias or LayerNorm that is ignored shows
        parameter.copy_(parameter.half())  # OpenAI's package rounds to fp16
    own, small = (torch.randn(options.batch, 3, *size) for size in ((224, 224), (256, 128)))
    exact, state = copy.deepcopy(model).double(), clip.state_dict()
    casts = {"fp32": model} | ({"bf16": copy.deepcopy(model).bfloat16()} if machine.cpu_has_bf16() else {})
    timing = {"unit": "ms/image", "scale": 1000 / options.batch, "note": f"batch {options.batch}"}

    towers: dict[str, tuple[Tower, Tensor, str]] = {}
    for name, build in BASELINES.items():
        try:
            tower = build({key: value.clone() for key, value in state.items()})
            towers[f"{name} fp32"] = partial(features, tower), own, "fp32"
        except Exception as error:  # whatever another package does, the rest is still measured
            print(f"not measured: {name}: {one_line(error)}")
    baselines = [*towers]
    for precision, cast in casts.items():
        name = OURS if precision == "fp32" else f"ours {precision} weights"
        towers[name] = cast.clip.visual, own.to(DTYPES[precision]), precision
    towers[f"{OURS} 256x128"] = clip.visual, small, "fp32"
    towers |= onnx_towers(clip.visual, own)

    calls, checks = {}, {}
    for name, (tower, images, precision) in towers.items():
        calls[name] = partial(tower, images)
        both = [calls[name]()[:2].double(), exact.clip.visual(images[:2].double())]
        found, wanted = (F.normalize(rows, dim=-1) for rows in both)
        difference = float((found - wanted).abs().max())
        checks[name] = check("features of unit length against float64", difference, BOUNDS[precision])
    compare = {name: (OURS, *baselines) for name in towers if name not in baselines}
    results.time(calls, compare=compare, checks=checks, **timing)

    def score(method: Method, images: Tensor, texts: Tensor) -> Tensor:
        return method.score(method.encode_image(images).tokens, texts).scores

    results.work, calls, checks, compare = "score", {}, {}, {}
    wanted = score(exact, own[:2].double(), exact.encode_texts())
    for precision, cast in casts.items():
        images, name = own.to(DTYPES[precision]), f"{SCORES} {precision}"
        calls[f"{TOWER} {precision}"] = partial(cast.clip.visual, images)
        calls[name] = partial(score, cast, images, cast.encode_texts())
        difference = float((calls[name]()[:2].double() - wanted).abs().max() / clip.logit_scale.exp())
        checks[name] = check("cosines against float64", difference, 10 * BOUNDS[precision])
        compare[name] = [f"{TOWER} {precision}"]
    results.time(calls, compare=compare, checks=checks, **timing)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
