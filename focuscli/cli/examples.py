"""Two or three examples for the end of every command's help; a test parses each of them."""

from __future__ import annotations

EXAMPLES = {
    "prepare": ("synthetic", "peta ~/data/PETA", "csv labels.csv --images crops"),
    "prepare peta": ("~/data/PETA", "~/data/PETA --split identity --out ~/data/peta-identity"),
    "prepare pa100k": ("~/data/PA-100K", "~/data/PA-100K --labels-only --dry-run"),
    "prepare rapv1": ("~/data/RAP", "~/data/RAP --split official:3 --out ~/data/rapv1-3"),
    "prepare rapv2": ("~/data/RAPv2", "~/data/RAPv2 --images ~/data/RAPv2/images --dry-run"),
    "prepare csv": ("labels.csv --images crops", "labels.csv --true yes --false no --out my-crops"),
    "prepare market1501": ("~/data/Market-1501", "~/data/Market-1501 --labels-only"),
    "prepare pickle": ("dataset.pkl --images ~/data/PETA/images", "dataset.pkl --labels-only --out peta-labels"),
    "prepare synthetic": ("", "--images 400 --style night --out synthetic-night", "--as peta --out PETA"),
    "prepare weights": ("", "~/Downloads/ViT-B-16.pt"),
    "schema": ("show peta", "diff peta pa100k"),
    "schema show": ("peta", "my-crops/schema.toml --evaluated"),
    "schema check": ("my-crops", "my-crops/schema.toml --json"),
    "schema diff": ("peta pa100k", "peta my-crops --evaluated"),
    "train": ("-d peta", "-d synthetic --model tiny --weights none", "--resume"),
    "eval": ("--per-attribute", "-c clip -d peta --require 'mA>=60'", "--open-domain --target pa100k"),
    "predict": ("crop.jpg", "crops -a 'red scarf' -a backpack -o scores.csv", "- --format jsonl < names.txt"),
    "viz": (
        "crop.jpg 'long sleeves' 'red scarf'",
        "crop.jpg backpack --tokens -o tokens.png",
        "crops/*.jpg hat -c first-run -c second-run -o maps.pdf",
    ),
    "index": ("crops -o gallery", "peta -o gallery --split test --resume"),
    "search": ("gallery 'red jacket' backpack --not hat", "gallery 'long hair' -k 40 --sheet hits.png"),
    "report": ("", "first-run second-run -o comparison.html --no-crops"),
    "reproduce": ("table1 --datasets peta --dry-run", "table3 --budget epochs=5 --seeds 0,1,2"),
    "export": ("--check", "-c first-run --dynamic --int8 -o focus.onnx"),
    "bench": ("", "--model tiny --batch 1 --batch 64 -o bench.json"),
    "demo": ("", "--out demo-small --images 400"),
    "doctor": ("", "--full --json"),
    "datasets": ("", "--json"),
    "runs": ("", "--json"),
    "config": ("show train", "show loss"),
    "config show": ("train.learning_rate", "loss"),
    "help": ("train", "prepare peta", "exit-codes"),
}
"""What may follow each command."""


def examples(command: str) -> list[str]:
    """The examples of a command, as they are typed."""
    return [f"focus {command} {arguments}".rstrip() for arguments in EXAMPLES[command]]


def epilog(command: str) -> str:
    """The end of a command's help: its examples, each on a line of its own."""
    lines = [f"  {example}" for example in examples(command)]
    return "\n".join(["\b", "Examples:", *lines])  # \b: these lines are not to be joined
