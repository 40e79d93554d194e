/*
 * fsmonitor: git's fsmonitor hook, version 2 (githooks(5)), answered from the upper directories.
 *
 * git asks with the token of the last answer, and trusts every path that is not named to be as it
 * was then. Whatever changes in a work tree changes in its upper: the files in there with a
 * change time after the token are the answer. redirect_dir and metacopy are off: a directory that
 * was renamed is there as a whole, and a file with another mode or owner as a copy.
 *
 * What can only be seen by its absence is the removal of a file that was new, and git may have
 * looked at such a file after the last answer (`git mv`, `git apply --index`). It does change the
 * time of the directory: of such a directory everything is named. That a file of the layers was removed
 * is a whiteout, which is named too.
 *
 * The token of an index that was prepared with the layers is FSMONITOR_START: since then
 * everything in the upper has changed, and in addition what `reported` of the local layer names;
 * no file that was new can be in such an index.
 *
 * Under the upper there may be states (base/upper.h): what was changed before the sandbox was forked, kept
 * or rolled back. A token from before that, and FSMONITOR_START, are answered "everything", since the
 * index may know less, or more, than what the states show. The next answer names all directories of
 * the states for git's cache of untracked files.
 *
 * The answer is "/", everything may have changed, for another work tree (`git worktree add`), with
 * --live, for a token of another boot or before the clock was set, and when anything fails.
 *
 * git asks before it looks at files. What changes after the answer has a time after the token,
 * which was taken before the upper is read, and is in the next answer.
 */
#pragma once

#define FSMONITOR_START "jib:0"

/* argv: the name, "2", the token. Returns the exit status; 1 makes git look at everything. */
int fsmonitor_main(int argc, char **argv);
