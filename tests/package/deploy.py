#!/usr/bin/env python3
"""What examples/deploy shows for containers, systemd and Kubernetes is right: paths and settings fit, and programs run so.

usage: deploy.py BUILD MESON

The Dockerfile is parsed, and carried out without docker: each stage is a folder with this system's /usr in it, read-only, and RUN a chroot there in a mount
namespace of its own, which takes root. apt-get only looks whether the packages exist.
"""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tree import PROJECT, environment, install, require, run

DEPLOY = PROJECT / "examples/deploy"
PRELOADED = "liblabyrinth.so.0"
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "ENV"}
APT_GET = '#!/bin/sh\n[ "$1" = update ] && exit\nshift\nfor package; do case $package in -*) ;; *) apt-cache show "$package" >/dev/null || exit; esac; done\n'
# What a stage has of the system. /tmp, and all else, is its own.
ENTER = """
cd "$1"; shift
mkdir -p usr etc proc dev var/lib tmp
for folder in usr etc proc dev var/lib; do mount --rbind /$folder $folder; done
mount -o remount,bind,ro usr
exec chroot . "$@"
"""


def instructions(text):
    """(word, rest) of each; lines that end in a backslash go on."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        require(word in INSTRUCTIONS, f"Dockerfile: {line}")
        yield word, rest.strip()


class Stage:
    """One FROM and what follows."""

    def __init__(self, root):
        self.root = root
        self.directory = "/"
        self.environment = {"PATH": "/stub:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "CFLAGS": "-O0"}  # it need not be fast here
        (root / "stub").mkdir(parents=True)
        (root / "stub/apt-get").write_text(APT_GET)
        (root / "stub/apt-get").chmod(0o755)
        for name in "bin", "sbin", "lib", "lib64":
            (root / name).symlink_to(f"usr/{name}")

    def inside(self, path):
        return self.root / os.path.join(self.directory, path).lstrip("/")

    def run(self, command):
        return run(["unshare", "-m", "sh", "-ec", ENTER, "sh", self.root, "sh", "-ec", f"cd {shlex.quote(self.directory)}; {command}"], env=self.environment)

    def copy(self, source, target):
        target = self.inside(target)
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        require(any(target.iterdir()), f"COPY to {target} copied nothing")


def copy_context(folder):
    """What docker would be sent: all but what .dockerignore names."""
    ignored = (PROJECT / ".dockerignore").read_text().split()
    require({".git", "build"} <= set(ignored), "builds and history would be sent to docker")
    shutil.copytree(PROJECT, folder, symlinks=True, ignore=lambda path, names: ignored if Path(path) == PROJECT else ["__pycache__"])


def carry_out(dockerfile, scratch):
    """The last stage."""
    stages, stage = {}, None
    copy_context(scratch / "context")
    for word, rest in instructions(dockerfile):
        if word == "FROM":
            image, name = re.fullmatch(r"(\S+)(?: AS (\S+))?", rest).groups()
            require(re.fullmatch(r"debian:12(-slim)?", image), f"an image that was not thought of: {image}")
            stage = stages[name] = Stage(scratch / f"stage-{len(stages)}")
        elif word == "RUN":
            stage.run(rest)
        elif word == "WORKDIR":
            stage.directory = rest
            stage.inside(".").mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            source, source_path, target = re.fullmatch(r"(?:--from=(\S+) )?(\S+) (\S+)", rest).groups()
            stage.copy(stages[source].inside(source_path) if source else scratch / "context" / source_path, target)
        else:
            stage.environment.update(pair.split("=", 1) for pair in shlex.split(rest))
    return stage


def require_settings(names):
    known = {f"LABYRINTH_{key.upper()}" for key in re.findall(r"^\| `(\w+)` \|", (PROJECT / "docs/tuning.md").read_text(), re.M)} | {"LABYRINTH_CONF"}
    unknown = {name for name in names if name.startswith("LABYRINTH_")} - known
    require(not unknown, f"no settings: {unknown}")


def check_docker(scratch):
    """Returns the folder that the image has the library in."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        print("not run: the Dockerfile: mount namespaces are not for this user")
        return None
    image = carry_out((DEPLOY / "Dockerfile").read_text(), scratch)
    require_settings(image.environment)
    shown = image.run("LABYRINTH_STATS=1 sort /etc/passwd")
    require("labyrinth: segments" in shown, f"sort did not run on the library:\n{shown}")
    return image.inside(image.environment["LD_PRELOAD"]).parent


def check_kubernetes(folder, scratch):
    try:
        import yaml  # pylint: disable=import-outside-toplevel
    except ImportError:
        print("not run: the Kubernetes manifest: there is no python3-yaml")
        return
    pod = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    (init,), (container,) = pod["initContainers"], pod["containers"]
    settings = {entry["name"]: entry["value"] for entry in container["env"]}
    require_settings(settings)
    (mount,) = container["volumeMounts"]
    require({mount["name"], *(one["name"] for one in init["volumeMounts"])} == volumes, "volumes do not fit")
    require(settings["LD_PRELOAD"] == f"{mount['mountPath']}/{PRELOADED}", f"LD_PRELOAD is not in {mount['mountPath']}")
    if folder:
        # as the init container does it, with its folders put in place of the image's and the volume's
        (scratch / "volume").mkdir()
        places = {"/opt/labyrinth/lib": str(folder), init["volumeMounts"][0]["mountPath"]: str(scratch / "volume")}
        run([re.sub("^(" + "|".join(places) + ")", lambda match: places[match[1]], word) for word in init["command"]])
        run(["true"], env=environment(LD_PRELOAD=scratch / "volume" / PRELOADED))
        require((scratch / "volume" / PRELOADED).is_file(), f"the init container copies no {PRELOADED}")


def check_systemd(libraries):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    text = (DEPLOY / "labyrinth.conf").read_text()
    parser.read_string(text)
    settings = dict(pair.split("=", 1) for pair in re.findall(r"^Environment=(.*)$", text, re.M))
    require_settings(settings)
    require(settings.pop("LD_PRELOAD") == PRELOADED and parser.sections() == ["Service"], "labyrinth.conf")
    limit = int(re.fullmatch(r"(\d+)M", parser["Service"]["LimitMEMLOCK"])[1]) << 10
    shell = f"ulimit -l {limit}; exec python3 -c 'import ctypes, sys; i = (ctypes.c_size_t * 20)(); " \
            "ctypes.CDLL(None).lab_reserve_info(i); sys.exit(i[0] & 0xffffffff)'"
    mode = subprocess.run(["bash", "-c", shell], check=False, env=environment(LD_LIBRARY_PATH=libraries, LD_PRELOAD=PRELOADED, **settings)).returncode
    require(mode == 2, f"with LimitMEMLOCK as it is shown, the reserve's mode is {mode}, not strict")


def main(build, meson):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        check_systemd(install(build, meson, scratch / "installed"))
        check_kubernetes(check_docker(scratch), scratch)


if __name__ == "__main__":
    main(*sys.argv[1:])
