/*
 * scene: a host repository and the versions of a sandbox, for the tests of what becomes of them.
 *
 *   scene_init(&scene, temp);
 *   scene_put(&scene, BASE | HOST, "file", "old\n");
 *   scene_put(&scene, THEIRS, "file", "new\n");
 *   scene_change(&scene, "file", NULL);
 *   scene_merge(&scene, &merge);
 */
#pragma once

#include "support.h"

#include "review/merge.h"

enum { BASE = 1, HOST = 2, THEIRS = 4 };

enum { SCENE_MAX = 64 };

struct scene {
	const struct temp *temp;
	struct repository repository;
	int host, base, theirs, git_dir;
	char *scratch;
	char *paths[SCENE_MAX];
	struct change changes[SCENE_MAX];
	size_t count;
};

/* A repository `r` with one commit of `file`. */
void scene_init(struct scene *scene, const struct temp *temp);
void scene_clear(struct scene *scene);
#define autoscene __attribute__((cleanup(scene_clear)))

/* Writes a file with its directories, into each of the three. */
void scene_put(const struct scene *scene, int where, const char *path, const char *text);
void scene_put_bytes(const struct scene *scene, int where, const char *path, const void *bytes,
		     size_t len);
void scene_link(const struct scene *scene, int where, const char *path, const char *target);
void scene_mode(const struct scene *scene, int where, const char *path, mode_t mode);
/* Adds a change of what is at the path (of a rename: in the base at `from`) on both sides. */
void scene_change(struct scene *scene, const char *path, const char *from);

void scene_merge(const struct scene *scene, struct merge *ret);
int scene_try_merge(const struct scene *scene, struct merge *ret, struct error *err);
const struct verdict *verdict_of(const struct merge *merge, const char *path);
/* Merges, and looks at one verdict. */
void assert_verdict(const struct scene *scene, const char *path, enum verdict_kind kind,
		    const char *reason);

/* All that is in the work tree: names, kinds, modes, contents. */
char *scene_tree(const struct scene *scene);
/* The index, with stages. */
char *scene_index(const struct scene *scene);
