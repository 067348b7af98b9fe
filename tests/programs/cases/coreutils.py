"""coreutils: sort (several threads, spilling to disk), join, uniq, split and others, with find, grep, sed, awk and tar."""

COMMANDS = ("sort", "join", "shuf", "factor", "find", "grep", "sed", "awk", "tar")
PACKAGES = ("coreutils", "findutils", "grep", "sed", "mawk", "tar")
QUICK = True
TIMEOUT = 90

# Each line is one shell command; what it prints must be the same in both runs.
COMMAND_LINES = """
seq 1 150000 | awk '{ printf "%d key%d %x\\n", ($1 * 7919) % 1000003, $1 % 997, $1 * 31 }' > data
sort -n data | sha256sum
sort --parallel=4 -S 1M -k2,2 -k1,1nr data | sha256sum
sort -u -k2,2 data | tail -n 3
sort -R --random-source=data data | sha256sum
shuf --random-source=data data | sha256sum
cut -d' ' -f2 data | sort | uniq -c | sort -k1,1nr -k2 | head -n 5
sort -k1,1 data > left; tac data | sort -k1,1 > right; join left right | sha256sum
comm -12 left right | wc
tr 'a-z' 'A-Z' < data | fold -w 31 | nl | pr -5 -t | sha256sum
split -l 9000 -a 3 data part. && cat part.* | cmp - data && ls part.* | wc -l
head -c 300000 data | od -A x -t x4z | base64 | tail -n 2
paste -d, data left right | cut -d, -f2- | md5sum
for n in 600851475143 18446744073709551557 1000000007; do factor $n; done
seq 1 20000 | factor | sha256sum
seq 2 2 4000 | awk '{ print $1, $1 / 2 }' | tsort | sha256sum
fmt -w 60 data | expand -t 3 | unexpand -a | b2sum
mkdir tree && for i in $(seq 1 300); do mkdir -p tree/$((i % 17)); head -n $i data > tree/$((i % 17))/f$i; done
find tree -type f -size +2k | sort | xargs -n 20 -P 4 sha256sum | sort | sha256sum
grep -rhE 'key(1[0-9]*|99) [0-9a-f]*7$' tree | sort | md5sum
sed -E 's/key([0-9])([0-9]*)/\\2-\\1/; /^9/d; $!N; P; D' data | md5sum
tar -C tree --sort=name --mtime=@0 --owner=0 --group=0 -czf tree.tar.gz . && tar -tzf tree.tar.gz | sha256sum
cp -a tree copy && diff -r tree copy && rm -r tree && du -a --apparent-size -B1 copy/3 | sort | head -n 3
date -u -d '2023-11-14 22:13 UTC 40 days' '+%F %T %j'; numfmt --to=iec 123456789; expr 12345 \\* 6789; stat -c '%s %F' data
ls -lR --time-style=+%s copy | awk '{ print $5, $7 }' | sha256sum
"""


def run(box):
    for line in COMMAND_LINES.strip().splitlines():
        box.run("sh", "-e", "-c", line)
