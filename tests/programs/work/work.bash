# Purpose: shell work whose output is the same in every run: strings, arrays, processes, signals. Run by cases/bash.py.

echo "== strings and arrays"
declare -A count
for i in {1..5000}; do
    key="k$((i * 7919 % 613))"
    count[$key]=$((${count[$key]:-0} + i))
    list+=("${key}_$i")
done
echo "${#count[@]} keys, ${#list[@]} items, ${count[k7]}, ${list[4321]}"
text=$(printf 'word%d ' {1..3000})
echo "${#text} ${text//word1/W} " | cksum
[[ $text =~ word([0-9]+)\ word2999 ]] && echo "${BASH_REMATCH[1]}"

echo "== functions and recursion"
fib() { if (($1 < 2)); then echo "$1"; else echo $(($(fib $(($1 - 1))) + $(fib $(($1 - 2))))); fi; }
fib 9

echo "== subshells, pipes, here documents"
for i in {1..40}; do (echo "$((i * i))" | tr 0-9 a-j); done | cksum
cat <<END | rev
the quick brown fox $(seq -s, 1 50)
END
diff <(seq 1 100) <(seq 1 2 200) | cksum

echo "== background jobs"
for i in {1..8}; do (sleep 0.0$i && exit "$i") & jobs+=($!); done
for job in "${jobs[@]}"; do wait "$job"; echo -n "$? "; done
echo

echo "== traps and signals"
trap 'hits=$((hits + 1)); big=$(seq 1 200)' USR1
for i in {1..25}; do kill -USR1 $$; done
echo "$hits ${#big}"

echo "== a co-process"
coproc UPPER { while read -r line; do echo "${line^^}"; done; }
for word in alpha beta gamma; do echo "$word" >&"${UPPER[1]}"; read -r answer <&"${UPPER[0]}"; echo "$answer"; done

echo "== many variables, eval, printf -v"
for i in {1..2000}; do printf -v "v_$i" '%0*d' $((i % 64 + 1)) "$i"; done
eval "echo \${v_1999} \${v_63} $(echo '${#v_'{1..50}'}')"
