#include "cli/look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/colour.h"
#include "cli/output.h"
#include "cli/render.h"

static bool is_called(const struct sandbox_repo *repo, const char *text)
{
	autofree char *resolved = realpath(text, NULL);

	return strcmp(repo->name, text) == 0 || strcmp(repo->host, text) == 0 ||
	       (resolved && strcmp(repo->host, resolved) == 0);
}

static int choose(const struct invocation *invocation, struct look *look, struct error *err)
{
	const struct sandbox *sandbox = &look->sandbox;
	bool all = !option_given(invocation, "repo");
	const char *text;

	look->chosen = xcalloc(sandbox->repo_count + 1, sizeof(bool));
	for (size_t i = 0; i < sandbox->repo_count; i++)
		look->chosen[i] = all;
	for (size_t at = 0; (text = option_next(invocation, "repo", &at));) {
		bool found = false;

		for (size_t i = 0; i < sandbox->repo_count; i++)
			if (is_called(&sandbox->repos[i], text))
				look->chosen[i] = found = true;
		if (!found) {
			error_set(err, ERR_NOT_FOUND, "the sandbox %s has no repository %s",
				  sandbox->name, text);
			return error_hint(err, "`jib show %s` lists them", sandbox->name);
		}
	}
	for (size_t i = 0; i < sandbox->repo_count; i++)
		look->chosen_count += look->chosen[i];
	return 0;
}

int look_choose(const struct invocation *invocation, struct look *ret, struct error *err)
{
	if (root_open_existing(&ret->root, err) < 0 ||
	    sandbox_open(&ret->root, invocation->args[0], &ret->sandbox, err) < 0)
		return -1;
	return choose(invocation, ret, err);
}

int look_open(const struct invocation *invocation, struct look *ret, struct error *err)
{
	if (look_choose(invocation, ret, err) < 0)
		return -1;
	return viewer_open(&ret->root, &ret->sandbox, false, &ret->viewer, err);
}

void look_close(struct look *look)
{
	viewer_close(&look->viewer);
	sandbox_release(&look->sandbox);
	root_close(&look->root);
	free(look->chosen);
	look->chosen = NULL;
}

static int want_colour(const struct invocation *invocation, const struct config *config, bool paged,
		       bool *ret, struct error *err)
{
	const char *when = option_value(invocation, "color");

	if (!when || strcmp(when, "auto") == 0)
		return output_coloured(config, paged, ret, err);
	*ret = strcmp(when, "always") == 0;
	if (!*ret && strcmp(when, "never") != 0)
		return error_set(err, ERR_USAGE, "--color: \"%s\" is not always, never or auto",
				 when);
	return 0;
}

int outlet_open(const struct invocation *invocation, const struct viewer *viewer, const char *name,
		bool exact, struct outlet *ret, struct error *err)
{
	const struct config *config = &viewer->config;
	autooutlet struct outlet outlet = OUTLET_INIT;
	bool terminal = isatty(STDOUT_FILENO), coloured = false;

	if (pager_start(config, name, !option_given(invocation, "no-pager"), &outlet.pager, err) <
		    0 ||
	    want_colour(invocation, config, outlet.pager.paged, &coloured, err) < 0)
		return -1;
	outlet.style = coloured ? RENDER_COLOURED : exact && !terminal ? RENDER_RAW : RENDER_PLAIN;
	if (coloured) {
		outlet.palette = xmalloc(sizeof *outlet.palette);
		palette_read(config, outlet.palette);
	}
	if (viewer->frozen) {
		outlet.spool =
			openat(viewer->root->temp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (outlet.spool < 0)
			return error_errno(err, "cannot make a temporary file");
	}
	*ret = outlet;
	outlet = (struct outlet)OUTLET_INIT;
	return 0;
}

static int put(struct outlet *outlet, const char *bytes, size_t len, struct error *err)
{
	if (outlet->gone || !len)
		return 0;
	if (outlet->spool >= 0 && write_all(outlet->spool, bytes, len) < 0)
		return error_errno(err, "cannot write what there is to show");
	if (outlet->spool >= 0)
		return 0;
	int result = pager_write(&outlet->pager, bytes, len, err);

	outlet->gone = result == 1;
	return result < 0 ? -1 : 0;
}

int outlet_text(struct outlet *outlet, const char *text, struct error *err)
{
	return put(outlet, text, strlen(text), err);
}

int outlet_git(struct outlet *outlet, struct viewer *viewer, struct viewer_git *git,
	       struct error *err)
{
	autorender struct render render;
	autostr struct str shown = STR_INIT;
	char buffer[65536];

	render_init(&render, (enum render_style)outlet->style, outlet->palette);
	while (!outlet->gone) {
		ssize_t n = read(git->output, buffer, sizeof buffer);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, "cannot read what git says");
		if (n == 0)
			break;
		str_clear(&shown);
		render_feed(&render, buffer, (size_t)n, &shown);
		if (put(outlet, shown.len ? shown.s : "", shown.len, err) < 0)
			return -1;
	}
	str_clear(&shown);
	render_finish(&render, &shown);
	if (put(outlet, shown.len ? shown.s : "", shown.len, err) < 0)
		return -1;
	int status;

	/* One that nobody listens to any more ends as it likes. */
	return viewer_wait(viewer, git, outlet->gone ? &status : NULL, err);
}

static int show_spooled(struct outlet *outlet, struct error *err)
{
	autofd int spool = steal_fd(&outlet->spool);
	char buffer[65536];
	ssize_t n;

	if (lseek(spool, 0, SEEK_SET) < 0)
		return error_errno(err, "cannot read what there is to show");
	while ((n = read(spool, buffer, sizeof buffer)) > 0)
		if (put(outlet, buffer, (size_t)n, err) < 0)
			return -1;
	return n < 0 ? error_errno(err, "cannot read what there is to show") : 0;
}

int outlet_close(struct outlet *outlet, struct viewer *viewer, struct error *err)
{
	if (outlet->spool >= 0) {
		viewer_close(viewer);
		if (show_spooled(outlet, err) < 0)
			return -1;
	}
	return pager_finish(&outlet->pager, err);
}

void outlet_release(struct outlet *outlet)
{
	pager_release(&outlet->pager);
	fd_close(&outlet->spool);
	free(outlet->palette);
	outlet->palette = NULL;
}

int outlet_repository(struct outlet *outlet, const struct look *look, size_t repo,
		      struct error *err)
{
	autostr struct str text = STR_INIT;
	const char *host = look->sandbox.repos[repo].host;

	if (look->chosen_count < 2)
		return 0;
	str_add(&text, "repository ");
	str_add_escaped(&text, host, strlen(host));
	str_add(&text, "\n\n");
	return outlet_text(outlet, text.s, err);
}

static const char *explain(const char *why)
{
	static const char *const words[][2] = {
		{"fifo", "a FIFO"},
		{"socket", "a socket"},
		{"device", "a device"},
		{"git-directory", "the name of a git directory"},
		{"nested-repository", "a repository of its own, only what is tracked counts"},
		{"bare-repository", "it looks like a bare repository"},
		{"submodule", "a submodule"},
		{"unreadable-directory", "a directory that cannot be listed"},
		{"unreadable-file", "a large file that its owner may not read"},
		{"path-too-long", "its path is too long"},
		{"too-large", "larger than 4 GiB"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i][0], why) == 0)
			return words[i][1];
	return why;
}

void say_left_out(const struct sandbox_repo *repo, const struct state *state)
{
	enum { SHOWN = 20 };

	for (size_t i = 0; i < state->left_out_count && i < SHOWN; i++)
		say("%s: %s is left out: %s", repo->name, state->left_out[i].path,
		    explain(state->left_out[i].why));
	if (state->left_out_count > SHOWN)
		say("%s: and %zu more", repo->name, state->left_out_count - SHOWN);
}

void say_unnoted(const struct error *err)
{
	say("warning: it is on the host, but cannot be noted as persisted: %s", err->message);
}

json_t *left_out_json(const struct state *state)
{
	json_t *array = json_array();

	for (size_t i = 0; i < state->left_out_count; i++)
		json_array_append_new(array, json_pack("{s:o,s:s}", "path",
						       output_json_text(state->left_out[i].path),
						       "why", state->left_out[i].why));
	return array;
}
