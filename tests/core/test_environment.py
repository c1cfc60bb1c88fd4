"""Where a run ran, as its record says it."""

import platform
import subprocess
from types import SimpleNamespace

import pytest

from clbench.core import environment

XEON = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 207\nmodel name\t: Intel(R) Xeon(R) Processor\n"
BOARD = "processor\t: 0\nBogoMIPS\t: 108.00\n\nRevision\t: c03112\nModel\t\t: Raspberry Pi 4 Model B Rev 1.2\n"
SERVER = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (XEON, "Intel(R) Xeon(R) Processor"),
        (BOARD, "Raspberry Pi 4 Model B Rev 1.2"),
        (SERVER, "generic"),
    ],
)
def test_on_linux_the_model_of_the_processor_is_read_from_its_file(tmp_path, monkeypatch, text, expected):
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "processor", lambda: "generic")
    assert environment.processor() == expected


def test_a_checkout_where_there_is_no_git_has_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment._commit() == ""


def test_elsewhere_the_system_is_asked_and_silence_leaves_the_architecture(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="Apple M2\n"))
    assert environment.processor() == "Apple M2"

    def silent(*_, **__):
        raise FileNotFoundError("sysctl")

    monkeypatch.setattr(subprocess, "run", silent)
    assert environment.processor() == "arm64"
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "missing")
    assert environment.processor() == "arm64"
