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
from focuscli.inference.predict import TextDecision, decide, probability, shown_threshold
from focuscli.inference.recognizer import Recognizer
from focuscli.tools.gallery.binding import bind, check_binding, require_searchable
from focuscli.tools.gallery.query import Query
from focuscli.tools.gallery.ranking import Hits, recall
from focuscli.tools.gallery.reader import Gallery
from focuscli.tools.gallery.scan import Searcher
from focuscli.tools.gallery.scorer import make_scorer
from focuscli.tools.gallery.search import search
from focuscli.tools.gallery.sheet import Entry, Mark, contact_sheet
from focuscli.tools.gallery.team import Team


@dataclass(frozen=True)
class Answer:
    """One query's crops: `wanted` and `unwanted` texts in the order of the columns of `hits.scores`.

    `recall` of two stages among the exact, where it was asked for.
    """

    query: Query
    wanted: tuple[TextDecision, ...]
    unwanted: tuple[TextDecision, ...]
    hits: Hits
    paths: tuple[Path, ...]
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
        """Of a crop: the probability that it fits the whole query, 0.5 where one text stands at its threshold; None
        without thresholds."""
        return probability(float(self.hits.values[row]), 0.0) if self.query.in_probability else None


@dataclass(frozen=True)
class Found:
    """What a search found; `seconds` are of the search proper: no model is loaded in them."""

    gallery: Gallery
    answers: tuple[Answer, ...]
    seconds: float
    two_stage: bool
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
        InputError: the gallery is of another checkpoint, or damaged. UsageError: a text is too long, or cannot be searched,
        or two stages are asked for where there is no sketch.
    """
    require_searchable(recognizer.config.model.method)
    check_binding(gallery.manifest, bind(recognizer), gallery.folder)
    _require_sketch(gallery, two_stage=two_stage, check_recall=check_recall)
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
    shares: list[float | None] = [None] * len(hits)
    if check_recall:
        other = search(searcher, queries, k, two_stage=not two_stage, team=team, progress=progress)
        quick, exact = (hits, other) if two_stage else (other, hits)
        shares = [recall(found, best) for found, best in zip(quick, exact, strict=True)]
    answers = tuple(
        Answer(query, yes, no, found, tuple(gallery.paths(found.positions)), share)
        for query, (yes, no), found, share in zip(queries, sides, hits, shares, strict=True)
    )
    return Found(gallery, answers, seconds, two_stage, str(recognizer.folder), recognizer.weights)


def _require_sketch(gallery: Gallery, *, two_stage: bool, check_recall: bool) -> None:
    """Refuse what needs a sketch before anything is searched.

    Raises:
        UsageError: there is none.
    """
    asked = [name for name, given in (("--two-stage", two_stage), ("--check-recall", check_recall)) if given]
    if asked and gallery.manifest.basis is None:
        raise UsageError(
            f"{gallery.folder} has no sketch, which {' and '.join(asked)} cannot do without; only galleries of models with "
            "attribute-guided extraction have one.",
            f"Leave {' and '.join(asked)} out: an exact search misses nothing, and takes about as long.",
        )


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
                **({} if answer.recall is None else {"recall": round(answer.recall, 4)}),
            }


def recall_lines(found: Found) -> list[str]:
    """What two stages find of the exact results, query by query; nothing where it was not asked for."""
    several = len(found.answers) > 1
    return [
        (f"{answer.title}: " if several else "")
        + f"two stages find {100 * answer.recall:.1f}% of the exact {len(answer.paths):,}"
        for answer in found.answers
        if answer.recall is not None
    ]


def rows_of(answer: Answer) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of a table for a reader: rank, match where there are thresholds, a score per text, image."""
    with_match = answer.query.in_probability
    start = ["rank", *(["match"] if with_match else [])]
    rows = []
    for row, path in enumerate(answer.paths):
        match = [f"{answer.match(row):.3f}"] if with_match else []
        rows.append([str(row + 1), *match, *map(shown, answer.hits.scores[row].tolist()), str(path)])
    return [*start, *_apart(answer.names, [*start, "image"]), "image"], rows


def records_of(found: Found, *, each: bool) -> list[list[str]]:
    """The lines of one table for a program, the column names first, with the digits that `as_json` has.

    With `each` a line begins with its query, and the wanted text's score is in the column "score": one header for all.
    """
    first = found.answers[0]
    with_match = any(answer.query.in_probability for answer in found.answers)
    start = [*(["query"] if each else []), "rank", *(["match"] if with_match else [])]
    texts = ["score", *first.names[1:]] if each else first.names
    lines = [[*start, *_apart(texts, [*start, "image"]), "image"]]
    for answer in found.answers:
        for row, path in enumerate(answer.paths):
            match = answer.match(row)
            shown_match = ["" if match is None else f"{match:.6f}"] if with_match else []
            scores = [shown(score, 4) for score in answer.hits.scores[row].tolist()]
            lines.append([*([answer.title] if each else []), str(row + 1), *shown_match, *scores, str(path)])
    return lines


def _apart(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names, marked as texts where another column is called so."""
    apart: list[str] = []
    for name in names:
        while name in taken or name in apart:
            name += " (text)"
        apart.append(name)
    return apart


def shown(score: float, digits: int = 2) -> str:
    """So many digits, and no minus before a zero."""
    return f"{round(score, digits) + 0.0:.{digits}f}"


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
        for column, (name, decision) in enumerate(zip(answer.names, answer.decisions, strict=True)):
            score = float(answer.hits.scores[row, column])
            unwanted = column >= len(answer.wanted)
            present = decision.present(score)
            good = None if present is None else present is not unwanted
            marks.append(Mark(name, shown(score), probability(score, decision.threshold), good))
        try:
            picture = load_image(path)
        except InputError:
            picture = None
        match = answer.match(row)
        entries.append(Entry(picture, path.name, marks, "" if match is None else f"match {match:.3f}"))
    return entries
