"""Two or three lines to start from, for the end of every command's help; a test parses each of them."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "prepare": (
        "focus prepare synthetic",
        "focus prepare peta ~/data/PETA",
        "focus prepare csv labels.csv --images crops",
    ),
    "prepare peta": (
        "focus prepare peta ~/data/PETA",
        "focus prepare peta ~/data/PETA --split identity --out ~/data/peta-identity",
    ),
    "prepare pa100k": (
        "focus prepare pa100k ~/data/PA-100K",
        "focus prepare pa100k ~/data/PA-100K --labels-only --dry-run",
    ),
    "prepare rapv1": (
        "focus prepare rapv1 ~/data/RAP",
        "focus prepare rapv1 ~/data/RAP --split official:3 --out ~/data/rapv1-3",
    ),
    "prepare rapv2": (
        "focus prepare rapv2 ~/data/RAPv2",
        "focus prepare rapv2 ~/data/RAPv2 --images ~/data/RAPv2/images --dry-run",
    ),
    "prepare csv": (
        "focus prepare csv labels.csv --images crops",
        "focus prepare csv labels.csv --true yes --false no --out my-crops",
    ),
    "prepare market1501": (
        "focus prepare market1501 ~/data/Market-1501",
        "focus prepare market1501 ~/data/Market-1501 --labels-only",
    ),
    "prepare pickle": (
        "focus prepare pickle dataset.pkl --images ~/data/PETA/images",
        "focus prepare pickle dataset.pkl --labels-only --out peta-labels",
    ),
    "prepare synthetic": (
        "focus prepare synthetic",
        "focus prepare synthetic --images 400 --style night --out synthetic-night",
        "focus prepare synthetic --as peta --out PETA",
    ),
    "prepare weights": (
        "focus prepare weights",
        "focus prepare weights ~/Downloads/ViT-B-16.pt",
    ),
    "schema": (
        "focus schema show peta",
        "focus schema diff peta pa100k",
    ),
    "schema show": (
        "focus schema show peta",
        "focus schema show my-crops/schema.toml --evaluated",
    ),
    "schema check": (
        "focus schema check my-crops",
        "focus schema check my-crops/schema.toml --json",
    ),
    "schema diff": (
        "focus schema diff peta pa100k",
        "focus schema diff peta my-crops --evaluated",
    ),
    "train": (
        "focus train -d peta",
        "focus train -d synthetic --model tiny --weights none",
        "focus train --resume",
    ),
    "eval": (
        "focus eval --per-attribute",
        "focus eval -c clip -d peta --require 'mA>=60'",
        "focus eval --open-domain --target pa100k",
    ),
    "predict": (
        "focus predict crop.jpg",
        "focus predict crops -a 'red scarf' -a backpack --format csv -o scores.csv",
        "find crops -name '*.jpg' | focus predict - --format jsonl",
    ),
    "viz": (
        "focus viz crop.jpg 'long sleeves' 'red scarf'",
        "focus viz crop.jpg backpack --tokens -o tokens.png",
        "focus viz crops/*.jpg hat -c first-run -c second-run -o maps.pdf",
    ),
    "index": (
        "focus index crops -o gallery",
        "focus index peta -o gallery --split test --resume",
    ),
    "search": (
        "focus search gallery 'red jacket' backpack --not hat",
        "focus search gallery 'long hair' -k 40 --sheet hits.png",
    ),
    "report": (
        "focus report",
        "focus report first-run second-run -o comparison.html --no-crops",
    ),
    "reproduce": (
        "focus reproduce table1 --datasets peta --dry-run",
        "focus reproduce table3 --budget epochs=5 --seeds 0,1,2",
    ),
    "export": (
        "focus export --check",
        "focus export -c first-run --dynamic --int8 -o focus.onnx",
    ),
    "bench": (
        "focus bench",
        "focus bench --model tiny --batch 1 --batch 64 -o bench.json",
    ),
    "demo": (
        "focus demo",
        "focus demo --out demo-small --images 400",
    ),
    "doctor": (
        "focus doctor",
        "focus doctor --full --json",
    ),
    "datasets": (
        "focus datasets",
        "focus datasets --json",
    ),
    "runs": (
        "focus runs",
        "focus runs --json",
    ),
    "config": (
        "focus config show train",
        "focus train -d peta --print-config > settings.toml",
    ),
    "config show": (
        "focus config show train.learning_rate",
        "focus config show loss",
    ),
    "help": (
        "focus help train",
        "focus help prepare peta",
        "focus help exit-codes",
    ),
}
"""By command, as typed after `focus`."""


def epilog(command: str) -> str:
    """The end of a command's help: its examples, each on a line of its own."""
    lines = [f"  {example}" for example in EXAMPLES.get(command, ())]
    return "\n".join(["\b", "Examples:", *lines]) if lines else ""  # \b: these lines are not to be joined
