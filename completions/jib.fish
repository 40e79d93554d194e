
# The words before the cursor, without "jib".
function __fish_jib_words
    set -l words (commandline -opc)
    set -e words[1]
    test (count $words) -eq 0; or printf '%s\n' $words
end

function __fish_jib_no_command
    test (count (__fish_jib_words)) -eq 0
end

# In the command, before any "--"; with a number: where the argument of this number is to come.
function __fish_jib_in
    set -l words (__fish_jib_words)
    test "$words[1]" = $argv[1]; and not contains -- -- $words; or return 1
    test (count $argv) -eq 1; and return 0
    string match -q -- '-*' (commandline -ct); and return 1
    test (count (string match -v -- '-*' $words)) -eq $argv[2]
end

# After the "--" of the command.
function __fish_jib_runs
    set -l words (__fish_jib_words)
    test "$words[1]" = $argv[1]; and contains -- -- $words
end

# Completes what follows "--" as a command line of its own.
function __fish_jib_inner
    set -l words (__fish_jib_words)
    set -e words[1..(contains -i -- -- $words)]
    complete -C (string join ' ' -- (string escape -- $words) (commandline -ct))
end

# The disk is the truth: a sandbox is a directory of the root.
function __fish_jib_sandboxes
    set -l root $JIB_ROOT
    test -n "$root"; or set root $HOME/.jib-overlays
    for directory in $root/*/
        path basename $directory
    end
end
