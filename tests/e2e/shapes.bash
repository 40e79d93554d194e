# shellcheck shell=bash
# A script that runs inside expands its own variables; AWAY and UNLIKE are read by equality.bats.
# shellcheck disable=SC2016,SC2034,SC2154
# Repositories of every shape that a host may have. shape_NAME builds one in the current
# directory, which is empty, and may go to another, which is then the one to run jib in.
#
# A shape may set
#   AWAY       patterns of files that are not in a sandbox, because they are masked
#   UNFROZEN   directories that are mounted from the host: what the host changes in them may show
#   UNLIKE     what is an extended regular expression for lines of the capture that may differ
# and may define then_NAME, which is run last, after the host has been turned upside down, and
# does in the sandbox what this shape is for. It calls inside SCRIPT.
#
# upheave turns the repository in the current directory upside down.

# commit_file FILE TEXT [MESSAGE]
commit_file() {
	mkdir -p "$(dirname "./$1")"
	printf '%s\n' "$2" >"./$1"
	git add -A -- "./$1"
	git commit -qm "${3-$1: $2}"
}

# history: the usual repository, with a second branch
history_of_two() {
	make_repo .
	git branch other HEAD~1
}

# clash: two branches that change the same line
clash() {
	history_of_two
	commit_file README.md ours
	git switch -q other
	commit_file README.md theirs
	commit_file theirs.txt theirs
	git switch -q main
}

# fails CMD...: it has to
fails() {
	! "$@" >/dev/null 2>&1
}

# megabytes COUNT FILE: not a sparse file
megabytes() {
	head -c "$1M" /dev/zero | tr '\0' 'x' >"$2"
}

# upstream DIR: a repository to clone from, with tags and branches
upstream() {
	make_repo "$1"
	git -C "$1" tag -a v1 -m 'version 1' HEAD~1
	git -C "$1" branch topic HEAD~1
	git -C "$1" config uploadpack.allowFilter true
	git -C "$1" config uploadpack.allowAnySHA1InWant true
}

shape_plain() {
	history_of_two
}

then_plain() {
	inside 'git switch -q other; git switch -q main; test -z "$(git status --porcelain)"'
}

shape_empty() {
	git init -q
}

then_empty() {
	inside 'echo first >first; git add first; git commit -qm first; git fsck
		test "$(git log --format=%s)" = first'
}

shape_unborn_with_files() {
	git init -q
	echo staged >staged
	echo untracked >untracked
	git add staged
}

shape_staged() {
	history_of_two
	echo staged >README.md
	echo new >docs/new
	git add README.md docs/new
}

then_staged() {
	inside 'git commit -qm "what was staged"; test -z "$(git status --porcelain)"
		test "$(git show HEAD:README.md)" = staged'
}

shape_modified() {
	history_of_two
	echo more >>README.md
	printf 'eno\ntwo\n' >README.md # as long as before
	echo more >>files/0/3.txt
}

shape_staged_and_modified() {
	history_of_two
	echo staged >README.md
	git add README.md
	echo modified >README.md
	echo staged >new
	git add new
	echo modified >new
	echo staged >src/main.c
	git add src/main.c
	git show HEAD:src/main.c >src/main.c # back in the work tree alone
}

then_staged_and_modified() {
	[[ $(inside 'git show :README.md; cat README.md') == $'staged\nmodified' ]]
	inside 'git stash -q; git stash pop -q --index'
	[[ $(inside 'git show :README.md; cat README.md') == $'staged\nmodified' ]]
}

shape_deleted() {
	history_of_two
	rm README.md src/main.c
	rm -r files
}

then_deleted() {
	inside 'test ! -e files; git checkout -q -- files; test -e files/0/7.txt; test ! -e README.md'
}

shape_staged_delete() {
	history_of_two
	git rm -q README.md
	git rm -q --cached tool.sh
	git rm -qr files
	echo again >README.md
}

shape_renamed() {
	history_of_two
	git mv README.md READ.md
	git mv src source
	git mv docs/'a name with spaces.txt' plain
	mv tool.sh unstaged.sh
}

shape_untracked() {
	history_of_two
	mkdir -p new/deep/er files/0/more empty
	echo 1 >new/deep/er/file
	echo 2 >files/0/more/file
	echo 3 >file
	: >new/nothing
	ln -s file new/link
}

shape_modes() {
	history_of_two
	chmod -x tool.sh
	chmod +x README.md
	git add README.md
	chmod +x src/main.c
}

shape_executable_bits() {
	history_of_two
	echo '#!/bin/sh' >run.sh
	chmod 700 run.sh
	echo private >private
	chmod 600 private
	git add --chmod=+x docs
}

shape_file_mode_off() {
	history_of_two
	git config core.fileMode false
	chmod +x README.md # which git does not see, and a shell does
	chmod -x tool.sh
	[[ -z $(git status --porcelain) ]]
}

shape_links_and_types() {
	history_of_two
	ln -s nowhere dangling
	ln -s src directory
	git add dangling directory
	git commit -qm links
	rm link README.md tool.sh
	echo file >./link
	ln -s docs README.md
	ln -s ../.. tool.sh
	git add tool.sh
	ln -sfn docs directory
	ln -s /etc/hostname untracked
}

shape_file_and_directory() {
	history_of_two
	rm -r README.md docs src
	mkdir README.md src
	echo in >README.md/in
	echo file >docs
	echo file >src/lib # a directory before
	git add src
}

shape_merge_conflict() {
	clash
	fails git merge other
	test -e .git/MERGE_HEAD
}

then_merge_conflict() {
	inside 'echo both >README.md; git add README.md; git commit -qm merged
		test "$(git show -s --format=%P | wc -w)" = 2; test -z "$(git status --porcelain)"'
}

shape_rebase() {
	clash
	commit_file later.txt later
	GIT_SEQUENCE_EDITOR='sed -i 1s/pick/edit/' git rebase -qi HEAD~2 2>/dev/null
	echo more >>files/0/1.txt
	test -d .git/rebase-merge
}

then_rebase() {
	inside 'git add files; git commit -q --amend --no-edit; GIT_EDITOR=true git rebase --continue
		test "$(git log -1 --format=%s) $(git branch --show-current)" = "later.txt: later main"'
}

shape_rebase_conflict() {
	clash
	fails git rebase other
	test -d .git/rebase-merge
}

then_rebase_conflict() {
	inside 'git rebase --abort; test "$(git log -1 --format=%s)" = "README.md: ours"'
}

shape_cherry_pick() {
	clash
	fails git cherry-pick other~1 other
	test -e .git/CHERRY_PICK_HEAD
}

then_cherry_pick() {
	inside 'echo both >README.md; git add README.md; git -c core.editor=true cherry-pick --continue
		test "$(git log -1 --format=%s)" = "theirs.txt: theirs"'
}

shape_revert() {
	clash
	commit_file README.md again
	fails git revert --no-edit HEAD~1
	test -e .git/REVERT_HEAD
}

then_revert() {
	inside 'git revert --abort; test "$(cat README.md)" = again'
}

shape_bisect() {
	local i
	make_repo .
	for i in 1 2 3 4 5 6 7 8; do
		commit_file n "$i"
	done
	git bisect start HEAD HEAD~7 >/dev/null
}

then_bisect() {
	[[ $(inside 'git bisect run sh -c "test \$(cat n) -lt 6"' | grep 'is the first bad') == \
		"$(inside 'git rev-parse main~2') is the first bad commit" ]]
	[[ $(inside 'git bisect reset 2>&1; git branch --show-current') == *$'\nmain' ]]
}

shape_am() {
	clash
	git format-patch -q -2 -o ../patches other
	fails git am ../patches/*
	test -d .git/rebase-apply
}

then_am() {
	inside 'git am --skip >/dev/null; test -e theirs.txt; test "$(git status --porcelain)" = ""'
}

shape_stashes() {
	local i
	history_of_two
	for i in 1 2 3; do
		echo "$i" >>README.md
		echo "$i" >"untracked$i"
		git stash push -q -u -m "number $i"
	done
	echo kept >>tool.sh
}

then_stashes() {
	inside 'git checkout -q .; git stash pop -q "stash@{1}"; test "$(cat untracked2)" = 2
		test "$(git stash list | wc -l)" = 2'
}

shape_notes_tags_reflogs() {
	history_of_two
	git notes add -m 'a note'
	git notes --ref=review add -m 'another' HEAD~1
	git tag light HEAD~1
	git tag -a v1 -m 'version 1'
	git tag -a nested -m 'a tag of a tag' v1 2>/dev/null
	commit_file lost 'in the reflog only'
	git reset -q --hard HEAD~1
	git switch -q other
	git switch -q main
}

then_notes_tags_reflogs() {
	[[ $(inside 'git notes show; git describe HEAD; git show "main@{1}:lost"') == \
		$'a note\nnested\nin the reflog only' ]]
}

shape_detached() {
	history_of_two
	git checkout -q --detach HEAD~1
	echo more >>tool.sh
	commit_file loose 'on no branch'
}

shape_linked_worktree() {
	make_repo ../main
	git -C ../main branch other HEAD~1
	echo main >../main/only-in-main
	echo staged >../main/README.md
	git -C ../main add README.md
	git -C ../main worktree add -q "$PWD" other
	git -C ../main worktree add -q --detach ../third
	echo more >>tool.sh
	echo staged >staged
	git add staged
	echo untracked >untracked
	# What the index of the main work tree holds hangs in the air elsewhere.
	UNLIKE='^dangling '
}

shape_separate_git_dir() {
	history_of_two
	git init -q --separate-git-dir ../elsewhere.git
	echo more >>README.md
	echo staged >staged
	git add staged
}

# add_submodule REPOSITORY PATH
add_submodule() {
	git -c protocol.file.allow=always submodule --quiet add "$1" "$2"
}

shape_submodules() {
	local name
	for name in inner outer unused dirty; do
		make_repo "../$name" 3
	done
	(cd ../outer && add_submodule ../inner lib/inner && git commit -qm 'with inner')
	history_of_two
	for name in outer unused dirty; do
		add_submodule "../$name" "sub/$name"
	done
	git -c protocol.file.allow=always submodule --quiet update --init --recursive
	git commit -qm submodules
	(cd sub/outer/lib/inner && git switch -qc work && commit_file own 'a commit in the submodule')
	echo dirty >>sub/dirty/README.md
	echo staged >sub/dirty/staged
	git -C sub/dirty add staged
	echo untracked >sub/dirty/untracked
	git submodule --quiet deinit -f sub/unused
}

then_submodules() {
	inside '
		cd sub/outer/lib/inner
		test "$(git log -1 --format=%s)" = "own: a commit in the submodule"
		echo x >x; git add x; git commit -qm "of the sandbox"
		cd ../..
		git add lib/inner; git commit -qm "bump inner"
		cd ../..
		git add sub/outer; git commit -qm "bump outer"
		git -C sub/dirty stash -q -u
		test -z "$(git status --porcelain)"
		git -c protocol.file.allow=always submodule --quiet update --recursive sub/outer sub/dirty
	'
}

shape_shallow() {
	upstream ../upstream
	git clone -q --depth 2 "file://${PWD%/*}/upstream" .
	echo more >>README.md
	test -s .git/shallow
}

shape_partial() {
	upstream ../upstream
	git clone -q --filter=blob:none "file://${PWD%/*}/upstream" .
	echo more >>README.md
	[[ $(git rev-list --objects --all --missing=print | grep -c '^?') -gt 0 ]]
}

then_partial() {
	# What the host had not fetched is missing, and git says so in its own words.
	run ! inside 'git show HEAD~2:README.md'
	[[ $output == *"could not fetch"* || $output == *promisor* || $output == *"not found"* ||
		$output == *"unable to access"* || $output == *"not appear to be a git repository"* ]]
	inside 'echo x >x; git add x; git commit -qm "in a partial clone"; git fsck'
}

shape_partial_sparse() {
	upstream ../upstream
	git clone -q --filter=blob:none --sparse "file://${PWD%/*}/upstream" .
	git sparse-checkout set src
	echo more >>src/main.c
}

shape_sparse_cone() {
	history_of_two
	git sparse-checkout set --cone src files/0
	echo more >>src/main.c
	test ! -e docs
}

then_sparse_cone() {
	inside 'git switch -q --merge other; git switch -q --merge main; test ! -e docs
		git sparse-checkout add docs; test -e "docs/a name with spaces.txt"'
}

shape_sparse_patterns() {
	history_of_two
	git sparse-checkout set --no-cone '/*' '!/files/0/1*' '!docs'
	echo more >>files/0/2.txt
	test ! -e files/0/10.txt
}

shape_sparse_index() {
	history_of_two
	git sparse-checkout set --cone --sparse-index src
	echo more >>src/main.c
	git ls-files --sparse | grep -qx 'files/'
	# To see what is in it git expands it, and finds that it has the trees already.
	STAMPED='\.git\/objects\/'
}

shape_split_index() {
	history_of_two
	git config core.splitIndex true
	git update-index --split-index
	commit_file more more
	echo staged >staged
	git add staged
	ls .git/sharedindex.* >/dev/null
	# As the host's own git status does.
	STAMPED='\.git\/sharedindex\.'
}

then_split_index() {
	inside 'git commit -qm "what was staged"; test -z "$(git status --porcelain)"'
}

shape_index_v4() {
	history_of_two
	git update-index --index-version 4
	echo staged >staged
	git add staged
	[[ $(od -An -tu1 -j7 -N1 .git/index) -eq 4 ]]
}

shape_fast_status() {
	history_of_two
	printf '#!/bin/sh\nprintf "token\\0/\\0"\n' >.git/hooks/fsmonitor
	chmod +x .git/hooks/fsmonitor
	git config core.fsmonitor "$PWD/.git/hooks/fsmonitor"
	git config core.fsmonitorHookVersion 2
	git config core.untrackedCache true
	git config core.preloadIndex true
	git config feature.manyFiles true
	git config fetch.writeCommitGraph true
	git commit-graph write --reachable 2>/dev/null
	git update-index --untracked-cache --fsmonitor
	git status --porcelain
	mkdir more
	echo untracked >more/untracked
	echo more >>README.md
}

shape_sha256() {
	git init -q --object-format=sha256
	make_repo .
	echo staged >staged
	git add staged
	echo more >>README.md
	git stash push -q -m 'of SHA-256'
	echo more >>tool.sh
	[[ $(git rev-parse HEAD | wc -c) -eq 65 ]]
}

# has_reftable: does the git of this machine know it?
has_reftable() {
	git init -q --ref-format=reftable "$T/reftable-probe" 2>/dev/null
}

shape_reftable() {
	git init -q --ref-format=reftable
	make_repo .
	git tag -a v1 -m 'version 1'
	echo more >>README.md
	git stash push -q
	git branch other HEAD~1
	test -d .git/reftable
}

shape_shared_clone() {
	upstream ../lender
	git clone -q --shared ../lender .
	commit_file own own
	echo more >>README.md
	test -s .git/objects/info/alternates
}

then_shared_clone() {
	# Nor does the sandbox need the lender.
	rm -rf ../lender
	inside 'git fsck --full; git log -p --all >/dev/null; test ! -e .git/objects/info/alternates'
}

shape_reference_clone() {
	upstream ../upstream
	git clone -q --bare ../upstream ../cache.git
	git clone -q --reference ../cache.git "file://${PWD%/*}/upstream" .
	commit_file own own
	git tag -a own -m 'of its own'
}

shape_hidden_edits() {
	history_of_two
	git update-index --assume-unchanged README.md files/0/1.txt
	git update-index --skip-worktree tool.sh files/0/2.txt
	echo hidden >README.md
	echo hidden >>tool.sh
	rm files/0/1.txt files/0/2.txt
	[[ -z $(git status --porcelain) ]]
}

shape_intent_to_add() {
	history_of_two
	echo new >new
	git add -N new
	: >empty
	git add --intent-to-add empty
}

shape_excludes() {
	history_of_two
	printf '*.local\n' >>.git/info/exclude
	printf '*.mine\n/global/\n' >"$HOME/excludes"
	git config --global core.excludesFile "$HOME/excludes"
	printf '*.tmp\n!keep.tmp\n' >src/.gitignore
	printf '*\n!.gitignore\n' >docs/.gitignore
	mkdir global
	echo 1 >a.local
	echo 2 >a.mine
	echo 3 >global/a
	echo 4 >src/a.tmp
	echo 5 >src/keep.tmp
	echo 6 >docs/hidden
	echo 7 >shown
}

shape_line_ends() {
	make_repo .
	printf '*.txt text\n*.bat text eol=crlf\n*.bin -text\n*.sh text eol=lf\n' >.gitattributes
	git config core.autocrlf true
	git config core.safecrlf false
	printf 'one\r\ntwo\r\n' >windows.txt
	printf 'one\r\ntwo\r\n' >run.bat
	printf 'one\r\ntwo\n' >mixed.bin
	printf 'one\r\ntwo\r\n' >auto
	git add -A
	git commit -qm 'line ends' 2>/dev/null
	rm windows.txt run.bat auto src/main.c
	git checkout -q -- windows.txt run.bat auto src/main.c
	grep -q $'\r' src/main.c
	printf 'three\r\n' >>run.bat
	printf 'new\r\n' >new.txt
}

shape_filter() {
	make_repo .
	git config filter.upper.clean 's=$(cat; echo .); printf %s "${s%.}" | sed s/PLAIN/stored/'
	git config filter.upper.smudge 'sed s/stored/PLAIN/'
	git config filter.upper.required true
	echo '*.enc filter=upper' >.gitattributes
	echo 'PLAIN text' >a.enc
	echo 'PLAIN again' >b.enc
	git add -A
	git commit -qm filtered
	[[ $(git show HEAD:a.enc) == 'stored text' ]]
	git branch other HEAD~1
	echo 'PLAIN more' >>a.enc
	echo 'PLAIN new' >new.enc
}

then_filter() {
	inside 'git add a.enc; test "$(git show :a.enc)" = "$(printf "stored text\nstored more")"
		rm b.enc; git checkout -q -- b.enc; test "$(cat b.enc)" = "PLAIN again"'
}

shape_lfs() {
	make_repo .
	git lfs install --local >/dev/null
	git lfs track '*.bin' >/dev/null
	head -c 100000 /dev/urandom >large.bin
	head -c 1000 /dev/urandom >small.bin
	git add -A
	git commit -qm 'large files'
	git show HEAD:large.bin | grep -q git-lfs
	head -c 2000 /dev/urandom >small.bin
	head -c 3000 /dev/urandom >new.bin
	git add new.bin
	# The filter makes files there to find out whether one is as it was.
	STAMPED='\.git\/lfs\/tmp'
}

then_lfs() {
	inside 'git lfs fsck; sum=$(sha256sum <large.bin); rm large.bin; git checkout -q -- large.bin
		test "$(sha256sum <large.bin)" = "$sum"
		git commit -qam "more of them"; test "$(git lfs ls-files | wc -l)" = 3'
}

shape_hooks() {
	history_of_two
	mkdir .githooks
	printf '#!/bin/sh\nsed -i "1s/$/ (hooked)/" "$1"\n' >.githooks/commit-msg
	chmod +x .githooks/commit-msg
	git add .githooks
	git commit -qm hooks
	git config core.hooksPath .githooks
	echo more >>README.md
}

then_hooks() {
	inside 'git commit -qam inside; test "$(git log -1 --format=%s)" = "inside (hooked)"'
}

shape_odd_names() {
	history_of_two
	local long name
	long=$(printf 'n%.0s' {1..255})
	for name in $'new\nline' 'quo"te' "apos'trophe" 'back\slash' 'füß ☃' $'latin\xe9' -dash --all \
		'*' '?[a]' ' leading' 'trailing ' $'tab\there' "$long" '$(x)' '#hash' '!bang' '~' 'a:b,c'; do
		echo "$name" >"./$name"
		mkdir "d$name" 2>/dev/null || continue # the longest
		echo "$name" >"./d$name/$name"
	done
	git add -A -- .
	git commit -qm 'odd names'
	echo more | tee -a ./-dash $'new\nline' $'latin\xe9' "$long" >/dev/null
	rm -- 'd*/*' $'dlatin\xe9'/*
	echo new >$'un\ntracked\xff'
	git mv -- '!bang' $'renamed\xfe'
}

shape_loose_refs() {
	local i
	history_of_two
	for i in {1..200}; do
		echo "create refs/heads/topic/$((i % 40))/$i HEAD"
		echo "create refs/remotes/origin/$i HEAD~1"
	done | git update-ref --stdin
	git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/7
	[[ $(find .git/refs -type f | wc -l) -gt 400 ]]
}

shape_packed() {
	local i
	history_of_two
	for i in {1..20}; do
		git branch "packed/$i"
		git tag -a "v$i" -m "version $i"
	done
	git gc -q
	git branch -D packed/3 >/dev/null
	git update-ref refs/heads/packed/4 HEAD~1
	commit_file loose 'after the gc'
	git multi-pack-index write 2>/dev/null
	git commit-graph write --reachable 2>/dev/null
	echo more >>README.md
	test -s .git/packed-refs
}

shape_ignored_small() {
	history_of_two
	mkdir -p ignored/deep build
	echo '/build/' >>.git/info/exclude
	echo 1 >main.o
	echo 2 >ignored/deep/2
	echo 3 >build/out
	chmod +x build/out
	ln -s out build/link
}

shape_ignored_large() {
	local i
	history_of_two
	printf 'node_modules/\n/target/\n' >>.gitignore
	git commit -qam 'ignore more'
	mkdir -p node_modules/pkg src/lib/node_modules/.bin target/debug
	for i in {1..50}; do
		echo "$i" >"node_modules/pkg/$i.js"
	done
	megabytes 17 node_modules/large
	megabytes 18 target/debug/program
	chmod +x target/debug/program
	megabytes 17 src/lib/node_modules/large
	ln -s ../pkg src/lib/node_modules/.bin/pkg
	UNFROZEN='node_modules target src/lib/node_modules'
}

then_ignored_large() {
	inside 'echo mine >node_modules/pkg/1.js; rm node_modules/pkg/2.js; echo new >target/new
		rm -r src/lib/node_modules/.bin; mv node_modules/pkg/3.js node_modules/pkg/4.js
		test -z "$(git status --porcelain)"'
	[[ $(cat node_modules/pkg/1.js node_modules/pkg/2.js node_modules/pkg/3.js) == $'1\n2\n3' ]]
	[[ -L src/lib/node_modules/.bin/pkg && ! -e target/new ]]
	[[ $(inside 'cat node_modules/pkg/1.js node_modules/pkg/4.js') == $'mine\n3' ]]
	# Not copied.
	(($(du -sk "$JIB_ROOT" | cut -f1) < 16 * 1024))
}

shape_worktreeinclude() {
	history_of_two
	printf '/cache/\n/ignored/\n*.o\n' >.gitignore
	printf '/cache/wanted\n*.o\n' >.worktreeinclude
	git add -A
	git commit -qm 'choose what comes along'
	mkdir cache ignored
	echo 1 >cache/wanted
	echo 2 >main.o
	echo 3 >cache/unwanted
	echo 4 >ignored/unwanted
	AWAY='unwanted'
}

then_worktreeinclude() {
	inside 'test -e cache/wanted; test -e main.o; test ! -e cache/unwanted; test ! -e ignored/unwanted'
}

shape_masked() {
	history_of_two
	printf '.env*\n!.env.example\n' >>.gitignore
	git add .gitignore
	git commit -qm 'ignore .env'
	echo TOKEN=1 >.env
	echo TOKEN=2 >src/.env.local
	echo TOKEN= >.env.example
	echo key >id_ed25519
	echo seen >seen
	echo more >>README.md
	AWAY='.env .env.local id_ed25519'
	# It is not tracked: whoever does not see it has no line for it.
	UNLIKE='id_ed25519$'
}

shape_deep() {
	local directory
	history_of_two
	directory=$(printf 'level-%d/' {1..40})
	mkdir -p "$directory"
	echo tracked >"$directory/tracked"
	echo modified >"$directory/modified"
	git add -A
	git commit -qm deep
	echo more >>"$directory/modified"
	echo untracked >"$directory/untracked"
	mkdir -p "ignored/$directory"
	echo ignored >"ignored/$directory/ignored"
}

then_deep() {
	inside 'git mv level-1 up; git commit -qm moved; test "$(git status --porcelain | wc -l)" = 2'
}

shape_odd_path() {
	mkdir '../of a:b, "c" d\e'
	cd '../of a:b, "c" d\e' || return
	history_of_two
	mkdir -p ignored/large
	megabytes 17 ignored/large/file
	echo staged >staged
	git add staged
	echo more >>README.md
	UNFROZEN=ignored
}

shape_many_at_once() {
	local name
	history_of_two
	echo 'stashed' >>README.md
	git stash push -q
	git switch -qc both
	git mv src source
	rm -r docs
	echo more >>README.md
	git add README.md
	echo and more >>README.md
	for name in a b c; do
		mkdir -p "new/$name"
		echo "$name" >"new/$name/file"
	done
	git add -N new/a/file
	echo o >main.o
	chmod -x tool.sh
	rm link
	mkdir link
	echo in >link/in
	git pack-refs --all
}

# ---- what the host does next ----

# upheave: changes, removes and rewrites all there is in the repository in the current directory,
# but for the directories in UNFROZEN. What this shape has not got fails; that is meant.
upheave() {
	local name
	UNFROZEN=${UNFROZEN-} python3 -c '
import os, stat
kept = os.environ["UNFROZEN"].split()
count = 0
for top, directories, names in os.walk("."):
    links = [name for name in directories if os.path.islink(os.path.join(top, name))]
    directories[:] = [name for name in directories if name != ".git" and name not in links
                      and os.path.relpath(os.path.join(top, name)) not in kept]
    for name in sorted(names + links):
        path = os.path.join(top, name)
        if name == ".git":
            continue
        count += 1
        if os.path.islink(path) or count % 5 == 0:
            os.unlink(path)
        if os.path.lexists(path):
            os.chmod(path, 0o600 if count % 5 == 1 else 0o755)
            with open(path, "r+b" if count % 5 < 3 else "ab") as file:  # in place
                file.write(b"upheaved\n")
        if count % 5 == 4:
            with open(path + "~", "wb") as file:
                file.write(b"another inode\n")
            os.rename(path + "~", path)
' || return
	export GIT_COMMITTER_DATE='2001-02-03T04:05:06Z'
	{
		for name in rebase merge cherry-pick revert am; do
			git "$name" --quit
		done
		git bisect reset
		git -c core.hooksPath=/dev/null commit -q -a -m upheaved
		git checkout -q -f -b upheaval HEAD~1
		git -c core.hooksPath=/dev/null commit -q --allow-empty -m 'another'
		git rebase -q --force-rebase HEAD~1
		git checkout -q -f other
		# HEAD is of no branch then, and so nothing holds back what follows.
		git checkout -q --detach
		git reset -q --hard HEAD~1
		git submodule --quiet foreach --recursive 'git checkout -q --detach HEAD~1 || :
			git for-each-ref --format="delete %(refname)" | git update-ref --stdin
			git reflog expire --expire=now --all; git gc -q --prune=now'
		git submodule deinit -f --all
		git stash clear
		git for-each-ref --format='delete %(refname)' | git update-ref --no-deref --stdin
		git reflog expire --expire=now --expire-unreachable=now --all
		git worktree prune --expire=now
		git gc -q --prune=now
		git config --unset-all core.hooksPath
		rm -rf "$(git rev-parse --git-path hooks)" "$(git rev-parse --git-path info)"
	} >/dev/null 2>&1 </dev/null || true
	unset GIT_COMMITTER_DATE
}
