#!/usr/bin/python3
"""Take the samples of data/tasks out of the files that they come from.

Usage: sample.py lines FILE N > SAMPLE              N lines of a file, in its order, as UTF-8
       sample.py sst2 TRAIN.tsv DEV.tsv FOLDER      SST-2: 1,000 rows to train on, 400 held out of
                                                    training, and the rows of dev

Which rows is a function of their bytes and number alone: those whose SHA-256 is lowest. In SST-2
many rows are parts of others, so no row to train on is a part of a row that is held out, or of a row
of dev, nor the other way round.
"""
import hashlib
import pathlib
import sys


def order(lines):
    """Numbers of the lines, shuffled."""
    return sorted(range(len(lines)), key=lambda i: hashlib.sha256(b"%d " % i + lines[i]).digest())


def as_utf8(line):
    """Some files have letters of Windows-1252, which tokenizers of UTF-8 cannot read."""
    try:
        return line.decode("utf-8").encode()
    except UnicodeDecodeError:
        return line.decode("cp1252").encode()


def lines_of(path):
    return pathlib.Path(path).read_bytes().splitlines(keepends=True)


def sst2(train, dev, folder):
    header, *rows = lines_of(train)
    dev_rows = lines_of(dev)[1:]
    shuffled = order(rows)

    def text(row):
        return b" " + row.rsplit(b"\t", 1)[0].strip() + b" "

    held, kept = shuffled[:400], []
    others = [text(rows[i]) for i in held] + [text(row) for row in dev_rows]
    for i in shuffled[400:]:
        own = text(rows[i])
        if len(kept) < 1000 and not any(own in other or other in own for other in others):
            kept.append(i)
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    for name, numbers in (("train.tsv", kept), ("holdout.tsv", held)):
        (folder / name).write_bytes(header + b"".join(rows[i] for i in sorted(numbers)))
    (folder / "dev.tsv").write_bytes(header + b"".join(dev_rows))


def main(command, *words):
    if command == "lines":
        lines = lines_of(words[0])
        taken = sorted(order(lines)[:int(words[1])])
        sys.stdout.buffer.write(b"".join(as_utf8(lines[i]) for i in taken))
    elif command == "sst2":
        sst2(*words)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) != {"lines": 4, "sst2": 5}.get((sys.argv + [""])[1]):
        print(__doc__)
        sys.exit(0 if "--help" in sys.argv else 2)
    main(*sys.argv[1:])
