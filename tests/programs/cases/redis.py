"""redis: a server on a unix socket under redis-benchmark; snapshots by fork, threads for I/O and for freeing, Lua."""

COMMANDS = ("redis-server", "redis-cli", "redis-benchmark")
PACKAGES = ("redis-server", "redis-tools")
QUICK = True
TIMEOUT = 90

CONFIGURATION = """
port 0
unixsocket redis.sock
dir .
logfile server.log
appendonly yes
save ""
enable-debug-command local
lazyfree-lazy-user-del yes
"""
IO_THREADS = ("--io-threads", "2", "--io-threads-do-reads", "yes")
TESTS = "set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,lrange_100,mset"
SCRIPT = "local t = {} for i = 1, 5000 do t[i] = string.rep('x', i % 100) .. i end return redis.sha1hex(table.concat(t))"


def run(box):
    (box.folder / "redis.conf").write_text(CONFIGURATION)
    with box.serve("redis-server", "redis.conf", ready=lambda: answers(box)):
        fill(box)
        benchmark(box, 10000, TESTS)
        digest = cli(box, "DEBUG", "DIGEST")
        cli(box, "EVAL", SCRIPT, "0")
        cli(box, "SAVE")
        cli(box, "DEBUG", "RELOAD")
        box.check(cli(box, "DEBUG", "DIGEST") == digest, "the data changed over a save and a reload")
        in_background(box, "BGSAVE", "rdb_bgsave_in_progress")
        in_background(box, "BGREWRITEAOF", "aof_rewrite_in_progress")
        cli(box, "FLUSHALL", "ASYNC")
        cli(box, "DBSIZE")
    # Threads for I/O wait by spinning, which is slow where there are few CPUs: few requests. They free what others made.
    with box.serve("redis-server", "redis.conf", *IO_THREADS, ready=lambda: answers(box)):
        benchmark(box, 1000, "set,get,lrange_100,mset")
        cli(box, "DEBUG", "DIGEST")


def benchmark(box, requests, tests):
    box.run("redis-benchmark", "-s", "redis.sock", "-q", "-n", requests, "-c", "20", "-P", "4", "-d", "200", "-t", tests, record=False)


def cli(box, *argv, **options):
    return box.run("redis-cli", "-s", "redis.sock", *argv, **options)


def answers(box):
    return (box.folder / "redis.sock").exists() and cli(box, "PING", record=False, env={"WITNESS_FILE": ""}).strip() == b"PONG"


def fill(box):
    """Keys of every kind and many sizes, some replaced, some deleted."""
    commands = []
    for i in range(20000):
        commands.append(f"SET string:{i % 15000} {'v' * (i * 7 % 600 + 1)}")
        commands.append(f"HSET hash:{i % 300} field{i} {i * i}")
        commands.append(f"ZADD sorted:{i % 50} {i * 7919 % 1009} member{i}")
        commands.append(f"RPUSH list:{i % 100} {'e' * (i % 150 + 1)}")
        if i % 10 == 0:
            commands.append(f"DEL string:{i // 2}")
    cli(box, "--pipe", stdin="\r\n".join(commands).encode() + b"\r\n")


def in_background(box, command, flag):
    """A command for which the server forks, waited for to its end."""
    cli(box, command)
    while f"{flag}:1".encode() in cli(box, "INFO", "persistence", record=False):
        pass
    info = cli(box, "INFO", "persistence", record=False)
    box.check(b"_status:err" not in info, f"{command} failed in the server")
