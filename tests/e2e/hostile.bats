# shellcheck shell=bash
# Whoever is in a sandbox wants what looks at it from the host to run something, to write somewhere, to hang,
# or to tell a lie.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 5
	cd "$T/repo" || return
	base=$(git rev-parse HEAD)
}

# inside NAME SCRIPT: runs the script in the sandbox
inside() {
	"$JIB" run "$1" -q -- sh -euc "$2" </dev/null
}

# host_rest: what the host's repository holds but for what may come: objects and refs of jib's
host_rest() {
	host_list "$T/repo" | grep -v -e "^'./.git/objects/" -e "^'./.git/\(logs/\)\?refs/heads/jib/" \
		-e "^'./.git/\(objects\|\(logs/\)\?refs\(/heads\(/jib\)\?\)\?\|logs\)' "
}

# names NAME [OPTION...]: what diff --name-status says, on one line
names() {
	timeout 20 "$JIB" diff "$@" --name-status 2>"$T/said" | tr '\t\n' ' ,'
}

# bounded CMD...: neither hangs nor fails
bounded() {
	run -0 timeout 20 "$@"
}

@test "T41: FIFOs, sockets and devices are told, and never opened" {
	inside a '
		mkfifo pipe src/.gitattributes
		rm .gitignore README.md
		mkfifo .gitignore README.md
		python3 -c "import socket; socket.socket(socket.AF_UNIX).bind(\"listener\")"
		echo new >new.txt'
	[[ $(names a) == "D .gitignore,D README.md,A new.txt," ]]
	grep -qxF "jib: repo: listener is left out: a socket" "$T/said"
	grep -qxF "jib: repo: src/.gitattributes is left out: a FIFO" "$T/said"
	bounded "$JIB" diff a --json
	[[ $(json '[[l["path"], l["why"]] for l in d["repos"][0]["left_out"]]' <<<"$output") == \
		'[[".gitignore", "fifo"], ["README.md", "fifo"], ["listener", "socket"], ["pipe", "fifo"], ["src/.gitattributes", "fifo"]]' ]]
	bounded "$JIB" status a
	bounded "$JIB" persist a
	[[ $(git diff --name-status "$base" jib/a/main | tr '\t\n' ' ,') == \
		"D .gitignore,D README.md,A new.txt," ]]
	[[ $(jib ls --json | json 'd[0]["unpersisted"]') == false ]]
}

@test "T41: nor those in a git dir, or what links there lead to" {
	inside a '
		mkfifo .git/refs/heads/pipe .git/logs/refs/heads/pipe .git/objects/info/alternates
		ln -s /dev/zero .git/refs/heads/zero
		ln -sf /proc/self/fd/0 .git/logs/HEAD
		ln -s /dev/zero .git/refs/stash
		mkdir .git/objects/ab
		mkfifo .git/objects/ab/cdef0123456789012345678901234567890123
		echo new >new.txt'
	local command
	for command in "diff a" "status a" "log a" "persist a --stash --tags --notes" ls "show a" "gc" "du"; do
		# shellcheck disable=SC2086
		bounded "$JIB" $command
	done
	[[ $(names a) == "A new.txt," ]]
	[[ $(git for-each-ref --format='%(refname)' refs/heads/jib) == refs/heads/jib/a/main ]]
}

@test "T56: files of a tebibyte without content cost nothing" {
	inside a '
		truncate -s 1T sparse .git/refs/heads/sparse
		mkdir rules
		truncate -s 50G rules/.gitignore
		truncate -s 60M closed; chmod 0 closed
		for i in 1 2 3 4 5 6 7 8; do truncate -s 60M "closed$i"; chmod 0 "closed$i"; done
		echo new >new.txt'
	# Neither is the host's memory filled.
	ulimit -v 4000000
	[[ $(names a) == "A closed,A new.txt," ]]
	grep -qxF "jib: repo: sparse is left out: larger than 4 GiB" "$T/said"
	grep -qxF "jib: repo: closed8 is left out: a large file that its owner may not read" "$T/said"
	bounded "$JIB" persist a
	[[ $(du -s --block-size=1M .git | cut -f1) -lt 10 ]]
	# What did not come is still work.
	[[ $(jib ls --json | json 'd[0]["unpersisted"]') == true ]]
	run -1 jib rm a
}

@test "T51: names of any bytes, and a directory that is 3,000 deep" {
	inside a '
		python3 - <<-"END"
			import os
			for name in (b"new\nline", b"esc\x1b[2J", b"-rf", b"--upload-pack=x", b"\xff\xfe", b"\"quoted\"",
			             b":!not", b":(top)x", b"a*b", b"back\\slash", b" blank ", b"tab\t", b"\xe2\x80\xaebidi",
			             b"#comment", b"C1\xc2\x9b31m", b"x" * 255):
			    open(name, "wb").write(b"x\n")
			os.mkdir(":")
			open(":/colon", "w").write("x\n")
			for i in range(3000):
			    os.mkdir("d")
			    os.chdir("d")
			open("bottom", "w").write("x\n")
		END
		git add ./-rf ./--upload-pack=x
		git commit -qm "$(printf "a\033]0;title\007 \302\23331m")" --author="$(printf "x\033[5m") <a@b>"'
	local command said
	for command in "diff a --name-status" "diff a --stat" "status a" "log a" "log a --stat" "persist a" "ls" "show a"; do
		# shellcheck disable=SC2086
		timeout 60 "$JIB" $command >"$T/out" 2>&1 </dev/null
		[[ $command != diff* ]] || grep -q "/d/d is left out: its path is too long" "$T/out"
		run -1 grep -aP '\x1b|\x07|\x9b' "$T/out"
	done
	for command in "diff a --json" "status a --json" "log a --json"; do
		# shellcheck disable=SC2086
		timeout 60 "$JIB" $command >"$T/out" </dev/null
		python3 -m json.tool "$T/out" >/dev/null
		run -1 grep -aP '\x1b|\x07|\x9b' "$T/out"
	done
}

@test "T51: each name comes to the host as it is" {
	inside a '
		python3 - <<-"END"
			import os
			for name in (b"new\nline", b"esc\x1b[2J", b"-rf", b"\xff\xfe", b"\"quoted\"", b":!not", b":(top)x",
			             b"a*b", b"back\\slash", b" blank ", b"tab\t", b"cr\r"):
			    open(name, "wb").write(name)
			os.mkdir(":")
			open(":/colon", "w").write("x\n")
		END'
	run -0 jib diff a --json
	[[ $(json 'len(d["repos"][0]["files"])' <<<"$output") == 13 ]]
	[[ $(json '"new\nline" in [f["path"] for f in d["repos"][0]["files"]]' <<<"$output") == true ]]
	jib diff a >"$T/patch"
	git worktree add -q --detach "$T/applied"
	git -C "$T/applied" apply "$T/patch"
	git -C "$T/applied" add -A
	jib persist a
	[[ $(git -C "$T/applied" write-tree) == "$(git rev-parse jib/a/main^{tree})" ]]
	[[ $(git ls-tree -z jib/a/main | grep -zc .) -ge 13 ]]
	git cat-file -e $'jib/a/main:esc\e[2J'
}

@test "T43: nothing that git inside is told to overlook is overlooked" {
	inside a '
		git update-index --assume-unchanged README.md
		git update-index --skip-worktree src/main.c
		echo evil >>README.md
		echo evil >>src/main.c
		echo "*.hidden" >>.git/info/exclude
		echo "*.secret" >~/ignored
		git config core.excludesFile ~/ignored
		echo "* -diff -text filter=evil" >.git/info/attributes
		echo evil >a.hidden
		echo evil >b.secret
		chmod 755 docs/a*
		git config core.fileMode false
		git config core.ignoreCase true
		git config core.bare true
		git config core.worktree /tmp
		git config core.symlinks false
		git config core.precomposeUnicode true
		git config status.showUntrackedFiles no
		git config diff.ignoreSubmodules all
		git config extensions.worktreeConfig true
		git config --file .git/config.worktree core.sparseCheckout true
		mkdir -p .git/info
		echo "/nothing" >.git/info/sparse-checkout
		ln -sf nowhere link'
	[[ $(names a) == "M README.md,A a.hidden,A b.secret,M docs/a name with spaces.txt,M link,M src/main.c," ]]
	jib diff a >"$T/patch"
	[[ $(grep -c '^+evil' "$T/patch") == 4 ]]
	[[ $(jib status a --json | json 'len(d["repos"][0]["uncommitted"])') == 6 ]]
	jib persist a
	[[ $(git diff --name-only "$base" jib/a/main | wc -l) == 6 ]]
}

@test "T43: neither replaced objects nor grafts lie about history" {
	inside a '
		evil=$(git rev-parse HEAD)
		echo evil >README.md
		git commit -qam "evil"
		git replace HEAD "$evil"
		git rev-parse HEAD >.git/info/grafts
		git rev-parse HEAD >.git/shallow'
	[[ $(names a) == "M README.md," ]]
	[[ $(jib log a --json | json '[c["subject"] for c in d["repos"][0]["commits"]]') == '["evil"]' ]]
	jib persist a
	[[ $(git log --format=%s "$base..jib/a/main") == evil ]]
	[[ -z $(git for-each-ref refs/replace) ]]
}

@test "T44: attributes, text conversions and NUL bytes hide no content" {
	inside a '
		printf "* -diff\n*.md binary\n*.c diff=evil\n*.h diff=evil filter=evil\n" >.gitattributes
		git config diff.evil.textconv true
		git config diff.evil.command true
		git config diff.external true
		git config filter.evil.clean "echo innocent"
		echo evil >>README.md
		echo evil >>src/main.c
		echo evil >>src/lib/lib.h
		printf "x\0y" >nul'
	jib diff a >"$T/patch"
	[[ $(grep -c '^+evil' "$T/patch") == 3 ]]
	grep -qxF "# nul: binary, 3 bytes" "$T/patch"
	[[ $(jib diff a --json | json '[[f["path"], f.get("bytes")] for f in d["repos"][0]["files"] if f["binary"]]') == '[["nul", 3]]' ]]
	git commit -q --allow-empty -m x
	git apply --check "$T/patch"
	[[ $(jib log a -p) != *innocent* ]]
	jib persist a
	[[ $(git show jib/a/main:src/lib/lib.h) == *evil ]]
}

@test "T45: a repository inside hides no edit, and does not come along by the way" {
	inside a '
		git init -q src
		echo evil >>src/main.c
		echo more >src/more.c
		git init -q embedded
		echo file >embedded/file
		git -C embedded add file
		git -C embedded commit -qm x
		git init -q --bare bare.git
		git -C bare.git config core.fsmonitor /bin/true
		mkdir .GIT
		echo x >.GIT/config
		echo new >new.txt'
	[[ $(names a) == "A new.txt,M src/main.c," ]]
	run -0 jib diff a --json
	[[ $(json 'sorted([l["path"], l["why"]] for l in d["repos"][0]["left_out"])' <<<"$output") == \
		'[[".GIT", "git-directory"], ["bare.git", "bare-repository"], ["embedded", "nested-repository"], ["src", "nested-repository"]]' ]]
	jib persist a
	[[ $(git diff --name-status "$base" jib/a/main | tr '\t\n' ' ,') == "A new.txt,M src/main.c," ]]
	# There is more in it than what has come.
	[[ $(jib ls --json | json 'd[0]["unpersisted"]') == true ]]
	jib persist a --nested
	[[ $(git diff --name-only "$base" jib/a/main) == *embedded/file*src/more.c* ]]
	run -1 grep -iE '(^|/)\.git/' <(git ls-tree -r --name-only jib/a/main)
}

@test "T45: neither do submodules and bare repositories that were committed" {
	inside a '
		git init -q embedded
		git -C embedded commit -q --allow-empty -m x
		git add embedded 2>/dev/null
		git commit -qm "a gitlink"'
	local before
	before=$(host_list "$T/repo")
	run -1 jib persist a
	[[ $output == *"adds a submodule at embedded"*"jib persist a --nested"* ]]
	diff <(echo "$before") <(host_list "$T/repo")
	jib persist a --nested
	[[ $(git ls-tree jib/a/main embedded) == 160000* ]]
	inside b '
		git init -q --bare sub/bare.git
		touch sub/bare.git/refs/keep
		touch sub/bare.git/objects/keep
		git add -f sub
		git commit -qm bare'
	run -1 jib persist b --json
	[[ $(json 'd["error"]["code"]' <<<"$output") == unsupported ]]
	[[ $output == *"a bare repository at sub/bare.git/HEAD"* ]]
	run -1 git rev-parse --verify -q jib/b/main
	run -1 jib persist b --apply
	[[ $output == *"a bare repository at sub/bare.git/HEAD"*"--apply --nested"* && ! -e sub ]]
	# Its objects and refs may be elsewhere.
	inside c '
		git init -q --bare real
		touch real/refs/keep real/objects/keep
		mkdir tiny
		mv real/HEAD tiny/HEAD
		echo ../real >tiny/commondir
		git -C tiny rev-parse --git-dir
		git add -f real tiny
		git commit -qm bare'
	run -1 jib persist c
	[[ $output == *"a bare repository at tiny/HEAD"* ]]
	run -1 jib persist c --apply
	[[ $output == *"a bare repository at tiny/HEAD"* && ! -e tiny && ! -e real ]]
	[[ -z $(git status --porcelain) ]]
	jib persist b --apply --nested
	[[ -e sub/bare.git/HEAD ]]
}

@test "T46: nothing but objects and the refs that were named reaches the host" {
	inside a '
		git config alias.st "!false"
		git config user.name Evil
		mkdir -p .git/info .git/modules/m
		echo evil >.git/info/exclude
		echo evil >.git/info/attributes
		echo evil >.git/modules/m/config
		echo evil >.git/description
		git tag evil
		git update-ref refs/evil/x HEAD
		git update-ref refs/remotes/origin/main HEAD
		echo work >work.txt
		git add work.txt
		git commit -qm work
		for hook in pre-commit post-checkout reference-transaction post-update post-receive; do
			printf "#!/bin/sh\nexit 1\n" >.git/hooks/$hook
			chmod 755 .git/hooks/$hook
		done'
	local before after
	before=$(host_rest)
	jib persist a
	after=$(host_rest)
	diff <(echo "$before") <(echo "$after")
	[[ $(git for-each-ref --format='%(refname)') == $'refs/heads/jib/a/main\nrefs/heads/main' ]]
	git fsck --strict
}

@test "T47: alternates of a sandbox are nobody else's" {
	git init -q "$T/victim"
	echo secret >"$T/victim/secret"
	git -C "$T/victim" add -A
	git -C "$T/victim" commit -qm secret
	local secret
	secret=$(git -C "$T/victim" rev-parse HEAD:secret)
	inside a "
		mkdir -p .git/objects/info
		echo $T/victim/.git/objects >.git/objects/info/alternates
		echo /run/jib/look/0/objects >>.git/objects/info/alternates
		tree=\$(printf '100644 blob %s\tsecret\n' $secret | git mktree --missing)
		git update-ref refs/heads/main \$(git commit-tree \$tree -m x -p HEAD)"
	run -1 jib persist a
	run -1 git cat-file -e "$secret"
	run -1 git rev-parse --verify -q jib/a/main
	[[ $(jib diff a -p 2>&1) != *"+secret"* ]]
	[[ ! -e .git/objects/info/alternates ]]
}

@test "T48: odd modes and attributes come as git has them, and go with the sandbox" {
	inside a '
		echo s >setuid; chmod 4755 setuid
		echo c >closed; chmod 0 closed
		echo w >wide; chmod 7777 wide
		mkdir shut; echo x >shut/in; chmod 0 shut
		echo a >attributed
		setfattr -n user.x -v y attributed 2>/dev/null || python3 -c "import os; os.setxattr(\"attributed\", \"user.x\", b\"y\")"'
	run -0 --separate-stderr jib persist a
	[[ $(git ls-tree jib/a/main setuid closed wide attributed | cut -d' ' -f1 | tr '\n' ' ') == \
		"100644 100644 100755 100755 " ]]
	[[ $(git show jib/a/main:closed) == c ]]
	jib rm --force a
	[[ ! -e $JIB_ROOT/a ]]
}

@test "T58: branches that are named like options, or like a command" {
	inside a '
		echo work >work.txt
		git add work.txt
		git commit -qm work
		for name in -x --upload-pack=x HEAD "\$(touch\${IFS}$HOME/pwned);x" "a'"'"'b" main..lock; do
			git update-ref "refs/heads/$(printf %s "$name" | tr -d "\\\\")" HEAD || :
		done
		git update-ref refs/heads/main HEAD~1
		git reset -q --hard'
	run -0 jib persist a
	[[ $output == *"jib/a/--upload-pack=x  created"*"jib/a/-x  created"*"jib/a/HEAD  created"* ]]
	# What is told to be done next does only that.
	local next
	next=${output##*next: }
	jib persist a --branch "\$(touch\${IFS}$HOME/pwned);x" >"$T/out" 2>&1 || cat "$T/out"
	bash -c "$next" || :
	next=$(sed -n 's/^jib: next: //p' "$T/out")
	[[ ! $next ]] || bash -c "$next" || :
	[[ ! -e $HOME/pwned ]]
	# The host's own branches are not named like that.
	run -1 jib persist a --update --branch -x
	[[ $output == *"cannot have a branch named -x"* ]]
	run -1 jib persist a --update --branch HEAD
	run -2 jib persist a --as -y --branch -x
	run -2 jib persist a --as HEAD --branch -x
	[[ -z $(git for-each-ref refs/heads/-x refs/heads/-y refs/heads/HEAD) ]]
	jib diff a -- --upload-pack=x -x
	jib log a | grep -q work
}

@test "a branch that is only another name is followed" {
	inside a '
		git symbolic-ref refs/heads/alias refs/heads/main
		git checkout -q alias
		echo work >work.txt
		git add work.txt
		git commit -qm work
		echo more >more.txt'
	[[ $(names a --uncommitted) == "A more.txt," ]]
	run -0 jib persist a
	[[ $(git diff --name-only "$base" jib/a/main | tr '\n' ' ') == "more.txt work.txt " ]]
	[[ $(git for-each-ref --format='%(refname)' refs/heads/jib) == refs/heads/jib/a/main ]]
}

# plant NAME: everything in it by which git could be made to run something runs a canary. On the host that leaves a
# file, and where the file cannot be made, in a viewer, it never ends.
plant() {
	printf '#!/bin/sh\ntouch %s/canary 2>/dev/null || exec sleep 1000\n' "$T" >canary.sh
	chmod 755 canary.sh
	git add canary.sh
	git commit -qm "a file that is on the host, in the sandbox and in a viewer"
	base=$(git rev-parse HEAD)
	jib run "$1" -q -- sh -euc '
		echo work >>README.md
		git commit -qam "work"
		echo more >>README.md
		top=$PWD
		hooks=$(cd "$(git --exec-path)"/../../share/git-core/templates/hooks 2>/dev/null && ls | sed s/.sample// || :)
		infect() {
			evil=$top/canary.sh
			for each in core.fsmonitor core.sshCommand core.pager core.editor core.askPass core.gitProxy \
				core.alternateRefsCommand diff.external diff.evil.command diff.evil.textconv merge.evil.driver \
				filter.evil.clean filter.evil.smudge filter.evil.process gpg.program gpg.ssh.program \
				credential.helper uploadpack.packObjectsHook sequence.editor interactive.diffFilter \
				pager.diff pager.log pager.status trailer.x.command log.mailmap \
				remote.origin.uploadpack remote.origin.receivepack remote.origin.vcs; do
				git config --file "$1/config" "$each" "$evil"
			done
			for each in diff log status show diff-tree cat-file hash-object fast-import rev-list pack-objects \
				for-each-ref check-ignore commit-tree symbolic-ref ls-files index-pack; do
				git config --file "$1/config" "alias.$each" "!$evil"
			done
			git config --file "$1/config" core.hooksPath "$2/evil-hooks"
			git config --file "$1/config" core.repositoryFormatVersion 1
			git config --file "$1/config" extensions.partialClone origin
			git config --file "$1/config" remote.origin.promisor true
			git config --file "$1/config" remote.origin.url "ext::$evil"
			git config --file "$1/config" protocol.ext.allow always
			git config --file "$1/config" commit.gpgSign true
			git config --file "$1/config" log.showSignature true
			git config --file "$1/config" filter.evil.required true
			git config --file "$1/config" include.path "$2/included"
			printf "[core]\n\tfsmonitor = %s\n" "$evil" >"$2/included"
			mkdir -p "$1/hooks" "$1/info" "$2/evil-hooks"
			for each in pre-commit post-checkout post-index-change reference-transaction fsmonitor-watchman \
				post-merge pre-auto-gc pre-push update post-update pre-receive post-receive $hooks; do
				cp "$evil" "$1/hooks/$each"
				cp "$evil" "$2/evil-hooks/$each"
			done
			echo "* diff=evil filter=evil merge=evil" >"$1/info/attributes"
		}
		echo "* diff=evil filter=evil merge=evil" >.gitattributes
		git init -q nested
		git init -q --bare bare
		git init -q src
		infect "$PWD/nested/.git" "$PWD/nested"
		infect "$PWD/src/.git" "$PWD/src"
		infect "$PWD/bare" "$PWD/bare"
		infect "$PWD/.git" "$PWD"
		cp .git/config ~/.gitconfig
		mkdir -p ~/.config/git .git/worktrees/x
		cp .git/config ~/.config/git/config
		cp .git/config .git/config.worktree
		# What is not there would be fetched by a promisor.
		echo 1111111111111111111111111111111111111111 >.git/refs/heads/promised' </dev/null
}

# unharmed: what the canary would have left on the host is not there
unharmed() {
	[[ ! -e $T/canary ]]
}

@test "a canary in all that git may run does not sing on the host, nor in the viewer" {
	plant a
	# It does where somebody is so careless.
	cp -r "$JIB_ROOT/a/upper/repos/repo/nested" "$T/careless"
	run git -C "$T/careless" status
	[[ -e $T/canary ]]
	rm -rf "$T/canary" "$T/careless"
	local command before
	before=$(host_rest)
	for command in "diff a" "diff a --stat --ignored --nested" "diff a --json" "log a -p" "log a --json" "status a" \
		"persist a --dry-run" "persist a --nested --tags --notes --stash" ls "show a" "du" "gc --dry-run" \
		"fork a b" "diff b" "checkpoint a" "diff a" "persist b"; do
		# shellcheck disable=SC2086
		timeout 60 "$JIB" $command >"$T/out" 2>&1 || {
			echo "jib $command: $(cat "$T/out")"
			return 1
		}
		unharmed
	done
	diff <(echo "$before") <(host_rest)
	# It would have answered nothing in the place of git.
	grep -q "^+more" <(jib diff a)
	[[ $(git log --format=%s "$base..jib/a/main" | tail -1) == work ]]
	jib rm --force a b
	unharmed
}

# attacked SCRIPT: performed inside, it changes nothing for the host's git, and jib looks on unharmed
attacked() {
	local before after command
	printf '#!/bin/sh\ntouch %s/canary\n' "$T" >"$T/canary.sh"
	chmod 755 "$T/canary.sh"
	echo precious >"$T/victim"
	before=$(host_list "$T/repo")
	inside a "$1"
	diff <(echo "$before") <(host_list "$T/repo")
	for command in "diff a" "status a" "log a" "persist a --dry-run" ls "show a"; do
		# What is left of the repository may be none at all: then that is said.
		# shellcheck disable=SC2086
		run timeout 60 "$JIB" $command
		((status < 2))
	done
	git status >/dev/null
	git commit -q --allow-empty -m "by the host"
	git worktree prune
	[[ ! -e $T/canary && $(cat "$T/victim") == precious ]]
	[[ $(git rev-parse HEAD~1) == "$base" ]]
	git fsck --strict
}

@test "T27: a git dir that was moved away and rebuilt" {
	attacked "
		mv .git .gitx || cp -r .git .gitx
		rm -rf .git/* || :
		git init -q . || :
		git config core.fsmonitor $T/canary.sh || :
		echo x >>README.md"
}

@test "T28: common dirs and git files that lead elsewhere" {
	attacked "
		mkdir -p .git/worktrees/x
		echo /tmp/evil >.git/commondir
		echo /tmp/evil >.git/worktrees/x/commondir
		echo $T/evil/.git >.git/worktrees/x/gitdir
		git init -q /tmp/evil
		git config --file /tmp/evil/.git/config core.fsmonitor $T/canary.sh
		cp /tmp/evil/.git/config .git/config.worktree
		mkdir sub; echo 'gitdir: /tmp/evil/.git' >sub/.git
		echo x >>README.md"
}

@test "T29, T31: a reflog or a config that is a link" {
	attacked "
		ln -sf $T/victim .git/logs/HEAD
		ln -sf $T/victim .git/config
		ln -sf $T/victim .git/logs/refs/heads/main
		ln -sf $T/victim .git/packed-refs
		echo x >>README.md"
}

@test "T30: a worktree's directory that names a victim" {
	mkdir "$T/precious"
	echo file >"$T/precious/file"
	attacked "
		mkdir -p .git/worktrees/x
		echo $T/precious/.git >.git/worktrees/x/gitdir
		echo ../.. >.git/worktrees/x/commondir
		echo 'ref: refs/heads/main' >.git/worktrees/x/HEAD
		echo x >>README.md"
	jib rm --force a
	[[ $(cat "$T/precious/file") == file ]]
}

# forge HOW: the sandbox edits src/main.c, and puts a tree with the edit in the place of the one that it started with
forge() {
	cat >"$T/forge.py" <<-'END'
		import glob, hashlib, os, struct, subprocess, sys, zlib
		def git(*args, **more):
		    return subprocess.run(("git",) + args, check=True, capture_output=True, **more).stdout
		def oid(name):
		    return git("rev-parse", name).decode().strip()
		tree, old, how = oid("HEAD:src"), oid("HEAD:src/main.c"), sys.argv[1]
		open("src/main.c", "a").write("evil\n")
		new = git("hash-object", "-w", "src/main.c").decode().strip()
		listed = git("ls-tree", tree).replace(old.encode(), new.encode())
		if how == "loose":
		    place = f".git/objects/{tree[:2]}/{tree[2:]}"
		    raw = git("cat-file", "tree", tree).replace(bytes.fromhex(old), bytes.fromhex(new))
		    if os.path.exists(place):
		        os.unlink(place)
		    for pack in glob.glob(".git/objects/pack/*"):
		        os.unlink(pack)
		    os.makedirs(os.path.dirname(place), exist_ok=True)
		    open(place, "wb").write(zlib.compress(b"tree %d\0" % len(raw) + raw))
		else:
		    objects = ".git/objects" if how == "packed" else ".git/other"
		    if how == "alternate":
		        os.makedirs(objects + "/pack")
		        open(".git/objects/info/alternates", "w").write(os.path.abspath(objects) + "\n")
		    evil = git("mktree", input=listed)
		    name = git("pack-objects", "-q", objects + "/pack/pack", input=evil).decode().strip()
		    index = f"{objects}/pack/pack-{name}.idx"
		    body = bytearray(open(index, "rb").read()[:-20])
		    for i in range(256):
		        body[8 + 4 * i:12 + 4 * i] = struct.pack(">I", i >= int(tree[:2], 16))
		    body[8 + 1024:8 + 1024 + 20] = bytes.fromhex(tree)
		    os.chmod(index, 0o644)
		    open(index, "wb").write(bytes(body) + hashlib.sha1(body).digest())
	END
	jib run "$1" -q --bind "$T/forge.py:/tmp/forge.py" -- python3 /tmp/forge.py "$1" </dev/null
}

@test "T22, T43: an object under the name of another one hides nothing" {
	local how command
	for how in loose packed; do
		forge "$how"
		for command in diff status log persist; do
			run -1 jib $command "$how"
			[[ $output == *"in the git dir of $how is damaged, or forged"* ]]
		done
		unpersisted=$(jib show "$how" --json | json 'd["unpersisted"]')
		[[ $unpersisted == true ]]
	done
	# Those of others do not count.
	forge alternate
	[[ $(names alternate) == "M src/main.c," ]]
}

@test "a sandbox that has collected its garbage is looked at as before" {
	inside a 'echo x >>README.md; git commit -qam x; git gc -q --prune=now; git repack -adq
		echo y >>README.md; git commit -qam y'
	[[ $(names a) == "M README.md," ]]
	jib persist a
	[[ $(git log --format=%s "$base..jib/a/main" | tr '\n' ' ') == "y x " ]]
}
