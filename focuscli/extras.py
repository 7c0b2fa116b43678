"""Optional packages: one message that says what is missing and how to get it."""

from __future__ import annotations

from importlib.util import find_spec

from focuscli.errors import RequirementError

DISTRIBUTION = "focus-par"


def require_extra(extra: str, *modules: str, purpose: str) -> None:
    """Check that the modules of an extra can be imported, without importing them.

    Args:
        extra: its name in setup.cfg. purpose: what needs it, as the start of a sentence.

    Raises:
        RequirementError: some are missing.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise RequirementError(
            f"{purpose} needs {', '.join(missing)}, which {are} not installed.",
            f"Install the extra: pip install '{DISTRIBUTION}[{extra}]' (in a checkout: pip install -e '.[{extra}]')",
        )
