#!/usr/bin/env python3
"""Makes the lists of settings in the documents from the table in the code, src/alloc/settings.def.

usage: settings.py write [ROOT]     puts the lists into docs/tuning.md and docs/man/labyrinth.3, between their marks
       settings.py check [ROOT]     fails, and says where, if they are not what `write` would make
       settings.py names [ROOT]     prints the variables, one a line
"""

import re
import sys
from pathlib import Path

TABLE = "src/alloc/settings.def"
TUNING = "docs/tuning.md"
MANUAL = "docs/man/labyrinth.3"
PREFIX = "LABYRINTH_"
IN_ONE = PREFIX + "CONF"

TOKEN = re.compile(r'\s+|/\*.*?\*/|(?P<literal>"(?:\\.|[^"\\])*")|(?P<other>[^\s"(),]+)|(?P<mark>[(),])', re.S)
MARKS = {
    TUNING: ("<!-- {}: made by tools/settings.py from src/alloc/settings.def -->\n", "<!-- end -->\n"),
    MANUAL: ('.\\" {}: made by tools/settings.py from src/alloc/settings.def\n', '.\\" end\n'),
}


def entries(text, macro):
    """The arguments of each use of a macro: literals joined and without quotes, all else as it stands."""
    for use in re.finditer(rf"^{macro}\(", text, re.M):
        arguments, now, depth, at = [], "", 1, use.end()
        while depth:
            token = TOKEN.match(text, at)
            at = token.end()
            if token["literal"]:
                now += token["literal"][1:-1].replace('\\"', '"').replace("\\\\", "\\")
            elif token["other"]:
                now += token["other"]
            elif token["mark"]:
                depth += {"(": 1, ")": -1, ",": 0}[token["mark"]]
                if depth and (depth > 1 or token["mark"] != ","):
                    now += token["mark"]
                else:
                    arguments.append(now)
                    now = ""
        yield arguments


def read(root):
    """Settings and profiles, each a dictionary of the columns of the table."""
    text = (root / TABLE).read_text()
    names = ("key", "kind", "param", "by_default", "least", "most", "words", "doc")
    settings = [dict(zip(names, entry, strict=True)) for entry in entries(text, "LAB_SETTING")]
    profiles = [dict(zip(("name", "settings", "doc"), entry, strict=True)) for entry in entries(text, "LAB_PRESET")]
    return sorted(settings, key=lambda setting: setting["key"]), profiles


def variables(root):
    return [IN_ONE] + [PREFIX + setting["key"].upper() for setting in read(root)[0]]


def takes(setting):
    """What may stand as a value, as markdown."""
    words = [f"`{word}`" for word in setting["words"].split(",") if word]
    first = {"BYTES": "bytes", "MS": "milliseconds", "NUMBER": f"{setting['least']} to {str(setting['most']).replace('UINT8_MAX', '255')}", "FLAG": "0, 1"}.get(setting["kind"])
    if setting["kind"] == "TEXT":
        return setting["words"]
    if "`cgroup`" in words:
        words.insert(0, "`80%`")
    return ", ".join(([first] if first else []) + words)


# ---- markdown ------------------------------------------------------------------------------------------------------


def tuning_settings(settings, _):
    lines = ["| key | takes | default | lab_set_param | meaning |", "|---|---|---|---|---|"]
    for setting in settings:
        param = f"`{setting['param']}`" if setting["param"] != "NO_PARAM" else "–"
        lines.append(f"| `{setting['key']}` | {takes(setting)} | {setting['by_default']} | {param} | {setting['doc']} |")
    return lines


def tuning_profiles(_, profiles):
    lines = ["| profile | stands for | what it is for |", "|---|---|---|"]
    for profile in profiles:
        stands_for = f"`{profile['settings']}`" if profile["settings"] else "–"
        lines.append(f"| `{profile['name']}` | {stands_for} | {profile['doc']} |")
    return lines


# ---- the manual page -----------------------------------------------------------------------------------------------


def macro_line(name, argument, before, after):
    words = ([before] if before else []) + [argument] + list(after)
    return f".{name} " + " ".join(words)


def roff(text):
    """Sentences with `code` and page(3) in them, as lines of mdoc: a macro has a line of its own, and a sentence ends one."""
    lines, now = [], []

    def flush():
        if now:
            lines.append(" ".join(now))
            now.clear()

    for word in re.findall(r"\(?`[^`]*`\S*|\S+", text):
        code = re.fullmatch(r"(\(?)`([^`]*)`(\W*)", word)
        page = re.fullmatch(r"(\(?)([a-z_]+)\((\d)\)(\W*)", word)
        if code:
            flush()
            argument = code[2] if " " not in code[2] else f'"{code[2]}"'
            lines.append(macro_line("Ql", argument, code[1], code[3]))
        elif page:
            flush()
            lines.append(macro_line("Xr", f"{page[2]} {page[3]}", page[1], page[4]))
        else:
            now.append(word.replace("\\", "\\e"))
            if len(" ".join(now)) > 60 or word[-1] == ".":
                flush()
    flush()
    return lines


def manual_settings(settings, _):
    lines = []
    for setting in settings:
        lines.append(f".It Ev {PREFIX}{setting['key'].upper()}")
        value = takes(setting)
        default = f"; default: {setting['by_default']}" if setting["by_default"] else ""
        lines += roff(f"{value[0].upper()}{value[1:]}{default}.")
        lines += roff(setting["doc"])
        if setting["param"] != "NO_PARAM":
            lines += ["At run time:", f".Dv {setting['param']} ."]
    return lines


def manual_profiles(_, profiles):
    lines = []
    for profile in profiles:
        lines.append(f".It Li {profile['name']}")
        lines += roff(f"{profile['doc']}" + (f": `{profile['settings']}`." if profile["settings"] else "."))
    return lines


LISTS = [
    (TUNING, "settings", tuning_settings),
    (TUNING, "profiles", tuning_profiles),
    (MANUAL, "settings", manual_settings),
    (MANUAL, "profiles", manual_profiles),
]


def made(root, name, text):
    """The text of a document with its lists as they are to be; None: it has not each list's mark once."""
    table = read(root)
    for document, what, make in LISTS:
        if document != name:
            continue
        start, end = MARKS[name][0].format(what), MARKS[name][1]
        if text.count(start) != 1:
            return None
        head, rest = text.split(start)
        text = head + start + "\n".join(make(*table)) + "\n" + rest[rest.index(end):]
    return text


def stale(root):
    """The documents whose lists are not as they are to be."""
    texts = {name: (root / name).read_text() for name in MARKS}
    return [name for name, text in texts.items() if made(root, name, text) != text]


def main(command, root=Path(__file__).resolve().parent.parent):
    root = Path(root)
    if command == "names":
        print("\n".join(variables(root)))
        return
    if command == "write":
        for name in MARKS:
            text = (root / name).read_text()
            new = made(root, name, text)
            if new is None:
                sys.exit(f"{name}: there is not one mark for each list")
            (root / name).write_text(new)
    elif stale(root):
        sys.exit(f"{', '.join(stale(root))}: not what {TABLE} says; run tools/settings.py write")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in ("write", "check", "names"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
