"""Optional packages: one message that says what is missing and how to get it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from focuscli.errors import RequirementError

DISTRIBUTION = "focus-par"


def require_extra(extra: str, *modules: str, purpose: str) -> None:
    """Import the modules of an extra, whose users do so anyway: one that is installed may be broken.

    Args:
        extra: its name in setup.cfg. purpose: what needs it, as the start of a sentence.

    Raises:
        RequirementError: some are missing, or one does not load.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise RequirementError(
            f"{purpose} needs {', '.join(missing)}, which {are} not installed.",
            f"Install the extra: pip install '{DISTRIBUTION}[{extra}]' (in a checkout: pip install -e '.[{extra}]')",
        )
    for module in modules:
        try:
            import_module(module)
        except Exception as error:  # a mismatched binary raises almost anything
            from focuscli.storage.machine import one_line  # slow to import

            raise RequirementError(
                f"{purpose} needs {module}, which is installed but does not load ({one_line(error)}).",
                f"Install it anew: pip install --force-reinstall {module}",
            ) from error
