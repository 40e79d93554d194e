/*
 * index-directories: the directories of an index that is being composed, and the two extensions
 * that tell of them.
 *
 * Entries are added in the order of the index, and only what is known of their directories stays
 * in memory.
 */
#pragma once

#include "base/str.h"
#include "snapshot/index.h"

struct index_directories;

/* The composition has to stay until they are freed. */
struct index_directories *index_directories_new(const struct index_composition *composition);
void index_directories_add(struct index_directories *directories, const struct index_entry *entry);
/* After the last entry. */
void index_directories_end(struct index_directories *directories);
/* The contents of the extensions TREE and UNTR. */
void index_directories_cache_tree(struct index_directories *directories, struct str *ret);
void index_directories_untracked(struct index_directories *directories, struct str *ret);
/* Accepts NULL. */
void index_directories_free(struct index_directories **where);
#define autodirectories __attribute__((cleanup(index_directories_free)))
