"""A search from words to crops: texts, thresholds and results together, and how files and pictures show them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from focuscli.data.images import load_image
from focuscli.data.schema import Text
from focuscli.errors import InputError, UsageError
from focuscli.gallery.binding import bind, check_binding, require_searchable
from focuscli.gallery.query import Query
from focuscli.gallery.ranking import Hits, recall
from focuscli.gallery.reader import Gallery
from focuscli.gallery.scan import Searcher
from focuscli.gallery.scorer import make_scorer
from focuscli.gallery.search import search
from focuscli.gallery.sheet import Entry, Mark, contact_sheet
from focuscli.gallery.team import Team
from focuscli.predict import TextDecision, decide, probability, shown_threshold
from focuscli.recognizer import Recognizer


@dataclass(frozen=True)
class Answer:
    """One query's crops: `wanted` and `unwanted` texts in the order of the columns of `hits.scores`."""

    query: Query
    wanted: tuple[TextDecision, ...]
    unwanted: tuple[TextDecision, ...]
    hits: Hits
    paths: tuple[Path, ...]

    @property
    def decisions(self) -> tuple[TextDecision, ...]:
        return self.wanted + self.unwanted

    @property
    def title(self) -> str:
        """The query in words."""
        words = " + ".join(decision.text.phrase for decision in self.wanted)
        return words + "".join(f", not {decision.text.phrase}" for decision in self.unwanted)

    def match(self, row: int) -> float | None:
        """Of a crop: the probability that it fits the whole query, 0.5 where one text stands at its threshold; None
        without thresholds."""
        return probability(float(self.hits.values[row]), 0.0) if self.query.in_probability else None


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        seconds: of the search proper; no model is loaded in them. recall: of two stages among the exact, least over queries.
    """

    gallery: Gallery
    answers: tuple[Answer, ...]
    seconds: float
    two_stage: bool
    recall: float | None
    model: str
    weights: str

    @property
    def decisions(self) -> list[TextDecision]:
        """Of all texts, each once."""
        return [*{decision.text: decision for answer in self.answers for decision in answer.decisions}.values()]


def look(
    recognizer: Recognizer,
    gallery: Gallery,
    wanted: Sequence[Sequence[str]],
    unwanted: Sequence[str],
    k: int,
    *,
    region: str | None = None,
    two_stage: bool = False,
    check_recall: bool = False,
    threads: int | None = None,
    team: Team | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Search for several queries at once, each with its own wanted texts and all with the same unwanted ones.

    Raises:
        InputError: the gallery is of another checkpoint, or damaged. UsageError: a text is too long, or cannot be searched.
    """
    require_searchable(recognizer.config.model.method)
    check_binding(gallery.manifest, bind(recognizer), gallery.folder)
    names = dict.fromkeys(words for query in [*wanted, unwanted] for words in query)
    by_words: dict[str, Text] = {words: recognizer.text(words, region=region) for words in names}
    texts = [*dict.fromkeys(by_words.values())]
    decisions = dict(zip(texts, decide(recognizer, texts), strict=True))
    scorer = make_scorer(recognizer.model, recognizer.encode_texts(texts).float())
    searcher = Searcher(gallery, scorer, threads or torch.get_num_threads())
    queries, sides = [], []
    for words in wanted:
        yes = tuple(dict.fromkeys(by_words[word] for word in words))
        no = tuple(dict.fromkeys(by_words[word] for word in unwanted))
        if both := set(yes) & set(no):
            raise UsageError(f'"{both.pop().phrase}" is both wanted and not wanted.')
        chosen = [decisions[text] for text in (*yes, *no)]
        columns = [texts.index(text) for text in (*yes, *no)]
        limits = tuple(decision.threshold for decision in chosen)
        queries.append(Query(tuple(columns[: len(yes)]), tuple(columns[len(yes) :]), limits))
        sides.append((tuple(chosen[: len(yes)]), tuple(chosen[len(yes) :])))
    started = time.perf_counter()
    hits = search(searcher, queries, k, two_stage=two_stage, team=team, progress=progress)
    seconds = time.perf_counter() - started
    share = None
    if check_recall:
        other = search(searcher, queries, k, two_stage=not two_stage, team=team, progress=progress)
        quick, exact = (hits, other) if two_stage else (other, hits)
        share = min(recall(found, best) for found, best in zip(quick, exact, strict=True))
    answers = tuple(
        Answer(query, yes, no, found, tuple(gallery.paths(found.positions)))
        for query, (yes, no), found in zip(queries, sides, hits, strict=True)
    )
    return Found(gallery, answers, seconds, two_stage, share, str(recognizer.folder), recognizer.weights)


def as_json(found: Found) -> Iterator[dict[str, Any]]:
    """One object per crop."""
    for answer in found.answers:
        phrases = [decision.text.phrase for decision in answer.decisions]
        for row, path in enumerate(answer.paths):
            match = answer.match(row)
            yield {
                "query": [decision.text.phrase for decision in answer.wanted],
                "not": [decision.text.phrase for decision in answer.unwanted],
                "rank": row + 1,
                "image": str(path),
                "match": None if match is None else round(match, 6),
                "scores": {
                    phrase: round(float(score), 4)
                    for phrase, score in zip(phrases, answer.hits.scores[row], strict=True)
                },
                "thresholds": {decision.text.phrase: shown_threshold(decision) for decision in answer.decisions},
                "threshold_source": {decision.text.phrase: decision.threshold_source for decision in answer.decisions},
                "unseen": [decision.text.phrase for decision in answer.decisions if not decision.seen],
                "gallery": str(found.gallery.folder),
                "model": found.model,
                "weights": found.weights,
            }


def rows_of(answer: Answer) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of a table: rank, match where there are thresholds, a score per text, image."""
    signs = [""] * len(answer.wanted) + ["not "] * len(answer.unwanted)
    names = [sign + decision.text.phrase for sign, decision in zip(signs, answer.decisions, strict=True)]
    with_match = answer.query.in_probability
    rows = []
    for row, path in enumerate(answer.paths):
        scores = [shown(float(score)) for score in answer.hits.scores[row]]
        middle = [f"{answer.match(row):.3f}"] if with_match else []
        rows.append([str(row + 1), *middle, *scores, str(path)])
    return ["rank", *(["match"] if with_match else []), *names, "image"], rows


def shown(score: float) -> str:
    """Two digits, and no minus before a zero."""
    return f"{round(score, 2) + 0.0:.2f}"


def draw(found: Found, recognizer: Recognizer) -> Image.Image:
    """The contact sheet of all queries, one below the other."""
    caption = f"{found.gallery.crops:,} crops · weights: {recognizer.weights} · trained on {recognizer.trained_on}"
    sources = sorted({decision.threshold_source for decision in found.decisions if decision.threshold is not None})
    caption += " · bars: 0.5 at the threshold (" + ", ".join(sources) + ")" if sources else ""
    sheets = []
    for number, answer in enumerate(found.answers, start=1):
        last = number == len(found.answers)
        sheets.append(contact_sheet(_entries(answer), title=answer.title, caption=caption if last else ""))
    page = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)), "white")
    top = 0
    for sheet in sheets:
        page.paste(sheet, (0, top))
        top += sheet.height
    return page


def _entries(answer: Answer) -> list[Entry]:
    entries = []
    for row, path in enumerate(answer.paths):
        marks = []
        for column, decision in enumerate(answer.decisions):
            score = float(answer.hits.scores[row, column])
            unwanted = column >= len(answer.wanted)
            present = decision.present(score)
            good = None if present is None else present is not unwanted
            name = ("not " if unwanted else "") + decision.text.phrase
            marks.append(Mark(name, shown(score), probability(score, decision.threshold), good))
        try:
            picture = load_image(path)
        except InputError:
            picture = None
        entries.append(Entry(picture, path.name, marks))
    return entries
