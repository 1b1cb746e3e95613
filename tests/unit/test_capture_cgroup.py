"""Whose memory limit is whose: what /sys/fs/cgroup says of a cgroup, on the host and in a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from pmapdiff.capture import procfs
from pmapdiff.capture.procfs import CgroupMemory, read_cgroup_memory


@pytest.fixture
def hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cgroup v2 hierarchy of files; as seen in a container, its root has a limit."""
    monkeypatch.setattr(procfs, "_CGROUP_FILES", ((bytes(tmp_path), b"memory.max", b"memory.current"),))
    for folder, limit in ((".", "4096"), ("system.slice", "max"), ("system.slice/orders.service", "1024")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "memory.max").write_text(f"{limit}\n")
        (tmp_path / folder / "memory.current").write_text("512\n")
    return tmp_path


def test_the_tightest_limit_counts(hierarchy: Path) -> None:
    assert read_cgroup_memory(b"/system.slice/orders.service") == CgroupMemory(1024, 512)
    assert read_cgroup_memory(b"/system.slice") == CgroupMemory(4096, 512)
    (hierarchy / "memory.max").unlink()
    assert read_cgroup_memory(b"/system.slice") == CgroupMemory(None, 512)


@pytest.mark.usefixtures("hierarchy")
@pytest.mark.parametrize("path", [b"/..", b"/../other", b"/../../kubepods.slice/orders.scope", b"/../system.slice/orders.service"])
def test_a_cgroup_outside_the_container_does_not_get_the_limit_of_the_container(path: bytes) -> None:
    assert read_cgroup_memory(path) == CgroupMemory(None, None)
