"""Namespaces by system call: making, entering and mounting them, with or without root.

Network namespaces belong to threads; user and mount namespaces are entered by a whole process.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from faith.errors import SetupError

_CLONE_NEWNS = 0x0002_0000
_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SHARED = 0x10_0000
_MNT_DETACH = 2
_CAP_NET_ADMIN = 1 << 12
_CAP_SYS_ADMIN = 1 << 21

_libc = ctypes.CDLL(None, use_errno=True)
_private = False


def new_network() -> int:
    """Move the calling thread into a new network namespace; return a descriptor that holds it.

    Raises OSError.
    """
    _checked(_libc.unshare(_CLONE_NEWNET))
    return current_network()


def current_network() -> int:
    """Return a descriptor of the calling thread's network namespace, to be closed by the caller."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter_network(namespace: int) -> None:
    """Move the calling thread into the network namespace of a descriptor.  Raises OSError."""
    _checked(_libc.setns(namespace, _CLONE_NEWNET))


def bind(source: Path, target: Path) -> None:
    """Mount *source*, a file or a directory, on *target* as well.  Raises OSError."""
    _checked(_libc.mount(bytes(source), bytes(target), None, _MS_BIND | _MS_REC, None))


def share(directory: Path) -> None:
    """Make mounts under *directory* visible in other mount namespaces.

    ip-netns(8) does the same with its own directory, and leaves it so.  Raises OSError.
    """
    flags = _MS_SHARED | _MS_REC
    if _libc.mount(None, bytes(directory), None, flags, None):
        bind(directory, directory)  # only a mount can be shared
        _checked(_libc.mount(None, bytes(directory), None, flags, None))


def unmount(target: Path) -> None:
    """Undo :func:`bind`, even while the file is in use.  Raises OSError."""
    _checked(_libc.umount2(bytes(target), _MNT_DETACH))


def can_make_networks() -> bool:
    """Return whether this process may make network namespaces and configure them."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split(maxsplit=1)[0], 16)
    return effective & _CAP_SYS_ADMIN != 0 and effective & _CAP_NET_ADMIN != 0


def gain_rights() -> None:
    """Make sure that this process can build networks, in a user namespace when it is not root.

    Call it before the first thread starts.  Raises SetupError, and then nothing has changed.
    """
    if not can_make_networks():
        enter_user_namespace()


def enter_user_namespace() -> None:
    """Become root in new user, mount and network namespaces, with an empty ``/run``.

    User 0 there is the user here, and the only user there is: setgroups() and a change to another
    user fail.  Raises SetupError, and then nothing has changed.
    """
    global _private
    if len(os.listdir("/proc/self/task")) > 1:
        raise SetupError("entering a user namespace", "this process has threads already")
    _try_in_a_child()
    _enter_user_namespace()
    _private = True


def has_private_mounts() -> bool:
    """Return whether :func:`enter_user_namespace` was called, so that no other process sees its
    mounts."""
    return _private


def _try_in_a_child() -> None:
    # Some systems allow the namespace and then no rights in it; it cannot be left again.
    child = os.fork()
    if not child:
        try:
            _enter_user_namespace()
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise SetupError(
            "entering a user namespace",
            os.strerror(os.waitstatus_to_exitcode(status)),
            "run as root, or allow user namespaces: see user.max_user_namespaces,"
            " kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns",
        )


def _enter_user_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    _checked(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWNET))
    # A group map without privileges is allowed only once setgroups() is given up: see
    # user_namespaces(7).
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _checked(_libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755"))


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number))
