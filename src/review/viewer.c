#include "review/viewer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/packet.h"
#include "base/process.h"
#include "base/spawn.h"
#include "git/git.h"
#include "review/genuine.h"
#include "review/still.h"
#include "review/viewer-plan.h"

enum { FIRST_ID = 1, SAID_MAX = 16384 };

struct ended {
	uint32_t id;
	int status; /* as of wait(2) */
};

/* Start. */

static int start(struct viewer *viewer, struct error *err)
{
	autoplan struct plan plan = {0};

	if (viewer_plan(viewer, &plan, err) < 0)
		return -1;
	return sandbox_start(viewer->root, &plan, viewer->sandbox, true, NULL, &viewer->started,
			     err);
}

static int open_all(struct viewer *viewer, bool leased, struct error *err)
{
	const struct root *root = viewer->root;
	const struct sandbox *sandbox = viewer->sandbox;
	const char *host = sandbox->repos[0].host;
	struct process process = PROCESS_INIT;

	/* git says what is configured while the rest is prepared. */
	if (config_start(access(host, X_OK) == 0 ? host : "/", &process, err) < 0)
		return -1;
	if ((!leased && hold_still(root, sandbox, &viewer->keep, &viewer->frozen, err) < 0) ||
	    sandbox_hold_layers(root, sandbox, &viewer->holds, err) < 0 ||
	    view_peek(root, sandbox, &viewer->view, err) < 0 ||
	    root_make_temp(root, "look", &viewer->scratch, &viewer->scratch_fd, err) < 0) {
		process_abandon(&process);
		return -1;
	}
	if (config_finish(&process, &viewer->config, err) < 0 || start(viewer, err) < 0)
		return -1;
	for (size_t i = 0; i < sandbox->repo_count; i++)
		if (genuine_check(viewer, i, err) < 0)
			return -1;
	return 0;
}

int viewer_open(const struct root *root, const struct sandbox *sandbox, bool leased,
		struct viewer *ret, struct error *err)
{
	struct viewer viewer = VIEWER_INIT;

	viewer.root = root;
	viewer.sandbox = sandbox;
	viewer.last = FIRST_ID;
	if (!sandbox->repo_count)
		return error_set(err, ERR_CORRUPT, "the sandbox %s has no repository",
				 sandbox->name);
	signal(SIGPIPE, SIG_IGN);
	if (open_all(&viewer, leased, err) < 0) {
		viewer_close(&viewer);
		return error_wrap(err, "cannot look into the sandbox %s", sandbox->name);
	}
	*ret = viewer;
	return 0;
}

void viewer_close(struct viewer *viewer)
{
	if (viewer->started.pid > 0) {
		kill(viewer->started.pid, SIGKILL);
		wait_for(viewer->started.pid, NULL);
		viewer->started.pid = -1;
	}
	fd_close(&viewer->started.control);
	if (viewer->scratch) {
		/* What cannot be removed now the next command sweeps. */
		tree_remove_at(viewer->root->temp, viewer->scratch, NULL);
		free(viewer->scratch);
	}
	fd_close(&viewer->scratch_fd);
	fd_close(&viewer->keep);
	layer_holds_release(&viewer->holds);
	view_release(&viewer->view);
	config_release(&viewer->config);
	free(viewer->ended);
	*viewer = (struct viewer)VIEWER_INIT;
}

const struct view_mount *viewer_mount(const struct viewer *viewer, size_t repo, bool base)
{
	const struct sandbox_repo *wanted = &viewer->sandbox->repos[repo];
	autofree char *beside = xasprintf("%s/%s", VIEW_BASES, wanted->name);

	for (size_t i = 0; i < viewer->view.count; i++) {
		const struct view_mount *mount = &viewer->view.mounts[i];

		if (base ? strcmp(mount->target, beside) == 0
			 : mount->kind == VIEW_TREE && strcmp(mount->target, wanted->path) == 0)
			return mount;
	}
	return NULL;
}

const struct view_mount *viewer_carried(const struct viewer *viewer, size_t repo, size_t n)
{
	const struct sandbox_repo *wanted = &viewer->sandbox->repos[repo];
	autofree char *target = xasprintf("%s/%s", wanted->path, wanted->carried.items[n]);

	for (size_t i = 0; i < viewer->view.count; i++)
		if (viewer->view.mounts[i].kind == VIEW_CARRIED &&
		    strcmp(viewer->view.mounts[i].target, target) == 0)
			return &viewer->view.mounts[i];
	return NULL;
}

/* Messages of the viewer's init. */

static int failed(struct packet *packet, struct error *err)
{
	autoerror struct error ignored = ERROR_INIT;
	const char *what = "", *hint = "";
	uint32_t number = 0, code = ERR_SYSTEM;
	bool in_setup = packet->id == 0;

	if (packet_get_u32(packet, &number, &ignored) < 0 ||
	    (in_setup && packet_get_u32(packet, &code, &ignored) < 0) ||
	    packet_get_string(packet, &what, &ignored) < 0)
		return error_set(err, ERR_PROTOCOL, "it said something unreadable");
	if (!in_setup)
		return error_set(err, ERR_SYSTEM, "cannot %s git: %s", what, strerror((int)number));
	error_set(err, (enum error_code)code, "%s", what);
	if (packet_get_string(packet, &hint, &ignored) == 0 && *hint)
		error_hint(err, "%s", hint);
	return -1;
}

/* Waits for one message, and notes which command it says has ended. */
static int hear(struct viewer *viewer, struct error *err)
{
	autopacket struct packet packet = PACKET_INIT;
	struct pollfd polled = {.fd = viewer->started.control, .events = POLLIN};
	uint32_t status;

	if (poll(&polled, 1, -1) < 0)
		return errno == EINTR ? 0 : error_errno(err, "cannot wait for git");
	int result = packet_receive(viewer->started.control, false, &packet, err);

	if (result < 0)
		return -1;
	if (result == 1)
		return error_set(err, ERR_SYSTEM, "it ended unexpectedly");
	if (result == 2 || packet.type == MESSAGE_STARTED)
		return 0;
	if (packet.type == MESSAGE_FAILED)
		return failed(&packet, err);
	if (packet.type != MESSAGE_EXITED || packet_get_u32(&packet, &status, err) < 0)
		return error_set(err, ERR_PROTOCOL, "it said something unexpected");
	viewer->ended =
		xreallocarray(viewer->ended, viewer->ended_count + 1, sizeof *viewer->ended);
	viewer->ended[viewer->ended_count++] = (struct ended){packet.id, (int)status};
	return 0;
}

static int await(struct viewer *viewer, uint32_t id, int *ret_status, struct error *err)
{
	for (;;) {
		for (size_t i = 0; i < viewer->ended_count; i++) {
			if (viewer->ended[i].id != id)
				continue;
			*ret_status = viewer->ended[i].status;
			viewer->ended[i] = viewer->ended[--viewer->ended_count];
			return 0;
		}
		if (hear(viewer, err) < 0)
			return -1;
	}
}

/* Commands. */

static void add_arguments(const struct viewer_call *call, struct strv *argv)
{
	/*
	 * A commit graph or an index of packs may be forged; nothing is fetched, and nothing that a
	 * configuration names is started.
	 */
	static const char *const settings[] = {
		"core.hooksPath=/dev/null",	"core.fsmonitor=false",
		"core.untrackedCache=false",	"core.commitGraph=false",
		"core.multiPackIndex=false",	"core.splitIndex=false",
		"core.quotePath=true",		"gc.auto=0",
		"maintenance.auto=false",	"submodule.recurse=false",
		"protocol.allow=never",		"log.showSignature=false",
		"fastimport.unpackLimit=1",	"core.logAllRefUpdates=false",
		"safe.bareRepository=explicit", "diff.ignoreSubmodules=dirty",
		"advice.detachedHead=false",
	};

	strv_add(argv, "git");
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		strv_add(argv, "-c");
		strv_add(argv, settings[i]);
	}
	if (call->place == VIEWER_BARE || call->place == VIEWER_REFS) {
		strv_add(argv, "-c");
		strv_add(argv, "core.attributesFile=/dev/null");
	}
	for (const char *const *arg = call->args; *arg; arg++)
		strv_add(argv, *arg);
}

static void add_environment(const struct viewer *viewer, const struct viewer_call *call,
			    struct strv *env)
{
	static const char *const fixed[] = {
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"HOME=/nonexistent",
		"XDG_CONFIG_HOME=/nonexistent",
		"LC_ALL=C.UTF-8",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_NO_LAZY_FETCH=1",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=/bin/false",
		"SSH_ASKPASS=/bin/false",
		"GIT_PAGER=cat",
		"GIT_EDITOR=/bin/false",
		"GIT_GRAFT_FILE=/dev/null",
	};
	bool bare = call->place == VIEWER_BARE || call->place == VIEWER_REFS;
	bool refs = call->place == VIEWER_REFS || call->place == VIEWER_INDEX;
	autofree char *git_dir = refs ? viewer_refs_dir(call->repo) : viewer_git_dir(call->repo);
	const struct sandbox_repo *repo = &viewer->sandbox->repos[call->repo];

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		strv_add(env, fixed[i]);
	strv_addf(env, "GIT_DIR=%s", git_dir);
	if (bare) {
		strv_add(env, "GIT_CONFIG_NOSYSTEM=1");
		strv_add(env, "GIT_ATTR_NOSYSTEM=1");
		strv_add(env, "GIT_WORK_TREE=/run/lock");
	} else if (call->place == VIEWER_BASE) {
		strv_addf(env, "GIT_WORK_TREE=%s/%s", VIEW_BASES, repo->name);
	} else {
		strv_addf(env, "GIT_WORK_TREE=%s", repo->path);
	}
	for (const char *const *item = call->env; item && *item; item++)
		strv_add(env, *item);
}

static int make_pipe(int *ret_theirs, int *ret_ours, bool they_read, struct error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	*ret_theirs = ends[they_read ? 0 : 1];
	*ret_ours = ends[they_read ? 1 : 0];
	return 0;
}

static int open_stream(int given, bool they_read, int *ret_theirs, int *ret_ours, struct error *err)
{
	if (they_read ? given < 0 : given == 0)
		return make_pipe(ret_theirs, ret_ours, they_read, err);
	*ret_theirs =
		given ? fcntl(given, F_DUPFD_CLOEXEC, 3) : open("/dev/null", O_RDONLY | O_CLOEXEC);
	return *ret_theirs < 0 ? error_errno(err, "cannot pass a stream to git") : 0;
}

int viewer_git(struct viewer *viewer, const struct viewer_call *call, struct viewer_git *ret,
	       struct error *err)
{
	autoviewergit struct viewer_git git = VIEWER_GIT_INIT;
	autopacket struct packet packet = PACKET_INIT;
	autospawn struct spawn spawn = {0};
	autofd int input = -1, output = -1, errors = -1;

	if (open_stream(call->input, true, &input, &git.input, err) < 0 ||
	    open_stream(call->output, false, &output, &git.output, err) < 0 ||
	    open_stream(0, false, &errors, &git.errors, err) < 0)
		return -1;
	packet_give_fd(&packet, steal_fd(&input));
	packet_give_fd(&packet, steal_fd(&output));
	packet_give_fd(&packet, steal_fd(&errors));
	add_arguments(call, &spawn.argv);
	add_environment(viewer, call, &spawn.env);
	const struct sandbox_repo *repo = &viewer->sandbox->repos[call->repo];

	spawn.directory = call->place == VIEWER_BARE || call->place == VIEWER_REFS
				  ? xstrdup("/run/lock")
			  : call->place == VIEWER_BASE ? xasprintf("%s/%s", VIEW_BASES, repo->name)
						       : xstrdup(repo->path);
	spawn.fallback = xstrdup("/");
	spawn_encode(&spawn, &packet);
	git.id = ++viewer->last;
	int result = packet_send(viewer->started.control, MESSAGE_SPAWN, git.id, &packet, err);

	/* What is wrong with it, it has said itself. */
	while (result == 1)
		if (hear(viewer, err) < 0)
			result = -1;
	if (result < 0)
		return -1;
	*ret = git;
	git = (struct viewer_git)VIEWER_GIT_INIT;
	return 0;
}

void viewer_git_release(struct viewer_git *git)
{
	fd_close(&git->input);
	fd_close(&git->output);
	fd_close(&git->errors);
	str_release(&git->said);
}

static int git_failed(const struct viewer_git *git, int status, struct error *err)
{
	autostr struct str line = STR_INIT, quoted = STR_INIT;

	if (WIFSIGNALED(status))
		return error_set(err, ERR_GIT, "git was killed by signal %d", WTERMSIG(status));
	git_quote_errors(&git->said, &line);
	str_add_escaped(&quoted, line.len ? line.s : "", line.len);
	return error_set(err, ERR_GIT, "git failed: %s",
			 quoted.len ? quoted.s : "without a message");
}

/* 1 at the end. */
static int read_errors(struct viewer_git *git)
{
	char buffer[4096];
	ssize_t n = read(git->errors, buffer, sizeof buffer);

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return 1;
	str_add_bytes(&git->said, buffer, (size_t)n);
	if (git->said.len > SAID_MAX)
		str_drop(&git->said, git->said.len - SAID_MAX / 2);
	return 0;
}

int viewer_wait(struct viewer *viewer, struct viewer_git *git, int *ret_status, struct error *err)
{
	int status;

	fd_close(&git->input);
	fd_close(&git->output);
	while (git->errors >= 0 && read_errors(git) == 0)
		;
	fd_close(&git->errors);
	if (await(viewer, git->id, &status, err) < 0)
		return -1;
	if (ret_status) {
		*ret_status = status;
		return 0;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return git_failed(git, status, err);
}

struct exchange {
	const struct str *input;
	size_t sent;
	size_t limit;
	struct str *output;
};

static int exchange_turn(struct viewer_git *git, struct exchange *exchange, struct error *err)
{
	struct pollfd polled[3] = {
		{.fd = git->input, .events = POLLOUT},
		{.fd = git->output, .events = POLLIN},
		{.fd = git->errors, .events = POLLIN},
	};
	char buffer[65536];

	if (poll(polled, ARRAY_SIZE(polled), -1) < 0)
		return errno == EINTR ? 0 : error_errno(err, "cannot wait for git");
	if (polled[2].revents && read_errors(git) != 0)
		fd_close(&git->errors);
	if (polled[1].revents) {
		ssize_t n = read(git->output, buffer, sizeof buffer);

		if (n > 0)
			str_add_bytes(exchange->output, buffer, (size_t)n);
		else if (n == 0 || errno != EINTR)
			fd_close(&git->output);
		if (exchange->output->len > exchange->limit)
			return error_set(err, ERR_GIT, "git said more than %zu bytes",
					 exchange->limit);
	}
	if (polled[0].revents && exchange->input) {
		ssize_t n = write(git->input, exchange->input->s + exchange->sent,
				  exchange->input->len - exchange->sent);

		if (n > 0)
			exchange->sent += (size_t)n;
		/* One that does not read to the end says why. */
		if ((n < 0 && errno != EAGAIN && errno != EINTR) ||
		    exchange->sent == exchange->input->len)
			fd_close(&git->input);
	}
	return 0;
}

int viewer_run(struct viewer *viewer, const struct viewer_call *call, const struct str *input,
	       size_t limit, struct str *ret, int *ret_status, struct error *err)
{
	autoviewergit struct viewer_git git = VIEWER_GIT_INIT;
	struct viewer_call with_pipes = *call;
	struct exchange exchange = {.input = input, .limit = limit, .output = ret};

	with_pipes.input = input && input->len ? -1 : 0;
	with_pipes.output = 0;
	if (viewer_git(viewer, &with_pipes, &git, err) < 0)
		return -1;
	if (git.input >= 0 && fcntl(git.input, F_SETFL, O_WRONLY | O_NONBLOCK) < 0)
		return error_errno(err, "cannot prepare a pipe");
	while (git.output >= 0)
		if (exchange_turn(&git, &exchange, err) < 0)
			return -1;
	str_add_bytes(ret, "", 0);
	return viewer_wait(viewer, &git, ret_status, err);
}

static const char here[] = "./";

void viewer_add_path(struct str *ret, const char *path)
{
	str_add(ret, here);
	str_add_bytes(ret, path, strlen(path) + 1);
}

const char *viewer_answered_path(const char *answer)
{
	return str_starts(answer, here) ? answer + strlen(here) : answer;
}

void viewer_quote(struct str *ret, const char *path)
{
	bool plain = *path != '"';

	for (const char *c = path; plain && *c; c++)
		plain = *c != '\n' && *c != '\r' && *c != '\\' && *c != '"';
	if (plain) {
		str_add(ret, path);
		return;
	}
	str_add_char(ret, '"');
	for (const char *c = path; *c; c++) {
		if (*c == '\n')
			str_add(ret, "\\n");
		else if (*c == '\r')
			str_add(ret, "\\r");
		else if (*c == '"' || *c == '\\')
			str_addf(ret, "\\%c", *c);
		else
			str_add_char(ret, *c);
	}
	str_add_char(ret, '"');
}
