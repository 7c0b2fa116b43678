"""Train and test everything in the README's tables under "Measured here", and print these tables.

Prepare first (README, "Data"): peta, pa100k, pa100k-mini and peta-sites (PETA with --split subset:VIPeR,GRID). Then:

    python examples/measured.py

About three hours on two cores. What is done is not done again: interrupt it and start it again as you like. Runs and figures
go to `measured` under FOCUS_RUNS (default: runs/).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

OUT = Path(os.environ.get("FOCUS_RUNS", "runs")) / "measured"
RECIPE = Path(__file__).with_name("peta_small.toml")
SEEDS = (0, 1, 2)
PA100K_EPOCHS = 28  # as many steps on its 1,400 images as 4 epochs take on PETA

REGION_LOSS = {
    "weight 1, constant": ("loss.racl_ramp=0",),
    "weight 0.1, constant": ("loss.racl=0.1", "loss.racl_ramp=0"),
    "weight 1, constant, fine regions": ("loss.racl_ramp=0", "data.regions=fine"),
    "weight 1, constant, mean maps of the batch": ("loss.racl_ramp=0", "loss.racl_over=batch"),
}


def main() -> None:
    tables = {
        "Methods and ablation on PETA": [reproduce("table1"), reproduce("table3")],
        "RACL on PETA": region_loss(),
        "VIPeR and GRID left out of training": sites(),
        "Texts of another dataset, or never trained": other_texts(),
    }
    for title, lines in tables.items():
        print(f"\n## {title}\n", *lines, sep="\n")


def reproduce(table: str) -> str:
    """The results of a table of the paper on PETA, as `focus reproduce` writes them."""
    folder = OUT / table
    focus("reproduce", table, "--datasets", "peta", "--model", "tiny", "--weights", "none", "--config", str(RECIPE),
          "--seeds", ",".join(map(str, SEEDS)), "--out", str(folder))  # fmt: skip
    return (folder / "results.md").read_text(encoding="utf-8")


def region_loss() -> list[str]:
    found = {"weight 0": of_table("focus-without-racl"), "weight 1, rising": of_table("focus")}
    for name, settings in REGION_LOSS.items():
        found[name] = [train(f"racl {name}", "peta", seed, settings) for seed in SEEDS]
    rows = []
    for name, runs in found.items():
        reports = [closed(run) for run in runs]
        losses = [last_epoch(run)["racl"] for run in runs]
        rows.append((name, *figures(reports, ("mA", "F1", "AUC")), f"{statistics.fmean(losses):.3f}"))
    return grid(("RACL", "mA", "F1", "AUC", "its loss in the last epoch"), rows)


def sites() -> list[str]:
    rows = []
    for method in ("clip-ft", "focus"):
        reports = [closed(train(f"sites {method}", "peta-sites", seed, method=method)) for seed in SEEDS]
        rows.append((method, *figures(reports, ("mA", "F1", "AUC"))))
    return grid(("method", "mA", "F1", "AUC"), rows)


def other_texts() -> list[str]:
    """Both directions between PETA and PA-100K, and PETA's own texts."""
    pa100k = (f"train.epochs={PA100K_EPOCHS}", "train.eval_every=4")
    from_pa100k = {
        method: [train(f"pa100k {method}", "pa100k-mini", seed, pa100k, method=method) for seed in SEEDS]
        for method in ("poar", "focus")
    }
    from_peta = {
        "clip-ft": of_table("focus-without-rlp-mgmt-avfe-racl-lsim"),
        "poar": of_table("poar"),
        "focus": of_table("focus"),
    }
    rows = [
        (method, source, target, *retrieved([opened(run, target, split) for run in runs]))
        for source, found, target, split in (
            ("PETA", from_peta, "pa100k", "train"),
            ("PA-100K", from_pa100k, "peta", "test"),
            ("PETA", from_peta, "peta", "test"),
        )
        for method, runs in found.items()
    ]
    names = ("R@1", "chance", "blind", "R@2", "macro R@1", "AP trained", "prevalence", "AP others", "prevalence")
    return grid(("method", "trained on", "tested on", *names), rows)


def retrieved(reports: Sequence[dict]) -> list[str]:
    """Recall of every run, and the average precision of trained and of other texts beside their prevalence."""
    first = reports[0]
    shown = [
        spread([report["recall"]["mean"]["R@1"] for report in reports]),
        percent(first["chance"]["mean"]["R@1"]),
        percent(first["blind"]["mean"]["R@1"]),
        spread([report["recall"]["mean"]["R@2"] for report in reports]),
        spread([report["macro"]["mean"]["R@1"] for report in reports]),
    ]
    for kind in ("seen", "unseen"):
        texts = [report["ranking"].get(kind) for report in reports]
        shown += [spread([found["AP"] for found in texts]), percent(texts[0]["prevalence"])] if texts[0] else ["-", "-"]
    return shown


def of_table(method: str) -> list[Path]:
    """The runs on PETA that `focus reproduce` made, one per seed. Those of Table III's last row are Table I's."""
    runs = [
        folder
        for seed in SEEDS
        for folder in sorted(OUT.glob(f"table*/runs/peta-{method}-train-seed{seed}-*"))
        if (folder / "checkpoints" / "best").exists()
    ]
    return list({folder.name: folder for folder in runs}.values())


def train(name: str, dataset: str, seed: int, settings: Iterable[str] = (), *, method: str = "focus") -> Path:
    """A run's folder; trained where it is not, gone on with where it was interrupted."""
    run = OUT / f"{name} seed {seed}".replace(" ", "-").replace(",", "")
    if not (run / "done").exists():
        begun = (run / "checkpoints" / "last").exists()
        chosen = [part for setting in settings for part in ("--set", setting)]
        new = ["--config", str(RECIPE), "--method", method, "--dataset", dataset, "--seed", str(seed), *chosen]
        focus("train", "--run", str(run), *(["--resume"] if begun else new))
        (run / "done").touch()
    return run


def closed(run: Path) -> dict:
    return asked(run / "closed.json", "eval", "-c", str(run))["metrics"]


def opened(run: Path, target: str, split: str) -> dict:
    command = ("eval", "-c", str(run), "--open-domain", "--target", target, "--split", split, "--other-data")
    return asked(run / f"open-{target}.json", *command)["reports"][0]


def asked(file: Path, *command: str) -> dict:
    """What a command says with --json, kept in a file."""
    if not file.exists():
        file.write_text(focus("--json", *command), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def last_epoch(run: Path) -> dict:
    return json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])


def focus(*arguments: str) -> str:
    print("focus", *arguments, file=sys.stderr)
    return subprocess.run(
        [sys.executable, "-m", "focuscli", *arguments], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def figures(reports: Sequence[dict], names: Sequence[str]) -> list[str]:
    return [spread([report[name] for report in reports]) for name in names]


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation in percent."""
    return f"{100 * statistics.fmean(values):.2f} ± {100 * statistics.stdev(values):.2f}"


def percent(value: float) -> str:
    return f"{100 * value:.2f}"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    main()
