"""Which right is missing, in one sentence, where the system refuses to read or write a file.

Rules of this module: it asks the file system, changes nothing, and never raises.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from pathlib import Path

_NOT_BY_MODE = "not by owner and mode, but by an attribute of the file, an ACL or a security module"


def refusal(problem: OSError, path: Path | str, what: str = "read") -> str:
    """The right that is missing to `what` a file ("read", "write" or "replace"); for other errors, the system's words.

    To replace a file, or to make it, is to write to its folder.
    """
    if problem.errno not in (errno.EACCES, errno.EPERM):
        return problem.strerror or str(problem)
    try:
        missing = _missing(Path(os.path.abspath(path)), what)
    except (OSError, ValueError):
        missing = ""
    return f"permission denied: {missing or _NOT_BY_MODE}"


def _missing(path: Path, what: str) -> str:
    user = name_of_user(os.geteuid())
    for folder in reversed(path.parents):
        if not _may(folder, os.X_OK):
            return f"{user} may not enter the folder {folder} ({_owner(folder)})"
    if what == "read" and not _may(path, os.R_OK):
        return f"{user} may not read {path.name} ({_owner(path)})"
    if what == "write" and path.exists() and not _may(path, os.W_OK):
        return f"{user} may not write to {path.name} ({_owner(path)})"
    if what != "read" and not _may(path.parent, os.W_OK):
        return f"{user} may not write to the folder {path.parent} ({_owner(path.parent)})"
    return ""


def _may(path: Path, right: int) -> bool:
    return os.access(path, right, effective_ids=True)


def _owner(path: Path) -> str:
    status = path.stat()
    owner, group = name_of_user(status.st_uid), _name_of_group(status.st_gid)
    return f"owner {owner}, group {group}, mode {stat.S_IMODE(status.st_mode):04o}"


def name_of_user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OSError):
        return f"uid {number}"


def _name_of_group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except (KeyError, OSError):
        return f"gid {number}"
