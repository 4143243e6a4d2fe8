"""Remakes bytes400.json, unknown150.json and their tokens in bytes400.txt, unknown150.txt.

    pip install tokenizers==0.23.3 && python3 make_hf.py

bytes400 has byte tokens, merges as pairs and added tokens of both kinds; unknown150 has neither
byte tokens nor a Sequence, joins unknown characters, and spells its merges as strings.
"""
import json
import pathlib

from tokenizers import Tokenizer, decoders, models, normalizers, trainers

from samples import samples, write

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = (HERE.parents[2] / "data" / "shakespeare" / "train.txt").read_text()
SPACE = {"String": " "}


def train(n_tokens):
    """Tokens and merges of a plain byte-pair training on the corpus, as lists."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.train_from_iterator(
        CORPUS.splitlines(keepends=True),
        trainers.BpeTrainer(vocab_size=n_tokens, show_progress=False, special_tokens=[]))
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), model["merges"]


def added(token, content, special, normalized):
    return {"id": token, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": normalized, "special": special}


def save(name, vocab, merges, **parts):
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>",
             "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
             "byte_fallback": parts.pop("byte_fallback"), "ignore_merges": False,
             "vocab": {t: i for i, t in enumerate(vocab)}, "merges": merges}
    whole = {"version": "1.0", "truncation": None, "padding": None, "pre_tokenizer": None, **parts,
             "model": model}
    path = HERE / f"{name}.json"
    path.write_text(json.dumps(whole, ensure_ascii=False, separators=(",", ":")) + "\n")
    tokenizer = Tokenizer.from_file(str(path))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


learned, merges = train(400)
vocab = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + learned
n = len(vocab)
encode = save(
    "bytes400", vocab, merges, byte_fallback=True,
    added_tokens=[added(0, "<unk>", True, True), added(1, "<s>", True, True),
                  added(2, "</s>", True, True), added(n, "<|sep|>", True, False),
                  added(n + 1, "<|sep|>2", True, False), added(n + 2, "Godot", False, False)],
    normalizer={"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": SPACE, "content": "\u2581"}]},
    post_processor={"type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                               {"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                             {"Sequence": {"id": "B", "type_id": 1}}],
                    "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
    decoder={"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})
write(HERE / "bytes400.txt", samples(200, CORPUS), encode)

learned, merges = train(150)
encode = save(
    "unknown150", ["<unk>", "<|endoftext|>"] + learned, [" ".join(pair) for pair in merges],
    byte_fallback=False,
    added_tokens=[added(0, "<unk>", True, False), added(1, "<|endoftext|>", True, False)],
    normalizer={"type": "Replace", "pattern": SPACE, "content": "\u2581"}, post_processor=None,
    decoder={"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "})
write(HERE / "unknown150.txt", samples(110, CORPUS), encode)
