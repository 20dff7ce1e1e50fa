"""Attacks on what is taken over into the workspace: run inside the box, judged by the host when nothing of it lives.

None returns a text: whether it succeeded is seen in the workspace.
"""

import os
from pathlib import Path
from typing import Any

Arena = dict[str, Any]


def edit_protected(arena: Arena) -> str:
    """Edit a protected file; the publisher has to refuse it."""
    Path("README.md").write_text("breached")
    return ""


def delete_protected(arena: Arena) -> str:
    """Remove a protected file."""
    Path("README.md").unlink()
    return ""


def protected_dir_to_symlink(arena: Arena) -> str:
    """Put a link in the place of a protected folder."""
    os.rename(".exlab-wizard", "moved-away")
    Path(".exlab-wizard").symlink_to(arena["home"])
    return ""


def setuid_file(arena: Arena) -> str:
    """Leave a file that would run as its owner."""
    Path("suid").write_text("#!/bin/sh\n")
    Path("suid").chmod(0o4755)
    return ""


def nested_dirs(arena: Arena) -> str:
    """Leave folders nested a thousand deep."""
    for _ in range(1000):
        os.mkdir("d")
        os.chdir("d")
    return ""


def weird_names(arena: Arena) -> str:
    """Leave names that no JSON can hold, or that forge lines."""
    Path(os.fsdecode(b"bad-\xff\xfe")).write_text("x")
    Path("line\nforged").write_text("x")
    return ""


def hard_link_within(arena: Arena) -> str:
    """Leave two names of one file."""
    Path("one").write_text("x")
    os.link("one", "two")
    return ""


def edit_protected_quietly(arena: Arena) -> str:
    """Edit a protected file so that neither size nor time tells it."""
    path = Path("README.md")
    found = path.stat()
    path.write_text(path.read_text().upper())
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    return ""


def protected_to_symlink(arena: Arena) -> str:
    """Put a link to the host's canary in the place of a protected file, for a host that restores it to follow."""
    Path("README.md").unlink()
    Path("README.md").symlink_to(arena["canary"])
    return ""


def protected_to_hardlink(arena: Arena) -> str:
    """Give a protected file a second name, by which it can be changed."""
    os.link("README.md", "another-name")
    Path("another-name").write_text("breached")
    return ""


def protected_to_folder(arena: Arena) -> str:
    """Put a folder in the place of a protected file."""
    Path("README.md").unlink()
    Path("README.md").mkdir()
    return ""


def add_to_protected(arena: Arena) -> str:
    """Make a new file in a protected folder."""
    Path(".exlab-wizard", "new").write_text("breached")
    return ""


def other_case(arena: Arena) -> str:
    """Write a protected file under the name that a file system without case takes for the same."""
    Path("readme.MD").write_text("breached")
    return ""


def remove_everything(arena: Arena) -> str:
    """Remove all that is there, protected or not."""
    for folder, _, names in os.walk(".", topdown=False):
        for name in names:
            Path(folder, name).unlink()
        if folder != ".":
            Path(folder).rmdir()
    return ""


def closed_to_its_owner(arena: Arena) -> str:
    """Leave a folder and a file that nobody but root may read."""
    os.mkdir("closed", 0)
    os.close(os.open("closed-file", os.O_CREAT | os.O_WRONLY, 0))
    return ""


def sparse_many(arena: Arena) -> str:
    """Leave files that take no room in the quota, and all of their size where they are published."""
    for number in range(20):
        with Path(f"sparse{number}").open("wb") as file:
            file.truncate(8 * 2**20)
    return ""


def other_spelling(arena: Arena) -> str:
    """Write a protected file under names that some file system takes for the same: a sign that does not count, a point at its end."""
    Path("README\ufe0f.md").write_text("breached")
    Path("README.md.").write_text("breached")
    return ""


def long_paths(arena: Arena) -> str:
    """Leave a path that is longer than any call takes."""
    for _ in range(20):
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    Path("f" * 255).write_text("x")
    return ""


def close_the_workspace(arena: Arena) -> str:
    """Close the workspace itself to whoever reads what was changed in it."""
    Path("data.txt").write_text("changed")
    Path().chmod(0)
    return ""


def times_out_of_range(arena: Arena) -> str:
    """Leave a file of a time that no calendar has."""
    Path("data.txt").write_text("changed")
    os.utime("data.txt", ns=(2**62 * 10**9, -(2**62) * 10**9))
    return ""


def like_the_publishers_own(arena: Arena) -> str:
    """Leave files that are called as the publisher calls its own, for it to trip over."""
    for number in range(16):
        Path(f".publishing-{number:012x}-0").write_text("x")
    Path("data.txt").write_text("changed")
    return ""
