function quoted(text) {
	gsub(/\\/, "\\\\", text)
	gsub(/'/, "\\'", text)
	return "'" text "'"
}

function completed(what) {
	if (what ~ /^=/)
		return " -xa " quoted(substr(what, 2))
	if (what == "directory")
		return " -xa '(__fish_complete_directories)'"
	if (what == "file")
		return " -rF"
	if (what == "variable")
		return " -xa '(set -nx)'"
	return what == "" ? "" : " -x"
}

END {
	print "# Completion of jib for fish. Made from `jib --table`; do not edit."
	print ""
	print "complete -c jib -f"
	for (c = 1; c <= count; c++)
		printf "complete -c jib -n __fish_jib_no_command -a %s -d %s\n", command[c],
			quoted(summary[command[c]])
	print "complete -c jib -n __fish_jib_no_command -l help -d 'tell how jib is used'"
	print "complete -c jib -n __fish_jib_no_command -l version -d 'print the version'"
	for (c = 1; c <= count; c++) {
		name = command[c]
		print ""
		for (i = 1; i <= options[name]; i++)
			printf "complete -c jib -n '__fish_jib_in %s' -l %s%s%s -d %s\n", name,
				substr(long[name, i], 3),
				letter[name, i] ? " -s " substr(letter[name, i], 2) : "",
				completed(value[name, i]), quoted(help[name, i])
		printf "complete -c jib -n '__fish_jib_in %s' -s h -l help -d %s\n", name,
			"'tell how the command is used'"
		n = split(places[name], at, " ")
		for (i = 1; i <= n && at[i] != "..."; i++)
			if (at[i] != "other")
				printf "complete -c jib -n '__fish_jib_in %s %s' -a '(%s)'\n", name,
					at[i + 1] == "..." ? "" : i,
					at[i] == "sandbox" ? "__fish_jib_sandboxes" : "__fish_complete_directories"
		if (runs[name])
			printf "complete -c jib -n '__fish_jib_runs %s' -a '(__fish_jib_inner)'\n", name
	}
}
