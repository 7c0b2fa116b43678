"""Galleries of drawn features, to time searches on any number of crops without a model or an image.

What they imitate is a trained model (measured on PETA's 19,000 crops; examples/benchmarks/NOTES.md compares the two):
Mix Tokens of a crop are nearly orthogonal, because the diversity loss makes them so; each head of a text looks at one or
two tokens (its largest weight is 0.76 to 0.99 on average); and W_o, W_v are the identity plus a perturbation (squares of
their singular values from 0.5 to 1.7).

A crop has a kind (a cluster: crops of one camera, season, sort of person), 64 attributes with rates between 1% and 50% that
depend on the kind, and a style. Token k is mean_k + the directions of its own attributes + style + noise, the last two with
a decaying spectrum. A text is the direction of its attribute, plus what lets it find its token, plus a part that belongs to
no attribute. `peak` scales its pull on tokens: 0 is the easy case, where every text reads the mean token.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from focuscli.models.cross_attention import AttributeCrossAttention
from focuscli.tools.gallery.build import sketch_gallery
from focuscli.tools.gallery.folded import FoldedAttention
from focuscli.tools.gallery.manifest import Binding, Manifest, write_manifest
from focuscli.tools.gallery.query import Query
from focuscli.tools.gallery.ranking import recall
from focuscli.tools.gallery.reader import Gallery, open_gallery
from focuscli.tools.gallery.scan import Searcher, load_resident
from focuscli.tools.gallery.scorer import FoldedScorer
from focuscli.tools.gallery.search import search
from focuscli.tools.gallery.shards import Crop, shard_name, write_shard

ATTRIBUTES, KINDS, STYLES, BANK = 64, 200, 96, 16_384
SCALE = 100.0
SHARD = 8_192


@dataclass(frozen=True)
class World:
    """What all crops and texts of a synthetic gallery share; made from a seed.

    Attributes:
        means: [K, D] of the tokens. directions: [A, D], slots: [A] the token of each attribute. rates: [kinds, A].
        styles: [STYLES, D], their lengths decay. bank: [BANK, D], noise to draw from.
    """

    means: Tensor
    directions: Tensor
    slots: Tensor
    rates: Tensor
    styles: Tensor
    bank: Tensor
    peak: float

    def tokens(self, count: int, seed: int) -> Tensor:
        """Features [count, K, D] float16 of new crops."""
        generator = torch.Generator().manual_seed(seed)
        amount = len(self.means)
        kinds = torch.randint(len(self.rates), (count,), generator=generator)
        present = (torch.rand(count, len(self.directions), generator=generator) < self.rates[kinds]).float()
        strength = present * (0.7 + 0.6 * torch.rand(present.shape, generator=generator))
        style = torch.randn(count * amount, len(self.styles), generator=generator) @ self.styles
        chosen = torch.randint(len(self.bank), (count * amount,), generator=generator)
        tokens = style.add_(self.bank[chosen]).unflatten(0, (count, amount)).add_(self.means)
        for token in range(amount):
            own = self.slots == token
            tokens[:, token] += strength[:, own] @ self.directions[own]
        return tokens.half()

    def texts(self, count: int, seed: int) -> Tensor:
        """Text features [count, D]: the attributes in turn, each second time round with a part of another one."""
        generator = torch.Generator().manual_seed(seed)
        number = torch.arange(count) % len(self.directions)
        other = (number + 1 + torch.arange(count) // len(self.directions)) % len(self.directions)
        pull = self.means[self.slots[number]] / self.means.norm(dim=1)[self.slots[number], None]
        unit = torch.nn.functional.normalize(self.directions, dim=1)
        own = torch.randn(count, self.means.shape[1], generator=generator) / self.means.shape[1] ** 0.5
        mixed = torch.where((torch.arange(count) >= len(self.directions))[:, None], 0.6 * unit[other], torch.zeros(()))
        return 10 * (self.peak * pull + unit[number] + mixed + 0.7 * own)


def make_world(seed: int, *, tokens: int = 12, width: int = 512, peak: float = 1.0) -> World:
    """What the crops and texts of one synthetic gallery share."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    means = 7 * torch.nn.functional.normalize(normal(tokens, width), dim=1)
    directions = 4 * torch.nn.functional.normalize(normal(ATTRIBUTES, width), dim=1)
    slots = torch.arange(ATTRIBUTES) % tokens
    base = torch.logspace(-2, -0.3, ATTRIBUTES)[torch.randperm(ATTRIBUTES, generator=generator)]
    rates = torch.sigmoid(torch.logit(base) + 1.5 * normal(KINDS, ATTRIBUTES))
    decay = torch.arange(1, STYLES + 1) ** -0.5
    styles = normal(STYLES, width) * (decay / decay.square().sum().sqrt() * 5 / width**0.5)[:, None]
    bank = normal(BANK, width) * (3 / width**0.5)
    return World(means, directions, slots, rates, styles, bank, peak)


def make_attention(seed: int, width: int = 512, heads: int = 8) -> AttributeCrossAttention:
    """A trained module: the identity plus what changes the squares of its singular values to between 0.5 and 1.7."""
    module = AttributeCrossAttention(width, heads)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in (module.query, module.key, module.value, module.out):
            part.weight.add_(torch.randn(width, width, generator=generator), alpha=0.15 / width**0.5)
            part.bias.add_(torch.randn(width, generator=generator), alpha=0.01)
        module.query.weight *= 4  # trained texts look at one or two tokens
    return module.requires_grad_(False)


def make_synthetic_gallery(
    folder: Path,
    crops: int,
    seed: int = 0,
    *,
    peak: float = 1.0,
    width: int = 512,
    sketch_size: int | None = None,
    threads: int = 1,
) -> Gallery:
    """Write a gallery of drawn features: 14 KiB a crop at width 512. The folder must not exist.

    Raises:
        RequirementError: no space, or the folder cannot be written.
    """
    world = make_world(seed, width=width, peak=peak)
    shards = []
    for number, start in enumerate(range(0, crops, SHARD)):
        names = [Crop(f"{position:09d}.png", 0, 0) for position in range(start, min(start + SHARD, crops))]
        tokens = world.tokens(len(names), seed=seed * 1_000_003 + number + 1)
        shards.append(write_shard(folder, shard_name(number, names), tokens.numpy(), names, []))
    binding = Binding("focus", "", None, "", f"synthetic, seed {seed}", "synthetic", "fp32")
    source = {"kind": "synthetic", "root": "", "name": f"peak {peak:g}", "split": ""}
    manifest = Manifest(
        binding, len(world.means), width, source, None, tuple((part.name, part.crops) for part in shards)
    )
    scorer = synthetic_scorer(seed, width=width, peak=peak)
    basis = sketch_gallery(folder, manifest, scorer.attention, scorer.query, size=sketch_size, threads=threads)
    write_manifest(folder, replace(manifest, basis=basis, complete=True))
    return open_gallery(folder)


def synthetic_scorer(
    seed: int = 0, *, texts: int = ATTRIBUTES, width: int = 512, peak: float = 1.0, device: str = "cpu"
) -> FoldedScorer:
    """The model and texts that belong to a synthetic gallery of that seed."""
    world = make_world(seed, width=width, peak=peak)
    attention = make_attention(seed, width).to(device)
    return FoldedScorer(FoldedAttention(attention, SCALE), world.texts(texts, seed + 1).to(device))


@dataclass(frozen=True)
class SearchTimes:
    """Seconds a query, medians over `rounds`, with the least and the most.

    Attributes:
        recall: of the two-stage results among the exact ones, mean and least over queries.
    """

    crops: int
    k: int
    texts_at_once: int
    threads: int
    device: str
    exact: tuple[float, float, float]
    two_stage: tuple[float, float, float]
    recall: tuple[float, float]


def time_search(
    gallery: Gallery,
    *,
    seed: int = 0,
    peak: float = 1.0,
    k: int = 100,
    rounds: int = 5,
    texts_at_once: int = 1,
    threads: int = 1,
    device: str = "cpu",
) -> SearchTimes:
    """Time both ways of searching a synthetic gallery, in turns, a new text (or `texts_at_once` of them) each round.

    On a device other than the CPU the tokens are made resident first. Reading from the disk is part of the first round
    alone where the page cache holds the gallery.
    """
    target = torch.device(device)
    resident = None if target.type == "cpu" else load_resident(gallery, target)
    world = make_world(seed, width=gallery.manifest.width, peak=peak)
    attention = FoldedAttention(make_attention(seed, gallery.manifest.width).to(target), SCALE)
    every = world.texts(2 * ATTRIBUTES, seed + 1).to(target)
    seconds: dict[str, list[float]] = {"exact": [], "two": []}
    recalls: list[float] = []
    for turn in range(rounds):
        chosen = [(7 * turn + 3 * offset) % len(every) for offset in range(texts_at_once)]
        searcher = Searcher(gallery, FoldedScorer(attention, every[chosen]), threads, resident)
        queries = [Query((column,)) for column in range(texts_at_once)]
        started = time.perf_counter()
        exact = search(searcher, queries, k)
        seconds["exact"].append((time.perf_counter() - started) / texts_at_once)
        started = time.perf_counter()
        quick = search(searcher, queries, k, two_stage=True)
        seconds["two"].append((time.perf_counter() - started) / texts_at_once)
        recalls += [recall(found, best) for found, best in zip(quick, exact, strict=True)]
    return SearchTimes(
        gallery.crops,
        k,
        texts_at_once,
        threads,
        device,
        _spread(seconds["exact"]),
        _spread(seconds["two"]),
        (statistics.fmean(recalls), min(recalls)),
    )


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)
