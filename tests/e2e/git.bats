# shellcheck shell=bash
# Inside a sandbox there is an ordinary repository, and git is unmodified: everything that people
# and agents do with it works, on what comes from the host as well as on what is new.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo"
	cd "$T/repo" || return
	base=$(git rev-parse HEAD)
}

# inside SCRIPT: runs it in the sandbox `a`, which is created by the first
inside() {
	[[ -n ${before-} ]] || before=$(host_hash "$T/repo")
	"$JIB" run a -q -- sh -euc "$1" </dev/null
}

# Every test ends with this: the history inside is sound, and the host has not been written.
sound() {
	inside 'git fsck --full --strict --no-dangling'
	[[ $(host_hash "$T/repo") == "$before" ]]
}

changes() {
	"$JIB" show a --json | json 'd["changes"]'
}

@test "a fresh sandbox: status, diff and log change nothing, and no file has to be read again" {
	# What is as young as the index is looked into by every git, until it writes its index again.
	git ls-files -z | xargs -0 touch -h -d '-1 minute'
	git update-index -q --refresh
	jib new a -q
	before=$(host_hash "$T/repo")
	[[ $(changes) == '{"tree": 0, "git": 0, "home": 0}' ]]
	# diff-files compares stat data alone and lists whatever does not fit, changed or not.
	[[ -z $(inside 'git diff-files --raw') ]]
	[[ -z $(inside 'git status --porcelain') ]]
	[[ -z $(inside 'git diff; git diff --cached') ]]
	inside 'git log >/dev/null; git update-index -q --refresh'
	# An index that git has only refreshed says what it said before.
	[[ $(changes) == '{"tree": 0, "git": 0, "home": 0}' ]]
	[[ -z $(find "$JIB_ROOT/a/upper/git/repo" -mindepth 1 ! -name index) ]]
	# Nor is an entry as young as the index: git reads those each time.
	inside '
		index=$(stat -c %Y .git/index)
		git ls-files --debug | awk -v index_time="$index" "
			/mtime:/ { split(\$2, t, \":\"); entries++; if (t[1] >= index_time) racy++ }
			END { exit !(entries > 20 && !racy) }"
	'
	# It does see a change of the same size.
	[[ $(inside 'printf "eno\ntwo\n" >README.md; git diff-files --name-only') == README.md ]]
	sound
}

@test "switch" {
	inside 'git switch -qc new; echo 1 >1; git add 1; git commit -qm 1; git switch -q main
		test ! -e 1; git switch -q -; test -e 1; git switch -q --detach HEAD~2; test ! -e src/../1'
	[[ $(inside 'git status --porcelain --branch') == '## HEAD (no branch)' ]]
	[[ $(inside 'git switch -q main; git rev-parse HEAD') == "$base" ]]
	sound
}

@test "stash push, list, pop" {
	inside 'echo changed >README.md; echo staged >s; git add s; echo new >new; rm tool.sh
		git stash push -q -u -m "mine"; test -z "$(git status --porcelain)"; test -x tool.sh'
	[[ $(inside 'git stash list') == 'stash@{0}: On main: mine' ]]
	inside 'echo between >between; git add between; git commit -qm between
		git stash pop -q --index; test -z "$(git stash list)"'
	[[ $(inside 'git status --porcelain') == $' M README.md\nA  s\n D tool.sh\n?? new' ]]
	[[ $(inside 'cat README.md s new') == $'changed\nstaged\nnew' ]]
	sound
}

@test "tag -a" {
	inside 'git tag -a v1 -m "version one"; git tag light HEAD~1'
	[[ $(inside 'git cat-file -t v1; git describe; git tag -l') == $'tag\nv1\nlight\nv1' ]]
	[[ $(inside 'git for-each-ref --format="%(taggeremail)" refs/tags/v1') == "<tester@example.com>" ]]
	inside 'git tag -d light; test "$(git tag -l)" = v1'
	[[ -z $(git tag -l) ]]
	sound
}

@test "merge: fast-forward" {
	inside 'git switch -qc topic; echo t >t; git add t; git commit -qm topic
		git switch -q main; git merge -q --ff-only topic'
	[[ $(inside "git log --format=%s $base..") == topic ]]
	sound
}

@test "merge: --no-ff" {
	inside 'git switch -qc topic; echo t >t; git add t; git commit -qm topic
		git switch -q main; git merge -q --no-ff -m merged topic'
	[[ $(inside "git log --format=%s $base..") == $'merged\ntopic' ]]
	[[ $(inside 'git show -s --format=%P | wc -w') == 2 ]]
	sound
}

@test "merge: conflict, abort, resolve" {
	inside 'git switch -qc topic; echo topic >>README.md; git commit -qam topic
		git switch -q main; echo main >>README.md; git commit -qam main'
	run -1 inside 'git merge topic'
	[[ $output == *"CONFLICT (content): Merge conflict in README.md"* ]]
	# Each step in a run of its own: the state of the merge lives in the git dir.
	[[ $(inside 'git status --porcelain') == 'UU README.md' ]]
	inside 'git merge --abort; test -z "$(git status --porcelain)"'
	run -1 inside 'git merge topic'
	inside 'printf "one\ntwo\nmain\ntopic\n" >README.md; git add README.md; git commit -qm resolved'
	[[ $(inside 'git show -s --format="%s %P"') == "resolved $(inside 'git rev-parse main~1 topic' | paste -sd' ')" ]]
	sound
}

@test "rebase" {
	inside 'git switch -qc topic HEAD~1; echo t >t; git add t; git commit -qm topic
		git rebase -q main'
	[[ $(inside "git log --format=%s $base..topic") == topic ]]
	run -1 inside 'git switch -qc clash main~1; echo clash >>README.md; git commit -qam clash
		git rebase main'
	[[ $output == *CONFLICT* ]]
	inside 'printf "one\ntwo\nclash\n" >README.md; git add README.md
		GIT_EDITOR=true git rebase --continue'
	[[ $(inside "git log --format=%s $base..clash") == clash ]]
	sound
}

@test "rebase -i: reorder, squash, drop; across the host's own commits" {
	inside 'for i in 1 2 3 4; do echo $i >$i; git add $i; git commit -qm "c$i"; done
		cat >~/editor <<-"EOF"
			#!/bin/sh
			{ grep " c2$" "$1"; grep " c1$" "$1" | sed s/^pick/fixup/; grep " c4$" "$1"; } >"$1.new"
			mv "$1.new" "$1"
		EOF
		chmod +x ~/editor; GIT_SEQUENCE_EDITOR=~/editor git rebase -q -i HEAD~4'
	[[ $(inside "git log --format=%s $base..") == $'c4\nc2' ]]
	[[ $(inside 'ls -d [0-9]; git status --porcelain') == $'1\n2\n4' ]]
	inside 'GIT_SEQUENCE_EDITOR="sed -i /files$/d" git rebase -q -i HEAD~4; test ! -e files
		test "$(git log --format=%s)" = "$(printf "c4\nc2\nsecond line\nfirst")"'
	sound
}

@test "cherry-pick and revert" {
	inside 'git switch -qc topic; for i in 1 2; do echo $i >$i; git add $i; git commit -qm "c$i"; done
		git switch -q main; git cherry-pick -x topic >/dev/null; git revert --no-edit HEAD~1 >/dev/null'
	[[ $(inside "git log --format=%s $base..") == $'Revert "second line"\nc2' ]]
	[[ $(inside 'cat README.md; ls -d [0-9]') == $'one\n2' ]]
	sound
}

@test "worktree add, list, remove, inside the repository" {
	inside 'git worktree add -q sub/tree -b sub; cd sub/tree; test -z "$(git status --porcelain)"
		echo s >s; git add s; git commit -qm "in sub"'
	[[ $(inside 'git worktree list --porcelain | grep ^worktree') == "worktree $T/repo
worktree $T/repo/sub/tree" ]]
	[[ $(inside 'git log -1 --format=%s sub --; git -C sub/tree log -1 --format=%s') == $'in sub\nin sub' ]]
	sound
	inside 'git worktree remove sub/tree; test ! -e sub/tree; test "$(git worktree list | wc -l)" = 1'
	[[ $(git worktree list | wc -l) == 1 ]]
	sound
}

@test "worktree add, list, remove, beside the repository" {
	inside '
		git worktree add -q ../beside -b side
		cd ../beside
		test -z "$(git status --porcelain)"
		test "$(git worktree list | wc -l)" = 2
		echo s >s; git add s; git commit -qm "in beside"
		cd "$OLDPWD"
		git worktree remove ../beside
		test ! -e ../beside
		test "$(git log -1 --format=%s side)" = "in beside"
	'
	[[ ! -e $T/beside ]]
	sound
}

@test "gc --prune=now: packs of the host are not copied, what was lost inside is gone" {
	local lost pack
	git gc -q
	pack=$(basename "$(echo .git/objects/pack/*.pack)" .pack)
	inside 'for i in 1 2 3; do echo $i >$i; git add $i; git commit -qm "c$i"; done'
	lost=$(inside 'echo lost | git hash-object -w --stdin')
	inside 'git gc -q --prune=now'
	# All of the host's history stays in the layer: neither copied nor hidden in the upper.
	[[ -z $(find "$JIB_ROOT/a/upper/git/repo/objects" -name "$pack*") ]]
	inside "test -e .git/objects/pack/$pack.pack"
	[[ $(find "$JIB_ROOT/a/upper/git/repo/objects/pack" -name '*.pack' | wc -l) == 1 ]]
	# 3 commits of 2 objects each and a tree: the new pack holds the sandbox's own alone.
	[[ $(inside 'git count-objects -v' | grep '^count:') == 'count: 0' ]]
	(($(inside "git show-index <\$(ls -t .git/objects/pack/*.idx | grep -v $pack)" | wc -l) == 9))
	run ! inside "git cat-file -e $lost"
	[[ $(inside 'git log --format=%s') == $'c3\nc2\nc1\nsecond line\nfiles\nfirst' ]]
	sound
}

@test "gc --prune=now with the host's objects loose, repack -ad, prune, maintenance" {
	inside 'echo 1 >1; git add 1; git commit -qm 1; git gc -q --prune=now'
	[[ $(inside 'git count-objects -v' | grep '^count:') == 'count: 0' ]]
	sound
	inside 'git repack -q -a -d; git prune --expire=now; git commit-graph write --reachable
		git multi-pack-index write; git maintenance run --quiet --task=gc; git pack-refs --all'
	[[ $(inside 'git log --format=%s') == $'1\nsecond line\nfiles\nfirst' ]]
	sound
}

@test "fsck --full, which also notices damage" {
	inside 'git fsck --full --strict; echo 1 >1; git add 1; git commit -qm 1; git fsck --full --strict'
	run ! inside '
		object=$(git rev-parse HEAD:1 | sed "s,^..,&/,")
		rm -f .git/objects/$object
		git fsck --full
	'
	[[ $output == *missing* ]]
	[[ $(host_hash "$T/repo") == "$before" ]]
}

@test "bisect" {
	inside 'for i in 1 2 3 4 5 6 7; do echo $i >n; git add n; git commit -qm "n$i"; done
		git bisect start HEAD HEAD~6; git bisect run sh -c "test \$(cat n) -lt 5" >~/bisect
		git bisect reset 2>/dev/null'
	[[ $(inside 'git show -s --format=%s $(sed -n "s/ is the first bad commit//p" ~/bisect)
		git branch --show-current') == $'n5\nmain' ]]
	sound
}

@test "clean -fdx" {
	inside 'mkdir -p ignored d; echo x >ignored/x; echo o >x.o; echo new >d/new; echo c >README.md
		git clean -qfdx; test ! -e ignored; test ! -e x.o; test ! -e d'
	[[ $(inside 'git status --porcelain') == ' M README.md' ]]
	sound
}

@test "submodule status" {
	local commit
	make_repo "$T/library" 1
	git -c protocol.file.allow=always submodule --quiet add "$T/library" lib/library
	git commit -qm "with a submodule"
	commit=$(git -C lib/library rev-parse HEAD)
	[[ $(inside 'git submodule status') == ?"$commit lib/library"* ]]
	[[ -z $(inside 'git status --porcelain') ]]
	[[ $(inside 'git ls-files -s lib/library') == "160000 $commit"* ]]
	sound
}

@test "files are moved, by git mv and by mv" {
	inside 'git mv README.md READ.md; git mv tool.sh src/tool; mkdir new; git mv src/main.c new/
		git commit -qm moved'
	[[ $(inside 'git show -M --name-status --format= HEAD') == $'R100\tREADME.md\tREAD.md
R100\tsrc/main.c\tnew/main.c
R100\ttool.sh\tsrc/tool' ]]
	[[ $(inside 'git log --follow --format=%s READ.md') == $'moved\nsecond line\nfirst' ]]
	inside 'test -x src/tool; mv files moved; mv "docs/a name with spaces.txt" plain; mv link link2
		git add -A; git commit -qm "more"'
	[[ $(inside 'git show -M --diff-filter=R --name-only --format= HEAD | wc -l') == 22 ]]
	[[ $(inside 'cat moved/0/7.txt plain link2; test ! -e files') == $'file 7\nspaces\none\ntwo' ]] ||
		[[ $(inside 'readlink link2') == README.md ]]
	# A directory of the sandbox's own is renamed in place.
	inside 'git mv new newer; git commit -qm newer; test -e newer/main.c; test ! -e new'
	sound
}

@test "modes, executable bits and symlinks" {
	[[ $(inside 'git ls-files -s tool.sh link | cut -c1-6; readlink link; ./tool.sh') == \
		$'120000\n100755\nREADME.md\nhello' ]]
	inside 'chmod -x tool.sh; chmod +x src/main.c; ln -sf src/main.c link; ln -s nowhere dangling
		ln -s ../docs src/docs; git add -A; git commit -qm modes'
	[[ $(inside 'git show --summary --format= HEAD') == ' create mode 120000 dangling
 create mode 120000 src/docs
 mode change 100644 => 100755 src/main.c
 mode change 100755 => 100644 tool.sh' ]]
	# And back, and forth again.
	inside 'git checkout -q HEAD~1; test -x tool.sh; test ! -x src/main.c; test ! -L dangling
		test "$(readlink link)" = README.md
		git checkout -q main; test ! -x tool.sh; test -x src/main.c; test -L dangling
		test "$(readlink link)" = src/main.c; ls "src/docs/a name with spaces.txt"'
	# A file becomes a directory, a directory a file, a symlink a file.
	inside 'rm -r docs README.md link; echo file >docs; mkdir README.md; echo f >README.md/f; echo l >link
		git add -A; git commit -qm types; git checkout -q HEAD~1; test -d docs; test -f README.md
		test -L link; git checkout -q main; test -f docs; test -d README.md; test ! -L link'
	[[ -z $(inside 'git status --porcelain') ]]
	sound
}

@test "the host repository's hooks run inside, on the sandbox's side" {
	printf '#!/bin/sh\necho ran >>"$HOME/hook"\n! git diff --cached | grep -q forbidden\n' >.git/hooks/pre-commit
	printf '#!/bin/sh\nsed -i "s/$/ (hooked)/" "$1"\n' >.git/hooks/commit-msg
	chmod +x .git/hooks/pre-commit .git/hooks/commit-msg
	inside 'echo fine >>README.md; git commit -qam fine'
	run ! inside 'echo forbidden >>README.md; git commit -qam refused'
	[[ $(inside "git log --format=%s $base..; cat ~/hook") == $'fine (hooked)\nran\nran' ]]
	[[ ! -e $HOME/hook ]]
	# What the sandbox writes as a hook is the sandbox's alone.
	inside 'git checkout -q .; printf "#!/bin/sh\nexit 0\n" >.git/hooks/pre-commit
		echo forbidden >>README.md; git commit -qam "now it goes"'
	sound
	run -1 grep -F 'exit 0' .git/hooks/pre-commit
}

@test "commits have the host's identity: the user's, and the repository's before it" {
	[[ $(inside 'git commit -q --allow-empty -m x; git log -1 --format="%an %ae %cn %ce"') == \
		"A Tester tester@example.com A Tester tester@example.com" ]]
	sound
	git config user.name "Of This Repository"
	before=$(host_hash "$T/repo")
	[[ $(jib run b -q -- sh -euc 'git commit -q --allow-empty -m x; git log -1 --format="%an %ae"') == \
		"Of This Repository tester@example.com" ]]
	sound
}

@test "ranges, grep, blame, archive, notes, rev-list and the rest of reading" {
	local command
	for command in 'blame README.md' 'grep -n file' 'rev-list --objects --all' 'shortlog -s HEAD' \
		'ls-tree -r -t HEAD' 'archive HEAD' 'format-patch --stdout HEAD~2' 'name-rev HEAD~1' \
		'reflog --format=%H' 'diff --stat HEAD~2 HEAD' 'show HEAD~1:files/0/3.txt'; do
		[[ $(inside "git $command" | sha256sum) == "$(git $command </dev/null | sha256sum)" ]] || {
			echo "git $command differs"
			return 1
		}
	done
	inside 'git notes add -m note; git format-patch -q -1 -o ~; git reset -q --hard HEAD~1; git am -q ~/*.patch'
	[[ $(inside 'git log -1 --format=%s; cat README.md') == $'second line\none\ntwo' ]]
	sound
}

@test "a clone of it, a fetch and a push between repositories of the sandbox" {
	inside '
		git clone -q . ~/clone
		cd ~/clone
		echo c >c; git add c; git commit -qm "in the clone"; git push -q origin HEAD:pushed
		cd "$OLDPWD"
		git log -1 --format=%s pushed
		git fetch -q ~/clone HEAD:fetched
		test "$(git rev-parse fetched)" = "$(git rev-parse pushed)"
	'
	[[ -z $(git branch --list pushed fetched) ]]
	sound
}

# ---- What the repository looks like on the host ----

# same_inside: all refs and objects are there, and the everyday round works
same_inside() {
	local refs
	refs=$(git for-each-ref --format='%(refname) %(objectname)')
	[[ $(inside 'git for-each-ref --format="%(refname) %(objectname)"') == "$refs" ]]
	[[ $(inside 'git rev-parse HEAD') == "$(git rev-parse HEAD)" ]]
	[[ $(inside 'git branch --show-current') == "$(git branch --show-current)" ]]
	[[ -z $(inside 'git status --porcelain') ]]
	inside 'git switch -qc everyday; echo day >>README.md; git add README.md; git commit -qm day
		git stash list; git merge -q -m back HEAD~1; git gc -q --prune=now; git checkout -q -
		git branch -D everyday; git worktree add -q ../aside; git worktree remove ../aside'
	[[ $(inside 'git rev-parse HEAD') == "$(git rev-parse HEAD)" ]]
	[[ $(git for-each-ref --format='%(refname) %(objectname)') == "$refs" ]]
}

@test "a linked worktree as source" {
	git branch other HEAD~1
	git worktree add -q "$T/linked" other
	echo "only in main" >uncommitted
	before=$(host_hash "$T/repo")
	cd "$T/linked"
	local linked_before
	linked_before=$(host_hash "$T/linked")
	same_inside
	[[ $(inside 'git worktree list | wc -l; ls -d .git/worktrees/linked uncommitted 2>/dev/null') == 1 ]]
	[[ $(inside 'git rev-parse --show-toplevel --git-common-dir') == "$T/linked"$'\n.git' ]]
	[[ $(host_hash "$T/linked") == "$linked_before" ]]
	sound
}

@test "a separate git dir as source" {
	local after
	git init -q --separate-git-dir "$T/elsewhere.git"
	local git_before
	git_before=$(host_hash "$T/elsewhere.git")
	same_inside
	inside 'test -d .git; test "$(git rev-parse --absolute-git-dir)" = "$PWD/.git"'
	[[ $(host_hash "$T/elsewhere.git") == "$git_before" ]]
	sound
}

@test "packed refs as source" {
	local i
	for i in 1 2 3 4 5; do
		git branch "packed/$i"
		git tag -a "v$i" -m "version $i"
	done
	git pack-refs --all --prune
	git update-ref refs/heads/packed/3 HEAD~1
	[[ ! -e .git/refs/heads/main ]]
	same_inside
	inside 'git branch -D packed/1; git branch -f packed/2 HEAD~1; git tag -d v1'
	[[ $(inside 'git branch --list "packed/*" --format="%(refname:short) %(objectname)"') == \
		"$(for i in 2 3 4 5; do echo "packed/$i $(if ((i < 4)); then git rev-parse HEAD~1; else echo "$base"; fi)"; done)" ]]
	sound
}

@test "many loose refs as source" {
	python3 -c '
import sys
for i in range(300):
    print(f"create refs/heads/topic/{i % 40}/{i} {sys.argv[1]}")
    print(f"create refs/remotes/origin/{i} {sys.argv[1]}")' "$base" | git update-ref --stdin
	[[ $(find .git/refs -type f | wc -l) -gt 600 ]]
	same_inside
	inside 'git pack-refs --all; git branch -D topic/0/0'
	# 601, less the one, and `aside`, which worktree add has made.
	[[ $(inside 'git for-each-ref | wc -l') == 601 ]]
	sound
}

@test "a detached HEAD, a symbolic ref and an unusual branch name as source" {
	git symbolic-ref refs/remotes/origin/HEAD refs/heads/main
	git branch 'füß/a#b%c'
	git checkout -q --detach HEAD~1
	same_inside
	[[ $(inside 'git symbolic-ref refs/remotes/origin/HEAD') == refs/heads/main ]]
	inside 'git switch -q "füß/a#b%c"; git commit -q --allow-empty -m x'
	sound
}

@test "objects borrowed from another repository as source" {
	git clone -q --shared "$T/repo" "$T/borrower"
	cd "$T/borrower"
	git commit -q --allow-empty -m "of its own"
	[[ -s .git/objects/info/alternates ]]
	before=$(host_hash "$T/repo")
	same_inside
	# It stands on its own feet: the lender may go.
	mv "$T/repo" "$T/gone"
	inside 'git fsck --full --strict --no-dangling; test ! -e .git/objects/info/alternates'
	mv "$T/gone" "$T/repo"
	sound
}
