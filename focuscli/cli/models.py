"""Which model a command uses: a checkpoint, or CLIP as it is (`-c clip`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from focuscli import paths
from focuscli.engine.distributed import ONE, Group
from focuscli.methods import ZERO_SHOT

if TYPE_CHECKING:
    from focuscli.data.schema import AttributeSchema
    from focuscli.recognizer import Recognizer


@dataclass(frozen=True)
class ModelPlace:
    """A model that was found but not loaded yet: a checkpoint's folder, or a CLIP weight file for zero-shot use."""

    folder: Path
    weights: Path | None = None

    def open(
        self,
        *,
        schema: AttributeSchema | None = None,
        device: str | None = None,
        precision: str | None = None,
        group: Group = ONE,
    ) -> Recognizer:
        """Load it.

        Args:
            schema: for CLIP as it is, whose attributes are asked for by default; None: the built-in drawn people's, which
                are PA-100K's and some more.
            group: the processes that share its work; each loads it to its own device.

        Raises:
            InputError: damaged. RequirementError: no such device.
        """
        own = device or "auto" if group.size == 1 else str(group.device(device or "auto"))
        if self.weights is None:
            from focuscli.recognizer import Recognizer

            found = Recognizer.from_checkpoint(self.folder, device=own, precision=precision or "auto")
            return found.among(group)
        from focuscli.data.schema import builtin_schema
        from focuscli.engine.zero_shot import clip_recognizer

        return clip_recognizer(
            self.weights,
            schema or builtin_schema("synthetic"),
            folder=self.folder,
            device=own,
            precision=precision or "auto",
        ).among(group)


def find_model(name: str | None) -> ModelPlace:
    """The model of a run name, run folder, checkpoint folder, `latest` (also None), or `clip`.

    Raises:
        InputError: the name fits nothing. RequirementError: no run at all, or no CLIP weights installed.
    """
    if name != ZERO_SHOT:
        return ModelPlace(paths.resolve_checkpoint(name))
    from focuscli.weights import resolve_weights

    return ModelPlace(paths.runs_dir() / ZERO_SHOT, resolve_weights(None))
