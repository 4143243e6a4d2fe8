"""Checkpoints go out as folders and as GGUF files, whole or not at all."""
import json
import os
import resource
import struct

import numpy as np

import ballot_run as b

FOLDER = "tests/golden/families/qwen3"


def tensors_of(folder):
    """name -> (dtype, bytes) of a model.safetensors, by the published layout."""
    data = b.bytes_of(folder, "model.safetensors")
    n, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    return {name: (info["dtype"], data[8 + n + info["data_offsets"][0]:
                                       8 + n + info["data_offsets"][1]])
            for name, info in header.items()}


class Export(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_dir = os.path.join(cls.class_dir, "trained")
        b.run(b.tiny(cls.run_dir, model=FOLDER, vote__tensors="*.mlp.up_proj.*", run__steps=2,
                     run__checkpoint_every=2))
        cls.checkpoint = os.path.join(cls.run_dir, b.bytes_of(cls.run_dir, "LATEST").decode().strip())

    def test_with_a_base_only_what_was_trained_is_written_anew(self):
        folder = self.folder("based")
        b.run(["export", self.checkpoint, folder, "--base", FOLDER, "--dtype", "f16"])
        before, after = tensors_of(FOLDER), tensors_of(folder)
        self.assertEqual(sorted(before), sorted(after))
        changed = {name for name in before if before[name] != after[name]}
        self.assertEqual(changed, {f"model.layers.{i}.mlp.up_proj.weight" for i in range(
            json.loads(b.bytes_of(FOLDER, "config.json"))["num_hidden_layers"])})
        self.assertEqual({after[name][0] for name in changed}, {"F16"})

    def test_a_base_is_rounded_again_as_the_model_was_unless_a_text_scaled_it(self):
        rounded, folder = self.folder("rounded.h5"), self.folder("rounded")
        b.run(["quantize", FOLDER, "-o", rounded, "--format", "i4", "-s",
               "model.rounding=least-squares"])
        b.run(["export", rounded, folder, "--base", FOLDER])
        self.assertEqual(tensors_of(FOLDER), tensors_of(folder))
        for_text, never = self.folder("for-text.h5"), self.folder("never")
        b.run(["quantize", FOLDER, "-o", for_text, "--text", "data/tinystories/dev.txt",
               "-s", "data.context=16"])
        refused = b.run(["export", for_text, never, "--base", FOLDER], expect=b.INPUT)
        self.assertIn("rounded for a text, which scales columns", refused.err)
        self.assertFalse(os.path.exists(never))
        b.run(["export", for_text, never])

    def test_every_dtype_is_the_same_model_but_for_rounding(self):
        found = {}
        for dtype in ("f32", "bf16", "f16"):
            folder = self.folder(dtype)
            b.run(["export", self.checkpoint, folder, "--dtype", dtype])
            for name, (kind, data) in tensors_of(folder).items():
                values = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4") \
                    if kind == "BF16" else np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[kind])
                found.setdefault(name, []).append(values.astype("<f4"))
        for name, (f32, bf16, f16) in found.items():
            np.testing.assert_array_equal(f16, f32.astype("<f2").astype("<f4"), name)
            bits = f32.view("<u4").astype(np.uint64)
            nearest = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype("<u4").view("<f4")
            np.testing.assert_array_equal(bf16, nearest, name)

    def test_a_tokenizer_that_transformers_does_not_read_is_named(self):
        made = b.run(["export", b.STORIES, self.folder("llama2c")])
        self.assertIn("transformers does not read tok512.bin", made.err)
        self.assertNotIn("transformers", b.run(["export", FOLDER, self.folder("json")]).err)

    def test_other_files_come_along(self):
        folder = self.folder("files")
        b.run(["export", self.checkpoint, folder])
        for name in os.listdir(FOLDER):
            if name not in ("config.json", "model.safetensors", "logits.bin"):
                self.assertEqual(b.bytes_of(FOLDER, name), b.bytes_of(folder, name), name)
        before, after = (json.loads(b.bytes_of(f, "config.json")) for f in (FOLDER, folder))
        self.assertEqual(after, dict(before, torch_dtype="float32"))

    def test_gguf_in_every_type(self):
        sizes = {}
        for kind in ("f16", "q8_0", "q4_0"):
            path = self.folder("made.gguf")
            b.run(["export", self.checkpoint, path, "--gguf", kind])
            data = b.bytes_of(path)
            self.assertEqual((data[:4], struct.unpack_from("<I", data, 4)), (b"GGUF", (3,)))
            sizes[kind] = len(data)
        self.assertTrue(sizes["f16"] > sizes["q8_0"] > sizes["q4_0"], sizes)
        path = self.folder("made.gguf")
        b.run(["export", self.checkpoint, path], ranks=2)
        self.assertEqual(os.path.getsize(path), sizes["q8_0"], "the default")

    def test_a_sliding_window_is_warned_of(self):
        path = self.folder("window.gguf")
        warned = b.run(["export", "tests/golden/families/mistral-window", path]).err
        self.assertRegex(warned, r"warning: .*window\.gguf: .*8 tokens")
        self.assertNotIn("warning", b.run(["export", "tests/golden/families/mistral-full",
                                           self.folder("full.gguf")]).err)

    def test_wrong_arguments(self):
        for more, words in ((["x.gguf", "--dtype", "f16"], "for folders"),
                            (["x.gguf", "--base", FOLDER], "for folders"),
                            (["x", "--gguf", "f16"], "end in .gguf"),
                            (["x", "--dtype", "f64"], "expected f32, bf16 or f16"),
                            (["x.gguf", "--gguf", "q5_0"], "expected q8_0, q4_0 or f16"),
                            (["x", "y"], "more than"), ([], "needed")):
            self.assertIn(words, b.run(["export", self.checkpoint, *more], expect=b.USAGE).err)

    def test_failures_leave_nothing(self):
        top = self.folder("failures")
        os.mkdir(top)
        little = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
        for name in ("made", "made.gguf"):
            # Alone, without its daemon, Open MPI itself writes no files.
            full = b.run(["export", self.checkpoint, os.path.join(top, name)], expect=b.FAILURE,
                         preexec=little, OMPI_MCA_ess_singleton_isolated="1")
            self.assertIn("File too large", full.err)
            under = os.path.join(FOLDER, "config.json", name)
            self.assertIn(under.rsplit("/", 1)[0],
                          b.run(["export", self.checkpoint, under], expect=b.FAILURE).err)
        other = b.run(["export", self.checkpoint, os.path.join(top, "made"), "--base",
                       "tests/golden/families/gpt2"], expect=b.INPUT)
        self.assertIn("is missing", other.err)
        self.assertEqual(os.listdir(top), [])
        b.run(["export", self.checkpoint, os.path.join(top, "made.gguf")])
        again = b.run(["export", self.checkpoint, os.path.join(top, "made.gguf")],
                      expect=b.FAILURE)
        self.assertIn("is there already", again.err)
        refused = b.run(["export", "tests/golden/families/opt-pre", os.path.join(top, "opt.gguf")],
                        expect=b.USAGE)
        self.assertIn("family opt", refused.err)
        self.assertEqual(os.listdir(top), ["made.gguf"])


if __name__ == "__main__":
    b.main()
