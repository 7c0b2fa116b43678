"""Retrieval metrics as pure functions of arrays; fractions, not percent.

Image to text: for each image and each group of texts, is a true text among the K best scored of the group? Text to image:
for each text, how are the images with it ranked? Groups are given as one name per text, in the order of the columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from focuscli.metrics.attributes import BoolArray, FloatArray, known_columns

Grouped = dict[str, dict[str, float]]
MEAN = "mean"


def grouped_recall(scores: ArrayLike, targets: ArrayLike, groups: Sequence[str], ks: Sequence[int] = (1, 2)) -> Grouped:
    """Image-to-text Recall@K per group and its mean over groups (the metric of Table II; any positive counts).

    An image counts for a group if at least one text of the group is true of it; it is a hit at K if one of the true ones
    is among the K best scored texts of the group. Equal scores rank in the order of the columns, so the result is
    deterministic. In a group of at most K texts Recall@K is 1 by construction.

    Args:
        scores: N x Z. targets: N x Z of 0/1. groups: Z names; texts of one group need not stand together.
        ks: whole numbers from 1.

    Returns:
        {group: {"R@1": fraction, ...}, ..., "mean": {...}}: groups in order of appearance, one without any image that
        counts excluded; the mean is unweighted over the groups there are, NaN if there is none.

    Raises:
        ValueError: shapes, names or values that do not fit; a score that is NaN.
    """

    def recall(ranked: FloatArray, truth: BoolArray, k: int) -> NDArray:
        return np.any(_sorted_truth(ranked, truth)[:, :k], axis=1)

    return _per_group(scores, targets, groups, ks, recall)


def grouped_recall_last_positive(scores: ArrayLike, targets: ArrayLike, groups: Sequence[str]) -> Grouped:
    """Recall@1 and @2 as POAR's program computes them.

    Recall@1 is that of `grouped_recall`. For Recall@2 the program goes through an image's positives and keeps the last
    one's result unless an earlier one ranks first; the order is that of a Python set and changes from run to run. Here
    it is the mean over all orders: with a positive on rank 2 and none on rank 1, one over the number of positives.

    Args, returns, raises: see `grouped_recall`; ks are 1 and 2.
    """

    def recall(ranked: FloatArray, truth: BoolArray, k: int) -> NDArray:
        order = _sorted_truth(ranked, truth)
        if k == 1 or order.shape[1] < 2:
            return order[:, 0]
        return np.where(order[:, 0], 1.0, order[:, 1] / truth.sum(axis=1))

    return _per_group(scores, targets, groups, (1, 2), recall)


def grouped_macro_recall(
    scores: ArrayLike, targets: ArrayLike, groups: Sequence[str], ks: Sequence[int] = (1, 2)
) -> Grouped:
    """Recall@K per text, averaged over the texts of a group, then over groups: every word weighs the same.

    The recall of a text is the share of the images it is true of in which it is among the K best scored of its group. A
    text that is true of no image is excluded. A predictor that gives every image the same answer reaches K / texts.

    Args, returns, raises: see `grouped_recall`.
    """

    def recall(ranked: FloatArray, truth: BoolArray, k: int) -> NDArray:
        positives = truth.sum(axis=0)
        ranks = np.argsort(
            np.argsort(-ranked, axis=1, kind="stable"), axis=1
        )  # from 0, ties in the order of the columns
        return (truth & (ranks < k)).sum(axis=0)[positives > 0] / positives[positives > 0]

    return _per_group(scores, targets, groups, ks, recall)


def grouped_chance(targets: ArrayLike, groups: Sequence[str], ks: Sequence[int] = (1, 2)) -> Grouped:
    """What `grouped_recall` is expected to be for random scores, exactly.

    With n texts of which p are true, K drawn texts miss all of them in C(n - p, K) of C(n, K) cases.

    Args, returns, raises: see `grouped_recall`.
    """

    def expected(_ranked: FloatArray, truth: BoolArray, k: int) -> NDArray:
        count, positives = truth.shape[1], truth.sum(axis=1)
        missed = np.ones(len(truth))
        for drawn in range(min(k, count)):
            missed *= np.maximum(count - positives - drawn, 0) / (count - drawn)
        return 1 - missed

    return _per_group(np.zeros(np.shape(targets)), targets, groups, ks, expected)


def grouped_chance_last_positive(targets: ArrayLike, groups: Sequence[str]) -> Grouped:
    """What `grouped_recall_last_positive` is expected to be for random scores, exactly.

    Args, returns, raises: see `grouped_recall_last_positive`.
    """

    def expected(_ranked: FloatArray, truth: BoolArray, k: int) -> NDArray:
        count, positives = truth.shape[1], truth.sum(axis=1)
        first = positives / count
        if k == 1 or count < 2:
            return first
        # No positive first; then one second, p / (n - 1); then it is the last of the p in one of p orders.
        return first + (1 - first) / (count - 1)

    return _per_group(np.zeros(np.shape(targets)), targets, groups, (1, 2), expected)


def majority_scores(training_targets: ArrayLike, count: int) -> FloatArray:
    """Scores [count, Z] of the majority-class baseline: for every image the number of training images of each text.

    Its answer in each group is the most frequent words of the group in training, whatever the image shows. A model that
    is no better has not been shown to use the image.

    Args:
        training_targets: M x Z of 0/1. count: number of images to answer for.
    """
    frequencies = (np.asarray(training_targets) == 1).sum(axis=0).astype(np.float64)
    return np.tile(frequencies, (count, 1))


def precision_at_k(
    targets: ArrayLike, scores: ArrayLike, ks: Sequence[int] = (1, 10), known: ArrayLike | None = None
) -> dict[str, FloatArray]:
    """Text to image: per text, the share of true images among the k best scored.

    Equal scores at the edge count by their mean share of true images, so the order of the images plays no part.

    Args:
        targets: N x Z of 0/1. scores: N x Z. ks: whole numbers from 1.
        known: N x Z, False where a label is uncertain: such an image is not in that text's gallery.

    Returns:
        {"P@k": Z values}; NaN for a text that is true of no image, or whose gallery has fewer than k images.
    """
    if np.ndim(targets) != 2 or np.shape(targets) != np.shape(scores):
        raise ValueError(f"expected targets and scores N x Z alike; got {np.shape(targets)} and {np.shape(scores)}")
    _check_ks(ks)
    result = {f"P@{k}": np.full(np.shape(targets)[1], np.nan) for k in ks}
    for column, (labels, found) in enumerate(known_columns(targets, scores, known)):
        for k in ks:
            if not labels.any() or len(labels) < k:
                continue
            edge = np.partition(found, len(found) - k)[len(found) - k]
            above, tied = found > edge, found == edge
            hits = labels[above].sum() + (k - above.sum()) * labels[tied].mean()
            result[f"P@{k}"][column] = hits / k
    return result


def hit_rate(
    targets: ArrayLike, scores: ArrayLike, words: Sequence[str], ks: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """Text to image as POAR's program computes it: the share of words with a true image among the k best.

    Results are kept by word, so of texts that share a word the last one counts.

    Args:
        targets: N x Z of 0/1. scores: N x Z. words: Z of them.

    Returns:
        {"hit@k": fraction}; NaN without a word.
    """
    ranked, truth = _checked(scores, targets, words, ks)
    last = {word: column for column, word in enumerate(words)}
    best = np.argsort(-ranked, axis=0, kind="stable")
    result = {}
    for k in ks:
        hits = [bool(truth[best[:k, column], column].any()) for column in last.values()]
        result[f"hit@{k}"] = float(np.mean(hits)) if hits else float("nan")
    return result


def _checked(
    scores: ArrayLike, targets: ArrayLike, groups: Sequence[str], ks: Sequence[int]
) -> tuple[FloatArray, BoolArray]:
    ranked, truth = np.asarray(scores, dtype=np.float64), np.asarray(targets)
    if truth.ndim != 2 or truth.shape != ranked.shape:
        raise ValueError(f"expected scores and targets of one shape N x Z; got {ranked.shape} and {truth.shape}")
    if len(groups) != truth.shape[1]:
        raise ValueError(f"expected a group name for each of {truth.shape[1]} texts; got {len(groups)}")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("targets hold a value that is neither 0 nor 1")
    if np.isnan(ranked).any():
        raise ValueError("a score is NaN")
    _check_ks(ks)
    return ranked, truth == 1


def _check_ks(ks: Sequence[int]) -> None:
    if not len(ks) or any(int(k) != k or k < 1 for k in ks):
        raise ValueError(f"expected whole numbers from 1 as ks; got {tuple(ks)}")


def _per_group(
    scores: ArrayLike,
    targets: ArrayLike,
    groups: Sequence[str],
    ks: Sequence[int],
    recall: Callable[[FloatArray, BoolArray, int], NDArray],
) -> Grouped:
    """Per group the mean of what `recall(scores [M, n], truth [M, n], k)` gives for the M images with a true text of it."""
    ranked, truth = _checked(scores, targets, groups, ks)
    if MEAN in groups:
        raise ValueError(f'no group can be called "{MEAN}": that is the key of the mean over groups')
    result: Grouped = {}
    for name in dict.fromkeys(groups):
        members = np.array([group == name for group in groups])
        images = truth[:, members].any(axis=1)
        if images.any():
            parts = ranked[images][:, members], truth[images][:, members]
            result[name] = {f"R@{k}": float(recall(*parts, k).mean()) for k in ks}
    means = {key: float(np.mean([row[key] for row in result.values()] or np.nan)) for key in (f"R@{k}" for k in ks)}
    return {**result, MEAN: means}


def _sorted_truth(scores: FloatArray, truth: BoolArray) -> BoolArray:
    """The truth of each row's texts, best scored first."""
    return np.take_along_axis(truth, np.argsort(-scores, axis=1, kind="stable"), axis=1)
