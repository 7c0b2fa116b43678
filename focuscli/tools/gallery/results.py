"""A search from words to crops, and its results as JSON, tables and pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from focuscli.data.images import load_image
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.errors import InputError, UsageError
from focuscli.inference.predict import TextDecision, decide, probability, shown_threshold
from focuscli.tools.gallery.query import Hits, Query, search_columns
from focuscli.tools.gallery.reader import Reader
from focuscli.tools.gallery.sheet import Bar, Entry, contact_sheet

if TYPE_CHECKING:
    from focuscli.inference.recognizer import Recognizer


@dataclass(frozen=True)
class Answer:
    """The crops for one query: `wanted` and `unwanted` texts in the order of the columns of `hits.scores`.

    Attributes:
        images: of the hits, with their groups. recall: share of the exact result that --fast finds, if asked for.
    """

    query: Query
    wanted: tuple[TextDecision, ...]
    unwanted: tuple[TextDecision, ...]
    hits: Hits
    images: list[tuple[Path, str | None]]
    recall: float | None = None

    @property
    def decisions(self) -> tuple[TextDecision, ...]:
        return self.wanted + self.unwanted

    @property
    def title(self) -> str:
        """The query in words."""
        words = " + ".join(decision.text.phrase for decision in self.wanted)
        return words + "".join(f", not {decision.text.phrase}" for decision in self.unwanted)

    @property
    def names(self) -> list[str]:
        """Of the texts, as a reader sees them."""
        signs = [""] * len(self.wanted) + ["not "] * len(self.unwanted)
        return [sign + decision.text.phrase for sign, decision in zip(signs, self.decisions, strict=True)]

    def match(self, row: int) -> float | None:
        """The probability that a crop fits the whole query, 0.5 if its only text is at its threshold; None without
        thresholds."""
        return probability(float(self.hits.values[row]), 0.0) if self.query.thresholds is not None else None


@dataclass(frozen=True)
class Found:
    """What a search found; `seconds` from the opened gallery to the crops, the model loaded before."""

    reader: Reader
    answers: tuple[Answer, ...]
    seconds: float
    fast: bool

    @property
    def decisions(self) -> list[TextDecision]:
        """Of all texts, each once."""
        return [*{decision.text: decision for answer in self.answers for decision in answer.decisions}.values()]

    @property
    def weights(self) -> str:
        """Where the initial weights of the gallery's model came from."""
        return self.reader.gallery.model.weights

    @property
    def grouped(self) -> bool:
        """Whether the gallery was indexed with groups."""
        return self.reader.gallery.source.group is not None


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
    check_recall: bool = False,
    threads: int | None = None,
    process_group: ProcessGroup = SINGLE,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Search for several queries at once, each with its own wanted texts and all with the same unwanted ones.

    Args:
        load_model: called only if a text is not trained.

    Raises:
        InputError: the gallery is damaged. UsageError: a text is too long, or both wanted and unwanted.
    """
    gallery = reader.gallery
    vocabulary = gallery.vocabulary
    if per_group and gallery.source.group is None:
        raise UsageError(
            f"{gallery.folder} has no groups.", "Index the images with --group: a column of labels.csv, or a pattern."
        )
    names = dict.fromkeys(words for query in [*wanted, unwanted] for words in query)
    by_words = {words: vocabulary.text(words, region=region) for words in names}
    every = [*dict.fromkeys(by_words.values())]
    trained = [text for text in every if text in vocabulary.trained]
    free = [text for text in every if text not in vocabulary.trained]
    texts = trained + free
    columns = [gallery.columns[vocabulary.trained.index(text)] for text in trained]
    decisions = decide(vocabulary, texts)
    queries = []
    for words in wanted:
        yes, no = (tuple(dict.fromkeys(texts.index(by_words[word]) for word in side)) for side in (words, unwanted))
        if both := set(yes) & set(no):
            raise UsageError(f'"{texts[both.pop()].phrase}" is both wanted and not wanted.')
        limits = [decisions[text].threshold for text in yes + no]
        queries.append(Query(yes, no, tuple(float(x) for x in limits if x is not None) if None not in limits else None))
    slow = [query for query in queries if max(query.texts) >= len(trained)]
    if slow:
        from focuscli.tools.gallery.folded import token_scorer
        from focuscli.tools.gallery.scan import Scan

        model = load_model()
        score = token_scorer(model.model, model.encode_texts(free))
        scan = Scan(reader, slow, columns, score, model.device, k, per_group, threads)
    started = time.perf_counter()
    hits: dict[Query, Hits] = {}
    if slow:
        hits = dict(zip(slow, scan.run(fast=fast, process_group=process_group, progress=progress), strict=True))
    for query in set(queries) - set(slow):
        own = [columns[text] for text in query.texts]
        hits[query] = search_columns(reader, query, own, k, per_group=per_group)
    images = {query: reader.images(found.parts.tolist(), found.rows.tolist()) for query, found in hits.items()}
    seconds = time.perf_counter() - started
    shares = dict.fromkeys(queries, 1.0)  # stored scores are exact
    if check_recall and slow:
        other = scan.run(fast=not fast, process_group=process_group, progress=progress)
        for query, found in zip(slow, other, strict=True):
            quick, exact = (hits[query], found) if fast else (found, hits[query])
            shares[query] = recall(quick, exact)
    answers = tuple(
        Answer(
            query,
            tuple(decisions[text] for text in query.wanted),
            tuple(decisions[text] for text in query.unwanted),
            hits[query],
            images[query],
            shares[query] if check_recall else None,
        )
        for query in queries
    )
    return Found(reader, answers, seconds, fast)


def recall(found: Hits, exact: Hits) -> float:
    """The share of the exact result that was found."""
    places = np.stack([exact.parts, exact.rows], axis=1).tolist()
    there = {*zip(found.parts.tolist(), found.rows.tolist(), strict=True)}
    return sum(tuple(place) in there for place in places) / len(places) if places else 1.0


def recall_lines(found: Found) -> list[str]:
    """What --fast finds of the exact results, query by query; nothing if that was not asked for."""
    several = len(found.answers) > 1
    return [
        (f"{answer.title}: " if several else "")
        + f"--fast finds {100 * answer.recall:.1f}% of the exact {len(answer.images):,}"
        for answer in found.answers
        if answer.recall is not None
    ]


def as_json(found: Found) -> Iterator[dict[str, Any]]:
    """One object per crop."""
    gallery = found.reader.gallery
    for answer in found.answers:
        phrases = [decision.text.phrase for decision in answer.decisions]
        for row, (image, group) in enumerate(answer.images):
            match = answer.match(row)
            yield {
                "query": [decision.text.phrase for decision in answer.wanted],
                "not": [decision.text.phrase for decision in answer.unwanted],
                "rank": row + 1,
                "image": str(image),
                **({"group": group} if found.grouped else {}),
                "match": None if match is None else round(match, 6),
                "scores": {
                    phrase: round(float(score), 4)
                    for phrase, score in zip(phrases, answer.hits.scores[row], strict=True)
                },
                "thresholds": {decision.text.phrase: shown_threshold(decision) for decision in answer.decisions},
                "threshold_source": {decision.text.phrase: decision.threshold_source for decision in answer.decisions},
                "unseen": [decision.text.phrase for decision in answer.decisions if not decision.seen],
                "gallery": str(gallery.folder),
                "model": gallery.model.run,
                "weights": gallery.model.weights,
                **({} if answer.recall is None else {"recall": round(answer.recall, 4)}),
            }


def table_of(found: Found, answers: Sequence[Answer], *, each: bool = False, digits: int = 4) -> list[list[str]]:
    """The results as one table, the column names first.

    With `each` a line begins with its query, and the wanted text's score is in the column "score": one header for all.
    """
    with_match = any(answer.query.thresholds is not None for answer in answers)
    start = [*(["query"] if each else []), "rank", *(["match"] if with_match else [])]
    end = [*(["group"] if found.grouped else []), "image"]
    texts = ["score", *answers[0].names[1:]] if each else answers[0].names
    lines = [[*start, *_apart(texts, [*start, *end]), *end]]
    for answer in answers:
        for row, (image, group) in enumerate(answer.images):
            match = answer.match(row)
            line = [answer.title] if each else []
            line += [str(row + 1), *([f"{match:.{digits * 3 // 2}f}"] if match is not None else [])]
            line += [shown(score, digits) for score in answer.hits.scores[row].tolist()]
            lines.append([*line, *([group or ""] if found.grouped else []), str(image)])
    return lines


def _apart(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names, marked as texts where another column has the same."""
    apart: list[str] = []
    for name in names:
        while name in taken or name in apart:
            name += " (text)"
        apart.append(name)
    return apart


def shown(score: float, digits: int = 2) -> str:
    """So many digits, and no minus before a zero."""
    return f"{round(score, digits) + 0.0:.{digits}f}"


def draw(found: Found, crops: int) -> Image.Image:
    """The contact sheet of all queries over so many crops, one below the other."""
    model = found.reader.gallery.model
    caption = f"{crops:,} crops · weights: {model.weights} · trained on {model.trained_on}"
    sources = sorted({decision.threshold_source for decision in found.decisions if decision.threshold is not None})
    caption += " · bars: 0.5 at the threshold (" + ", ".join(sources) + ")" if sources else ""
    sheets = [
        contact_sheet(_entries(answer), title=answer.title, caption=caption if answer is found.answers[-1] else "")
        for answer in found.answers
    ]
    page = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)), "white")
    top = 0
    for sheet in sheets:
        page.paste(sheet, (0, top))
        top += sheet.height
    return page


def _entries(answer: Answer) -> list[Entry]:
    entries = []
    for row, (path, _) in enumerate(answer.images):
        bars = []
        for column, (name, decision) in enumerate(zip(answer.names, answer.decisions, strict=True)):
            score = float(answer.hits.scores[row, column])
            present = decision.present(score)
            good = None if present is None else present is (column < len(answer.wanted))
            bars.append(Bar(name, shown(score), probability(score, decision.threshold), good))
        try:
            picture = load_image(path)
        except InputError:
            picture = None
        match = answer.match(row)
        entries.append(Entry(picture, path.name, bars, "" if match is None else f"match {match:.3f}"))
    return entries
