"""What the attacks of the isolation tests have in common. Bound into the sandbox at /attack."""

import ctypes
import errno
import os
import platform

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

_X86 = {"pidfd_open": 434, "ptrace": 101, "process_vm_readv": 310, "keyctl": 250, "add_key": 248,
        "ioctl": 16}
_ARM = {"pidfd_open": 434, "ptrace": 117, "process_vm_readv": 270, "keyctl": 219, "add_key": 217,
        "ioctl": 29}
_NUMBERS = _X86 if platform.machine() == "x86_64" else _ARM


def syscall(name, *args):
    """The result, or an OSError."""
    args = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = libc.syscall(ctypes.c_long(_NUMBERS[name]), *args)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def fails(expected, function, *args, **named):
    """The call must fail, with one of the expected errno."""
    numbers = expected if isinstance(expected, tuple) else (expected,)
    wanted = " or ".join(errno.errorcode[number] for number in numbers)
    try:
        result = function(*args, **named)
    except OSError as error:
        if error.errno in numbers:
            return
        raise AssertionError(f"{args}: {errno.errorcode[error.errno]}, not {wanted}") from error
    raise AssertionError(f"{args}: it worked ({result!r}), and should have failed with {wanted}")
