"""Times `focus search` on synthetic features: trained attributes, free texts exactly, and free texts with --fast.

    python examples/benchmarks/search.py    # 1,000,000 crops: 13 GB in the temporary folder, 5 minutes

Every time is of one query, from opening the gallery to the paths of its crops; the model is loaded before. The features imitate a
trained model (NOTES.md compares the two): Mix Tokens of a crop are nearly orthogonal, because the diversity loss makes them
so; each head of a text reads one or two tokens; and the projections are the identity plus a perturbation. A crop has a kind
(crops of one camera, season, sort of person), 64 attributes whose rates depend on the kind, and a style. A text is the
direction of its attribute, what lets it find its token, and a part that belongs to no attribute; free texts mix two attributes.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from timing import Results, check, parser
from torch import Tensor
from torch.nn.functional import normalize

from focuscli.data.texts import Text
from focuscli.inference.vocabulary import Vocabulary
from focuscli.models.cross_attention import AttributeCrossAttention
from focuscli.tools.gallery.folded import token_scorer
from focuscli.tools.gallery.projection import fit_projection
from focuscli.tools.gallery.query import open_gallery
from focuscli.tools.gallery.search import find
from focuscli.tools.gallery.store import PROJECTION, Crop, Gallery, ModelRecord, Part, SourceRecord

TOKENS, WIDTH, HEADS, ATTRIBUTES, KINDS, STYLES, BANK = 12, 512, 8, 64, 200, 96, 16_384
PART_SIZE, K = 8_192, 100
EXACT, FAST = "free text, exact", "free text, fast"


class World:
    """What all crops and texts share; also stands in for the model that `find` loads."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        self.means = 7 * normalize(normal(TOKENS, WIDTH), dim=1)
        self.directions = 4 * normalize(normal(ATTRIBUTES, WIDTH), dim=1)
        self.slots = torch.arange(ATTRIBUTES) % TOKENS
        base = torch.logspace(-2, -0.3, ATTRIBUTES)[torch.randperm(ATTRIBUTES, generator=generator)]
        self.rates = torch.sigmoid(torch.logit(base) + 1.5 * normal(KINDS, ATTRIBUTES))
        decay = torch.arange(1, STYLES + 1) ** -0.5
        self.styles = normal(STYLES, WIDTH) * (decay / decay.norm() * 5 / WIDTH**0.5)[:, None]
        self.bank = normal(BANK, WIDTH) * (3 / WIDTH**0.5)
        self.own = normal(2 * ATTRIBUTES, WIDTH) / WIDTH**0.5
        attention = AttributeCrossAttention(WIDTH, HEADS)
        with torch.no_grad():
            for part in (attention.query, attention.key, attention.value, attention.out):
                part.weight.add_(normal(WIDTH, WIDTH), alpha=0.15 / WIDTH**0.5)
                part.bias.add_(normal(WIDTH), alpha=0.01)
            attention.query.weight *= 4  # trained texts read one or two tokens
        clip = SimpleNamespace(logit_scale=torch.tensor(100.0).log())
        self.model = SimpleNamespace(avfe=attention.requires_grad_(False), clip=clip)
        self.device = torch.device("cpu")

    def tokens(self, count: int, seed: int) -> Tensor:
        """Features [count, K, D] float16 of new crops."""
        generator = torch.Generator().manual_seed(seed)
        kinds = torch.randint(KINDS, (count,), generator=generator)
        present = (torch.rand(count, ATTRIBUTES, generator=generator) < self.rates[kinds]).float()
        strength = present * (0.7 + 0.6 * torch.rand(present.shape, generator=generator))
        tokens = (torch.randn(count * TOKENS, STYLES, generator=generator) @ self.styles).view(count, TOKENS, WIDTH)
        tokens += self.bank[torch.randint(BANK, (count, TOKENS), generator=generator)] + self.means
        for slot in range(TOKENS):
            tokens[:, slot] += strength[:, self.slots == slot] @ self.directions[self.slots == slot]
        return tokens.half()

    def encode_texts(self, texts: list[Text]) -> Tensor:
        """Text features [Z, D] of texts whose phrases are numbers: attributes, then mixtures of two."""
        number = torch.tensor([int(text.phrase) for text in texts])
        first = number % ATTRIBUTES
        second = (first + 2) % ATTRIBUTES
        pull = normalize(self.means, dim=1)[self.slots[first]]
        mixed = 0.6 * (number >= ATTRIBUTES)[:, None] * normalize(self.directions, dim=1)[second]
        return 10 * (pull + normalize(self.directions, dim=1)[first] + mixed + 0.7 * self.own[number])


def make_gallery(folder: Path, crops: int, world: World) -> None:
    """Write a gallery. Its stored scores are estimates of the projection: searching them takes as long as exact ones."""
    texts = tuple(Text(str(number), "whole", "person", "", None, f"a{number}") for number in range(ATTRIBUTES))
    vocabulary = Vocabulary(texts, texts, texts, ("whole",), dict.fromkeys((str(t.attribute) for t in texts), 25.0))
    record = ModelRecord("focus", None, "synthetic", "synthetic", "nothing", "fp32", "", "", 0, 0)
    names = tuple(str(text.attribute) for text in texts)
    source = SourceRecord("list", "", "synthetic", "", "")
    gallery = Gallery(folder, record, source, TOKENS, WIDTH, vocabulary, names, complete=True)
    gallery.save()
    score = token_scorer(world.model, world.encode_texts([*texts]))
    projection = fit_projection(world.tokens(2048, 0).numpy(), score, world.device)
    projection.save(folder / PROJECTION)
    estimate = projection.estimator(score, world.device)
    for number, start in enumerate(range(0, crops, PART_SIZE)):
        positions = range(start, min(start + PART_SIZE, crops))
        tokens = world.tokens(len(positions), number + 1).numpy()
        codes = projection.project(tokens)
        listed = [Crop(f"camera{at % 9}/{at:09}.jpg", 1000, at, f"track{at // 10}") for at in positions]
        Part(gallery, number).save("projection", codes)
        Part(gallery, number).write(tokens, listed, estimate(torch.from_numpy(codes)).numpy())


def main() -> int:
    options = parser(str(__doc__).splitlines()[0], batch=1, rounds=3)
    options.add_argument("--crops", type=int, default=1_000_000)
    options.set_defaults(threads=2)
    options = options.parse_args()
    results, world = Results("search", options), World()
    found: dict[str, list[list[Path]]] = {}

    def search(name: str, words: int, *unwanted: int, **more: bool) -> None:
        turn = 7 * len(found.setdefault(name, []))
        with open_gallery(folder, threads=options.threads) as reader:
            wanted, others = [[str(turn + words)]], [str(turn + number) for number in unwanted]
            (answer,), _ = find(reader, lambda: world, wanted, others, K, threads=options.threads, **more)
        found[name].append([hit.image for hit in answer.hits])

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_gallery(folder, options.crops, world)
        calls = {
            "trained attributes": partial(search, "trained attributes", 0, 2),
            EXACT: partial(search, EXACT, ATTRIBUTES),
            FAST: partial(search, FAST, ATTRIBUTES, fast=True),
        }
        for name, call in calls.items():
            results.time({name: call}, "s", 1.0, note=f"{options.crops:,} crops, best {K}")
        shares = [float(np.isin(exact, fast).mean()) for exact, fast in zip(found[EXACT], found[FAST], strict=True)]
        missed = check("share of the exact result that --fast misses, at most", 1 - min(shares), 0.05)
        results.add({f"fast recall@{K}": shares}, "", checks={f"fast recall@{K}": missed})
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
