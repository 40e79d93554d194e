# Two processes that are held by others. One stands still for its tracer, until the FIFO "free" is opened;
# it makes "traced" when "go" is opened afterwards. The other waits for the child of its vfork(2), until
# "gate" is opened; then it makes "waited".
import ctypes
import os
import signal

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
libc = ctypes.CDLL(None, use_errno=True)


def ptrace(request, pid):
    if libc.ptrace(request, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def trace():
    pid = os.fork()
    if pid == 0:
        with open("go"), open("traced", "w"):
            signal.pause()
    ptrace(SEIZE, pid)
    ptrace(INTERRUPT, pid)
    os.waitpid(pid, 0)
    with open("free"):
        ptrace(DETACH, pid)
    signal.pause()


def wait():
    gate = (os.POSIX_SPAWN_OPEN, 0, "gate", os.O_RDONLY, 0)
    os.posix_spawn("/usr/bin/true", ["true"], {}, file_actions=[gate])
    with open("waited", "w"):
        signal.pause()


for fifo in "free", "go", "gate":
    os.mkfifo(fifo)
if os.fork() == 0:
    trace()
wait()
