"""A search from words to crops: by stored scores if all texts were trained, else by a scan over the features.

The scan reads tokens in blocks and scores every crop; `fast` scores only the crops whose estimate from the projection is in the
best tenth, and misses what the estimate misses. Memory does not grow with the gallery: each thread holds one part.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from focuscli.data.texts import Text
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.engine.scoring import Progress
from focuscli.errors import UsageError
from focuscli.inference.predict import decide
from focuscli.tools.gallery.query import Columns, Hit, Query, Reader, top_k
from focuscli.tools.gallery.store import PROJECTION

if TYPE_CHECKING:
    import torch

    from focuscli.inference.recognizer import Recognizer
    from focuscli.tools.gallery.folded import ScoreTokens

FAST_SHARE = 0.1
FAST_SAMPLE = 10_000  # crops whose estimates say where the best tenth begins; fewer are scored throughout
CROPS_PER_HIT = 10  # the least number of crops that `fast` scores for each one that it returns


@dataclass(frozen=True)
class Answer:
    """The crops for one query; `recall`: the share of the exact result that --fast finds, if asked for."""

    query: Query
    hits: list[Hit]
    recall: float | None = None


def find(
    reader: Reader,
    load_model: Callable[[], Recognizer],
    wanted: Sequence[Sequence[str]],
    unwanted: Sequence[str],
    k: int,
    *,
    region: str | None = None,
    per_group: bool = False,
    fast: bool = False,
    recall: bool = False,
    threads: int | None = None,
    process_group: ProcessGroup = SINGLE,
    progress: Progress | None = None,
) -> tuple[list[Answer], float]:
    """Search for several queries at once, each with its own wanted texts and all with the same unwanted ones.

    Args:
        load_model: called only if a text is not trained. threads: each takes one core and one part at a time; None: as many
            as torch has.

    Returns:
        An answer per query, and the seconds from the opened gallery to the crops, the model loaded before.

    Raises:
        InputError: the gallery is damaged. UsageError: a text is too long, or both wanted and unwanted.
    """
    gallery, vocabulary = reader.gallery, reader.gallery.vocabulary
    if per_group and gallery.source.group is None:
        raise UsageError(f"{gallery.folder} has no groups.", "Index the images with --group COLUMN|REGEX.")
    texts = {words: vocabulary.text(words, region=region) for query in [*wanted, unwanted] for words in query}
    decisions = dict(zip(texts, decide(vocabulary, [*texts.values()]), strict=True))
    queries = []
    for words in wanted:
        yes, no = (tuple(dict.fromkeys(decisions[word] for word in side)) for side in (words, unwanted))
        if both := {*yes} & {*no}:
            raise UsageError(f'"{both.pop().text.phrase}" is both wanted and not wanted.')
        queries.append(Query(yes, no))
    columns = dict(zip(vocabulary.trained, gallery.columns, strict=True))
    trained = {text: columns[text] for text in texts.values() if text in columns}
    free = [*dict.fromkeys(text for text in texts.values() if text not in trained)]
    slow = [query for query in queries if any(decision.text in free for decision in query.decisions)]
    model = load_model() if slow else None
    started = time.perf_counter()
    hits: dict[Query, list[Hit]] = {}
    shares = dict.fromkeys(queries, 1.0)  # stored scores are exact
    if model is not None:
        from focuscli.tools.gallery.folded import token_scorer

        score = token_scorer(model.model, model.encode_texts(free))
        crops = reader, slow, [*trained, *free], [*trained.values()], score, model.device, k, per_group
        scan = partial(_scan, *crops, threads, process_group, progress)
        hits = dict(zip(slow, scan(fast=fast), strict=True))
    for query in {*queries} - {*slow}:
        names = [trained[decision.text] for decision in query.decisions]
        hits[query] = reader.best(query, names, k, per_group=per_group)
    seconds = time.perf_counter() - started
    if recall and model is not None:
        for query, other in zip(slow, scan(fast=not fast), strict=True):
            quick, exact = (hits[query], other) if fast else (other, hits[query])
            there = {hit.image for hit in quick}
            shares[query] = sum(hit.image in there for hit in exact) / len(exact) if exact else 1.0
    return [Answer(query, hits[query], shares[query] if recall else None) for query in queries], seconds


def _scan(
    reader: Reader,
    queries: Sequence[Query],
    texts: Sequence[Text],
    columns: Sequence[str],
    score: ScoreTokens,
    device: torch.device,
    k: int,
    per_group: bool,
    threads: int | None,
    process_group: ProcessGroup,
    progress: Progress | None,
    *,
    fast: bool,
) -> list[list[Hit]]:
    """The best crops for each query, from their tokens. The processes of a group share the parts, and all get the result.

    Args:
        texts: first those whose scores are in `columns`, then those that `score` scores.
    """
    import torch

    places = [[texts.index(decision.text) for decision in query.decisions] for query in queries]
    best: list[list[Hit]] = [[] for _ in queries]
    lock = threading.Lock()
    # Few enough crops at a time for a core's cache, or many enough to keep a GPU busy.
    block = 128 if device.type == "cpu" else 8_192

    def evaluate(
        found: Columns, array: NDArray[np.float16], score: ScoreTokens, block: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores of all texts [n, T] for some rows of a part, and what each query orders them by [n, Q]."""
        rows, free = found["row"], []
        for start in range(0, len(rows), block):
            some = rows[start : start + block]
            whole = some[-1] - some[0] + 1 == len(some)
            taken = torch.from_numpy(array[some[0] : some[-1] + 1] if whole else array[some])
            free.append(score(taken.to(device)).double().cpu().numpy())
        stored = [found[name].astype(np.float64)[:, None] for name in columns]
        scores = np.concatenate([*stored, np.concatenate(free)], axis=1)
        values = [query.values(scores[:, place]) for query, place in zip(queries, places, strict=True)]
        return scores, np.stack(values, axis=1)

    def fast_filter() -> Callable[[int, Columns], NDArray[np.bool_]] | None:
        """What says which crops of a part are to be scored, from their estimates; None if all are."""
        from focuscli.tools.gallery.projection import Projection

        count = reader.count()
        share = max(FAST_SHARE, CROPS_PER_HIT * k / max(count, 1))
        if count < FAST_SAMPLE or share >= 1:
            return None
        projection = Projection.load(reader.gallery.folder / PROJECTION)
        estimator = projection.estimator(score, device)

        def estimate(number: int, found: Columns) -> NDArray[np.float64]:
            codes = reader.parts[number].array("projection", len(projection.encode))
            return evaluate(found, codes, estimator, len(codes))[1]

        sample = reader.rows(["part", "row", *columns], step=max(1, count // FAST_SAMPLE))
        values = [
            estimate(number, {name: column[sample["part"] == number] for name, column in sample.items()})
            for number in np.unique(sample["part"]).tolist()
        ]
        floors = np.nanquantile(np.concatenate(values), 1 - share, axis=0)
        # An estimate that is not a number passes, so that the score of a damaged crop is looked at.
        return lambda number, found: np.any(~(estimate(number, found) < floors), axis=1)

    @torch.inference_mode()
    def scan(number: int) -> None:
        found = reader.rows(["part", "row", "file_row_number", *columns], [number])
        if select is not None and len(found["row"]):
            chosen = select(number, found)
            found = {name: values[chosen] for name, values in found.items()}
        if not len(found["row"]):
            return
        scores, every = evaluate(found, reader.parts[number].tokens(), score, block)
        for at, values in enumerate(every.T):
            reader.check_numbers(values, found["part"])
            floor = best[at][-1].value if len(best[at]) == k else -np.inf
            order = np.argsort(-values, kind="stable")
            # Most parts have no line left here, so their paths are never read.
            lines = order[values[order] >= floor][: None if per_group else k]
            hits = reader.hits(number, found["file_row_number"][lines], values[lines], scores[lines][:, places[at]])
            with lock:
                best[at] = top_k([*best[at], *hits], k, per_group=per_group)

    select = fast_filter() if fast else None
    mine, before = process_group.shard([*reader.parts]), torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads or before, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for done, _ in enumerate(pool.map(scan, mine), start=1):
                if progress is not None:
                    progress(done, len(mine))
    finally:
        torch.set_num_threads(before)
    return [top_k(chain(*parts), k, per_group=per_group) for parts in zip(*process_group.all_gather(best), strict=True)]
