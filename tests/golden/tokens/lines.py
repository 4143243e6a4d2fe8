"""Remakes lines.txt, the texts that every tokenizer is checked with: python3 lines.py

One text per line; \\\\, \\n, \\r and \\xHH (a byte) stand for what a line cannot show. Only characters
that are in Unicode 3.2, or pictures, or that no version has: classes of newer ones differ between
the libraries' versions."""
import pathlib
import random
import unicodedata

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parents[2] / "data"
N = 10200
OLD = unicodedata.ucd_3_2_0
CHANGED = {0x166D, 0x1734, 0x180E}  # their category is another one now
EMOJI = [*range(0x1F300, 0x1F650), *range(0x1F680, 0x1F6C6), 0x2764, 0x2600, 0x26A1, 0x2705]
SPACES = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2000\u2003\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "[PAD]",
           "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>",
           "<0x41>", "<0xC3>", "<|sep|>", "<|sep|>2", "Godot", "WORD", "word", " word", "\u2581",
           "\u2581\u2581", "##", "##s", "@@"]


def known(c):
    if 0xD800 <= c <= 0xDFFF or c in CHANGED:
        return False
    name = unicodedata.category(chr(c))
    if OLD.category(chr(c)) != "Cn":
        return OLD.category(chr(c)) == name
    return name == "Cn" and (0xFDD0 <= c <= 0xFDEF or c & 0xFFFE == 0xFFFE or 0x40000 <= c < 0xE0000)


KNOWN = [c for c in range(0x110000) if known(c)]
MARKS = [c for c in KNOWN if unicodedata.category(chr(c)).startswith("M")]
PLAIN = [c for c in KNOWN if c < 0x3000]
RANGES = {"cjk": (0x4E00, 0x9FA5), "kana": (0x3041, 0x30FE), "hangul": (0xAC00, 0xD7A3),
          "arabic": (0x0621, 0x064A), "hebrew": (0x05D0, 0x05EA), "deva": (0x0905, 0x0939),
          "cyrillic": (0x0410, 0x044F), "greek": (0x0391, 0x03C9), "thai": (0x0E01, 0x0E3A),
          "latin": (0x00C0, 0x024F), "wide": (0xFF01, 0xFF5E), "compat": (0x3300, 0x33FF),
          "letterlike": (0x2100, 0x2183), "circled": (0x2460, 0x24EA)}
RANGES = {name: [c for c in KNOWN if a <= c <= b] for name, (a, b) in RANGES.items()}
WORDS = ["if", "for", "while", "return", "int", "def", "x", "i", "self", "NULL", "printf", "std",
         "size_t", "foo_bar", "getValue", "HTTPServer", "__init__", "0x1F", "3.14159", "1e-10"]
SIGNS = list("(){}[];:,.<>=+-*/%&|^!~?@#$\\'\"`_") + ["->", "::", "==", "!=", "&&", "//", "/*", "*/",
                                                    "    ", "\t", "\n", " "]
ENGLISH = ["I'm", "you're", "we've", "don't", "can't", "it's", "they'll", "I'd", "DON'T", "IT'S",
           "O'Neil", "'tis", "rock'n'roll", "\u2019s", "it\u2019s", "'s", "'S", "'ll", "''s"]


def text(rng, kind, lines):
    pick = lambda codes, n: "".join(chr(rng.choice(codes)) for _ in range(n))
    if kind == "english":
        line = rng.choice(lines)
        start = rng.randrange(len(line))
        return line[start if rng.random() < 0.2 else 0:][:70]
    if kind == "contraction":
        return rng.choice(["", " ", "  "]).join(rng.choice(ENGLISH) for _ in range(rng.randint(1, 6)))
    if kind == "code":
        return "".join(rng.choice(WORDS if rng.random() < 0.5 else SIGNS)
                       for _ in range(rng.randint(1, 16)))
    if kind == "digits":
        return "".join(rng.choice([str(rng.randrange(10 ** rng.randint(1, 9))), ",", ".", " ", "-",
                                   pick(RANGES["circled"], 1), "\u0663", "\u00b2", "\u00bd", "\u2167"])
                       for _ in range(rng.randint(1, 8)))
    if kind == "emoji":
        out = ""
        for _ in range(rng.randint(1, 6)):
            out += pick(EMOJI, 1)
            out += rng.choice(["", "", "\ufe0f", "\u200d" + pick(EMOJI, 1), chr(rng.randint(0x1F3FB, 0x1F3FF)),
                               " ", "a"])
        return out
    if kind == "marks":
        return "".join(pick(PLAIN, 1) + pick(MARKS, rng.randint(0, 3)) for _ in range(rng.randint(1, 8)))
    if kind == "control":
        return "".join(rng.choice(["a", " ", chr(rng.randrange(32)), chr(rng.randint(0x7F, 0xA0)),
                                   "\u200d", "\u00ad", "\u202e", "\ufffd", "\ufeff", "\ue000", "\uffff"])
                       for _ in range(rng.randint(1, 10)))
    if kind == "spaces":
        return "".join(rng.choice([rng.choice(SPACES), " ", "  ", "a", "the", "\n\n", "1", "."])
                       for _ in range(rng.randint(1, 14)))
    if kind == "special":
        return "".join(rng.choice([rng.choice(SPECIAL), " ", "a", "  ", "the", "\u00e9", "\n", "."])
                       for _ in range(rng.randint(1, 8)))
    if kind == "long":
        return rng.choice(["ab", "the", "x", "\u00e9", "=", " ", "\u4e2d", "1", "\n"]) * rng.randint(20, 130)
    if kind == "any":
        return pick(KNOWN, rng.randint(1, 10))
    if kind == "plain":
        return pick(PLAIN, rng.randint(1, 12))
    return "".join(pick(RANGES[rng.choice(list(RANGES))], rng.randint(1, 5)) + rng.choice(["", " ", "\u3000", "."])
                   for _ in range(rng.randint(1, 5)))


def escape(line):
    for plain, shown in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r")):
        line = line.replace(plain, shown)
    return "".join(f"\\x{ord(c):02X}" if ord(c) < 32 or ord(c) == 127 else c for c in line)


def main():
    from samples import WRITTEN
    rng = random.Random(4)
    lines = [line for part in ("shakespeare/train.txt", "tinystories/dev.txt")
             for line in (DATA / part).read_text().splitlines() if line.strip()]
    kinds = ["english"] * 5 + ["code"] * 3 + ["scripts"] * 3 + ["contraction", "digits", "emoji", "marks",
             "control", "spaces", "spaces", "special", "special", "any", "plain"] + ["long"] * 0
    texts = list(WRITTEN)
    while len(texts) < N:
        kind = "long" if len(texts) % 100 == 0 else rng.choice(kinds)
        texts.append(text(rng, kind, lines))
    (HERE / "lines.txt").write_text("".join(escape(t) + "\n" for t in texts), newline="\n")


if __name__ == "__main__":
    main()
