"""Write the golden files anew from independent references, never from the code they test: `make golden`."""

from __future__ import annotations

import json
from pathlib import Path

TOKENS = Path(__file__).parent / "clip_impl" / "golden_tokens.json"
SPECIAL = ("<|", "<start_of_text>", "<end_of_text>")


def golden_tokens(text: str) -> str:
    """The file with the ids that open_clip's tokenizer gives its texts, one case a line.

    Cases with special tokens stay as they are: open_clip spells these in another way than OpenAI does.
    """
    from open_clip.tokenizer import SimpleTokenizer

    reference = SimpleTokenizer()
    cases = json.loads(text)
    for case in cases:
        if not any(special in case["text"] for special in SPECIAL):
            case["ids"] = reference.encode(case["text"])
    return "[\n " + ",\n ".join(json.dumps(case) for case in cases) + "\n]\n"


if __name__ == "__main__":
    before = TOKENS.read_text(encoding="utf-8")
    after = golden_tokens(before)
    TOKENS.write_text(after, encoding="utf-8")
    print(f"{TOKENS}: {'as it was' if after == before else 'written anew; review it with git diff'}")
