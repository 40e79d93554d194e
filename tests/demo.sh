#!/bin/bash
# The main job of jib on a real repository, told as a story with times.
#
# Three sandboxes work at once on the same branch of one repository; the host, at the same time,
# edits, switches branch, rebases away the commit they all started from and prunes it. Then every
# claim is checked: inside (git fsck, status, log) and outside (nothing of theirs). Exit 0 when
# all of them hold, else 1.
#
# usage: demo.sh        $JIB: the program (default: build/jib of this checkout)
#
# Everything is in one temporary directory below $TMPDIR (/var/tmp), with its own HOME and
# JIB_ROOT, and gone at the end. Nothing waits for a time: the host and the sandboxes wait for
# each other's words, through FIFOs that are the standard input and output of each sandbox.
set -euo pipefail
export LC_ALL=C

checkout=$(cd "$(dirname "$0")/.." && pwd -P)
jib=$(readlink -m "${JIB:-$checkout/build/jib}")
sandboxes=(alpha bravo charlie)
commits_each=5 # in each of the rounds
patience=60    # seconds that a word of a sandbox may take; it takes milliseconds

[ -x "$jib" ] || {
	echo "demo: there is no program $jib; ./dev build makes it" >&2
	exit 1
}
for variable in "${!GIT_@}" "${!JIB@}"; do
	unset "$variable"
done
umask 022
place=$(mktemp -d "${TMPDIR:-/var/tmp}/jib-demo.XXXXXX")
place=$(cd "$place" && pwd -P)
export HOME=$place/home JIB_ROOT=$place/store
host=$place/repository
mkdir "$HOME" "$place/fifo" "$place/log"

declare -A process=() to=() from=()
failures=0 claims=0

# ---- telling ----

declare -i now_us
now() {
	now_us=${EPOCHREALTIME/./}
}

# since US: sets `took`, in milliseconds with one decimal
since() {
	now
	local -i us=$((now_us - $1))
	printf -v took '%d.%d ms' $((us / 1000)) $((us % 1000 / 100))
}

say() {
	printf '%s\n' "$*"
}

# line TIME WHO WHAT
line() {
	printf '%11s  %-8s %s\n' "$@"
}

fail() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

# claim WHO WHAT FOUND EXPECTED
claim() {
	claims=$((claims + 1))
	if [ "$3" = "$4" ]; then
		line ok "$1" "$2"
		return
	fi
	failures=$((failures + 1))
	line 'NOT SO' "$1" "$2"
	printf 'expected: %s\nfound:    %s\n' "${4:-(nothing)}" "${3:-(nothing)}" |
		sed -e 's/^/             /' -e '12{s/.*/             .../;q}'
}

# ---- ending ----

finish() {
	local status=$? name
	trap - EXIT
	for name in "${!process[@]}"; do
		kill "${process[$name]}" 2>/dev/null || :
		wait "${process[$name]}" 2>/dev/null || :
	done
	if [ "$status" -ne 0 ]; then
		for name in "$place"/log/*; do
			[ ! -s "$name" ] || sed "s|^|    ${name##*/}: |" "$name" >&2
		done
	fi
	chmod -R u+rwX "$place"
	rm -rf --one-file-system "$place"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- the host ----

on_host() {
	git -C "$host" "$@"
}

all_refs() {
	on_host for-each-ref --format='%(refname)' | sort
}

# A copy of this checkout when it has a history, with an identity that only the copy knows.
copy_checkout() {
	git config --global --add safe.directory "$checkout"
	git config --global --add safe.directory "$checkout/.git"
	[ -e "$checkout/.git" ] &&
		git -C "$checkout" rev-parse --verify --quiet HEAD >/dev/null 2>&1 &&
		git clone --quiet --no-local "$checkout" "$host" 2>"$place/log/clone" &&
		on_host switch --quiet -C main
}

generate_repository() {
	local -i i
	git init --quiet "$host"
	on_host symbolic-ref HEAD refs/heads/main
	for i in {1..200}; do
		mkdir -p "$host/src/part$((i % 10))"
		printf 'int f%d(void);\n' "$i" >"$host/src/part$((i % 10))/f$i.c"
	done
	echo 'A repository made for the demo.' >"$host/README.md"
	on_host add .
	as_host commit --quiet -m 'Begin'
	for i in {1..20}; do
		printf '\nint g%d(void);\n' "$i" >>"$host/src/part$((i % 10))/f$i.c"
		as_host commit --quiet -a -m "Change $i"
	done
}

as_host() {
	git -C "$host" -c user.name=host -c user.email=host@example.org "$@"
}

make_repository() {
	if copy_checkout; then
		what="jib's own checkout, copied"
	else
		rm -rf "$host"
		generate_repository
		what='a generated one (this checkout has no history)'
	fi
	on_host config user.name host
	on_host config user.email host@example.org
	before=$(on_host rev-parse HEAD)
	# What everybody edits.
	shared=$(on_host ls-files -- '*.md' '*.c')
	shared=${shared%%$'\n'*}
	echo 'An idea that will not survive.' >"$host/IDEA"
	on_host add IDEA
	on_host commit --quiet -m 'Try an idea'
	base=$(on_host rev-parse HEAD)
	refs=$(all_refs)
}

# ---- the sandboxes ----

# What runs in each of them: says "ready", and then does what it is told, a line at a time.
# shellcheck disable=SC2016 # for the shell inside
worker='
	set -eu
	name=$1 shared=$2 count=$3 n=0
	git config user.name "$name"
	git config user.email "$name@example.org"
	echo "ready $(git rev-parse --abbrev-ref HEAD) $(git rev-parse HEAD)"
	while read -r word; do
		case $word in
		commit)
			for i in $(seq "$count"); do
				n=$((n + 1))
				echo "change $n of $name" | tee -a "$shared" >>"work-of-$name"
				git add "$shared" "work-of-$name"
				git commit --quiet -m "$name: change $n"
			done
			echo "committed $(git rev-parse HEAD)"
			;;
		draft)
			echo "not committed" >"draft-of-$name"
			echo drafted
			;;
		end) exit 0 ;;
		esac
	done
'

start_sandboxes() {
	local name read write
	for name in "${sandboxes[@]}"; do
		mkfifo "$place/fifo/to-$name" "$place/fifo/from-$name"
		(
			cd "$host"
			exec "$jib" run "$name" -- sh -c "$worker" sh "$name" "$shared" \
				"$commits_each" <"$place/fifo/to-$name" \
				>"$place/fifo/from-$name" 2>"$place/log/$name"
		) &
		process[$name]=$!
	done
	for name in "${sandboxes[@]}"; do
		exec {write}>"$place/fifo/to-$name" {read}<"$place/fifo/from-$name"
		to[$name]=$write from[$name]=$read
	done
}

tell_all() {
	local name
	for name in "${sandboxes[@]}"; do
		echo "$1" >&"${to[$name]}"
	done
}

# hear NAME WORD: the next line of the sandbox has to begin with WORD; sets `heard` to the rest
hear() {
	local word
	read -r -t "$patience" -u "${from[$1]}" word heard ||
		fail "$1 ended, or said nothing for $patience s"
	[ "$word" = "$2" ] || fail "$1 said \"$word $heard\" instead of \"$2\""
}

declare -A tip
hear_all() {
	local name
	for name in "${sandboxes[@]}"; do
		hear "$name" "$1"
		tip[$name]=$heard
	done
}

# Runs a command in a sandbox, beside what runs in it.
inside() {
	local name=$1
	shift
	(cd "$host" && "$jib" exec "$name" -- "$@" 2>&1 </dev/null)
}

# round WHAT CMD...: the host does this while every sandbox commits
round() {
	local what=$1 began host_took
	shift
	now
	began=$now_us
	tell_all commit
	"$@" >"$place/log/host" 2>&1 || fail "the host could not: $what"
	since "$began"
	host_took=$took
	hear_all committed
	since "$began"
	line "$host_took" host "$what"
	line "$took" "all 3" "$commits_each more commits in each sandbox meanwhile"
}

# ---- what the host does meanwhile ----

edit() {
	echo 'an edit of the host' >>"$host/$shared"
	echo 'a new file of the host' >"$host/notes-of-host"
}

switch_branch() {
	on_host switch --quiet --create host-work "$before"
	on_host commit --quiet -a -m "The host's own commit"
}

rebase_away() {
	on_host rebase --quiet --onto "$before" "$base" main &&
		echo 'another edit of the host' >>"$host/$shared"
}

prune() {
	on_host update-ref -d ORIG_HEAD
	on_host reflog expire --expire=now --expire-unreachable=now --all
	on_host gc --quiet --prune=now
}

# ---- checking ----

has() {
	if "$@" >/dev/null 2>&1; then echo yes; else echo no; fi
}

# authors CMD...: the authors in a log that CMD prints, each once
authors() {
	"$@" | sort -u | paste -sd ' '
}

check_sandbox() {
	local name=$1 total=$((commits_each * 4)) other
	claim "$name" 'git fsck is clean' "$(inside "$name" git fsck --full --strict --no-progress)" ''
	claim "$name" 'git status shows its own draft and nothing else' \
		"$(inside "$name" git status --porcelain)" "?? draft-of-$name"
	claim "$name" "git log: $total commits of its own on main, on the commit it started from" \
		"$(inside "$name" git rev-list --count "$base..main") $(authors \
			inside "$name" git log --format=%an "$base..main") $(inside "$name" \
			git rev-parse "main~$total" main)" "$total $name $base
${tip[$name]}"
	claim "$name" 'the idea is there, and no file of the host or of another sandbox' \
		"$(inside "$name" sh -c 'ls -d IDEA *-of-*' | paste -sd ' ')" \
		"IDEA draft-of-$name work-of-$name"
	for other in "${sandboxes[@]}"; do
		[ "$other" != "$name" ] || continue
		claim "$name" "does not have what $other committed" \
			"$(has inside "$name" git cat-file -e "${tip[$other]}")" no
	done
}

# What the host has mounted below our place, or mounted of a sandbox of ours: a mount is called
# after the device and inode of the sandbox's directory.
mounts() {
	local name device inode ours=(-e " $place/")
	for name in "${sandboxes[@]}"; do
		read -r device inode < <(stat -c '%d %i' "$JIB_ROOT/$name")
		ours+=(-e "$(printf ' jib-%x-%x ' "$device" "$inode")")
	done
	grep -F "${ours[@]}" /proc/self/mountinfo || :
}

check_host() {
	local name
	claim host 'the commit they started from is gone here' \
		"$(has on_host cat-file -e "$base")" no
	claim host 'git fsck is clean' "$(on_host fsck --full --strict --no-progress 2>&1)" ''
	claim host 'main is where the rebase has put it' "$(on_host rev-parse main)" "$before"
	claim host 'git status shows its own edit and new file, and nothing else' \
		"$(on_host status --porcelain | paste -sd ,)" " M $shared,?? notes-of-host"
	claim host 'its own branches and tags, and no other' "$(all_refs)" \
		"$(printf '%s\n' "$refs" refs/heads/host-work | sort)"
	for name in "${sandboxes[@]}"; do
		claim host "no commit, author or file of $name" \
			"$(has on_host cat-file -e "${tip[$name]}") $(on_host log --all \
				--author="$name@" --oneline | wc -l) $(find "$host" -name "*-of-$name*" |
				wc -l)" 'no 0 0'
	done
	claim host 'its configuration is as it was' \
		"$(on_host config user.name) $(on_host config user.email)" 'host host@example.org'
	claim host 'nothing is mounted here' "$(mounts)" ''
}

# What is on disk now that nothing runs any more.
check_resting() {
	local name status
	for name in "${sandboxes[@]}"; do
		status=0
		wait "${process[$name]}" || status=$?
		unset "process[$name]"
		claim "$name" 'ended by itself, with exit status 0' "$status" 0
	done
	claim store 'jib ls: three stopped sandboxes with unpersisted work' \
		"$("$jib" ls | awk 'NR > 1 { print $1, $2, $(NF - 1) }' | paste -sd ,)" \
		'alpha stopped unpersisted,bravo stopped unpersisted,charlie stopped unpersisted'
	claim alpha 'jib run alpha goes on where it was' \
		"$(cd "$host" && "$jib" run -q alpha -- sh -c \
			'git rev-parse HEAD && git fsck --full --strict --no-progress && cat draft-of-alpha')" \
		"${tip[alpha]}
not committed"
}

# A sandbox is what the host's work tree is at this moment, but for what looks like a credential.
check_carried() {
	# Put together, because this file is in the sandbox too.
	local token=not-for-"sandboxes"
	local first=${EPOCHREALTIME/./} outside
	outside=$(cd "$host" && git ls-files | sed -n 1p)
	(
		cd "$host"
		echo 'not committed' >>"$outside"
		git mv -k "$(git ls-files | tail -n 1)" moved-and-staged
		echo 'a new file' >untracked
		echo "TOKEN=$token" >.env
	)
	outside=$(on_host status --porcelain)
	claim host 'a sandbox of uncommitted work: git status says the same inside, without .env' \
		"$(cd "$host" && "$jib" run -q --rm -- git status --porcelain)" \
		"$(grep -v '^?? .env$' <<<"$outside")"
	# shellcheck disable=SC2016 # for the inner shell
	claim host 'the token is nowhere in it' \
		"$(cd "$host" && "$jib" run -q --rm -- sh -c '! grep -rl "$1" .' sh "$token")" ''
	claim host 'jib run --clean leaves it all out' \
		"$(cd "$host" && "$jib" run -q --rm --clean -- git status --porcelain)" ''
	claim host 'the host has it as before' "$(on_host status --porcelain)" "$outside"
	since "$first"
	line "$took" host 'for these three sandboxes'
}

# What a sandbox has done is seen from the host, branched, and brought home.
check_brought() {
	local before first
	before=$(on_host status --porcelain)
	(cd "$host" && "$jib" run -q --clean worker -- sh -c '
		echo "by the worker" >>README.md
		git commit -qam "Work" && echo draft >draft-of-worker') 2>/dev/null
	first=${EPOCHREALTIME/./}
	claim worker 'jib diff --stat, from the host: what it has changed' \
		"$("$jib" diff worker --stat | tail -n 1)" ' 2 files changed, 2 insertions(+)'
	since "$first"
	line "$took" host 'for that, with a sandbox that is thrown away'
	now
	first=$now_us
	"$jib" fork worker twin 2>/dev/null
	since "$first"
	line "$took" host 'jib fork worker twin'
	claim twin 'has the same commit and the same draft' \
		"$(cd "$host" && "$jib" run -q twin -- sh -c 'git log -1 --format=%s && cat draft-of-worker')" \
		'Work
draft'
	now
	first=$now_us
	"$jib" persist worker >/dev/null 2>&1
	since "$first"
	line "$took" host 'jib persist worker'
	claim host 'its branch is there, with one commit for the draft' \
		"$(on_host log -2 --format=%s jib/worker/main)" \
		'Uncommitted work of the sandbox worker
Work'
	claim host 'and nothing else has changed' "$(on_host status --porcelain)" "$before"
	claim host 'jib persist --apply brings the files into the work tree' \
		"$("$jib" persist twin --apply >/dev/null && cat "$host/draft-of-worker")" 'draft'
	claim host 'jib persist --undo takes them out again' \
		"$(cd "$host" && "$jib" persist --undo >/dev/null && on_host status --porcelain)" "$before"
	claim worker 'its work is on the host, so it may go: jib rm' "$("$jib" rm worker 2>&1)" ''
}

# ---- the story ----

say "jib demo: three sandboxes at once on one repository, and a host that does not hold still"
say

began_all=${EPOCHREALTIME/./}
make_repository
since "$began_all"
line "$took" host "the repository: $what"
line '' '' "$(on_host ls-files | wc -l) files, $(on_host rev-list --count HEAD) commits; main is at ${base:0:12} \"Try an idea\""

now
began=$now_us
start_sandboxes
hear_all ready
since "$began"
line "$took" "all 3" "jib run ${sandboxes[*]}: started at once, all on the same commit"
for name in "${sandboxes[@]}"; do
	[ "${tip[$name]}" = "main $base" ] || fail "$name began at ${tip[$name]}"
done
say
round 'edits a file and makes a new one' edit
round 'switches to a new branch and commits there' switch_branch
round "rebases main: ${base:0:12} is dropped" rebase_away
round 'git reflog expire, git gc --prune=now' prune
tell_all draft
for name in "${sandboxes[@]}"; do
	hear "$name" drafted
done

say
say 'Inside, while all three still run:'
for name in "${sandboxes[@]}"; do
	check_sandbox "$name"
done
say
say 'On the host:'
check_host
say
say 'And when they have ended:'
tell_all end
check_resting

say
now
began=$now_us
"$jib" rm --force "${sandboxes[@]}"
since "$began"
line "$took" host 'jib rm --force: all three are gone'
(cd "$host" && "$jib" run -q --rm -- true)
now
began=$now_us
(cd "$host" && "$jib" run -q --rm -- true)
since "$began"
line "$took" host 'jib run --rm -- true: a whole life of a sandbox, its layers being there'
say
say 'What is not committed comes along:'
check_carried
say
say 'And the work comes home:'
check_brought
since "$began_all"
say
if [ "$failures" -gt 0 ]; then
	say "$failures of $claims claims do not hold. $took in all."
	exit 1
fi
say "All $claims claims hold. $took in all."
