#!/bin/bash
# Documents and completions say what the program's own table says (jib --table), no more and no
# less. Prints "WHERE: WHAT" for every difference, and fails when there is one:
#
#   - every command has its page man/jib-COMMAND.1.scd with the table's summary, synopsis and
#     options; there is no other page, and jib(1) and the README name every command
#   - jib(1) names every error code and every setting, and none that does not exist
#   - every "jib COMMAND --option" in a document is one that exists
#   - docs/carry.md lists the names that are masked, in the order in which they decide
#   - the completions offer every command and every option of it, and nothing else
#
# usage: docs.sh [TREE]        $JIB: the program (default: TREE/build/jib)
set -euo pipefail
export LC_ALL=C
cd "${1:-$(dirname "$0")/../..}"
jib=${JIB:-build/jib}

problems=$(mktemp)
trap 'rm -f "$problems"' EXIT
table=$("$jib" --table)
mapfile -t commands < <(awk -F '\t' '$1 == "command" { print $2 }' <<<"$table")
[ "${#commands[@]}" -gt 0 ] || {
	echo "docs: $jib --table prints no command" >&2
	exit 1
}

problem() {
	printf '%s: %s\n' "$1" "$2" >>"$problems"
}

# field COMMAND N: of the command's line in the table
field() {
	awk -F '\t' -v command="$1" -v n="$2" '$1 == "command" && $2 == command { print $n }' \
		<<<"$table"
}

# options COMMAND: "-d, --detach ARGUMENT", as they head an entry of a page
options() {
	awk -F '\t' -v command="$1" '$1 == "option" && $2 == command {
		print ($4 ? $4 ", " : "") $3 ($5 ? " " $5 : "")
	}' <<<"$table"
}

# words COMMAND: every option as it is typed, with --help, which all commands have
words() {
	awk -F '\t' -v command="$1" '$1 == "option" && $2 == command {
		print $3
		if ($4)
			print $4
	}' <<<"$table"
	echo --help
}

# section PAGE NAME: the text of a section, without markup
section() {
	awk -v name="# $2" '
		/^# / { on = $0 == name; next }
		on && NF { gsub(/[*_\\]/, ""); print }' "$1"
}

# compare WHERE WHAT EXPECTED FOUND: lists of lines, in any order
compare() {
	local line
	while read -r line; do
		[ -z "$line" ] || problem "$1" "$2 is missing: $line"
	done < <(comm -23 <(sort <<<"$3") <(sort <<<"$4"))
	while read -r line; do
		[ -z "$line" ] || problem "$1" "$2 that does not exist: $line"
	done < <(comm -13 <(sort <<<"$3") <(sort <<<"$4"))
}

# ---- pages ----

check_page() {
	local page=man/jib-$1.1.scd expected found
	[ -f "$page" ] || {
		problem "$page" 'is missing'
		return
	}
	grep -qxF "jib-$1(1)" <(head -n 1 "$page") || problem "$page" "does not begin with jib-$1(1)"
	grep -qF "'jib-$1'" man/meson.build || problem man/meson.build "does not build jib-$1.1"
	expected="jib-$1 - $(field "$1" 4)" found=$(section "$page" NAME)
	[ "$found" = "$expected" ] || problem "$page" "NAME is not \"$expected\""
	expected="jib $1 $(field "$1" 3)" found=$(section "$page" SYNOPSIS)
	[ "$found" = "$expected" ] || problem "$page" "SYNOPSIS is not \"$expected\""
	compare "$page" option "$(options "$1")" "$(section "$page" OPTIONS | grep '^-' || :)"
	for expected in DESCRIPTION OPTIONS 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
		[ -n "$(section "$page" "$expected")" ] || problem "$page" "has no $expected"
	done
}

check_pages() {
	local command
	for command in "${commands[@]}"; do
		check_page "$command"
	done
	compare man page "$(printf 'man/jib-%s.1.scd\n' "${commands[@]}")" \
		"$(printf '%s\n' man/jib-*.1.scd)"
	compare man/jib.1.scd command "$(printf 'jib-%s(1)\n' "${commands[@]}")" \
		"$(section man/jib.1.scd COMMANDS | grep '^jib-' || :)"
}

check_names() {
	compare man/jib.1.scd 'error code' \
		"$(sed -n 's/^\t\[ERR_[A-Z_]*\] = "\(.*\)",$/\1/p' src/base/error.c | grep -vx none)" \
		"$(sed -n '/^# JSON/,/^# NAMES/ { /Codes:$/,$ s/^\*\([a-z-]*\)\*$/\1/p }' man/jib.1.scd)"
	compare man/jib.1.scd setting \
		"$(grep -rhoE '"jib\.[a-z]+"' src/cli | tr -d '"' | sort -u)" \
		"$(grep -oE '\*jib\.[A-Za-z]+\*' man/jib.1.scd | tr -d '*' | tr "[:upper:]" "[:lower:]" | sort -u)"
}

# ---- what documents tell people to type ----

# Prints FILE TAB COMMAND TAB OPTION for whatever stands in code: blocks between ``` and what is
# between ` ` in Markdown, blocks and *bold* in scdoc.
typed() {
	awk '
		function option(word) {
			sub(/=.*/, "", word)
			sub(/[.,;:)]+$/, "", word)
			return word
		}
		function look(text,    word, n, i, command) {
			gsub(/[`"()]/, " ", text)
			n = split(text, word, " ")
			for (i = 1; i <= n; i++) {
				if (word[i] ~ /^(--|&&|[|]|[;])$/)
					command = ""
				else if (command != "" && word[i] ~ /^-/)
					print file "\t" command "\t" option(word[i])
				else if (word[i] == "jib" && word[i + 1] ~ /^[a-z]/)
					print file "\t" (command = option(word[++i])) "\t"
				if (word[i] ~ /;$/)
					command = ""
			}
		}
		# Code in a paragraph may go on in the next line.
		function look_in_paragraph(    part, n, i) {
			n = split(paragraph, part, markdown ? "`" : "*")
			for (i = 2; i <= n; i += 2)
				look(part[i])
			paragraph = ""
		}
		FNR == 1 {
			look_in_paragraph()
			file = FILENAME
			block = 0
			markdown = file ~ /[.]md$/
		}
		/^[ \t]*```/ { look_in_paragraph(); block = !block; next }
		block { look($0); next }
		/^[ \t]*$/ { look_in_paragraph(); next }
		{ paragraph = paragraph " " $0 }
		END { look_in_paragraph() }
	' "$@" | sort -u
}

check_typed() {
	local file command option
	while IFS=$'\t' read -r file command option; do
		if [ "$command" = help ]; then
			continue
		elif [ -z "$(field "$command" 2)" ]; then
			problem "$file" "there is no command jib $command"
		elif [ -n "$option" ] && ! grep -qxF -e "$option" <<<"$(words "$command")"; then
			problem "$file" "jib $command has no option $option"
		fi
	done < <(typed README.md SECURITY.md CONTRIBUTING.md docs/*.md man/*.scd)
	for command in "${commands[@]}"; do
		grep -qxF "$command" <<<"$(typed README.md | cut -f 2)" ||
			problem README.md "does not name the command jib $command"
	done
}

# ---- what is masked ----

check_masks() {
	local rules listed
	rules=$(sed -nE 's/^\t[A-Z_]+\("(.*)"(, [a-z_]+)?\),$/\1/p' src/snapshot/secrets.c)
	# shellcheck disable=SC2016 # Markdown's own
	listed=$(sed -n '/^| Name | Masked |/,/^$/ s/^| \(`.*`\) |.*/\1/p' docs/carry.md |
		tr -s '` ' '\n' | sed '/^$/d')
	compare docs/carry.md name "$rules" "$listed"
	[ "$rules" = "$listed" ] || problem docs/carry.md 'lists names in another order than they decide'
}

# ---- completions ----

# offered WORD...: what bash offers at the end of the line
offered() {
	bash -c '
		eval "$1"
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
		_jib jib
		printf "%s\n" "${COMPREPLY[@]}"
	' - "$bash" "$@"
}

check_completions() {
	local bash zsh fish command found expected
	bash=$(completions/generate.sh bash "$jib")
	zsh=$(completions/generate.sh zsh "$jib")
	fish=$(completions/generate.sh fish "$jib")

	expected=$(printf '%s\n' "${commands[@]}")
	compare bash command "$expected" "$(offered jib '' | grep -vx -e help -e --help -e --version)"
	compare zsh command "$expected" "$(sed -n '/^_jib_commands/,/^}/ s/^\t\t.\([a-z]*\):.*/\1/p' \
		<<<"$zsh")"
	compare fish command "$expected" "$(sed -n \
		's/.*-n __fish_jib_no_command -a \([a-z]*\) .*/\1/p' <<<"$fish")"
	for command in "${commands[@]}"; do
		expected=$(words "$command")
		compare bash "option of $command" "$expected" \
			"$(offered jib "$command" - | grep -vx -e --)"
		found=$(awk -v command="$command" '
			/^_jib_table/ { table = 1 }
			table && $0 == "\t" command ")" { on = 1; next }
			/^\t\t;;/ { on = 0 }
			on && /^\t\t\t/ {
				sub(/\[.*/, "")
				gsub(/\(.*\)|\{|\}|\047|[*+=]/, "")
				gsub(/[\t ]/, "")
				gsub(/,/, "\n")
				if (/^-/)
					print
			}' <<<"$zsh")
		compare zsh "option of $command" "$expected" "$found"$'\n'--help
		found=$(sed -n "s/^complete -c jib -n '__fish_jib_in $command' \\(.*\\) -d .*/\\1/p" \
			<<<"$fish" | sed -n -e 's/.*-l \([a-z-]*\).*/--\1/p' | sort)
		compare fish "option of $command" "$(sed -n '/^--/p' <<<"$expected")" "$found"
		found=$(sed -n "s/^complete -c jib -n '__fish_jib_in $command' .*-s \\([a-z]\\) .*/-\\1/p" \
			<<<"$fish")
		compare fish "option of $command" \
			"$(sed -n '/^-[a-z]/p' <<<"$expected")"$'\n'-h "$found"
	done
	command bash -n <<<"$bash" || problem bash 'does not parse'
	# Only where there is one; what they offer is compared above without.
	! command -v zsh >/dev/null || command zsh -n <(echo "$zsh") || problem zsh 'does not parse'
	! command -v fish >/dev/null || command fish -n <(echo "$fish") ||
		problem fish 'does not parse'
}

check_pages
check_names
check_typed
check_masks
check_completions
sort -u "$problems"
[ ! -s "$problems" ]
