"""Texts of the golden token files: the same on every run."""
import random

WRITTEN = [
    "", " ", "  ", "\n", "\t\r\n", "a", " a", "a ", "Once upon a time", "Once upon a time ",
    "  leading and trailing  ", "ROMEO:\nBut, soft! what light through yonder window breaks?",
    "To be, or not to be: that is the question", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "int main(void)\n{\n    return x[i] += 0x1F;\n}\n", 'printf("%5.2f\\n", a * b);',
    "def f(x): return {k: v for k, v in x.items()}", "<html><body>&amp;</body></html>",
    "SELECT * FROM t WHERE a >= 10 -- comment", "https://example.org/?q=a%20b&c=1#top",
    "0123456789 3.14159 1e-10 1,000,000",
    "caf\u00e9 na\u00efve \u00fcber stra\u00dfe \u0141\u00f3d\u017a", "cafe\u0301 (combining)",
    "\u00bfQu\u00e9? \u00a1S\u00ed!", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440",
    "\u4f60\u597d\uff0c\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f \u4e16\u754c",
    "\uc548\ub155\ud558\uc138\uc694", "\u0645\u0631\u062d\u0628\u0627",
    "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f600\U0001f680 go \U0001f468\u200d\U0001f469\u200d\U0001f467!",
    "\U0001f1e9\U0001f1ea \u2764\ufe0f", "\x00", "a\x00b", "\x01\x02\x1f\x7f",
    "bell\x07 esc\x1b[0m", "\u200b\ufeff\u2028\u2029", "\U0010ffff\ue000\ufffd", "\u2581",
    "a\u2581b \u2581 c", "a\u00a0b\u2009c\u3000d", "<0x41><0x0A><0xZZ><0x4", "<unk>", "<s>", "</s>",
    " <s> ", "a<s>b", "a <s>b", "a </s> b", "<s></s><unk>", "<s> </s> <unk> ", "one<|sep|>two",
    "one <|sep|> two", "<|sep|><|sep|>", "<|sep|>2 <|sep|>22", "<|sep", "<|sep|> <s>",
    "Who is Godot?", "GodotGodot Godot", "Godo t", "<|sep|>\u00e9<|sep|>\u4f60", " <|sep|>",
    "\u00e9\u00e9 \u00e9a\u00e9", "&&&$$$", "the$the&the", "~`^|\\", "MiXeD cAsE wOrDs",
    "tabs\tand\tmore\ttabs", "many     spaces", "line one\n\nline three\n\n\n",
    "don't won't can't I'll", "the the the the the", "thethethethe", "x" * 200, "ab" * 100,
    " " * 50, "\U0001f600" * 20,
]


def samples(n, corpus):
    """The written texts, lines of the corpus, and random mixtures of characters: n in all."""
    rng = random.Random(1)
    lines = [line for line in corpus.splitlines() if line]
    texts = list(WRITTEN)
    pieces = [
        " ", "  ", "the", "and", "ing", "<s>", " </s>", "<|sep|>", "\u00e9", "\u4f60", "\U0001f600",
        "\n", "\u2581", "Godot", "<0x41>", "$", "\x05", "thou", "e", "T", "\u0301",
    ]
    while len(texts) < n:
        if len(texts) % 2:
            texts.append(rng.choice(lines))
        else:
            texts.append("".join(rng.choice(pieces) for _ in range(rng.randint(1, 12))))
    return texts


def write(path, texts, encode):
    """One text per line: its bytes in hexadecimal, or -, then its tokens."""
    with open(path, "w") as out:
        for text in texts:
            raw = text if isinstance(text, bytes) else text.encode()
            print(raw.hex() or "-", *encode(text), file=out)
