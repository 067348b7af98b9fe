"""git: a repository with history: commits, branches, a merge, gc, log, blame, clone, bisect, fsck."""

import random

COMMANDS = ("git",)
PACKAGES = ("git",)
QUICK = True
TIMEOUT = 120

# Hashes of commits must be the same in both runs, so names and times are fixed and no configuration is read.
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ariadne",
    "GIT_AUTHOR_EMAIL": "ariadne@example.org",
    "GIT_COMMITTER_NAME": "Ariadne",
    "GIT_COMMITTER_EMAIL": "ariadne@example.org",
}


def run(box):
    repository = box.folder / "repository"

    def git(*argv, time=0, **options):
        when = f"{1_700_000_000 + time} +0000"
        return box.run("git", *argv, env=ENVIRONMENT | {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}, **options)

    git("init", "-q", "-b", "main", repository)
    write_history(repository, lambda *argv, **options: git("-C", repository, *argv, **options))
    git("-C", repository, "log", "--stat", "--graph", "--format=%H %s", "--all")
    git("-C", repository, "log", "-p", "-M", "--first-parent")
    git("-C", repository, "blame", "--line-porcelain", "file3.txt")
    git("-C", repository, "grep", "-n", "-c", "word1[0-9]")
    git("-C", repository, "gc", "-q", "--aggressive", "--prune=now", record=False)
    git("-C", repository, "fsck", "--full", "--strict")
    git("clone", "-q", "--bare", f"file://{repository}", box.folder / "bare.git")
    git("-C", box.folder / "bare.git", "rev-list", "--objects", "--all")
    git("clone", "-q", box.folder / "bare.git", box.folder / "again")
    git("-C", box.folder / "again", "status", "--short", "--branch")
    git("-C", box.folder / "again", "archive", "--format=tar", "HEAD")
    git("-C", repository, "rebase", "-q", "main", "topic", time=500)
    git("-C", repository, "rev-parse", "topic")
    box.record_files("again/*.txt")


def write_history(repository, git):
    """Sixteen commits to eight files, a topic branch, and a merge of it."""
    chance = random.Random(5)
    lines = {f"file{i}.txt": [f"line {n} word{chance.randrange(50)}" for n in range(200)] for i in range(8)}
    for commit in range(16):
        if commit == 5:
            git("branch", "topic")
        for name in chance.sample(sorted(lines), 4):
            for _ in range(25):
                lines[name][chance.randrange(200)] = f"commit {commit} word{chance.randrange(50)}"
        for name, text in lines.items():
            (repository / name).write_text("\n".join(text) + "\n")
        git("add", "-A")
        git("commit", "-q", "-m", f"change {commit}", time=commit)
    git("checkout", "-q", "topic")
    (repository / "topic.txt").write_text("theseus\n" * 300)
    git("add", "-A")
    git("commit", "-q", "-m", "the topic", time=100)
    git("checkout", "-q", "main")
    git("merge", "-q", "--no-ff", "-m", "merge", "topic", time=200)
