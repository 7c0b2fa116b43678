"""Plans: which runs a table needs, what each answers, and what is left out or reduced."""

from __future__ import annotations

import pytest

from focuscli.errors import UsageError
from focuscli.tools.reproduce.plan import Settings, make_plan
from focuscli.tools.reproduce.published import read_table
from focuscli.tools.reproduce.reductions import reductions

SCRATCH = (("--weights", {"train": {"weights": "none"}}),)


def names(plan):
    return [run.name for run in plan.runs]


def test_table_1_plans_three_methods_per_dataset(prepared):
    plan = make_plan(read_table("table1"), prepared("peta", "pa100k", "rapv1"), Settings())
    assert names(plan) == [
        f"{dataset}-{method}-train-seed0"
        for method in ("vtb", "poar", "focus")
        for dataset in prepared("peta", "pa100k", "rapv1")
    ]
    poar = next(run for run in plan.runs if run.name == "peta-poar-train-seed0")
    assert [(test.target, test.scoring) for test in poar.evaluations] == [("peta", "val")]
    assert poar.evaluations[0].rows == (("POAR", "peta"), ("POAR*", "peta"))
    assert poar.config.model.method == "poar"
    assert poar.config.data.dataset == "/data/peta"
    assert not poar.config.model.mgmt


def test_the_papers_protocol_trains_on_val_too_and_takes_thresholds_from_test(prepared):
    plan = make_plan(read_table("table1"), prepared("peta", "rapv1"), Settings(protocol="both", methods=("focus",)))
    told = {run.name: [(test.scoring) for test in run.evaluations] for run in plan.runs}
    assert told == {
        "peta-focus-train-seed0": ["val"],
        "peta-focus-trainval-seed0": ["oracle"],
        "rapv1-focus-train-seed0": ["val", "oracle"],
    }
    assert [run.config.data.train_split for run in plan.runs] == ["train", "trainval", "train"]


def test_seeds_datasets_and_methods_choose(prepared):
    settings = Settings(seeds=(0, 2), methods=("focus",), datasets=("peta",))
    plan = make_plan(read_table("table1"), prepared("peta"), settings)
    assert names(plan) == ["peta-focus-train-seed0", "peta-focus-train-seed2"]
    assert [run.config.train.seed for run in plan.runs] == [0, 2]


def test_table_2_tests_every_source_on_every_target_under_both_protocols(prepared):
    plan = make_plan(read_table("table2"), prepared("peta", "pa100k"), Settings())
    assert names(plan) == [
        "clip",
        "pa100k-poar-train-seed0",
        "pa100k-focus-train-seed0",
        "peta-poar-train-seed0",
        "peta-focus-train-seed0",
    ]
    pairs = [(target, scoring) for target in ("peta", "pa100k") for scoring in ("corrected", "poar")]
    for run in plan.runs:
        assert [(test.target, test.scoring) for test in run.evaluations] == pairs
    assert plan.runs[0].config is None
    assert "cannot score texts that it was not trained on" in str(plan.left_out[0])


def test_clip_without_its_weights_is_left_out(prepared):
    plan = make_plan(read_table("table2"), prepared("peta"), Settings(layers=SCRATCH))
    assert "clip" not in names(plan)
    assert any(item.what == "CLIP (clip)" for item in plan.left_out)


def test_table_3_is_the_ladder(prepared):
    plan = make_plan(read_table("table3"), prepared("pa100k"), Settings())
    switches = [
        (config.model.rlp, config.model.mgmt, config.model.avfe, config.effective_loss.racl > 0)
        for config in (run.config for run in plan.runs)
    ]
    assert switches == [tuple(rung > part for part in range(4)) for rung in range(5)]
    assert [run.config.effective_loss.lsim > 0 for run in plan.runs] == [False, False, True, True, True]


def test_datasets_without_images_or_unprepared_are_not_trained(prepared):
    data = {**prepared("peta"), **prepared("rapv1", images=False)}
    assert names(make_plan(read_table("table1"), data, Settings(methods=("focus",)))) == ["peta-focus-train-seed0"]
    opened = make_plan(read_table("table2"), data, Settings(methods=("focus",)))
    assert {test.target for run in opened.runs for test in run.evaluations} == {"peta"}


@pytest.mark.parametrize(
    ("table", "settings", "words"),
    [
        ("table1", Settings(methods=("clip-ft",)), "clip-ft"),
        ("table1", Settings(methods=("fucos",)), "fucos"),
        ("table3", Settings(datasets=("peta",)), "peta"),
        ("table1", Settings(layers=(("x", {"train": {"epoch": 1}}),)), "train.epoch"),
    ],
)
def test_what_a_table_does_not_have_is_refused(prepared, table, settings, words):
    with pytest.raises(UsageError, match=words):
        make_plan(read_table(table), prepared("peta", "pa100k"), settings)


def test_full_runs_in_the_papers_protocol_have_little_reduced(prepared):
    settings = Settings(protocol="paper")
    plan = make_plan(read_table("table1"), prepared("peta", "pa100k", "rapv1"), settings)
    lines = reductions(plan, settings)
    assert lines[0] == "1 seed; the paper states none"
    assert any("oracle" in line and "optimistic" in line for line in lines)
    assert len(lines) == 3


def test_everything_that_was_reduced_is_said(prepared):
    import dataclasses

    layers = (
        ("--model", {"model": {"preset": "tiny"}}),
        ("--weights", {"train": {"weights": "none"}}),
        ("--budget", {"train": {"epochs": 2, "device": "cpu"}}),
    )
    settings = Settings(layers=layers, methods=("focus",))
    data = prepared("peta")
    data["peta"] = dataclasses.replace(data["peta"], counts={"train": 40, "test": 16}, split="identity")
    lines = reductions(make_plan(read_table("table1"), data, settings), settings)
    told = "\n".join(lines)
    for words in (
        "train.epochs is 2, not 100",
        "model.preset is tiny, not vit-b16",
        "model.image_size is 128,64, not 224,224",
        "weights: from scratch",
        "peta: train 40 / test 16 images, officially train 9,500 / val 1,900 / test 7,600",
        "peta: split identity, where published rows use official:0",
        "trains on train alone",
        "only the methods focus of vtb, poar, focus were asked for",
    ):
        assert words in told
    assert "device" not in told
    assert "data.dataset" not in told


def test_an_ablation_is_no_reduction(prepared):
    settings = Settings()
    plan = make_plan(read_table("table3"), prepared("pa100k"), settings)
    assert not any(line.startswith(("model.", "loss.")) for line in reductions(plan, settings))
