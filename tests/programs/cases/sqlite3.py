"""sqlite3: the command line tool: indexes, windows, recursive queries, full text, vacuum, dump and restore."""

from harness import WORK

COMMANDS = ("sqlite3",)
PACKAGES = ("sqlite3",)
QUICK = True
TIMEOUT = 60


def run(box):
    script = (WORK / "work.sql").read_bytes()
    box.run("sqlite3", "-batch", "-bail", "work.db", stdin=script)
    dump = box.run("sqlite3", "-batch", "work.db", ".dump")
    box.run("sqlite3", "-batch", "-bail", "again.db", stdin=dump)
    box.run("sqlite3", "-batch", "again.db", "pragma integrity_check; select count(*), sum(value) from t;")
    box.run("sqlite3", "-batch", "-bail", "work.db", stdin=b"select * from no_such_table;", status=1)
