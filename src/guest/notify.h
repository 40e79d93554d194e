/*
 * notify: system calls of the commands about which the kernel asks init first.
 *
 * overlayfs has limits that programs do not expect of a directory. For those there is a second
 * filter, which makes the kernel ask; what it asks about stands in kernel/seccomp-generate.c.
 *
 *   rename of a directory    done here, where overlayfs would say EXDEV: directory.h
 *   rmdir of a mount point   of what is mounted into the work tree: once empty it counts as removed
 *   a file stamped with now  a pack of the host's history that git marks as used: nothing is done,
 *                            because overlayfs would copy all of it
 *
 * All else the kernel is told to do itself. The calling thread waits for the answer, so that is
 * found with as few system calls as possible, and what takes long is done by a child process.
 *
 * What is done here is done with init's rights, which every command has too, unless it has taken
 * some from itself with landlock(7). Of a command that does so, nothing is done here from then on.
 *
 *   child: fd = notify_install(), passed to init before execve(2)
 *   init:  notify_prepare(fd), then notify_serve() whenever poll(2) says POLLIN
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct listener {
	int fd;
	int lock; /* as directory.h wants it; not the listener's own */
	bool restricted;
};

/*
 * Gives this process, and whatever it starts, the filter. Returns the listener as an O_CLOEXEC fd,
 * or -1 with errno where there can be none; then there is no filter either. Without a reader of the
 * listener a system call that is asked about waits for ever; without a listener it is ENOSYS.
 */
int notify_install(void);

/* What can only be set from outside of the process that is asked about. */
void notify_prepare(int listener);

/* A child process that answers a question when it has done what was asked for. */
struct worker {
	pid_t pid;
	int fd; /* of the listener, and the question's number */
	uint64_t question;
};

/*
 * Answers one question, or starts a worker that will: then true, and the worker is the caller's to
 * wait for, and to give to notify_bury() when it has ended.
 */
bool notify_serve(struct listener *listener, struct worker *ret);

/* Who asked would wait for ever for an answer of one that was killed. Closes the worker's fd. */
void notify_bury(struct worker *worker);

/*
 * Whether git keeps in `path` what it only reads and stamps, to go by the name: a pack, or a shared
 * index. *ret_keep is then the name of the file that says whether it came with a layer.
 */
bool notify_is_stamped(const char *path, char **ret_keep);
