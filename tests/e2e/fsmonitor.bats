#!/usr/bin/env bats
# git status inside asks the guest's fsmonitor what has changed, and must say what it says without.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 30
	cd "$T/repo" || return
	tools=$T/tools
	mkdir "$tools"
	cat >"$tools/lib" <<-'EOF'
		set -eu
		watched() {
			git -c core.fsmonitor=/run/jib/fsmonitor -c core.fsmonitorHookVersion=2 \
				-c core.untrackedCache=true "$@"
		}
		plain() {
			GIT_OPTIONAL_LOCKS=0 git -c core.fsmonitor=false -c core.untrackedCache=false "$@"
		}
		# same WHAT: twice, because the first may write the index that the second trusts
		same() {
			local mode found expected
			for mode in -unormal -uno -unormal; do
				found=$(watched status --porcelain=v2 $mode)
				expected=$(plain status --porcelain=v2 $mode)
				[ "$found" = "$expected" ] || {
					printf '%s: found\n%s\ninstead of\n%s\n' "$1" "$found" "$expected"
					exit 1
				}
			done
		}
		# step CMD...: what the command changes is seen, also after git has looked at nothing since
		step() {
			"$@"
			same "$*"
		}
		ask() {
			/run/jib/fsmonitor 2 "$1" | tr '\0' ' '
		}
		token() {
			/run/jib/fsmonitor 2 jib:0 | tr '\0' '\n' | head -n 1
		}
		watched update-index --fsmonitor
		same start
	EOF
}

# inside: the shell script on stdin, in a sandbox that is gone afterwards
inside() {
	timeout 120 "$JIB" run -q --rm --bind "$tools:/tools" "$@" -- \
		bash -c '. /tools/lib && . /dev/stdin'
}

@test "git trusts what the monitor does not name" {
	run -0 inside <<-'EOF'
		watched update-index --no-fsmonitor
		watched update-index --fsmonitor
		watched status
		# The monitor is asked: another one that names nothing would hide this change.
		printf '#!/bin/sh\nprintf "x\\0"\n' >/tmp/blind && chmod +x /tmp/blind
		echo changed >>README.md
		git -c core.fsmonitor=/tmp/blind -c core.fsmonitorHookVersion=2 status --porcelain
		echo "seen: $(watched status --porcelain)"
	EOF
	[[ ${lines[-1]} == "seen:  M README.md" ]]
	[[ $output != *$'\n M README.md'* ]]
}

@test "git status is the same with and without the monitor: files" {
	inside <<-'EOF'
		step bash -c 'echo more >>README.md'
		step bash -c 'echo more >>files/0/1.txt'
		step bash -c 'echo new >new.txt; echo new >src/lib/new.h'
		step rm new.txt src/lib/new.h
		step rm files/0/2.txt src/main.c
		step bash -c 'echo again >src/main.c'
		step chmod -x tool.sh
		step touch files/0/3.txt
		step ln -sf src/main.c link
		step bash -c 'rm link; echo file >link'
		step bash -c 'rm link; ln -s README.md link'
		step mv files/0/4.txt files/0/moved.txt
		step mv files/0/moved.txt docs
		step bash -c 'printf x >"a
		b"; printf x >"docs/ü ÿ"'
		step truncate -s 0 docs/*.txt
		step ln files/0/5.txt hard
	EOF
}

@test "git status is the same with and without the monitor: directories" {
	inside <<-'EOF'
		step bash -c 'mkdir -p new/deep && echo x >new/deep/f'
		step rm new/deep/f
		step bash -c 'echo x >new/deep/g'
		step rm -r new
		step rm -r files
		step bash -c 'mkdir -p files/0 && echo back >files/0/1.txt'
		step rm files/0/1.txt
		step bash -c 'rm -r src/lib; mkdir src/lib; echo x >src/lib/other.h'
		step bash -c 'rm -r docs; echo file >docs'
		step bash -c 'rm docs; mkdir docs; echo x >docs/x'
		step bash -c 'rm README.md; mkdir README.md; echo x >README.md/y'
		step rm -r README.md
		step bash -c 'mkdir closed; echo x >closed/f; chmod 0 closed' || :
		step chmod 755 closed
		step bash -c 'echo "*" >closed/.gitignore'
		step bash -c 'echo "!f" >>closed/.gitignore'
		step rm closed/.gitignore
	EOF
}

@test "git status is the same with and without the monitor: git's own changes" {
	inside <<-'EOF'
		echo x >new.txt
		step watched add new.txt
		step rm new.txt
		step watched reset -q --hard
		echo x >new.txt; echo y >>README.md
		step watched add -A
		step watched commit -qm new
		step watched rm -q files/0/7.txt
		step watched stash -q
		step watched stash pop -q
		step watched checkout -q HEAD~2 -- .
		step watched reset -q --hard HEAD~1
		step watched checkout -q -b other HEAD~1
		step watched checkout -q main
		step watched gc -q
		step bash -c 'rm .git/index; git reset -q'
		watched update-index --fsmonitor
		step bash -c 'echo z >>src/main.c'
		step watched clean -fdxq
		step watched update-index --no-fsmonitor
		step watched update-index --fsmonitor
		echo s >>tool.sh
		(cd src && same 'from below')
	EOF
}

@test "what git has looked at after the answer, and is removed before the next, is missed by nobody" {
	inside <<-'EOF'
		mkdir n
		watched status >/dev/null
		# git asks when the first is moved, and takes the second for unchanged.
		watched mv README.md tool.sh src/main.c n/
		step rm n/main.c
		watched reset -q --hard
		watched status >/dev/null
		printf '%s\n' 'diff --git a/src/z b/src/z' 'new file mode 100644' '--- /dev/null' \
			'+++ b/src/z' '@@ -0,0 +1 @@' '+hi' >/tmp/patch
		watched apply --index /tmp/patch
		step rm src/z
		# "everything" is answered to a command that does not look at untracked files
		mkdir 'x y'
		echo u >'x y/f'
		watched commit -q --allow-empty -m empty
		same 'after a commit'
	EOF
}

@test "another work tree is looked at as a whole" {
	inside <<-'EOF'
		watched worktree add -q /tmp/other
		cd /tmp/other
		watched update-index --fsmonitor
		same other
		step bash -c 'echo x >>README.md; rm tool.sh; echo new >new'
		[[ $(ask jib:0) == jib:*' / ' ]]
	EOF
}

@test "a sandbox that is opened again, and one with several repositories" {
	"$JIB" run a -q --bind "$tools:/tools" -- bash -c '. /tools/lib; echo x >>README.md; same first'
	"$JIB" run a -q --bind "$tools:/tools" -- bash -c '. /tools/lib; step git checkout -q README.md
		echo y >files/0/new'
	"$JIB" run a -q --bind "$tools:/tools" -- bash -c '. /tools/lib; step rm files/0/new'

	make_repo "$T/repo two" 3
	inside --repo "$T/repo" --repo "$T/repo two" --layout jib <<-'EOF'
		echo x >>README.md
		same one
		[[ $(ask jib:0) == *' README.md ' ]]
		cd '/home/jib/repos/repo two'
		watched update-index --fsmonitor
		[[ $(ask jib:0) != *README* ]]
		step rm tool.sh
	EOF
}

@test "an answer names what has changed since the token, and everything when that is not known" {
	run -0 inside <<-'EOF'
		echo x >>README.md
		mkdir src/new
		echo "start: $(ask jib:0)"
		# What is of the same tick of the clock as the token is told again.
		until now=$(token) && [[ $(ask "$now" | wc -w) == 1 ]]; do :; done
		echo x >>README.md
		echo "one: $(ask "$now" | cut -d' ' -f2-)"
		rm src/main.c
		echo "directory: $(ask "$now" | cut -d' ' -f2-)"
		for token in jib:2 jib:2:0:0:0:0 "${now/jib:2:/jib:2:0}" "$now:" "${now%:*}:x" \
			"${now%:*:*}:9999999999999999999:0" "$(date +%s%N)" ''; do
			echo "unknown: $(ask "$token")"
		done
		! /run/jib/fsmonitor 1 0
		! /run/jib/fsmonitor
		cd src
		echo "unknown: $(ask jib:0)"
	EOF
	echo "$output"
	[[ $(grep -c '^unknown: jib:[^ ]* / $' <<<"$output") == 9 ]]
	! grep -v ' / $' <<<"$output" | grep '^unknown'
	[[ $output == *'start: jib:'*' README.md src/new src/new/ src/new/.jib '* ]]
	[[ $output == *$'one: README.md \n'* ]]
	[[ $output == *'directory: '*'README.md src src/ src/.jib '* ||
		$output == *'src src/ src/.jib README.md '* ]]
}

@test "a file that became a directory before git has asked for the first time" {
	run -0 "$JIB" run -q --rm --clean -- sh -euc '
		rm src/main.c && mkdir src/main.c && echo x >src/main.c/inside
		git status --porcelain; echo; git -c core.fsmonitor=false status --porcelain'
	[[ $output == $' D src/main.c\n\n D src/main.c' ]]
}

@test "only git status is told what has changed: others before git 2.43 take what is unchanged for removed" {
	run -0 "$JIB" run -q --rm --clean -- sh -euc '
		GIT_TRACE2_PERF=/tmp/diff git diff HEAD
		GIT_TRACE2_PERF=/tmp/add git -C . add -A
		GIT_TRACE2_PERF=/tmp/status git -c alias.x=y -C . --no-pager status --porcelain
		grep -l trivial-response:1 /tmp/*'
	[[ $output == $'/tmp/add\n/tmp/diff' ]]
}

@test "a live sandbox has no monitor" {
	run -0 inside --live <<-'EOF'
		ask jib:0
	EOF
	[[ $output == jib:*' / ' ]]
}

@test "the upper can be read through init, and neither left nor written" {
	run -0 timeout 60 "$JIB" run -q --rm -- python3 - <<-'EOF'
		import os, socket, struct
		open("README.md", "a").write("x")
		def ask(message):
		    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		    s.connect("/run/jib/changes")
		    s.send(message)
		    return socket.recv_fds(s, 65536, 16)[:2]
		def question(path):
		    text = path.encode() + b"\0"
		    text = struct.pack("<I", len(text)) + text
		    return struct.pack("<IIII", 200, 0, len(text), 0) + text
		# What init does not understand it does not answer; who says nothing is in nobody's way.
		silent = []
		for i in range(100):
		    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		    s.connect("/run/jib/changes")
		    silent.append(s)
		for message in (b"x", b"\0" * 16, question("/")[:-1], struct.pack("<IIII", 100, 0, 0, 0)):
		    assert ask(message) == (b"", []), message
		for path in ("/", "", "src", os.getcwd() + "/", os.getcwd() + "/src", "x" * 60000):
		    assert ask(question(path))[1] == [], path
		data, fds = ask(question(os.getcwd()))
		upper = fds[0]
		assert len(fds) == 3 and os.listdir(upper) == ["README.md"], (data, fds)
		for fd in fds:
		    assert os.readlink(f"/proc/self/fd/{fd}") in ("/", "/null"), fd
		for up in ("..", "../..", "../../../../../.."):
		    there = os.open(up, os.O_RDONLY, dir_fd=upper)
		    assert os.path.samestat(os.fstat(there), os.fstat(upper)), up
		os.fchdir(upper)
		again = f"/proc/self/fd/{upper}/README.md"
		file = os.open("README.md", os.O_RDONLY)
		attempts = [
		    lambda: os.open("README.md", os.O_RDWR),
		    lambda: os.open(again, os.O_WRONLY | os.O_TRUNC),
		    lambda: os.open(f"/proc/self/fd/{file}", os.O_RDWR),
		    lambda: os.open("new", os.O_CREAT | os.O_WRONLY),
		    lambda: os.open(".", os.O_TMPFILE | os.O_RDWR),
		    lambda: os.chmod("README.md", 0o777),
		    lambda: os.fchmod(file, 0o777),
		    lambda: os.utime("README.md"),
		    lambda: os.setxattr("README.md", "user.x", b"x"),
		    lambda: os.removexattr("README.md", "user.overlay.origin"),
		    lambda: os.rename("README.md", "b"),
		    lambda: os.unlink("README.md"),
		    lambda: os.mkdir("d"),
		]
		for number, attempt in enumerate(attempts):
		    try:
		        attempt()
		    except OSError:
		        continue
		    raise AssertionError(f"attempt {number} was let through")
		print("held")
	EOF
	[[ $output == held ]]
}
