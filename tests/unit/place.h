/*
 * place: a repository whose index jib has composed, for the tests of what becomes of that.
 *
 *   place_init(&place, temp, sha256);
 *   for (step = staged; !is_last(step); step++) act(&place, step);
 *   replace_index(&place, SPLIT, true);
 *   monitor_on(&place);
 *   assert_status(&place);
 *   place_clear(&place);
 */
#pragma once

#include "support.h"

#include "snapshot/index.h"

/* A repository, and a layer with the base and the trees of its commit. */
struct place {
	const struct temp *temp;
	bool sha256;
	char *path;
	int tree, git_dir, layer;
	struct index_trees trees;
};

void place_init(struct place *place, const struct temp *temp, bool sha256);
void place_clear(struct place *place);

/* What happens to a repository between two looks at its status. */
struct step {
	void (*act)(const struct place *place);
	const char *args[8]; /* otherwise this, with git */
};

void act(const struct place *place, const struct step *step);
bool is_last(const struct step *step);

/* What may have happened before an index is composed; NULL ends them. */
extern const struct step *const beginnings[];
extern const struct step staged[];
/* A session of work that starts from a composed index. */
extern const struct step session[];

enum { SPLIT = 1, PLAIN = INDEX_SPLIT_FROM };

/* Puts a composed index, which says the same, into the place of git's own. */
void replace_index(struct place *place, uint32_t split_from, bool caches);
/* git asks for what has changed, and is told the truth. */
void monitor_on(const struct place *place);

/* Status, without anything that makes it fast. */
char *status_of(const struct place *place);
/* Also with all that makes it fast, and twice, as the first one writes an index. */
void assert_status(const struct place *place);
/* What git says of a place that does not depend on how its index is built. */
char *view_of(const struct place *place);
