/*
 * directory: renaming a directory that overlayfs will not rename.
 *
 * A directory of a layer, or one that was merged with such a directory, is answered with EXDEV:
 * its new name would have to lead back to the old one in the layer. A directory of the upper alone
 * is renamed like any other, and a file too. So the directory is first made into one of the upper
 * alone, in its place: a new directory beside it takes over what it holds, sub-directories the
 * same way, and then its name. After that the kernel renames it, at once, by its own rules.
 *
 * While the content moves, others see a part of it at a time. Who dies meanwhile by a signal does
 * not hurt: it is not the process that renames which does this. Processes whose working directory
 * is in there, and directories that are open, stay with the old, empty and removed directory; open
 * files are the same ones.
 */
#pragma once

#include "guest/place.h"

/*
 * renameat2(2). Returns 0 or the errno that is the answer. With EXDEV nothing has moved, as with
 * every error but one: where there was no room or a disk failed half-way, and then failed again
 * while everything was moved back, the rest is in a directory `.jib-rename-*` beside the old one.
 * `lock` is an fd that all processes which do this have in common, to be locked by fcntl(2): one
 * moves at a time, and keeps the lock until it exits.
 */
int directory_rename(const struct place *from, const struct place *to, unsigned int flags,
		     int lock);

/* One that cannot be read counts as not empty. */
bool directory_is_empty(int dirfd);
