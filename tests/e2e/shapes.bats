# shellcheck shell=bash
# Repositories of every shape: inside git says what it says outside.

load helpers

# same ARG...: git ARG... says the same outside and in a fresh sandbox.
same() {
	local outside inside
	outside=$(git "$@" 2>&1)
	inside=$("$JIB" run --rm -q -- git "$@" 2>&1 </dev/null)
	[[ $inside == "$outside" ]] || {
		diff <(echo "$outside") <(echo "$inside")
		return 1
	}
}

# same_state: what the issue asks for of every shape.
same_state() {
	same status --porcelain=v2 --branch
	same ls-files -s
	same stash list
	same for-each-ref
	same reflog
	same fsck --no-dangling --no-progress
}

make_super() {
	export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always
	make_repo "$T/deep"
	make_repo "$T/sub"
	make_repo "$T/repo"
	git -C "$T/sub" submodule add -q "$T/deep" inner/deep
	git -C "$T/sub" commit -qm deep
	git -C "$T/repo" submodule add -q --name lib/one "$T/sub" dir/sub
	git -C "$T/repo" commit -qm sub
	git -C "$T/repo" submodule update -q --init --recursive
	unset "${!GIT_CONFIG_@}"
	rm -rf "$T/deep" "$T/sub"
	cd "$T/repo" || return
}

@test "submodules at any depth, as they are" {
	make_super
	git -C dir/sub switch -qc work
	echo more >>dir/sub/README.md
	echo staged >dir/sub/staged
	git -C dir/sub add staged
	echo untracked >dir/sub/untracked
	echo new >dir/sub/inner/deep/new
	git -C dir/sub/inner/deep add new
	git -C dir/sub/inner/deep commit -qm new
	same_state
	same submodule status --recursive
	same submodule foreach --recursive -q 'git status --porcelain=v2 --branch; git log --oneline --all'
	same -C dir/sub diff
	same -C dir/sub fsck --no-dangling --no-progress
	# Work goes on inside, and the host has none of it.
	before=$(host_hash "$T/repo")
	"$JIB" run a -q -- sh -euc 'git -C dir/sub commit -qam inside
		git commit -qam moved; git submodule status | grep -q "^ "
		git submodule deinit -q -f --all; git submodule update -q --init --recursive
		test -f dir/sub/inner/deep/README.md; git fsck --no-dangling --no-progress' </dev/null
	[[ $(host_hash "$T/repo") == "$before" ]]
}

@test "submodules with --clean are at the commit that is recorded" {
	make_super
	git -C dir/sub switch -qc work
	echo more >>dir/sub/README.md
	git -C dir/sub commit -qam more
	run -0 --separate-stderr jib run --rm --clean -q -- sh -c \
		'git status --porcelain; git submodule status; git -C dir/sub symbolic-ref -q HEAD || echo detached'
	[[ $output == " $(git rev-parse HEAD:dir/sub) dir/sub "*$'\n'detached ]]
}

@test "the user's ignore and attributes files, and settings, count inside" {
	make_repo "$T/repo"
	cd "$T/repo"
	mkdir -p "$HOME/.config/git"
	echo '*.bak' >"$HOME/.config/git/ignore"
	echo '*.txt diff=words' >"$HOME/.config/git/attributes"
	git config --global core.autocrlf input
	git config --global core.pager SECRET
	git config --global http.extraHeader SECRET
	same check-ignore -q x.bak
	same check-attr -a x.txt
	same config core.autocrlf
	[[ -z $(jib run --rm -q -- sh -c 'touch x.bak; git status --porcelain; grep SECRET /etc/gitconfig') ]]
	run ! grep -r SECRET "$JIB_ROOT"
	# One that is named takes the place of the usual one.
	echo '*.tmp' >"$HOME/mine"
	# shellcheck disable=SC2088 # git expands it
	git config --global core.excludesFile '~/mine'
	[[ $(jib run --rm -q -- sh -c 'touch x.bak x.tmp; git status --porcelain') == '?? x.bak' ]]
}

@test "a sparse checkout, cone and not" {
	make_repo "$T/repo"
	cd "$T/repo"
	for way in --cone --no-cone; do
		git sparse-checkout set "$way" docs
		same_state
		same sparse-checkout list
		[[ $(jib run --rm -q -- ls) == $(ls) ]]
	done
}

@test "a partial clone: what is missing is an error, and a quick one" {
	make_repo "$T/origin"
	git -C "$T/origin" config uploadpack.allowFilter true
	echo newer >>"$T/origin/README.md"
	git -C "$T/origin" commit -qam newer
	git clone -q --filter=blob:none "file://$T/origin" "$T/repo"
	cd "$T/repo"
	same_state
	run ! timeout 20 "$JIB" run --rm -q -- git cat-file -p HEAD~:README.md
	((status == 128))
}

@test "a partial clone: what a commit needs is fetched for the sandbox, not for the host" {
	make_repo "$T/origin"
	git -C "$T/origin" config uploadpack.allowFilter true
	# A colon divides lists of directories.
	git clone -q --filter=blob:none "file://$T/origin" "$T/re:\"po"
	cd "$T/re:\"po"
	before=$(host_hash "$PWD")
	for i in 1 2; do
		run -0 jib run --rm -q --from HEAD~1 -- sh -euc 'cat README.md
			git show HEAD:README.md; git diff --exit-code HEAD; git fsck --no-dangling --no-progress'
		[[ $output == $'one\none' ]]
		[[ $(host_hash "$PWD") == "$before" ]]
		git sparse-checkout set docs
		before=$(host_hash "$PWD")
	done
}

@test "a partial clone: a commit without a ref that came after the first sandbox" {
	make_repo "$T/origin"
	git -C "$T/origin" config uploadpack.allowFilter true
	git clone -q --filter=blob:none "file://$T/origin" "$T/repo"
	cd "$T/repo"
	jib run --rm -q -- true
	for i in 1 2; do
		echo "later $i" >>"$T/origin/README.md"
		git -C "$T/origin" commit -qam "later $i"
	done
	git fetch -q --refmap= origin HEAD
	before=$(host_hash "$PWD")
	run -0 jib run --rm -q --from FETCH_HEAD -- sh -euc 'tail -n 1 README.md
		git rev-parse HEAD; git fsck --no-dangling --no-progress'
	[[ $output == "later 2"$'\n'"$(git rev-parse FETCH_HEAD)" ]]
	[[ $(host_hash "$PWD") == "$before" ]]
}

@test "a shallow clone" {
	make_repo "$T/origin"
	git clone -q --depth=1 "file://$T/origin" "$T/repo"
	cd "$T/repo"
	same_state
	same log --oneline
}

@test "SHA-256" {
	git init -q --object-format=sha256 "$T/repo"
	cd "$T/repo"
	echo one >one
	git add one
	git commit -qm one
	git tag -am t t
	same_state
	jib run --rm -q -- sh -euc 'echo two >two; git add two; git commit -qm two; git fsck --no-progress'
}

@test "hooks inside the repository run where core.hooksPath says" {
	make_repo "$T/repo"
	cd "$T/repo"
	mkdir tools .git/other
	printf '#!/bin/sh\necho in the tree >hook-ran\n' >tools/pre-commit
	printf '#!/bin/sh\necho in the git dir >hook-ran\n' >.git/other/pre-commit
	chmod +x tools/pre-commit .git/other/pre-commit
	git add tools
	git commit -qm tools
	ran='git commit -q --allow-empty -m x; cat hook-ran'
	for place in tools "$PWD/tools"; do
		git config core.hooksPath "$place"
		[[ $(jib run --rm -q -- sh -c "$ran") == "in the tree" ]]
	done
	git config core.hooksPath .git/other
	[[ $(jib run --rm -q -- sh -c "$ran") == "in the git dir" ]]
}

@test "stashes, notes, tags and reflogs" {
	make_repo "$T/repo"
	cd "$T/repo"
	git tag -am annotated annotated
	git tag light
	git notes add -m note
	echo stashed >>README.md
	git stash -q
	git branch -q other
	git pack-refs --all
	git tag loose
	same_state
	same notes list
	same show-ref --dereference
	same stash show -p
	same reflog --all
}
