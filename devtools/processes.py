"""Child processes that never outlive the one that started them."""

import ctypes
import os
import signal
import subprocess
import threading
from typing import Any

import psutil

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills the child when the thread that started it is gone, even by kill -9."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def bound_to_parent() -> dict[str, Any]:
    """The Popen arguments of a child that ends with us. Only the main thread lives as long as the process does."""
    if os.uname().sysname == "Linux" and threading.current_thread() is threading.main_thread():
        return {"preexec_fn": die_with_parent}
    return {}


def end(process: subprocess.Popen[bytes], *, by: int = signal.SIGTERM, grace: float = 15.0) -> int:
    """End the child by a signal, by SIGKILL after `grace` seconds; returns its exit code."""
    if process.poll() is None:
        process.send_signal(by)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def tree(pid: int) -> list[psutil.Process]:
    """The process and all that it has started; empty when it is gone."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory_of(pid: int) -> int:
    """Memory in bytes of a process tree: the sum of the proportional set sizes (PSS)."""
    total = 0
    for process in tree(pid):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def cpu_seconds_of(pid: int) -> float:
    """Processor time that a process tree has used so far, system time included."""
    total = 0.0
    for process in tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
