"""Optional packages: one error that says what is missing and how to install it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from focuscli.errors import RequirementError, one_line


def require_extra(extra: str, *modules: str, purpose: str) -> None:
    """Check that the modules of an extra import: an installed one may still be broken.

    Args:
        extra: its name in setup.cfg.
        purpose: what needs it, as the start of a sentence.

    Raises:
        RequirementError: modules are missing, or one fails to import.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise RequirementError(
            f"{purpose} needs packages that are not installed: {', '.join(missing)}.",
            f"Install the extra: pip install 'focus-par[{extra}]' (in a checkout: pip install -e '.[{extra}]')",
        )
    for module in modules:
        try:
            import_module(module)
        except Exception as error:  # A mismatched binary raises almost anything.
            raise RequirementError(
                f"{purpose} needs {module}, which is installed but does not load ({one_line(error)}).",
                f"Reinstall it: pip install --force-reinstall {module}",
            ) from error
