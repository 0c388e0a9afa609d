# SPDX-License-Identifier: LGPL-2.1-or-later
# What the tests of the command line share: a scratch directory, one case per check, JSON by path.
pinfold=$1
top=$(mktemp -d /var/tmp/pinfold-cli.XXXXXX)
count=0
export LSAN_OPTIONS="suppressions=$(dirname "$(realpath "$0")")/lsan.supp:print_suppressions=0${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
# no configuration of this machine, and none of whoever runs the tests
export PINFOLD_CONFIG=/dev/null
unset PINFOLD_PROFILE
children=
# Ends only what this script started, each by its own id.
finish() {
	for child in $children; do
		kill "$child" 2>/dev/null && wait "$child" 2>/dev/null
	done
	rm -rf "$top"
}
trap finish EXIT

# run ARG...: pinfold's stdout in $top/out, stderr in $top/err, its exit status in $status
run() {
	"$pinfold" "$@" >"$top/out" 2>"$top/err" </dev/null
	status=$?
}
# check NAME CONDITION...: one case
check() {
	local name=$1
	shift
	count=$((count + 1))
	if "$@"; then
		echo "ok $count - $name"
	else
		echo "not ok $count - $name"
		sed 's/^/# out: /' "$top/out" 2>/dev/null | head -20
		sed 's/^/# err: /' "$top/err" 2>/dev/null | head -20
	fi
}
is() { [ "$status" = "$1" ]; }
out() { grep -q -e "$1" "$top/out"; }
err() { grep -q -e "$1" "$top/err"; }
# json EXPRESSION: a Python expression over the output, j
json() {
	/usr/bin/python3 -c "
import json, sys
j = json.load(open(sys.argv[1]))
sys.exit(0 if ($1) else 1)" "$top/out" 2>/dev/null
}
# fails STATUS NAME PATTERN: so the last run ended, with words on stderr and nothing on stdout
fails() { check "$2" failed_so "$1" "$3"; }
failed_so() { is "$1" && err "$2" && [ ! -s "$top/out" ]; }
plan() { echo "1..$count"; }
echo "TAP version 13"
