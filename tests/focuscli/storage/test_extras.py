"""Optional packages that are missing or broken."""

from __future__ import annotations

import pytest

from focuscli.errors import RequirementError
from focuscli.storage.extras import require_extra


def test_extras(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_package.py").write_text("raise OSError('libfoo.so.1:\\n  cannot open')")
    require_extra("onnx", "json", purpose="This")
    with pytest.raises(RequirementError, match=r"not installed: missing_a, missing_b\.") as caught:
        require_extra("onnx", "json", "missing_a", "missing_b", purpose="This")
    assert "pip install 'focus-par[onnx]'" in (caught.value.hint or "")
    with pytest.raises(RequirementError, match=r"does not load \(OSError: libfoo\.so\.1: cannot open\)"):
        require_extra("onnx", "broken_package", purpose="This")
