#!/usr/bin/python3
"""documents.py TRAIN.txt DIR: cut TinyStories, whose stories end in lines "<|endoftext|>", into
documents between blank lines, as tinystories/dev.txt: neighbouring paragraphs of a story joined with
one newline while they have at most 700 characters, what is not ASCII dropped. They are shuffled by a
seed; the first 120 become DIR/tune.txt, the others DIR/train.txt.
"""
import os
import random
import sys

LONGEST, N_TUNE = 700, 120


def documents(text):
    for story in text.split("<|endoftext|>"):
        document = ""
        for line in story.split("\n"):
            paragraph = "".join(c for c in line.strip() if ord(c) < 128)
            if paragraph and document and len(document) + 1 + len(paragraph) <= LONGEST:
                document += "\n" + paragraph
            elif paragraph:
                if document:
                    yield document
                document = paragraph
        if document:
            yield document


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        found = list(documents(file.read()))
    random.Random(1).shuffle(found)
    for name, part in (("tune.txt", found[:N_TUNE]), ("train.txt", found[N_TUNE:])):
        with open(os.path.join(sys.argv[2], name), "w", encoding="utf-8") as file:
            file.write("\n\n".join(part) + "\n")


if __name__ == "__main__":
    main()
