"""CLIP's byte-pair tokenizer: the same ids as OpenAI's, for any Unicode text."""

from __future__ import annotations

import functools
import gzip
import html
import io
import itertools
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

import regex

from clip_impl.config import EOT_ID, SOT_ID, VOCABULARY_SIZE

if TYPE_CHECKING:
    from torch import Tensor

MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"
SOT_TOKEN, EOT_TOKEN = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"

# Special tokens, English contractions, runs of letters, single digits, runs of anything else.
_PIECES = regex.compile(
    rf"{regex.escape(SOT_TOKEN)}|{regex.escape(EOT_TOKEN)}"
    r"|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)


def tokenize(texts: str | Sequence[str], context_length: int = 77, truncate: bool = False) -> Tensor:
    """Texts as ids: start token, words, end token, zeros.

    Args:
        texts: one text or several.
        context_length: columns of the result.
        truncate: cut texts that are too long, ending them with the end token, instead of raising.

    Returns:
        LongTensor [N, context_length].

    Raises:
        RuntimeError: a text is too long; quotes its beginning.
    """
    import torch  # predicting with an exported model needs token ids, not torch

    texts = [texts] if isinstance(texts, str) else [*texts]
    result = torch.zeros(len(texts), context_length, dtype=torch.long)
    for row, text in enumerate(texts):
        ids = token_ids(text)
        if len(ids) > context_length:
            if not truncate:
                raise RuntimeError(f'"{text:.60}" has {len(ids)} tokens, too long for context length {context_length}')
            ids = [*ids[: context_length - 1], EOT_ID]
        result[row, : len(ids)] = torch.tensor(ids)
    return result


def token_ids(text: str) -> list[int]:
    """The ids of one text of any length, from the start token to the end token."""
    return [SOT_ID, *encode(text), EOT_ID]


def encode(text: str) -> list[int]:
    """Ids of a text's pieces, without start and end; repaired, unescaped, lower case and single-spaced first."""
    return [number for piece in _PIECES.findall(clean(text)) for number in _encode_piece(piece)]


@functools.lru_cache(maxsize=65536)
def _encode_piece(piece: str) -> tuple[int, ...]:
    ids, ranks = tables()
    if piece in (SOT_TOKEN, EOT_TOKEN):
        return (ids[piece],)
    symbols = [byte_symbols()[byte] for byte in piece.encode("utf-8")]
    symbols[-1] += END_OF_WORD
    while len(symbols) > 1:
        best = min(itertools.pairwise(symbols), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        position = 0
        while position < len(symbols) - 1:  # Every occurrence, from left to right.
            if (symbols[position], symbols[position + 1]) == best:
                symbols[position : position + 2] = ["".join(best)]
            position += 1
    return tuple(ids[symbol] for symbol in symbols)


@functools.cache
def tables() -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """The ids of all symbols, and the ranks of all merges of two symbols; they take 0.1 s to read."""
    packed = (files("clip_impl") / "data" / MERGES_FILE).read_bytes()
    # The first line is a header. CLIP uses only as many merges as fit its vocabulary beside bytes and special tokens, a
    # fifth of the table, and no more is unpacked.
    with gzip.open(io.BytesIO(packed), "rt", encoding="utf-8") as lines:
        words = [line.split() for line in itertools.islice(lines, 1, VOCABULARY_SIZE - 2 * 256 - 2 + 1)]
    merges = [(left, right) for left, right in words]
    symbols = [*byte_symbols().values()]
    vocabulary = symbols + [symbol + END_OF_WORD for symbol in symbols]
    vocabulary += ["".join(pair) for pair in merges] + [SOT_TOKEN, EOT_TOKEN]
    ids = {symbol: number for number, symbol in enumerate(vocabulary)}
    return ids, {pair: rank for rank, pair in enumerate(merges)}


def clean(text: str) -> str:
    """Mojibake repaired, HTML entities unescaped (twice, as OpenAI does), white space folded, lower case."""
    if not (text.isascii() and text.isprintable()) or "&" in text:
        import ftfy  # It has nothing to repair in plain words, and takes longer to import than to read them.

        text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return regex.sub(r"\s+", " ", text).strip().lower()


@functools.cache
def byte_symbols() -> dict[int, str]:
    """One printable character for each byte, in the order of the vocabulary: printable Latin-1 bytes stand for
    themselves, the others for characters from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + rank) for rank, byte in enumerate(others)}
