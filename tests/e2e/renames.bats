# shellcheck shell=bash
# shellcheck disable=SC2016 # the scripts expand inside
# Renaming a directory that came with a layer, which overlayfs does not do (T37), and what else init
# does for the commands because overlayfs would not, or at a price.

load helpers

setup() {
	jib_setup
	mkdir "$T/tools"
	cc -O1 -Wall -D_GNU_SOURCE -static -pthread -o "$T/tools/renames" "$BATS_TEST_DIRNAME/src/renames.c"
	make_repo "$T/repo"
	cd "$T/repo" || return
	before=$(host_hash "$T/repo")
}

# inside SCRIPT: runs it in the sandbox `a`, which is created by the first
inside() {
	"$JIB" run a -q --bind "$T/tools:/tools" -- sh -euc "PATH=\$PATH:/tools; $1" </dev/null
}

teardown() {
	if [[ ${before-} ]]; then
		[[ $(host_hash "$T/repo") == "$before" ]]
	fi
	jib_teardown
}

# commit_dir NAME COUNT: a directory of so many files in the repository
commit_dir() {
	mkdir "$1"
	seq "$2" | (cd "$1" && split -l 1 -a 4 -)
	git add "$1"
	git commit -qm "$1"
	before=$(host_hash "$T/repo")
}

@test "T37 git mv and mv of committed directories, nested ones too" {
	inside 'git mv src source; git mv docs source/lib/docs'
	[[ $(inside 'git status --porcelain') == 'R  "docs/a name with spaces.txt" -> "source/lib/docs/a name with spaces.txt"
R  src/lib/lib.h -> source/lib/lib.h
R  src/main.c -> source/main.c' ]]
	[[ $(inside 'ls -A; ls source/lib') == *$'files\nlink\nsource\ntool.sh\ndocs\nlib.h' ]]
	inside 'git commit -qm moved; mkdir new; mv files new/; mv source src; mv src/lib/docs .'
	[[ $(inside 'git status --porcelain; find . -name ".jib*"') != *jib* ]]
	[[ $(inside 'cat new/files/0/7.txt docs/*') == $'file 7\nspaces' ]]
	[[ -z $(inside 'mv new/files .; git add -A; git diff --cached HEAD~1; git fsck') ]]
}

@test "T37 rename keeps modes, times and xattrs, and directories that are closed can be moved" {
	local script='
		chmod 2750 src; chmod 555 src/lib; touch -d "2001-02-03 04:05:06.7" src/lib
		setfattr -n user.one -v two src; touch -d "2002-03-04 05:06:07.8" src'
	# rename(2) in one directory needs no permission of what is moved.
	inside "$script"'; renames rename src source; renames rename docs /'"$T"'/repo/papers'
	[[ $(inside 'stat -c "%a %Y %n" source source/lib; getfattr --only-values -n user.one source') == \
		"$(printf '2750 %s source\n555 %s source/lib\ntwo' \
			"$(date -d '2002-03-04 05:06:07' +%s)" "$(date -d '2001-02-03 04:05:06' +%s)")" ]]
	[[ $(inside 'ls source/lib papers') == *lib.h* ]]
	inside 'chmod 755 source/lib'
}

@test "T37 an inode that was open stays the same file" {
	inside 'exec 3>>files/0/1.txt; mv files moved; echo more >&3; test "$(tail -n 1 moved/0/1.txt)" = more
		test "$(stat -L -c %i /proc/self/fd/3)" = "$(stat -c %i moved/0/1.txt)"'
}

# same SCRIPT: its output inside, and what it leaves, is that in a plain copy outside
same() {
	git clone -q "$T/repo" "$T/plain"
	(cd "$T/plain" && PATH=$PATH:$T/tools bash -c "$1") >"$T/outside"
	"$JIB" run same -q --rm --bind "$T/tools:/tools" -- bash -c "PATH=\$PATH:/tools; $1" >"$T/inside" </dev/null
	[[ -s $T/outside ]]
	diff "$T/outside" "$T/inside"
}

@test "T37 every way to fail is that of a plain directory, and nothing has moved then" {
	same '
		mkdir empty full other; touch full/x; ln -s src to-src; ln -s nowhere dangling
		try() { echo "$* $(renames "$@") $(find . -path ./.git -prune -o -print | sort | sha256sum)"; }
		for call in rename renameat noreplace exchange both; do
			try $call src src/lib/deep
			try $call src src/lib
			try $call src/lib src
			try $call src src
			try $call src src/
			try $call src README.md
			try $call src README.md/x
			try $call README.md src/
			try $call src/ link/
			try $call src missing/x
			try $call missing src
			try $call missing/ src
			try $call src/. new
			try $call src/.. new
			try $call src new/.
			try $call src new/..
			try $call . new
			try $call src ..
			try $call "" new
			try $call src ""
			try $call to-src/ new
			try $call dangling/ new
			try $call src dangling/
			try $call src "$(printf %0300d 0)"
			try $call src /proc/new
		done
		try rename src full
		try rename src docs
		try rename src/lib docs
		try noreplace src full
		try noreplace src empty
		try noreplace src dangling
		try noreplace src to-src
		try exchange src missing
		try rename src dangling'
}

@test "T37 what cannot be renamed is not copied" {
	[[ $(inside 'renames rename src docs; renames noreplace src docs; renames rename src src/lib/x') == \
		$'ENOTEMPTY\nEEXIST\nEINVAL' ]]
	[[ -z $(find "$JIB_ROOT/a/upper/repos" -type f) ]]
}

@test "T37 every way to succeed is that of a plain directory" {
	same '
		mkdir empty empty2 full other; touch full/x; ln -s src to-src; ln -s nowhere dangling
		try() { echo "${*//$PWD} $(renames "$@") $(find . -path ./.git -prune -o -printf "%p %y %m\n" | sort | sha256sum)"; }
		try exchange tool.sh docs
		try exchange docs tool.sh
		try rename src empty
		try rename empty/lib/ new/
		try rename new to-src
		try rename new empty2
		try noreplace empty2 moved
		try exchange moved docs
		try exchange docs full
		try exchange full files
		try exchange files/0 README.md
		try exchange link files
		try exchange dangling moved
		try rename dangling again
		try renameat again "a
name"
		try rename empty/../empty ././other//
		try rename other "$PWD/absolute"
		try rename "$PWD/absolute" /proc/self/cwd/odd
		try exchange full full'
}

@test "T37 without permission for the parent nothing is renamed" {
	# Of a directory that gets a new parent, its ".." is written.
	[[ $(inside 'mkdir closed; chmod 555 closed docs
		renames rename src closed/src; renames rename docs src/docs; renames noreplace docs papers
		chmod 555 src; renames rename src/lib lib; renames exchange src/lib files') == \
		$'EACCES\nEACCES\nok\nEACCES\nEACCES' ]]
	[[ $(inside 'chmod 755 src papers; ls src src/lib papers closed') == $'closed:\n\npapers:
a name with spaces.txt\n\nsrc:\nlib\nmain.c\n\nsrc/lib:\nlib.h' ]]
}

@test "T37 paths from an open directory, and from a thread with its own working directory" {
	[[ $(inside 'mv src a.d; mv files c.d; git reset -q --hard; mv files b.d; mv src d.d; git checkout -q src
		mv src a2; renames exchange a.d d.d; renames chdir; ls a.d b.d') == *$'ok\nok\nok\na.d:\n0\n\nb.d:\nlib\nmain.c' ]]
}

@test "T37 through the 32-bit ABI" {
	run "$T/tools/renames" i386 "$T/missing" "$T/x"
	((status == 3)) && skip "this machine has none"
	[[ $output == ENOENT ]]
	[[ $(inside 'renames i386 src source; renames i386 source files; renames i386 README.md text; ls source') == \
		$'ok\nENOTEMPTY\nok\nlib\nmain.c' ]]
}

@test "T37 a directory of 2,000 files, by two processes at once, while others rename files" {
	commit_dir many 2000
	commit_dir more 500
	[[ $(inside '
		echo x >x; echo y >y
		renames swing x x2 3000 & renames swing y y2 3000 &
		mv many many2 & mv more more2 & wait
		mv many2 more2/; ls more2/many2 | wc -l; cat more2/many2/* | sort -n | tail -1
		find . -name ".jib*"') == $'ok\nok\n2000\n2000' ]]
	[[ $(inside 'git add -A; git diff --cached -M --diff-filter=R --name-only | wc -l') == 2500 ]]
}

@test "T37 one directory, renamed by two processes at once, has one new name" {
	commit_dir many 300
	[[ $(inside 'for i in 1 2 3 4; do renames rename many many$i & done | sort | uniq -c | tr -s " "; wait
		ls many* | wc -l; ls -d many*') == $' 3 ENOENT\n 1 ok\n300\nmany'[1-4] ]]
}

@test "T37 a process that is killed while it renames leaves a complete tree" {
	commit_dir many 500
	# What it has asked for is done without it, also after the sandbox's first command.
	inside 'renames rename many moved & until ls -A | grep -qE "^(.jib-rename-|moved)"; do :; done; kill -9 $!'
	[[ $(inside 'ls many moved 2>/dev/null | grep -c ^x; ls -d many moved; ls -A | grep jib') == $'500\nmoved' ]]
	inside 'renames rename files there & kill -9 $!'
	[[ $(inside 'cat files/*/* there/*/* 2>/dev/null | wc -l; ls -d files there 2>/dev/null | wc -l; ls -A | grep jib') == \
		$'20\n1' ]]
}

# with_mounts SCRIPT: as inside, in a mount namespace of its own, of which nothing remains. SCRIPT
# runs on the host's side.
with_mounts() {
	local options=-m
	as_root || options=-rm
	unshare $options sh -euc "$1" </dev/null
}

@test "T37 what cannot be moved completely goes back" {
	mkdir -p big/{one/deep,two,three/deep/deeper,four}
	for file in big/{one/deep,two,three/deep/deeper,four}/{a,b}; do
		head -c 2M /dev/urandom >"$file"
	done
	git add big
	git commit -qm big
	before=$(host_hash "$T/repo")
	mkdir "$JIB_ROOT"
	# The layers take 32 MiB; for half of the files there is room a second time.
	with_mounts '
		mount -t tmpfs -o size=41m none "$JIB_ROOT"
		"$JIB" run a -q --clean --bind "$T/tools:/tools" -- sh -euc "
			list() { find big -printf \"%p %m %y %T@\n\" | sort; git status --porcelain; }
			chmod 555 big/three/deep
			list >/tmp/before
			/tools/renames rename big moved
			/tools/renames exchange src big
			list >/tmp/after
			diff /tmp/before /tmp/after
			ls -A"' >"$T/said"
	[[ $(cat "$T/said") == $'ENOSPC\nENOSPC\n.git\n.gitignore\nREADME.md\nbig\ndocs\nfiles\nlink\nsrc\ntool.sh' ]]
}

@test "T37 the home and /tmp are as they were" {
	[[ $(inside 'for d in ~ /tmp; do cd $d; mkdir -p a/b c; renames rename a d; renames rename d c; renames noreplace c a
		renames exchange a missing; renames rename a a/b/c; ls a; done; renames rename ~/a /tmp/x') == \
		$'ok\nok\nok\nENOENT\nEINVAL\nb\nok\nok\nok\nENOENT\nEINVAL\nb\nEXDEV' ]]
}

@test "T37 commands of exec have it, and it goes on when the first listener has gone" {
	jib run -d a -q --bind "$T/tools:/tools" -- sleep 600
	[[ $(jib exec a -- /tools/renames rename src one) == ok ]]
	[[ $(jib exec a -- sh -c '/tools/renames rename one src; (cd src; /tools/renames rename ../docs ../papers)') == $'ok\nok' ]]
	[[ $(jib exec a -- ls papers) == "a name with spaces.txt" ]]
}

@test "T37 where there can be no listener, commands run, and overlayfs answers" {
	cat >"$T/listened" <<-'END'
		import ctypes, struct, subprocess, sys
		libc = ctypes.CDLL(None)
		allow = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7fff0000))
		program = struct.pack("@HP", 1, ctypes.addressof(allow))
		libc.prctl(38, 1, 0, 0, 0)
		# One listener is there already, and stays open here: it is never asked.
		assert libc.syscall({"x86_64": 317, "aarch64": 277}[sys.argv[1]], 1, 1 << 3, program) >= 0
		sys.exit(subprocess.call(sys.argv[2:]))
	END
	[[ $(python3 "$T/listened" "$(uname -m)" "$JIB" run a -q --bind "$T/tools:/tools" -- sh -euc '
		/tools/renames rename src source; /tools/renames rename README.md text; mv src source; ls source' </dev/null) == \
		$'EXDEV\nok\nlib\nmain.c' ]]
	[[ $(python3 "$T/listened" "$(uname -m)" "$JIB" doctor --json |
		json '[c["state"] for c in d["checks"] if c["name"] == "seccomp-notification"][0]') == degraded ]]
}

@test "a command that restricts itself with landlock is not helped past it" {
	python3 - <<-'END' || skip "no landlock in this kernel"
		import ctypes, sys
		sys.exit(ctypes.CDLL(None).syscall(444, None, 0, 1) < 1)
	END
	cat >"$T/tools/landlocked" <<-'END'
		import ctypes, os, struct, sys
		libc = ctypes.CDLL(None, use_errno=True)
		attr = struct.pack("=Q", 1 << 4)  # LANDLOCK_ACCESS_FS_REMOVE_DIR
		ruleset = libc.syscall(444, ctypes.c_char_p(attr), ctypes.c_size_t(len(attr)), 0)
		assert ruleset >= 0
		libc.prctl(38, 1, 0, 0, 0)
		assert libc.syscall(446, ruleset, 0) == 0
		try:
		    os.rename("src", "moved")
		except OSError as error:
		    print(os.strerror(error.errno))
	END
	[[ $(inside 'python3 /tools/landlocked; ls -d src moved 2>&1') == $'Permission denied
ls: cannot access \'moved\': No such file or directory\nsrc' ]]
	[[ $(inside 'renames rename src moved') == ok ]]
}

@test "a pack of the host that git marks as used is not copied" {
	git repack -adq
	before=$(host_hash "$T/repo")
	# The same content is in the pack already: git only stamps the pack.
	inside 'cp README.md copy; git add copy; git commit -qm copy; renames stamp .git/objects/pack/pack-*.pack'
	[[ -z $(find "$JIB_ROOT/a/upper/git" -name '*.pack') ]]
	# One of the sandbox's own is.
	[[ $(inside 'git repack -dq; rm -f new; for i in .git/objects/pack/*.pack; do test -e ${i%pack}keep || new=$i; done
		touch -d 2001-01-01 $new; renames stamp $new; find $new -newermt 2002-01-01 | wc -l') == $'ok\n1' ]]
}

# carrying NAME SCRIPT: as inside, with an overlay mounted at NAME in the home, which is an overlay
carrying() {
	mkdir -p "$T"/carried/{lower,upper,work,mount}
	echo x >"$T/carried/lower/x"
	NAME=$1 SCRIPT=$2 with_mounts 'cd "$T/carried"
		mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work overlay mount
		cd "$T/repo"
		"$JIB" run a -q --bind "$T/tools:/tools" --bind "$T/carried/mount:$HOME/$NAME:rw" \
			--bind "$T/tools:$HOME/plain:rw" -- sh -euc "cd; PATH=\$PATH:/tools; $SCRIPT"'
}

@test "what is mounted on an overlay is removed like a directory, once it is empty" {
	[[ $(carrying node_modules '
		renames rmdir node_modules; ls node_modules; renames rename node_modules moved
		rm -r node_modules; ls -A node_modules; renames rmdir node_modules/; renames rmdir plain
		renames rename plain moved; mkdir -p node_modules/new') == $'EBUSY\nx\nEXDEV\nok\nEBUSY\nEBUSY' ]]
	[[ $(find "$T/carried/upper" -type d -printf '%P ') == " new " ]]
	# Neither is a git directory, nor a repository.
	[[ $(carrying d/.git 'rm -rf d/.git/*; renames rmdir d/.git; renames rename d/.git new') == $'EBUSY\nEBUSY' ]]
	[[ $(carrying r 'rm -rf r/*; renames rmdir r; mkdir r/.git; renames rmdir r; renames rename r moved') == \
		$'ok\nEBUSY\nEBUSY' ]]
}

# worker SIGNAL: renames a large directory, and sends the signal to the process that does it for us
worker() {
	timeout 60 "$JIB" run a -q -- python3 - "$1" <<'PY'
import os, signal, sys
known = set(os.listdir("/proc"))
asking = os.fork()
if asking == 0:
    try:
        os.rename("large", "moved")
        answer = 0
    except OSError as error:
        answer = error.errno
    os._exit(answer)
worker = None
while not worker:
    for pid in set(os.listdir("/proc")) - known - {str(asking)}:
        try:
            if pid.isdigit() and open(f"/proc/{pid}/stat").read().split()[3] == "1":
                worker = int(pid)
        except FileNotFoundError:
            pass
os.kill(worker, int(sys.argv[1]))
if int(sys.argv[1]) == signal.SIGKILL:
    print(os.strerror(os.waitstatus_to_exitcode(os.waitpid(asking, 0)[1])))
PY
}

@test "T37: who renames a directory is killed or stopped: the command gets an answer, the run ends" {
	mkdir large
	for ((i = 0; i < 2000; i++)); do
		echo "$i" >"large/$i"
	done
	git add large
	git commit -qm large
	run -0 worker 9
	[[ $output == "Input/output error" ]]
	# Where nothing had been moved yet, nothing was changed, and it is gone already.
	"$JIB" rm --force a || [[ ! -e $JIB_ROOT/a ]]
	# It is continued at the end, when all others are gone: nothing is lost on the way.
	run -0 worker 19
	[[ $(inside 'cat large/* moved/* 2>/dev/null | sort -u | wc -l') == 2000 ]]
}
