"""Write the golden files anew from independent references, never from the code they test: `make golden`."""

from __future__ import annotations

import json
from pathlib import Path

TOKENS = Path(__file__).parent / "clip_impl" / "golden_tokens.json"


def golden_tokens(text: str) -> str:
    """The file's texts with the ids that open_clip's tokenizer gives them."""
    from open_clip.tokenizer import SimpleTokenizer

    reference = SimpleTokenizer()
    cases = json.loads(text)
    for case in cases:
        case["ids"] = reference.encode(case["text"])
    return json.dumps(cases, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    before = TOKENS.read_text(encoding="utf-8")
    after = golden_tokens(before)
    changed = json.loads(before) != json.loads(after)
    if changed:
        TOKENS.write_text(after, encoding="utf-8")
    print(f"{TOKENS}: {'written anew; review it with git diff' if changed else 'as it was'}")
