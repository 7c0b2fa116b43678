"""What is read from /proc/cpuinfo."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from focuscli.tools.bench import host

XEON = "processor\t: 0\nmodel name\t: Intel(R)  Xeon(R)\nflags\t\t: fpu avx512f {}\n\nprocessor\t: 1\nmodel name\t: other\n"


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    def write(text):
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        monkeypatch.setattr(host, "CPUINFO", path)

    return write


@pytest.mark.parametrize(("flag", "has"), [("avx512_bf16", True), ("amx_bf16", True), ("avx512_vnni", False)])
def test_bf16_by_the_flags(cpuinfo, flag, has):
    cpuinfo(XEON.format(flag))
    assert host.cpu_has_bf16() is has


def test_arm_calls_them_features(cpuinfo):
    cpuinfo("processor : 0\nFeatures : fp asimd bf16\n")
    assert host.cpu_has_bf16()


def test_the_name_of_the_cpu(cpuinfo):
    cpuinfo(XEON.format(""))
    assert host.cpu_model() == "Intel(R) Xeon(R)"
    cpuinfo(XEON.format("amx_bf16 amx_tile amx_int8"))
    assert host.cpu_model() == "Intel(R) Xeon(R) with AMX"


def test_without_the_file_there_are_no_flags_but_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "CPUINFO", tmp_path / "none")
    assert host.cpu_flags() == frozenset()
    assert host.cpu_model()


def test_a_machine_is_described_with_its_packages():
    found = host.describe("cpu", 1, load_before=0.25, now=datetime(2026, 1, 2, tzinfo=UTC))
    assert found.date == "2026-01-02T00:00:00+00:00"
    assert found.packages["torch"]
    assert found.kind == found.cpu
    assert found.cores > 0
