# Purpose: run the steps of `./dev test` one after the other, count what they tested, and say it in one last line.
# Sourced by ./dev. A step is a command; its output goes to build/logs and is shown only if it fails.
# shellcheck shell=bash

PASSED=0 FAILED=0 SKIPPED=0
FAILED_STEPS=()
FAILED_LOGS=()
ONLY_STEPS= # text that titles must have

# counts_of LOG STATUS: print "passed failed skipped" of a step.
# Three kinds of step are understood: `meson test` (its summary), a runner that ends with "N passed, N failed, N skipped"
# (the last one in the log is its own), and any other command, which counts as one test. A `meson test` that found
# nothing to run has failed: a suite whose name was changed must not count as passed. So has a command that fails
# without owning up to a failed test.
counts_of() {
    awk -v status="$2" '
        /^Ok: +[0-9]+ *$/                                { passed = $NF; failed = skipped = 0; counted = 1 }
        /^Expected Fail: +[0-9]+ *$/                     { passed += $NF }
        /^(Fail|Unexpected Pass|Timeout): +[0-9]+ *$/    { failed += $NF }
        /^Skipped: +[0-9]+ *$/                           { skipped += $NF }
        /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { passed = $1; failed = $3; skipped = $5; counted = 1 }
        /^No (suitable )?tests defined/                  { counted = 1 }
        END {
            if (!counted && status == 0) passed = 1
            if (failed == 0 && (status != 0 || passed + skipped == 0)) failed = 1
            print passed + 0, failed + 0, skipped + 0
        }' "$1"
}

# step TITLE COMMAND…: run one step, print its line, and its log if it failed. Never ends the script.
step() {
    local title=$1 log word status=0 begin=$SECONDS passed failed skipped
    shift
    [[ $title == *"$ONLY_STEPS"* ]] || return 0
    mkdir -p "$ROOT/build/logs"
    log="$ROOT/build/logs/$(tr -cs '[:alnum:]' '-' <<<"$title" | sed 's/-*$//').log"
    ("$@") >"$log" 2>&1 </dev/null || status=$?
    read -r passed failed skipped < <(counts_of "$log" "$status")
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped))
    word=ok
    if [ "$failed" -gt 0 ]; then
        word=FAILED
        FAILED_STEPS+=("$title")
        FAILED_LOGS+=("$log")
        echo "---- $title: end of $log"
        tail -n 300 "$log" | sed "s/^/    | /" # indented: the counts in it are not ours
        echo "---- $title: exit status $status"
    fi
    # What a step did not test is said, never hidden.
    sed -nE 's|^ *[0-9]+/[0-9]+ (.*[^ ]) +SKIP .*|not run \1|p; /^not run /p' "$log"
    printf '%-6s %-52s %4d passed, %d failed, %d skipped %5d s\n' \
        "$word" "$title" "$passed" "$failed" "$skipped" $((SECONDS - begin))
}

# failed_tests LOG: each test of `meson test` that failed, and the last lines that it printed; of another log its last lines.
failed_tests() {
    awk '
        function flush(i) {
            for (i = lines > 12 ? lines - 11 : 1; i <= lines; i++) print line[i]
            lines = 0
        }
        / (FAIL|TIMEOUT|ERROR) +[0-9.]+s / && !summary { flush(); print; inside = 1; found = 1; next }
        /^Summary of Failures:/                        { summary = 1; inside = 0 }
        /^[0-9]+\/[0-9]+ /                             { inside = 0 }
        { rest[++all] = $0 }
        inside && !/^(>>> |$)/ && !/^(\342\200\225|-{20})/ { line[++lines] = $0 }
        END {
            flush()
            if (!found) for (i = all > 12 ? all - 11 : 1; i <= all; i++) print rest[i]
        }' "$1"
}

# finish_steps: why steps failed, the last line, and the exit status of the whole. No test at all is a failure, too.
finish_steps() {
    local i
    for i in ${FAILED_STEPS[@]+"${!FAILED_STEPS[@]}"}; do
        echo "failed: ${FAILED_STEPS[i]}"
        failed_tests "${FAILED_LOGS[i]}" | cut -c 1-200 | sed "s/^/    | /"
    done
    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    [ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]
}
