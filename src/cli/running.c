#include "cli/running.h"
#include "review/changes.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/packet.h"
#include "base/process.h"
#include "cli/create.h"
#include "cli/output.h"
#include "run/monitor.h"
#include "snapshot/shrink.h"
#include "store/collect.h"
#include "view/view.h"

void running_release(struct running *running)
{
	root_close(&running->root);
	sandbox_release(&running->sandbox);
	config_release(&running->config);
	plan_release(&running->plan);
	spawn_release(&running->spawn);
	fd_close(&running->lease);
}

/*
 * What was not committed is hardly ever the same again: its layer goes with the sandbox, unless
 * another one stands on it. Tree and git layers stay; the next run wants them.
 */
static void discard_local(const struct root *root, const struct sandbox *sandbox)
{
	autoerror struct error ignored = ERROR_INIT;
	autocollection struct collection collection = {0};
	autostrv struct strv ids = STRV_INIT;

	for (size_t i = 0; i < sandbox->repo_count; i++)
		if (sandbox->repos[i].local)
			strv_add(&ids, sandbox->repos[i].local);
	strv_add_all(&ids, &sandbox->states);
	for (size_t i = 0; i < sandbox->checkpoint_count; i++)
		strv_add_all(&ids, &sandbox->checkpoints[i].states);
	/* `jib gc` finds what cannot be removed now. */
	collect(root, &ids, false, &collection, &ignored);
}

static int remove_sandbox(const struct running *running, struct error *err)
{
	if (sandbox_remove(&running->root, running->sandbox.name, err) < 0)
		return -1;
	discard_local(&running->root, &running->sandbox);
	return 0;
}

void running_undo(struct running *running)
{
	autoerror struct error ignored = ERROR_INIT;

	if (running->created && running->sandbox.fd >= 0)
		remove_sandbox(running, &ignored);
}

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static void say_kept(const struct running *running, const struct view_changes *changes)
{
	autostr struct str what = STR_INIT;
	const char *name = running->sandbox.name;

	if (changes->tree)
		str_addf(&what, "%zu file%s of the work tree", changes->tree,
			 plural(changes->tree));
	if (changes->git)
		str_addf(&what, "%s%zu of the git dir", what.len ? ", " : "", changes->git);
	if (changes->home)
		str_addf(&what, "%s%zu of the home", what.len ? ", " : "", changes->home);
	say("kept %s (%s changed); see it: jib show %s; go on: jib run %s; drop it: jib rm --force %s",
	    name, what.len ? what.s : "nothing", name, name, name);
}

/* What becomes of the sandbox. The lease is still held. */
static int finish(const struct running *running, bool clean, bool detached, struct error *err)
{
	struct view_changes changes;

	if (running->discard)
		return remove_sandbox(running, err);
	if (changes_of(&running->root, &running->sandbox, &changes, err) < 0)
		return -1;
	view_tidy(&running->sandbox);
	/* What ran in the background has left a log, which somebody may want to read. */
	if (running->created && clean && !detached && !view_changed(&changes)) {
		if (remove_sandbox(running, err) < 0)
			return -1;
		say("nothing was changed: %s is gone", running->sandbox.name);
		return 0;
	}
	shrink_indexes(&running->root, &running->sandbox);
	if (settle_sandbox(&running->root, &running->sandbox, err) < 0)
		return -1;
	if (view_changed(&changes) || running->created)
		say_kept(running, &changes);
	return 0;
}

/*
 * A sandbox that was made for a command that never ran has no reason to be. It may have run when
 * the monitor failed later: then what it did, or what cannot be known, is kept.
 */
static void undo_unused(const struct running *running)
{
	autoerror struct error ignored = ERROR_INIT;
	struct view_changes changes;

	if (!running->created && !running->discard)
		return;
	if (!running->discard &&
	    (changes_of(&running->root, &running->sandbox, &changes, &ignored) < 0 ||
	     view_changed(&changes)))
		say("kept %s", running->sandbox.name);
	else
		remove_sandbox(running, &ignored);
}

static int run_monitor(struct running *running, bool detached,
		       void (*ready)(void *, const struct error *), void *data, struct error *err)
{
	struct monitor_request request = {
		.root = &running->root,
		.sandbox = &running->sandbox,
		.plan = &running->plan,
		.spawn = &running->spawn,
		.lease = running->lease,
		.linger = running->linger,
		/* What was there before is not forgotten before the end has come. */
		.forgetful = running->discard && running->created,
		.detached = detached,
		.ready = ready,
		.data = data,
	};
	autoholds struct layer_holds layers = {0};
	const char *ended = NULL;
	int status = 0;

	if (sandbox_hold_layers(&running->root, &running->sandbox, &layers, err) < 0) {
		running_undo(running);
		return -1;
	}
	if (!running->created)
		view_tidy(&running->sandbox);
	int result = monitor_run(&request, &status, &ended, err);

	/* From now on the record keeps them, for as long as there is one. */
	layer_holds_release(&layers);
	if (ended)
		say("the command was killed: %s", ended);
	if (result < 0) {
		undo_unused(running);
		return status ? status : -1;
	}
	/* What becomes of the sandbox does not change what the command has answered. */
	if (finish(running, status <= 128, detached, err) < 0) {
		output_error(err, false);
		error_clear(err);
	}
	return status;
}

/* Of a volatile sandbox. The mark of overlayfs that would refuse its uppers goes with view_tidy(). */
static int note_boot(struct running *running, struct error *err)
{
	const char *name = running->sandbox.name;

	if (!running->sandbox.is_volatile)
		return 0;
	if (sandbox_outlived_boot(&running->sandbox))
		say("the machine was restarted since %s ran, and it is volatile: what was changed in it "
		    "may be lost or torn",
		    name);
	if (sandbox_note_boot(&running->sandbox, err) == 0)
		return 0;
	running_undo(running);
	return -1;
}

int running_foreground(struct running *running, struct error *err)
{
	if (note_boot(running, err) < 0)
		return -1;
	return run_monitor(running, false, NULL, NULL, err);
}

/* Detached: a pipe carries the word that the command runs, or why it does not. */

static void report(void *data, const struct error *failure)
{
	int *fd = data;
	autoerror struct error ignored = ERROR_INIT;
	autopacket struct packet packet = PACKET_INIT;

	if (*fd < 0)
		return;
	if (failure) {
		packet_put_u32(&packet, (uint32_t)failure->code);
		packet_put_string(&packet, failure->message ? failure->message : "");
		packet_put_string(&packet, failure->hint ? failure->hint : "");
	}
	packet_send(*fd, failure ? MESSAGE_FAILED : MESSAGE_STARTED, 0, &packet, &ignored);
	fd_close(fd);
}

/*
 * What the caller's program left open without a reason of its own (a pipe of make or ssh) would
 * be held for as long as the sandbox runs. Everything that jib opens is close-on-exec.
 */
static void close_inherited(void)
{
	autodir DIR *dir = opendir("/proc/self/fd");

	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		int fd = (int)strtol(entry->d_name, NULL, 10);
		int flags = fd > STDERR_FILENO ? fcntl(fd, F_GETFD) : -1;

		if (flags >= 0 && !(flags & FD_CLOEXEC))
			close(fd);
	}
}

static _Noreturn void become_monitor(struct running *running, int report_fd)
{
	autoerror struct error err = ERROR_INIT;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (setsid() < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		_exit(125);
	close_inherited();
	/* A hang-up of the terminal that it was started from is none of its business. */
	signal(SIGHUP, SIG_IGN);
	output_quiet();
	int status = run_monitor(running, true, report, &report_fd, &err);

	if (status < 0)
		report(&report_fd, &err);
	_exit(status < 0 ? 125 : status);
}

static int await_report(int fd, struct error *err)
{
	autopacket struct packet packet = PACKET_INIT;
	uint32_t code;
	const char *message, *hint;

	if (packet_receive(fd, false, &packet, err) != 0)
		return error_set(err, ERR_SYSTEM, "the monitor died before the command ran");
	if (packet.type == MESSAGE_STARTED)
		return 0;
	if (packet_get_u32(&packet, &code, err) < 0 ||
	    packet_get_string(&packet, &message, err) < 0 ||
	    packet_get_string(&packet, &hint, err) < 0)
		return -1;
	error_set(err, (enum error_code)code, "%s", message);
	return *hint ? error_hint(err, "%s", hint) : -1;
}

int running_detach(struct running *running, struct error *err)
{
	int pair[2];

	if (note_boot(running, err) < 0)
		return -1;
	if (!running->discard && settle_sandbox(&running->root, &running->sandbox, err) < 0) {
		running_undo(running);
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, "cannot make a socket");
	autofd int mine = pair[0], theirs = pair[1];
	pid_t pid = fork();

	if (pid < 0)
		return error_errno(err, "cannot start a monitor");
	if (pid == 0) {
		fd_close(&mine);
		become_monitor(running, theirs);
	}
	fd_close(&theirs);
	if (await_report(mine, err) < 0) {
		int status = 0;

		/* The exit status says whether the command was not found. */
		wait_for(pid, &status);
		return exit_status_of(status);
	}
	autofree char *line = xasprintf("%s\n", running->sandbox.name);

	return output_text(line, err);
}
