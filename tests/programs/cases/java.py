"""java: compiles, packs and runs a program of many threads with javac, jar and two collectors: native methods, direct buffers, zlib, faults."""

import pathlib

from harness import WORK, find_command

COMMANDS = ("java", "javac", "jar", "gcc")
PACKAGES = ("openjdk-17-jdk-headless", "build-essential")
MAIN = ("java", "javac", "jar")
QUICK = False
TIMEOUT = 240


def run(box):
    include = pathlib.Path(find_command("javac")).resolve().parents[1] / "include"
    library = box.folder / "libwork.so"
    box.run("gcc", "-shared", "-fPIC", "-O1", f"-I{include}", f"-I{include / 'linux'}", "-o", library, WORK / "work_jni.c")
    box.run("javac", "-d", "classes", WORK / "Work.java")
    box.record_files("classes/*.class")
    box.run("jar", "--create", "--file", "work.jar", "--main-class", "Work", "-C", "classes", ".")
    box.run("jar", "--list", "--file", "work.jar")
    for collector in ("-XX:+UseG1GC", "-XX:+UseZGC"):
        box.run("java", "-Xmx256m", "-Xcheck:jni", collector, "-jar", "work.jar", library)
