"""Plans: which runs a table needs, what each answers, what is excluded, and in what it deviates."""

from __future__ import annotations

from focuscli.tools.reproduce.plan import Settings, make_plan
from focuscli.tools.reproduce.tables import read_table

SCRATCH = ("--weights", {"train": {"weights": "none"}})


def names(plan):
    return [run.name for run in plan.runs]


def test_table_1_plans_three_methods_per_dataset(prepared):
    data = prepared("peta", "pa100k", "rapv1")
    plan = make_plan(read_table("table1"), data, Settings())
    assert names(plan) == [f"{name}-{method}-train-seed0" for method in ("vtb", "poar", "focus") for name in data]
    poar = next(run for run in plan.runs if run.name == "peta-poar-train-seed0")
    assert poar.tests == [("peta", "val")]
    assert [(row.label, row.dataset) for row in poar.rows] == [("POAR", "peta"), ("POAR*", "peta")]
    assert (poar.config.model.method, poar.config.model.mgmt) == ("poar", False)
    assert poar.config.data.dataset == "/data/peta"
    chosen = make_plan(read_table("table1"), data, Settings(seeds=(0, 2), methods=("focus",), datasets=("peta",)))
    assert [run.config.train.seed for run in chosen.runs if run.dataset == "peta"] == [0, 2]
    # The paper's protocol trains on val too, and takes thresholds from test.
    both = make_plan(read_table("table1"), prepared("peta", "rapv1"), Settings(protocol="both", methods=("focus",)))
    assert {run.name: [scoring for _, scoring in run.tests] for run in both.runs} == {
        "peta-focus-train-seed0": ["val"],
        "peta-focus-trainval-seed0": ["oracle"],
        "rapv1-focus-train-seed0": ["val", "oracle"],
    }
    assert [run.config.data.train_split for run in both.runs] == ["train", "trainval", "train"]


def test_table_2_tests_every_source_on_every_target_under_both_protocols(prepared):
    plan = make_plan(read_table("table2"), prepared("peta", "pa100k"), Settings())
    trained = [f"{name}-{method}-train-seed0" for name in ("pa100k", "peta") for method in ("poar", "focus")]
    assert names(plan) == ["clip", *trained]
    pairs = [(target, scoring) for target in ("peta", "pa100k") for scoring in ("corrected", "poar")]
    assert all(run.tests == pairs for run in plan.runs)
    assert plan.runs[0].config is None
    assert "cannot score other texts" in str(plan.excluded[0])
    scratch = make_plan(read_table("table2"), prepared("peta"), Settings(layers=[SCRATCH]))
    assert "clip" not in names(scratch)
    assert any(item.what == "CLIP (clip)" for item in scratch.excluded)


def test_table_3_is_the_ladder_and_an_ablation_is_no_deviation(prepared):
    plan = make_plan(read_table("table3"), prepared("pa100k"), Settings())
    configs = [run.config for run in plan.runs]
    assert [
        (config.model.rlp, config.model.mgmt, config.model.avfe, config.effective_loss.racl > 0) for config in configs
    ] == [tuple(rung > part for part in range(4)) for rung in range(5)]
    assert [config.effective_loss.lsim > 0 for config in configs] == [False, False, True, True, True]
    assert not any(line.startswith(("model.", "loss.")) for line in plan.deviations)


def test_rows_of_ones_own_change_settings(prepared, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        'title = "t"\nkind = "closed"\nmetrics = ["mA"]\n'
        '[[rows]]\nlabel = "a"\nmethod = "focus"\ndataset = "peta"\nset = ["loss.racl=0.1", "train.epochs=3"]\n'
        '[[rows]]\nlabel = "b"\nmethod = "focus"\ndataset = "peta"\n'
    )
    plan = make_plan(read_table(str(file)), prepared("peta"), Settings(layers=[("x", {"train": {"epochs": 5}})]))
    assert names(plan) == ["peta-focus-racl=0.1-epochs=3-train-seed0", "peta-focus-train-seed0"]
    assert [(run.config.loss.racl, run.config.train.epochs) for run in plan.runs] == [(0.1, 3), (1.0, 5)]
    # What a row sets is what it is about; what holds for the whole table deviates.
    assert [line for line in plan.deviations if line.startswith(("loss", "train."))] == ["train.epochs is 5, not 100"]


def test_every_deviation_is_stated(prepared):
    full = make_plan(read_table("table1"), prepared("peta", "pa100k", "rapv1"), Settings(protocol="paper"))
    assert full.deviations[0] == "1 seed; the paper states none"
    assert len(full.deviations) == 3
    assert "oracle" in full.deviations[2]
    changes = {"train": {"epochs": 2, "device": "cpu"}, "model": {"preset": "tiny"}}
    data = prepared("peta", counts={"train": 40, "test": 16}, split="identity")
    plan = make_plan(read_table("table1"), data, Settings(layers=[SCRATCH, ("x", changes)], methods=("focus",)))
    for words in (
        "train.epochs is 2, not 100",
        "model.preset is tiny, not vit-b16",
        "model.image_size is 128,64, not 224,224",
        "weights: from scratch; the paper starts from CLIP ViT-B/16",
        "peta: train 40 / test 16 images, officially train 9,500 / val 1,900 / test 7,600",
        "peta: split identity; published rows use official:0",
        "our protocol trains on train only; published rows train on train + val if there is a val",
        "only the methods focus of vtb, poar, focus",
    ):
        assert words in plan.deviations
    assert not any("device" in line or "data.dataset" in line for line in plan.deviations)
