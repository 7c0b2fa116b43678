"""What is said where a gallery and a model do not go together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from focuscli.errors import InputError
from focuscli.tools.gallery.binding import bind, check_binding
from focuscli.tools.gallery.manifest import Manifest


def refuse(own, model):
    with pytest.raises(InputError) as caught:
        check_binding(Manifest(own, 6, 16, {}), model, Path("g"))
    return caught.value


def test_a_checkpoint_that_was_trained_anew_in_its_place_is_no_other_checkpoint(build):
    before, after = bind(build()), bind(build(seed=1))
    assert before.run == after.run
    error = refuse(before, after)
    assert "the checkpoint was trained anew since" in error.problem
    assert before.weights[:12] in error.problem
    assert after.weights[:12] in error.problem
    assert error.hint.endswith(f"focus index SOURCE -c {before.run} -o g-new")
    assert "Use its own" not in error.hint


def test_another_checkpoint_is_named_as_the_command_line_wants_it(build):
    model = bind(build())
    assert "Use its own: -c '/runs/a b'." in refuse(replace(model, run="/runs/a b", weights="0"), model).hint
    clip = replace(model, method="clip", run="/runs/clip")
    assert "Use its own: -c clip." in refuse(clip, model).hint
    error = refuse(clip, replace(clip, weights="0"))
    assert "CLIP's weights are others since" in error.problem
    assert error.hint.endswith("focus index SOURCE -c clip -o g-new")
