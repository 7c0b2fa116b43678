"""The results of a search as JSON, as a table, and as a contact sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image, ImageOps

from focuscli.data.images import load_image
from focuscli.errors import InputError
from focuscli.inference.predict import probability, thresholds_of
from focuscli.tools.gallery.search import Answer
from focuscli.tools.gallery.store import Gallery
from focuscli.viz.canvas import FAINT, INK, MUTED, NO, TRACK, YES, Canvas, fit_text, line_height, text_width, wrap

COLUMN, HEIGHT, GAP, MARGIN, PER_LINE = 176, 224, 18, 20, 8
LARGE, MEDIUM, SMALL = 17, 13, 11
BAR = 2 * line_height(SMALL) + 11  # A text, its bar and the space below.


def as_json(answers: Sequence[Answer], gallery: Gallery) -> Iterator[dict[str, Any]]:
    """One object per crop."""
    for answer in answers:
        query, decisions = answer.query, answer.query.decisions
        phrases = [decision.text.phrase for decision in decisions]
        for rank, hit in enumerate(answer.hits, start=1):
            match = query.match(hit)
            yield {
                "query": phrases[: len(query.wanted)],
                "not": phrases[len(query.wanted) :],
                "rank": rank,
                "image": str(hit.image),
                **({} if gallery.source.group is None else {"group": hit.group}),
                "match": None if match is None else round(match, 6),
                "scores": {phrase: round(score, 4) for phrase, score in zip(phrases, hit.scores, strict=True)},
                **thresholds_of(decisions),
                "gallery": str(gallery.folder),
                "model": gallery.model.run,
                "weights": gallery.model.weights,
                **({} if answer.recall is None else {"recall": round(answer.recall, 4)}),
            }


def table_of(answers: Sequence[Answer], gallery: Gallery, *, each: bool = False, digits: int = 4) -> list[list[str]]:
    """The results as one table, the column names first.

    With `each` a line begins with its query, and the wanted text's score is in the column "score": one header for all.
    """
    query, grouped = answers[0].query, gallery.source.group is not None
    texts = ["score", *query.names[1:]] if each else query.names
    start = [*(["query"] if each else []), "rank", *(["match"] if query.thresholds else [])]
    lines = [[*start, *texts, *(["group"] if grouped else []), "image"]]
    for answer in answers:
        for rank, hit in enumerate(answer.hits, start=1):
            match = answer.query.match(hit)
            lines.append(
                [
                    *([answer.query.title] if each else []),
                    str(rank),
                    *([] if match is None else [f"{match:.{digits * 3 // 2}f}"]),
                    *(shown(score, digits) for score in hit.scores),
                    *([hit.group or ""] if grouped else []),
                    str(hit.image),
                ]
            )
    return lines


def shown(score: float, digits: int = 2) -> str:
    """So many digits, and no minus before a zero."""
    return f"{round(score, digits) + 0.0:.{digits}f}"


def contact_sheet(answers: Sequence[Answer], caption: str) -> Image.Image:
    """The crops of each query in lines from the best on, with rank and match above them, name and texts below."""
    title, line = line_height(LARGE) + GAP, line_height(MEDIUM)
    cell = line + HEIGHT + line_height(SMALL) + len(answers[0].query.names) * BAR + GAP
    per_line = min(PER_LINE, max(3, *(len(answer.hits) for answer in answers)))
    heights = [title + cell * -(-len(answer.hits) // per_line) for answer in answers]
    width = per_line * (COLUMN + GAP) - GAP
    sources = {decision.threshold_source for answer in answers for decision in answer.query.decisions}
    footer = wrap(f"{caption} · thresholds, in the middle of the bars: {', '.join(sorted(sources))}", MEDIUM, width, 4)
    canvas = Canvas(width + 2 * MARGIN, 2 * MARGIN + sum(heights) + len(footer) * line)
    y = MARGIN
    for answer, height in zip(answers, heights, strict=True):
        canvas.text(MARGIN, y, fit_text(answer.query.title, LARGE, width), LARGE, INK)
        for rank, hit in enumerate(answer.hits):
            left, top = MARGIN + rank % per_line * (COLUMN + GAP), y + title + rank // per_line * cell
            match = answer.query.match(hit)
            canvas.text(left, top, str(rank + 1), MEDIUM, INK)
            canvas.text_right(left + COLUMN, top, "" if match is None else f"match {match:.3f}", MEDIUM, MUTED)
            top += line
            try:
                picture = ImageOps.contain(load_image(hit.image), (COLUMN, HEIGHT))
                canvas.paste(picture, left, top + HEIGHT - picture.height, COLUMN)
            except InputError:
                canvas.box(left, top, COLUMN, HEIGHT, TRACK)
                canvas.text(left + SMALL, top + HEIGHT // 2, "no longer there", SMALL, MUTED)
            canvas.text(left, top + HEIGHT, fit_text(hit.image.name, SMALL, COLUMN, keep_end=True), SMALL, FAINT)
            top += HEIGHT + line_height(SMALL)
            texts = zip(answer.query.names, answer.query.decisions, hit.scores, strict=True)
            for number, (name, decision, score) in enumerate(texts):
                present, wanted = decision.present(score), number < len(answer.query.wanted)
                colour = MUTED if present is None else YES if present is wanted else NO
                canvas.text_right(left + COLUMN, top, shown(score), SMALL, INK)
                room = COLUMN - text_width(shown(score), SMALL) - 6
                canvas.text(left, top, fit_text(name, SMALL, room), SMALL, colour)
                share = probability(score, decision.threshold)
                if share is not None:
                    canvas.bar(left, top + line_height(SMALL) + 3, COLUMN, 5, share, colour)
                top += BAR
        y += height
    canvas.lines(MARGIN, y, footer, MEDIUM, MUTED)
    return canvas.image
