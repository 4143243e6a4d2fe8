#!/usr/bin/python3
"""The rooms hold: each uses what its row says, no more and no less, and no two files of one need each other. No
function is longer than 60 lines, and no struct has more than 16 members.

Usage: test_rooms.py SOURCE BUILD

The row of a room is what its bal_add_room links: PUBLIC what its public headers include, PRIVATE what its sources
include besides. It uses rooms above it in BAL_ROOMS only. Prints a sentence for each thing that is not so.
"""
import pathlib
import re
import subprocess
import sys

SOURCE, BUILD = map(pathlib.Path, sys.argv[1:])
ROOMS = re.search(r"set\(BAL_ROOMS ([^)]*)\)", (SOURCE / "CMakeLists.txt").read_text()).group(1).split()
# a header of a library: what links it, and the one room that includes it
LIBRARIES = {
    "xxhash.h": ("PkgConfig::libxxhash", "core"), "mpi.h": ("MPI::MPI_C", "comm"),
    "cblas.h": ("PkgConfig::openblas", "kernels"), "immintrin.h": (None, "kernels"),
    "cpuid.h": (None, "kernels"), "jansson.h": ("PkgConfig::jansson", "json"),
    "pcre2.h": ("PkgConfig::libpcre2-8", "text"), "utf8proc.h": ("PkgConfig::libutf8proc", "text"),
    "hdf5.h": ("PkgConfig::hdf5-serial", "record"), "ini.h": ("PkgConfig::inih", "ini"), "math.h": ("m", None)}
LINES_MAX, MEMBERS_MAX = 60, 16
wrong = []


def owner(header):
    """The room of ballot/header.h: that of its name, or that which has a .c file of its name."""
    return header if header in ROOMS else next((p.parent.name for p in SOURCE.glob(f"src/*/{header}.c")), "core")


def check_room(room, public_headers):
    place = f"src/{room}/CMakeLists.txt"
    words = re.search(r"bal_add_room\((.*?)\)", (SOURCE / place).read_text(), re.S).group(1).split()
    row, key = {"PUBLIC": [], "PRIVATE": []}, None
    for word in words:
        if word in ("SOURCES", "PUBLIC", "PRIVATE"):
            key = word
        elif key in row:
            row[key].append(word)
    for use in row["PUBLIC"] + row["PRIVATE"]:
        if use in ROOMS[ROOMS.index(room):]:
            wrong.append(f"{place}: {room} uses {use}, which is not above it in BAL_ROOMS")
    for key, files in (("PUBLIC", public_headers), ("PRIVATE", sorted((SOURCE / f"src/{room}").glob("*.[ch]")))):
        included = set()
        for file in files:
            name = file.relative_to(SOURCE)
            for include in re.findall(r'^#include ["<](.*)[">]', file.read_text(), re.M):
                use, home = LIBRARIES.get(include, (None, None))
                if include.startswith("ballot/"):
                    use = owner(include[7:-2])
                elif "/" in include and include.startswith("."):
                    wrong.append(f"{name} includes {include}; a private header is for its own room")
                if home not in (None, room):
                    wrong.append(f"{name} includes <{include}>, which is for room {home} alone")
                elif use not in (None, room):
                    included.add(use)
                    if use not in row["PUBLIC"] + (row["PRIVATE"] if key == "PRIVATE" else []):
                        wrong.append(f"{name} includes {include}: {place} does not have {use} as {key}")
        for use in row[key]:
            if use not in included:
                wrong.append(f"{place} has {use} as {key}, but no file includes it")
    return row["PUBLIC"] + row["PRIVATE"]


def check_calls(rows):
    """Functions and objects by nm: from a room only of rooms in its row, in a room without circles."""
    home, uses = {}, []
    for line in subprocess.run(["nm", "-Ag", *(BUILD / f"src/{room}/libbal_{room}.a" for room in ROOMS)], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.splitlines():
        if len(line.split()) < 3:
            continue
        place, kind, name = line.rsplit(None, 2)
        room, file = re.search(r"libbal_(\w+)\.a:(.*)\.o", place).groups()
        if kind == "U":
            uses.append((room, file, name))
        else:
            home[name] = room, file
    needs = {}
    for room, file, name in uses:
        there, by = home.get(name, (room, file))
        if there != room and there not in rows[room]:
            wrong.append(f"src/{room}/{file} uses {name} of room {there}, which is not in the row of {room}")
        if there == room and by != file:
            needs.setdefault((room, file), {}).setdefault((room, by), name)
    done = set()

    def follow(path):
        for by, name in needs.get(path[-1], {}).items():
            if by in path:
                circle = [file for _, file in path[path.index(by):]] + [by[1]]
                wrong.append(f"src/{by[0]}: files that need each other: {', '.join(circle)} ({path[-1][1]}: {name})")
            elif by not in done:
                follow(path + [by])
        done.add(path[-1])

    for file in needs:
        if file not in done:
            follow([file])


def check_sizes(file):
    name, text = file.relative_to(SOURCE), re.sub(r"/\*.*?\*/", lambda c: "\n" * c.group().count("\n"), file.read_text(),
                                                 flags=re.S)
    for function in re.finditer(r"^\w[^\n;={}]*(\n +[^\n;={}]*)*\n\{\n(.*\n)*?\}$", text, re.M):
        lines = function.group().count("\n") + 1
        if lines > LINES_MAX:
            wrong.append(f"{name}: {function.group().split('(')[0]} has {lines} lines; at most {LINES_MAX}")
    for struct in re.finditer(r"^(?:typedef )?struct (\w+) \{\n(.*?)^\}", text, re.M | re.S):
        members = struct.group(2)
        for inner in r"\{[^{}]*\}", r"\([^()]*\)", r"\([^()]*\)":
            members = re.sub(inner, "", members)
        n = members.count(";") + members.count(",")
        if n > MEMBERS_MAX:
            wrong.append(f"{name}: struct {struct.group(1)} has {n} members; at most {MEMBERS_MAX}")


headers = sorted((SOURCE / "include/ballot").glob("*.h"))
check_calls({room: check_room(room, [h for h in headers if h.stem != "ballot" and owner(h.stem) == room])
             for room in ROOMS})
for file in headers + sorted(SOURCE.glob("src/*/*.[ch]")):
    check_sizes(file)
print(*wrong, sep="\n")
sys.exit(len(wrong) > 0)
