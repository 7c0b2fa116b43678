"""What is to be done after a run was killed, or images came and went: nothing is lost, nothing is there twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from focuscli.tools.gallery.plan import Stored, make_plan
from focuscli.tools.gallery.shards import Crop, Shard, Skipped, shard_name

NAMES = [f"{letter}.png" for letter in "abcdefghijkl"]
listings = st.lists(st.sampled_from(NAMES), unique=True).flatmap(
    lambda names: st.tuples(*[st.builds(Crop, st.just(name), st.integers(1, 2), st.just(0)) for name in names])
)


def finished(plan) -> list[Stored]:
    """The shards that a plan leads to; files of even size in fresh ones turn out to be unreadable."""
    done = [*plan.kept]
    for item in plan.reduced:
        done.append(Stored(item.shard, tuple(item.stored.crops[row] for row in item.rows)))
    for name, crops in plan.fresh:
        good = tuple(crop for crop in crops if crop.size % 2)
        bad = tuple(Skipped(crop, "no image") for crop in crops if crop.size % 2 == 0)
        done.append(Stored(Shard(name, len(good), bad), good))
    return sorted(done, key=lambda stored: stored.shard.name)


def content(stored: list[Stored]) -> list[Crop]:
    return [crop for item in stored for crop in (*item.crops, *(bad.crop for bad in item.shard.skipped))]


@given(st.lists(listings, min_size=1, max_size=4), st.integers(1, 5), st.data())
def test_any_sequence_of_killed_runs_and_changes_ends_with_every_crop_once(versions, size, data):
    """Before each run the images change; each but the last run is killed after any of its shards."""
    found: list[Stored] = []
    for version in versions[:-1]:
        done = finished(make_plan(found, version, size))
        survivors = data.draw(st.lists(st.sampled_from(done), unique_by=id)) if done else []
        found = data.draw(st.permutations(found + survivors))  # old ones stay until a commit; the order is any
    plan = make_plan(found, versions[-1], size)
    end = finished(plan)
    assert sorted(content(end)) == sorted(versions[-1])
    assert plan.names == [stored.shard.name for stored in end]
    assert len(set(plan.names)) == len(plan.names)
    assert plan.to_encode + plan.stored <= len(versions[-1])
    again = make_plan(end, versions[-1], size)
    assert (again.fresh, again.reduced, len(again.kept)) == ((), (), len(end))


@given(listings, st.integers(1, 5), st.data())
def test_a_killed_run_is_finished_with_the_same_shards(crops, size, data):
    whole = finished(make_plan([], crops, size))
    survivors = data.draw(st.lists(st.sampled_from(whole), unique_by=id)) if whole else []
    assert finished(make_plan(survivors, crops, size)) == whole


def test_the_counts_tell_what_happened_to_the_images():
    old = [Crop("a", 1, 1), Crop("b", 1, 1), Crop("c", 1, 1)]
    stored = Stored(Shard(shard_name(0, old), 3), tuple(old))
    plan = make_plan([stored], [Crop("a", 1, 1), Crop("b", 1, 2), Crop("d", 1, 1)], 10)
    assert (plan.stored, plan.to_encode, plan.changed, plan.gone) == (1, 2, 1, 1)
    assert plan.reduced[0].rows == (0,)
    assert [crop.path for crop in plan.fresh[0][1]] == ["b", "d"]
    assert plan.fresh[0][0].startswith("000001-")


def test_a_shard_without_any_crop_left_is_dropped():
    old = [Crop("a", 1, 1)]
    plan = make_plan([Stored(Shard(shard_name(0, old), 1), tuple(old))], [Crop("b", 1, 1)], 10)
    assert (plan.kept, plan.reduced, plan.gone) == ((), (), 1)


def test_an_unreadable_image_is_not_tried_again_until_it_changes():
    bad = Crop("bad", 5, 1)
    stored = Stored(Shard(shard_name(0, [bad]), 0, (Skipped(bad, "no image"),)), ())
    assert make_plan([stored], [bad], 10).fresh == ()
    assert make_plan([stored], [Crop("bad", 5, 2)], 10).to_encode == 1
