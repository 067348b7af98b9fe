"""postgres: initdb, a server on a unix socket under pgbench, sorting, hashing, parallel queries, dump; unprivileged."""

import signal

from harness import unprivileged_user

COMMANDS = ("initdb", "postgres", "pgbench", "psql", "pg_dump")
PACKAGES = ("postgresql",)
QUICK = False
TIMEOUT = 180

CONFIGURATION = """
listen_addresses = ''
fsync = off
shared_buffers = 32MB
work_mem = 256kB
logging_collector = off
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
parallel_tuple_cost = 0
"""

# pgbench's transactions mix in time, but with a seed what they add up to is the same.
SUMS = """
select count(*), sum(delta) from pgbench_history;
select sum(abalance) from pgbench_accounts;
select sum(tbalance) from pgbench_tellers;
select sum(bbalance) from pgbench_branches;
"""
QUERIES = """
create table t as select i, md5(i::text) h, i * 7919 % 1009 k from generate_series(1, 60000) i;
create index on t (k, h);
analyze t;
select k, count(*), min(h), string_agg(h, ',' order by h) from t group by k order by 2 desc, 1 limit 3;
select md5(string_agg(h, '' order by h desc)) from t;
select count(*) from t a join t b using (k) where a.h < b.h;
with recursive f (a, b) as (values (0::numeric, 1::numeric) union all select b, a + b from f where b < 1e300)
    select max(b) from f;
select md5(jsonb_agg(jsonb_build_object('i', i, 'h', h) order by i)::text) from t where k < 100;
select sum(length(regexp_replace(h, '[a-f]+', 'x', 'g'))) from t;
do $$ begin for n in 1..2000 loop perform count(*) from t where k = n % 7 and i < n; end loop; end $$;
select 1 / 0;
"""


def run(box):
    box.become(unprivileged_user("postgres", "nobody"))
    box.run("initdb", "-D", "data", "-A", "trust", "-U", "ariadne", "-E", "UTF8", "--no-locale", "--no-sync", record=False)
    with open(box.folder / "data/postgresql.conf", "a", encoding="utf-8") as file:
        file.write(CONFIGURATION + f"unix_socket_directories = '{box.folder}'\n")
    with box.serve("postgres", "-D", "data", ready=lambda: answers(box), stop=signal.SIGINT):
        client(box, "pgbench", "-i", "-q", "-s", "2", "postgres", record=False)
        client(box, "pgbench", "-c", "4", "-j", "2", "-t", "250", "--random-seed=5", "postgres", record=False)
        client(box, "psql", "-X", "-c", "vacuum analyze", "postgres")
        client(box, "psql", "-X", "-A", "postgres", stdin=SUMS.encode())
        client(box, "psql", "-X", "-A", "postgres", stdin=QUERIES.encode())
        dump = client(box, "pg_dump", "-t", "t", "postgres", record=False)
        box.record("pg_dump", b"\n".join(line for line in dump.splitlines() if b"restrict " not in line))  # a random key


def client(box, program, *argv, **options):
    return box.run(program, "-h", box.folder, "-U", "ariadne", *argv, **options)


def answers(box):
    return (box.folder / ".s.PGSQL.5432").exists() and "ready to accept connections" in box.stderr_path.read_text()
