"""Remakes the folders here and what the reference makes of lines.txt with each, in NAME.txt.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 transformers==5.24.0
    python3 make_tokenizers.py             trains them anew; the trainers of tokenizers break ties by chance
    python3 make_tokenizers.py results     keeps them, and remakes NAME.txt alone, always the same

NAME.txt: first the number of lines, the vocabulary, how many lines the reference gives back
unchanged, the style in which it shows bytes that are no UTF-8, a hash of the ids of all lines as one
text, and what stands before and after a text. Then, for every 50 lines, a hash of their ids and decoded texts, and the ids of the first. Then
ids and the text they decode to, in hexadecimal.
"""
import io
import json
import os
import pathlib
import random
import re
import shutil
import struct
import sys
import tempfile

import sentencepiece
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parents[2] / "data"
CORPUS = ((DATA / "shakespeare" / "train.txt").read_text()[:300000]
          + (DATA / "tinystories" / "dev.txt").read_text())
# a taste of what else lines.txt has, so that some of it is merged
MORE = ("caf\u00e9 na\u00efve \u4f60\u597d\uff0c\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \uc548\ub155 \u041f\u0440\u0438\u0432\u0435\u0442 \U0001f600\U0001f680 \u0645\u0631\u062d\u0628\u0627 "
        "don't I'm they'll x[i] += 0x1F; return self.foo_bar; 1234 567 3.14 \t    \n\n") * 60
TEXTS = CORPUS.splitlines(keepends=True) + MORE.splitlines(keepends=True)
GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
          r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s").replace("{1,3}+", "{1,3}")


def unescape(line):
    codes = {"\\": "\\", "n": "\n", "r": "\r"}
    return re.sub(r"\\(x..|.)", lambda m: codes.get(m[1]) or chr(int(m[1][1:], 16)), line)


# of SentencePiece's normalizer, as code points: letters, spaces, nothing, longer before shorter
RULES = [("41", "61"), ("FF21", "61"), ("FF01", "21"), ("9", "20"), ("A", "20"), ("3000", "20"), ("200B", ""),
         ("2028", "20"), ("E9", "65 301"), ("66 69", "FB01"), ("200D", "20 20"), ("1", ""),
         ("74 68 65 20", "54 20"), ("1F600", "3A 29"), ("4E2D", "20 4E2D 20")]
LINES = [unescape(line) for line in (HERE / "lines.txt").read_text("utf-8").split("\n")[:-1]]


def fnv(data, state=0xCBF29CE484222325):
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return state


def shown(raw, style):
    """Bytes as a reference shows them: L: one U+FFFD for what may start a character; S: one a byte."""
    if style == "L":
        return raw.decode("utf-8", "replace")
    out, at = "", 0
    while at < len(raw):
        for n in (4, 3, 2, 1):
            try:
                out += raw[at:at + n].decode()
                at += n
                break
            except UnicodeDecodeError:
                continue
        else:
            out, at = out + "\ufffd", at + 1
    return out


def write(name, encode, decode, n_vocab, before, after, style, ids_of=None):
    rng = random.Random(7)
    same, blocks = 0, []
    for start in range(0, len(LINES), 50):
        state = 0xCBF29CE484222325
        for i, text in enumerate(LINES[start:start + 50]):
            ids = encode(text)
            raw = decode(ids).encode()
            same += raw == text.encode()
            state = fnv(struct.pack(f"<{len(ids) + 1}i", len(ids), *ids), state)
            state = fnv(struct.pack("<i", len(raw)) + raw, state)
            if i == 0:
                first = ids
        blocks.append(f"{state:016x} " + " ".join(map(str, first)))
    pool = ids_of or list(range(n_vocab))
    samples = []
    for i in range(120):
        ids = [rng.choice(pool) for _ in range(rng.randint(0, 9))]
        samples.append(" ".join(map(str, ids)) + " | " + decode(ids).encode().hex())
    ids = encode("\n".join(LINES))
    whole = fnv(struct.pack(f"<{len(ids)}i", *ids))
    head = f"{len(LINES)} {n_vocab} {same} {style} {whole:016x}\n{' '.join(map(str, before))}|{' '.join(map(str, after))}\n"
    (HERE / f"{name}.txt").write_text(head + "\n".join(blocks + samples) + "\n")
    print(name, n_vocab, "same", same, flush=True)


def save(name, tokenizer, style, edit=None, files=()):
    """A tokenizer.json in a folder of that name, and what the library makes of the lines."""
    whole = json.loads(tokenizer.to_str())
    if edit:
        edit(whole)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "tokenizer.json").write_text(
        json.dumps(whole, ensure_ascii=False, separators=(",", ":")) + "\n")
    for file, content in files:
        (folder / file).write_text(json.dumps(content, indent=1) + "\n")
    check(name, Tokenizer.from_file(str(folder / "tokenizer.json")), style)


def check(name, tokenizer, style, alive=None):
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    # 0.23.3 does not skip special tokens that its normalizer changes, so they are left out here
    decode = lambda ids: tokenizer.decode([i for i in ids if i not in special],
                                          skip_special_tokens=False)
    around, mark = tokenizer.encode("a", add_special_tokens=True).ids, encode("a")
    at = next(i for i in range(len(around)) if around[i:i + len(mark)] == mark)
    pool = None
    if style == "S":  # bytes in a row that are partly UTF-8 are shown otherwise: only whole ones
        byte = re.compile(r"<0x..>")
        pool = [i for i in range(tokenizer.get_vocab_size())
                if not byte.fullmatch(tokenizer.id_to_token(i) or "")
                or (tokenizer.id_to_token(i) >= "<0x80>")]
        pool = [i for i in pool if not byte.fullmatch(tokenizer.id_to_token(i) or "")
                or "<0x80>" <= tokenizer.id_to_token(i) <= "<0xBF>"]
    highest = max(tokenizer.get_vocab().values()) + 1
    write(name, encode, decode, highest, around[:at], around[at + len(mark):], style, pool)


def byte_level(n, pre, special=(), **options):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=n, show_progress=False, special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    for key, value in options.items():
        setattr(tokenizer, key, value)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def split(pattern, **options):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), options.get("behavior", "isolated")),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def around(before, after, ids):
    single = [*before, "$A", *after]
    return processors.TemplateProcessing(single=single, special_tokens=[(t, ids(t)) for t in {*before, *after}])


def make_byte_level():
    gpt2 = byte_level(560, pre_tokenizers.ByteLevel(add_prefix_space=False))
    gpt2.add_special_tokens(["<|endoftext|>"])
    gpt2.post_processor = processors.ByteLevel(trim_offsets=False)
    save("gpt2", gpt2, "L")

    opt = byte_level(520, pre_tokenizers.ByteLevel(add_prefix_space=False),
                     ["<s>", "<pad>", "</s>", "<unk>"])
    opt.post_processor = around(["</s>"], [], opt.token_to_id)
    save("opt", opt, "L", lambda whole: [token.update(normalized=True) for token in whole["added_tokens"]],
         [("config.json", {"model_type": "opt", "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1})])

    roberta = byte_level(520, pre_tokenizers.ByteLevel(add_prefix_space=True),
                         ["<s>", "<pad>", "</s>", "<unk>"])
    roberta.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    roberta.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    save("roberta", roberta, "L")

    llama3 = byte_level(700, split(LLAMA3))
    llama3.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_{i}|>" for i in range(9))])
    llama3.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False), around(["<|begin_of_text|>"], [], llama3.token_to_id)])

    def more_tokens(whole):  # words that merges alone do not make
        whole["model"]["ignore_merges"] = True
        vocab = whole["model"]["vocab"]
        for word in ("\u0120thou", "ROMEO", "zebra", "\u0120qqq"):
            vocab.setdefault(word, len(vocab))
        order = sorted(vocab, key=vocab.get)
        whole["model"]["vocab"] = {token: i for i, token in enumerate(order)}
        for i, token in enumerate(whole["added_tokens"]):
            token["id"] = len(order) + i
        for token in whole["post_processor"]["processors"][1]["special_tokens"].values():
            token["ids"] = [len(order)]
    save("llama3", llama3, "L", more_tokens)

    qwen2 = byte_level(600, split(QWEN2), normalizer=normalizers.NFC())
    qwen2.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    qwen2.add_tokens([AddedToken("Godot", normalized=False), AddedToken("<|sep|>", normalized=True)])
    save("qwen2", qwen2, "L", files=[("tokenizer_config.json", {
        "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "add_bos_token": False,
        "model_max_length": 10 ** 30})])
    save("cl100k", byte_level(500, split(CL100K)), "L")


def metaspace(n, byte_tokens, normalizer, pre):
    trained = Tokenizer(models.BPE())
    trained.normalizer, trained.pre_tokenizer = normalizer, pre
    trained.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=n, show_progress=False, limit_alphabet=70))
    model = json.loads(trained.to_str())["model"]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256 if byte_tokens else 0)]
    tokens += [t for t in sorted(model["vocab"], key=model["vocab"].get) if t not in tokens]
    tokenizer = Tokenizer(models.BPE(
        {t: i for i, t in enumerate(tokens)}, [tuple(m) for m in model["merges"]], unk_token="<unk>",
        fuse_unk=True, byte_fallback=byte_tokens))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre:
        tokenizer.pre_tokenizer = pre
    tokenizer.post_processor = around(["<s>"], [], {"<s>": 1}.get)
    return tokenizer


def make_metaspace():
    joined = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    old = metaspace(300, True, normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]), None)
    old.decoder = decoders.Sequence(joined + [decoders.Strip(" ", 1, 0)])
    old.add_special_tokens([AddedToken(t, normalized=True, special=True) for t in ("<unk>", "<s>", "</s>")])
    save("llama2", old, "S")

    new = metaspace(300, True, None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False))
    new.decoder = decoders.Sequence(joined + [decoders.Strip(" ", 1, 0)])
    new.add_special_tokens(["<unk>", "<s>", "</s>"])
    save("llama2-metaspace", new, "S")

    words = metaspace(400, False, None, pre_tokenizers.Metaspace(prepend_scheme="always", split=True))
    words.decoder = decoders.Metaspace(prepend_scheme="always")
    words.add_special_tokens(["<unk>", "<s>", "</s>"])
    words.add_tokens([AddedToken("Godot", single_word=True, normalized=False)])
    save("metaspace-words", words, "S")


def wordpiece(n, normalizer):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(
        vocab_size=n, show_progress=False, special_tokens=special))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = around(["[CLS]"], ["[SEP]"], tokenizer.token_to_id)
    return tokenizer


def make_wordpiece():
    save("bert", wordpiece(700, normalizers.BertNormalizer()), "L")
    cased = wordpiece(700, normalizers.BertNormalizer(lowercase=False, handle_chinese_chars=False))
    cased.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    cased.decoder = decoders.WordPiece(cleanup=False)
    save("bert-cased", cased, "L")


def make_odd():
    """Parts in combinations that no known model has."""
    odd = byte_level(420, pre_tokenizers.ByteLevel(add_prefix_space=False))
    odd.normalizer = normalizers.Sequence([
        normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip(),
        normalizers.Replace(Regex(r"[0-9]+(?=\d)|\s{2,}"), "#"), normalizers.Replace("``", '"')])
    odd.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(",", "merged_with_previous"), pre_tokenizers.Split(Regex(r"[aeiou]"), "merged_with_next"),
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.Split(Regex(r"\S+"), "isolated", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)])
    odd.add_tokens([AddedToken("WORD", single_word=True, normalized=True),
                    AddedToken("<|sep|>", lstrip=True, rstrip=True, normalized=False),
                    AddedToken("<|sep|>2", normalized=False), AddedToken(" word", rstrip=True, normalized=False),
                    AddedToken("Godot", single_word=True, lstrip=True, normalized=False),
                    AddedToken("caf\u00e9", normalized=True)])
    save("odd-bytes", odd, "L")

    other = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    other.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(left=False)])
    other.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(False)])
    other.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=500, show_progress=False, end_of_word_suffix="</w>", special_tokens=["<unk>"], limit_alphabet=80))
    other.decoder = decoders.BPEDecoder()
    save("odd-suffix", other, "L")

    third = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", fuse_unk=True))
    third.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("removed"),
        pre_tokenizers.Split(Regex(r"\w\W|\b\d"), "removed"),
        pre_tokenizers.Split(Regex(r"(?i)th*"), "contiguous")])
    third.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=500, show_progress=False, continuing_subword_prefix="##", special_tokens=["<unk>"],
        limit_alphabet=80))
    third.normalizer = normalizers.NFD()
    save("odd-prefix", third, "L")


def make_vocab_files():
    """Older forms, as transformers makes tokenizers of them."""
    from transformers import AutoTokenizer
    source = byte_level(480, pre_tokenizers.ByteLevel(add_prefix_space=False),
                        ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"])
    vocab = wordpiece(500, normalizers.BertNormalizer()).get_vocab()
    lines = "".join(t + "\n" for t in sorted(vocab, key=vocab.get))
    mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False,
            "single_word": False}
    folders = {
        "vocab-gpt2": {"config.json": {"model_type": "gpt2"}, "tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer"}},
        "vocab-roberta": {"config.json": {"model_type": "roberta"}, "tokenizer_config.json": {
            "tokenizer_class": "RobertaTokenizer", "mask_token": mask}},
        "vocab-bert": {"config.json": {"model_type": "bert"}, "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer", "do_lower_case": False}},
    }
    for name, files in folders.items():
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_text(json.dumps(content, indent=1) + "\n")
        if name == "vocab-bert":
            (folder / "vocab.txt").write_text(lines)
        else:
            source.model.save(str(folder))
        check(name, AutoTokenizer.from_pretrained(str(folder), use_fast=True)._tokenizer, "L")


def make_sentencepiece():
    os.chdir(tempfile.mkdtemp())  # the model keeps the name of its rules
    pathlib.Path("rules.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in RULES))
    kinds = {
        "sp-bpe": dict(model_type="bpe", vocab_size=600, byte_fallback=True, remove_extra_whitespaces=False,
                       user_defined_symbols=["<|sep|>", "Godot", "\u2581\u2581"], split_digits=True,
                       allow_whitespace_only_pieces=True),
        "sp-bpe-unknown": dict(model_type="bpe", vocab_size=500, pad_id=3, control_symbols=["<mask>"],
                               user_defined_symbols=["word"]),
        "sp-unigram": dict(model_type="unigram", vocab_size=600, byte_fallback=True, user_defined_symbols=["Godot"]),
        "sp-unigram-unknown": dict(model_type="unigram", vocab_size=400, treat_whitespace_as_suffix=True),
        "sp-rules": dict(model_type="bpe", vocab_size=400, normalization_rule_tsv="rules.tsv",
                         user_defined_symbols=["Godot", "fi "]),
        "sp-char": dict(model_type="char", vocab_size=90, add_dummy_prefix=False, user_defined_symbols=["the"]),
    }
    for name, options in kinds.items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(t.strip() for t in TEXTS if t.strip()), model_writer=model,
            **({} if "normalization_rule_tsv" in options else {"normalization_rule_name": "identity"}), character_coverage=0.999, num_threads=1, minloglevel=2, **options)
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "tokenizer.model").write_bytes(model.getvalue())
        check_sentencepiece(name, str(folder / "tokenizer.model"))


def check_sentencepiece(name, path):
    processor = sentencepiece.SentencePieceProcessor(model_file=path)
    write(name, processor.encode, processor.decode, processor.vocab_size(), [processor.bos_id()], [], "S")


def make_results():
    """Only NAME.txt, of the folders that are there."""
    from transformers import AutoTokenizer
    for result in sorted(HERE.glob("*/")):
        name, style = result.name, None
        if (HERE / f"{name}.txt").exists():
            style = (HERE / f"{name}.txt").read_text().split()[3]
        if (result / "tokenizer.model").exists():
            check_sentencepiece(name, str(result / "tokenizer.model"))
        elif (result / "tokenizer.json").exists():
            check(name, Tokenizer.from_file(str(result / "tokenizer.json")), style)
        elif style:
            check(name, AutoTokenizer.from_pretrained(str(result), use_fast=True)._tokenizer, style)


if __name__ == "__main__":
    for part in sys.argv[1:] or ["byte_level", "metaspace", "wordpiece", "odd", "vocab_files", "sentencepiece"]:
        globals()["make_" + part]()
