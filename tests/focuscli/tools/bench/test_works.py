"""Each work on the tiny model: what is measured, and that a wrong result is noticed."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch

from clip_impl import TINY, VIT_B_16
from focuscli.errors import RequirementError, UsageError
from focuscli.tools.bench import (
    data,
    encode,
    loop,
    memory,
    onnx,
    run,
    score,
    search,
    settings,
    startup,
    steps,
    text,
    train,
    works,
)
from focuscli.tools.bench.models import random_clip
from focuscli.tools.bench.results import Missing, Outcome
from focuscli.tools.bench.settings import Settings, check_settings, precisions

QUICK = Settings(model="tiny", quick=True, rounds=1, batch=2)


@pytest.fixture(autouse=True)
def no_onnx(monkeypatch):
    monkeypatch.setattr(onnx, "NEEDED", ("no_such_module_here",))


def by_name(outcome):
    return {item.name: item for item in outcome.measurements}


def test_encode_measures_ours_at_two_sizes():
    found = by_name(encode.measure(QUICK))
    assert {*found} >= {"ours fp32", "ours fp32 128x32"}
    assert found["ours fp32 128x32"].ratio_to("ours fp32") is not None
    assert all(item.check.passed for item in found.values())


def test_encode_notices_a_wrong_tower(monkeypatch):
    def with_one_more(config):
        clip = random_clip(config)
        forward = clip.visual.forward
        # in float32 alone: the reference in float64 stays right
        clip.visual.forward = lambda images: forward(images) + (1e-2 if images.dtype == torch.float32 else 0)
        return clip

    monkeypatch.setattr(encode, "random_clip", with_one_more)
    monkeypatch.setattr(encode, "in_double", lambda visual: random_clip(TINY).visual.double())
    assert not by_name(encode.measure(QUICK))["ours fp32"].check.passed


def test_the_fastest_rival_is_one_for_all_rounds():
    from focuscli.tools.bench.results import timed

    seconds = {"ours fp32": [1.0, 1.0], "timm fp32": [0.5, 3.0], "open_clip fp32": [2.0, 1.0], "small": [1.0, 1.0]}
    found = encode.with_fastest_rival(
        timed("encode", seconds, unit="ms/image", scale=1.0, clock="cpu"), ["ours fp32", "timm fp32"]
    )
    ours = next(item for item in found if item.name == "ours fp32")
    assert ours.ratio_to(encode.FASTEST).values == (0.5, 1.0)
    assert "open_clip" in ours.note
    assert next(item for item in found if item.name == "small").ratios == ()


def test_onnx_towers_give_our_features(monkeypatch):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    monkeypatch.setattr(onnx, "NEEDED", ("onnx",))
    images = torch.randn(2, 3, 128, 64, generator=torch.Generator().manual_seed(0))
    visual = random_clip(TINY).visual
    with torch.inference_mode():
        towers, missing = onnx.image_towers(visual, images, 1)
        exact = visual(images)
    assert not missing, missing
    assert torch.allclose(towers["ours ONNX fp32"][0](), exact, atol=1e-4)
    cosine = torch.nn.functional.cosine_similarity(towers["ours ONNX int8"][0](), exact)
    assert 0.9 < cosine.min() < 1 - 1e-6


def test_score_compares_with_the_plain_tower():
    found = by_name(score.measure(QUICK))
    assert found["image to 51 scores fp32"].ratio_to("plain image tower fp32") is not None
    assert all(item.check.passed for item in found.values())


def test_text_features_trimmed_are_those_at_full_length():
    trimmed, padded = text.measure_texts(QUICK)
    assert trimmed.check.passed
    assert padded.ratio_to(text.TRIMMED) is not None
    assert "51 texts" in trimmed.note


def test_text_check_notices_a_difference(monkeypatch):
    original = text.encode_texts
    monkeypatch.setattr(text, "encode_texts", lambda *args: original(*args) * (1 + 1e-4 * (args[3].shape[1] > 60)))
    assert not text.measure_texts(QUICK)[0].check.passed


def test_train_measures_time_memory_and_texts(monkeypatch):
    usage = {"visual": (100.0, 40.0), "full": (110.0, 50.0), "full checkpointed": (70.0, 20.0)}
    monkeypatch.setattr(train, "measure_in_process", lambda task: memory.Usage(*usage[task.kind]))
    monkeypatch.setattr(train.loop, "measure_loop", lambda *_: [])
    found = by_name(train.measure(QUICK))
    assert found["full step"].ratio_to("visual-only step") is not None
    assert found["full step"].check.passed
    assert found["peak memory, full step"].ratio_to("peak memory, visual-only step").median == pytest.approx(1.1)
    checkpointed = found["activation memory, full step, gradient checkpointing"]
    assert checkpointed.ratio_to("activation memory, full step").median == pytest.approx(0.4)
    assert text.TRIMMED in found


def test_a_visual_only_step_trains_the_visual_tower_and_has_nothing_else():
    batch = steps.build_batch("tiny", 4, torch.device("cpu"))
    visual = steps.build_visual("tiny", torch.device("cpu"))
    full = steps.build_full("tiny", torch.device("cpu"))
    assert {name.partition(".")[0] for name, _ in visual.named_parameters()} == {"visual"}
    for module in (visual, full):
        step = steps.stepper(module, batch, "fp32")
        losses = [float(step()) for _ in range(4)]
        assert losses[-1] < losses[0]
    assert torch.equal(
        steps.build_visual("tiny", torch.device("cpu")).visual.proj,
        steps.build_full("tiny", torch.device("cpu")).model.clip.visual.proj,
    )
    assert not full.model.clip.text_projection.requires_grad


def test_checkpointing_changes_no_loss():
    batch = steps.build_batch("tiny", 2, torch.device("cpu"))
    plain, saving = (steps.build_full("tiny", torch.device("cpu"), checkpointing=on) for on in (False, True))
    assert float(plain.loss(batch, "fp32").detach()) == float(saving.loss(batch, "fp32").detach())
    assert saving.model.clip.visual.transformer.gradient_checkpointing


def test_memory_of_a_task_is_measured():
    usage = memory.run_task(memory.Task("visual", "tiny", 2, "cpu", "fp32", 1))
    assert usage.peak > 50
    assert usage.activations >= 0


def test_a_process_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(memory.sys, "executable", "/bin/false")
    with pytest.raises(RequirementError, match="ended with 1"):
        memory.measure_in_process(memory.Task("visual", "tiny", 2, "cpu", "fp32", 1))


def test_operations_of_the_tower():
    assert loop.tower_flops(VIT_B_16) / 1e9 == pytest.approx(35.13, abs=0.01)


def test_waiting_passes_batches_on_and_counts():
    batches = [torch.tensor([number]) for number in range(3)]
    waiting = loop.Waiting(lambda _: iter(batches), repeat=False)
    assert [int(batch) for batch in waiting.batches([])] == [0, 1, 2]
    assert waiting.seconds > 0
    repeated = loop.Waiting(lambda _: iter(batches), repeat=True).batches([])
    assert [int(next(repeated)) for _ in range(5)] == [0] * 5


def test_the_whole_loop_runs_on_a_cpu():
    found = {item.name: item for item in loop.measure_loop(QUICK, "fp32")}
    assert {*found} == {loop.MATRIX, loop.LOOP, loop.CACHED, loop.REPEATED, loop.SHARE, loop.WAIT}
    rate, images = found[loop.MATRIX].spread.median, found[loop.LOOP].spread.values[0]
    assert found[loop.SHARE].spread.values[0] == pytest.approx(
        images * 3 * loop.tower_flops(TINY) / (rate * 1e12), rel=1e-6
    )
    assert 0 <= found[loop.WAIT].spread.median <= 1


def test_data_measures_each_stage():
    found = by_name(data.measure(QUICK))
    assert found["decode and resize (pillow), 128x64"].check.difference < 1e-5
    assert found["decode and resize (torch), 128x64"].check.passed
    assert all(item.unit == "images/s" for item in found.values())
    everything = found["decode, resize (pillow) and augment, 128x64"]
    assert everything.ratio_to("torchvision, image by image, 128x64") is not None


def test_data_notices_another_picture(monkeypatch):
    original = data.read
    monkeypatch.setattr(data, "read", lambda paths, size, resize: original(paths, size, resize).flip(2))
    assert not by_name(data.measure(QUICK))["decode and resize (pillow), 128x64"].check.passed


def test_start_up_times_each_command_and_counts_heavy_imports(monkeypatch):
    commands = []

    def call(command, environment):
        commands.append([*command])
        assert environment["OMP_NUM_THREADS"] == "1"
        return SimpleNamespace(stderr='a note\n["os", "scipy", "typer"]')

    ticks = itertools.count()
    monkeypatch.setattr(startup, "call", call)
    monkeypatch.setattr(startup, "children_seconds", lambda: float(next(ticks)))
    monkeypatch.setattr(startup.importlib.util, "find_spec", lambda _: True)
    outcome = startup.measure(QUICK)
    found = by_name(outcome)
    assert {*found} >= {startup.BARE, startup.HELP, startup.PREDICT, startup.PREDICT_ONNX}
    assert found[startup.PREDICT].ratio_to(startup.TORCH) is not None
    heavy = found["heavy imports of focus --help"]
    assert (heavy.spread.median, heavy.note, heavy.check.passed) == (1, "imported: scipy", False)
    assert any("train" in command for command in commands)
    assert sum("export" in command for command in commands) == 1
    assert not outcome.missing
    monkeypatch.setattr(startup.importlib.util, "find_spec", lambda _: None)
    assert [item.name for item in startup.measure(QUICK).missing] == [startup.PREDICT_ONNX]


def test_imports_of_a_real_command(monkeypatch, tmp_path):
    monkeypatch.setitem(startup.FORBIDDEN, startup.HELP, ("torch", "typer", "typer.main", "typer.rich_utils"))
    found = startup._imports(startup.HELP, ["--help"], startup._environment(QUICK, tmp_path))
    assert (found.spread.median, found.note) == (2, "imported: typer, typer.main")


def test_a_command_that_fails_is_not_timed(tmp_path):
    environment = startup._environment(QUICK, tmp_path)
    with pytest.raises(RequirementError, match="failed with 7: no luck"):
        startup.call(
            [startup.sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(7)"], environment
        )


def test_children_are_counted():
    before = startup.children_seconds()
    startup.call([startup.sys.executable, "-c", "sum(range(10**6))"], {})
    assert startup.children_seconds() > before


def test_search_says_what_the_gallery_measured():
    times = SimpleNamespace(
        crops=10, k=100, texts_at_once=1, exact=(4.0, 3.0, 5.0), two_stage=(1.0, 0.5, 2.0), recall=(0.97, 0.9)
    )
    exact, two, share = search.measurements(times)
    assert (exact.spread.lower, exact.spread.median, exact.spread.upper) == (3, 4, 5)
    assert two.ratio_to(search.EXACT).median == 0.25
    assert share.check.passed
    times.recall = (0.94, 0.9)
    assert not search.measurements(times)[2].check.passed


def test_search_without_a_gallery_says_so(monkeypatch):
    monkeypatch.setattr(search.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RequirementError, match="no gallery"):
        search.measure(QUICK)


def test_search_needs_space_for_its_gallery(monkeypatch):
    monkeypatch.setattr(search.importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr(search.importlib, "import_module", lambda _: None)
    monkeypatch.setattr(search.shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(RequirementError, match="TMPDIR"):
        search.measure(QUICK)


def test_in_all_what_cannot_be_done_is_noted_and_alone_it_is_an_error(monkeypatch):
    def measure(asked, progress):
        raise RequirementError("No such thing.")

    modules = {"search": SimpleNamespace(measure=measure), "score": SimpleNamespace(measure=lambda *_: Outcome())}
    monkeypatch.setattr(run.importlib, "import_module", lambda name: modules[name.rpartition(".")[2]])
    found = run.run_works(["score", "search"], QUICK, command="focus bench")
    assert found.missing == (Missing(work="search", name="search", reason="No such thing."),)
    with pytest.raises(RequirementError):
        run.run_works(["search"], QUICK, command="focus bench")


@pytest.mark.parametrize("has", [True, False])
def test_precisions_that_the_cpu_has(monkeypatch, has):
    monkeypatch.setattr(settings.host, "cpu_has_bf16", lambda: has)
    assert precisions(Settings())[0] == (["fp32", "bf16"] if has else ["fp32"])
    assert precisions(Settings(precision="fp32"))[0] == ["fp32"]
    if not has:
        with pytest.raises(RequirementError, match="bf16"):
            check_settings(Settings(precision="bf16"))


def test_wrong_settings_are_refused():
    with pytest.raises(UsageError, match="int4"):
        check_settings(Settings(precision="int4"))
    with pytest.raises(UsageError, match="huge"):
        check_settings(Settings(model="huge"))
    with pytest.raises(RequirementError, match="fp16"):
        check_settings(Settings(precision="fp16"))


def test_threads_are_pinned_by_the_environment_too(monkeypatch):
    for name in works.THREAD_VARIABLES:
        monkeypatch.setenv(name, "9")
    works.pin_threads(3)
    assert {works.os.environ[name] for name in works.THREAD_VARIABLES} == {"3"}
