#!/usr/bin/env bats
# The index of a large repository, and what it takes of a sandbox's disk.

load helpers

# large_repo DIR: with so many files that a sandbox starts with a split index.
large_repo() {
	git init -q "$1"
	(
		cd "$1"
		for ((i = 0; i < 90; i++)); do
			mkdir -p "directory-with-a-name-$i/and-another-one"
		done
		python3 - <<-'PY'
			for i in range(9000):
			    with open(f"directory-with-a-name-{i % 90}/and-another-one/file-number-{i}", "w") as file:
			        file.write(f"{i}\n")
		PY
		git add -A
		git commit -qm all
	)
}

setup() {
	jib_setup
	large_repo "$T/repo"
	cd "$T/repo" || return
}

disk_of() {
	jib show "$1" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["disk_bytes"])'
}

index_size() {
	stat -c %s "$JIB_ROOT/$1/upper/git/repo/index"
}

# in_sandbox SCRIPT: in the sandbox `one`; what is checked inside fails the run.
in_sandbox() {
	timeout 60 "$JIB" run -q one -- bash -euc "$1"
}

@test "a commit in a large repository leaves a small sandbox" {
	in_sandbox '
		echo more >>directory-with-a-name-7/and-another-one/file-number-7
		git add -A && git commit -qm one
		# git writes it in full: otherwise nothing is tested here.
		[[ -z $(git rev-parse --shared-index-path) && $(stat -c %s .git/index) -gt 524288 ]]
		git ls-files -s --debug | grep -v flags: | sha256sum >~/entries'
	(($(index_size one) < 400000))
	run -0 disk_of one
	((output < 1048576))
	in_sandbox '
		[[ $(git rev-parse --shared-index-path) ]]
		git ls-files -s --debug | grep -v flags: | sha256sum | cmp - ~/entries
		[[ -z $(git status --porcelain) && -z $(git -c core.fsmonitor=false status --porcelain) ]]
		git fsck --strict
		git rm -q directory-with-a-name-3/and-another-one/file-number-3
		echo new >directory-with-a-name-3/new && git add -A
		git commit -qm two && [[ $(git log --oneline | wc -l) == 3 ]]
		[[ -z $(git rev-parse --shared-index-path) && -z $(git status --porcelain) ]]'
	(($(index_size one) < 400000))
	in_sandbox '
		[[ -z $(git status --porcelain) && $(git ls-files | wc -l) == 9000 ]]
		[[ $(git write-tree) == $(git rev-parse HEAD^{tree}) ]]'
	run -0 git status --porcelain
	[[ -z $output ]]
}

@test "an index stays in full whose shared part was removed inside" {
	in_sandbox '
		echo more >>directory-with-a-name-7/and-another-one/file-number-7
		git add -A && git commit -qm one
		rm .git/sharedindex.*'
	(($(index_size one) > 524288))
	in_sandbox '[[ -z $(git status --porcelain) && $(git ls-files | wc -l) == 9000 ]]'
}

@test "an index of another kind stays as it was left" {
	in_sandbox 'head -c 2000000 /dev/urandom >.git/index; sha256sum .git/index >~/sum'
	in_sandbox 'sha256sum -c ~/sum && rm .git/index && ln -s ../README.md .git/index'
	[[ -L $JIB_ROOT/one/upper/git/repo/index ]]
	in_sandbox 'rm .git/index && git reset -q && git update-index --index-version 4'
	(($(index_size one) > 400000))
	in_sandbox '[[ -z $(git rev-parse --shared-index-path) && -z $(git status --porcelain) ]]'
}

@test "git inside neither removes the shared index, however old, nor writes another one" {
	timeout 60 "$JIB" run -q one -- true
	find "$JIB_ROOT/.layers" -name 'sharedindex.*' ! -name '*.keep' -exec touch -d '2 years ago' {} +
	in_sandbox '
		git mv directory-with-a-name-1 one && git mv directory-with-a-name-2 two
		for ((i = 10; i < 60; i++)); do git rm -rq directory-with-a-name-$i; done
		git commit -qm less
		[[ $(git ls-files | wc -l) == 4000 ]]
		ls .git/sharedindex.* >~/shared
		export GIT_INDEX_FILE=.git/other
		git read-tree HEAD && git update-index --split-index
		[[ $(ls .git/sharedindex.* | wc -l) == 3 ]]
		[[ $(ls .git/sharedindex.* | grep -cFf ~/shared) == 2 ]]'
	in_sandbox '
		[[ -z $(git status --porcelain) && $(git ls-files | wc -l) == 4000 ]]
		git fsck --strict'
}
