# shellcheck shell=bash
# A sandbox is a point in time (T33, T34, T35): for every shape of repository, what git says and
# what the files are is the same inside as on the host, and stays the same while the host is
# turned upside down. shapes.bash has the shapes, src/capture.py is what is compared.

load helpers
load shapes

setup() {
	jib_setup
	# All that the host has is below one directory, so that it can be seen that none of it is written.
	mkdir -p "$T/host/repo"
	cd "$T/host/repo" || return
	AWAY='' UNFROZEN='' UNLIKE='' STAMPED=''
}

inside() {
	"$JIB" run a -q -- sh -euc "$1" </dev/null
}

# capture [CMD...]: of this directory, as whoever runs python for us sees it
capture() {
	local patterns=() pattern
	for pattern in $AWAY; do
		patterns+=(--without "$pattern")
	done
	"$@" python3 - "${patterns[@]}" <"$BATS_TEST_DIRNAME/src/capture.py" |
		if [[ $UNLIKE ]]; then
			grep -aEv "$UNLIKE"
		else
			cat
		fi
}

# same FILE FILE
same() {
	diff -u --text "$1" "$2" || {
		echo "$2 is not like $1"
		return 1
	}
}

# host_state: all that the host has, but for the times of what git stamps whenever it reads
host_state() {
	host_list "$T/host" | if [[ $STAMPED ]]; then
		sed -E "/$STAMPED/s/^('[^ ]*' [0-7]+ [0-9]+:[0-9]+) [0-9]+ /\\1 /"
	else
		cat
	fi
}

# point_in_time SHAPE
point_in_time() {
	local sound
	set -o pipefail
	"shape_$1"
	host_state >"$T/before"
	jib new a -q
	host_state >"$T/after"
	diff "$T/before" "$T/after" || {
		echo "the host has been written"
		return 1
	}
	capture "$JIB" run a -q -- >"$T/inside"
	capture >"$T/outside"
	same "$T/outside" "$T/inside"
	sound=$(grep -a '^== fsck' "$T/outside")
	[[ $sound == *": 0" ]]

	upheave
	capture >"$T/upheaved" || true
	run ! cmp -s "$T/outside" "$T/upheaved"
	capture "$JIB" run a -q -- >"$T/later"
	same "$T/inside" "$T/later"
	if declare -F "then_$1" >/dev/null; then
		"then_$1"
	fi
}

@test "the comparison notices what it is for" {
	local change
	set -o pipefail
	shape_many_at_once
	capture >"$T/before"
	capture >"$T/again"
	same "$T/before" "$T/again"
	for change in 'echo x >>README.md' 'chmod 700 source' 'chmod 640 new/a/file' 'ln -sf x docs' \
		'git add link' 'git stash drop -q' 'git branch new' 'git tag -f new HEAD~1' \
		'git update-index --assume-unchanged .gitignore' 'echo y >main.o' 'rm main.o' \
		'git commit -qm x' 'git reset -q --hard' 'git checkout -q --detach' \
		'git reflog expire --expire=now --all' 'echo x >"$(find .git/objects -type f -print -quit)"'; do
		chmod -R u+w .git/objects
		eval "$change"
		capture >"$T/after" || true
		if [[ $change == 'chmod 700 source' ]]; then # a directory's mode is nobody's
			same "$T/before" "$T/after"
			continue
		fi
		run ! cmp -s "$T/before" "$T/after"
		mv "$T/after" "$T/before"
	done
}

@test "a lock of the host's git is not carried (T35)" {
	local lock
	shape_staged
	jib new a -q
	git pack-refs --all
	for lock in index HEAD config packed-refs shallow refs/heads/main; do
		: >".git/$lock.lock"
	done
	jib new b -q
	run -0 jib run b -q -- find .git -name '*.lock'
	[[ $output == "" ]]
	jib run b -q -- sh -euc 'git commit -qm b; git branch b; git config a.b c; git pack-refs --all'
}

@test "plain" {
	point_in_time plain
}

@test "empty" {
	point_in_time empty
}

@test "unborn with files" {
	point_in_time unborn_with_files
}

@test "staged" {
	point_in_time staged
}

@test "modified" {
	point_in_time modified
}

@test "staged and modified" {
	point_in_time staged_and_modified
}

@test "deleted" {
	point_in_time deleted
}

@test "staged delete" {
	point_in_time staged_delete
}

@test "renamed" {
	point_in_time renamed
}

@test "untracked" {
	point_in_time untracked
}

@test "modes" {
	point_in_time modes
}

@test "executable bits" {
	point_in_time executable_bits
}

@test "file mode off" {
	point_in_time file_mode_off
}

@test "links and types" {
	point_in_time links_and_types
}

@test "file and directory" {
	point_in_time file_and_directory
}

@test "merge conflict" {
	point_in_time merge_conflict
}

@test "rebase" {
	point_in_time rebase
}

@test "rebase conflict" {
	point_in_time rebase_conflict
}

@test "cherry pick" {
	point_in_time cherry_pick
}

@test "revert" {
	point_in_time revert
}

@test "bisect" {
	point_in_time bisect
}

@test "am" {
	point_in_time am
}

@test "stashes" {
	point_in_time stashes
}

@test "notes tags reflogs" {
	point_in_time notes_tags_reflogs
}

@test "detached" {
	point_in_time detached
}

@test "linked worktree" {
	point_in_time linked_worktree
}

@test "separate git dir" {
	point_in_time separate_git_dir
}

@test "submodules" {
	point_in_time submodules
}

@test "shallow" {
	point_in_time shallow
}

@test "partial" {
	point_in_time partial
}

@test "partial sparse" {
	point_in_time partial_sparse
}

@test "sparse cone" {
	point_in_time sparse_cone
}

@test "sparse patterns" {
	point_in_time sparse_patterns
}

@test "sparse index" {
	point_in_time sparse_index
}

@test "split index" {
	point_in_time split_index
}

@test "index v4" {
	point_in_time index_v4
}

@test "fast status" {
	point_in_time fast_status
}

@test "sha256" {
	point_in_time sha256
}

@test "shared clone" {
	point_in_time shared_clone
}

@test "reference clone" {
	point_in_time reference_clone
}

@test "hidden edits" {
	point_in_time hidden_edits
}

@test "intent to add" {
	point_in_time intent_to_add
}

@test "excludes" {
	point_in_time excludes
}

@test "line ends" {
	point_in_time line_ends
}

@test "filter" {
	point_in_time filter
}

@test "lfs" {
	point_in_time lfs
}

@test "hooks" {
	point_in_time hooks
}

@test "odd names" {
	point_in_time odd_names
}

@test "loose refs" {
	point_in_time loose_refs
}

@test "packed" {
	point_in_time packed
}

@test "ignored small" {
	point_in_time ignored_small
}

@test "ignored large" {
	point_in_time ignored_large
}

@test "worktreeinclude" {
	point_in_time worktreeinclude
}

@test "masked" {
	point_in_time masked
}

@test "deep" {
	point_in_time deep
}

@test "odd path" {
	point_in_time odd_path
}

@test "many at once" {
	point_in_time many_at_once
}

@test "reftable, or that git here has none" {
	if has_reftable; then
		point_in_time reftable
	else
		run -129 git init --ref-format=reftable .
		[[ $output == *"unknown option"* ]]
	fi
}
