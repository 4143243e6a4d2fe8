"""A run, a cache entry or a broken download as MODEL: it is used, or it is said what it is and what
to give."""
import json
import os
import shutil

import ballot_run as b

FOLDER = "tests/golden/families/llama-tied"


class Sources(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_dir = os.path.join(cls.class_dir, "trained")
        b.run(b.tiny(cls.run_dir, run__steps=6, run__keep=9))
        cls.best = os.path.join(cls.run_dir, "best.h5")
        latest = b.bytes_of(cls.run_dir, "LATEST").decode().strip()
        cls.latest = os.path.join(cls.run_dir, latest)

    def copy_of_run(self, name, *without):
        run = self.folder(name)
        shutil.copytree(self.run_dir, run)
        for file in without:
            os.remove(os.path.join(run, file))
        return run

    def test_a_run_stands_for_its_best_checkpoint_or_else_its_latest(self):
        bare = self.copy_of_run("bare", "best.h5")
        for run, file in ((self.run_dir, self.best), (bare, self.latest.replace("trained", "bare"))):
            said = f"the model is {file}\n"
            for ranks in (1, 2):
                result = b.run(["eval", run, "--job", b.JOB, "-s", "data.context=16", "--json"],
                               ranks=ranks)
                self.assertEqual(result.err.count(said), 1, result.err)
                self.assertEqual(json.loads(result.out)["fingerprint"],
                                 b.inspect(file)["fingerprint"])
            for command in (["generate", run, "a", "-n", "2"], ["inspect", run]):
                same = b.run([command[0], file, *command[2:]])
                result = b.run(command)
                self.assertEqual((result.out, said in result.err), (same.out, True), result.err)

    def test_a_run_is_exported_quantized_and_trained_on(self):
        for model in (self.run_dir, self.best):
            b.run(["export", model, self.folder(f"made-{model == self.best}")])
            b.run(["quantize", model, "-o", self.folder(f"made-{model == self.best}.h5"), "-s",
                   "model.codes=i4"])
            b.run(b.tiny(self.folder(f"on-{model == self.best}"), model=model, run__steps=1))
        for name in ("made-%s/model.safetensors", "made-%s.h5", "on-%s/step-000001.h5"):
            run, file = (os.path.join(self.class_dir, name % is_best) for is_best in (False, True))
            if name.endswith("h5"):
                self.assertEqual(b.inspect(run)["fingerprint"], b.inspect(file)["fingerprint"])
            else:
                self.assertEqual(b.bytes_of(run), b.bytes_of(file))
        self.assertNotEqual(b.inspect(os.path.join(self.class_dir, "made-True.h5"))["fingerprint"],
                            b.inspect(self.best)["fingerprint"])

    def test_a_rounded_run_differs_from_it_by_what_is_said(self):
        made = self.folder("rounded.h5")
        said = json.loads(b.run(["quantize", self.best, "-o", made, "-s", "model.codes=i8",
                                 "--json"]).out)
        self.assertEqual(b.inspect(made)["fingerprint"], said["fingerprint"])
        matrices = [t for t in said["tensors"] if t["format"] == "i8"]
        self.assertTrue(matrices)
        for tensor in matrices:  # from codes times a gain to codes again: about half a step at most
            self.assertLess(tensor["rms_error"], 0.02 * tensor["rms"], tensor)
        losses = [json.loads(b.run(["eval", m, "--job", b.JOB, "--json"]).out)["loss_nats"]
                  for m in (self.best, made)]
        self.assertAlmostEqual(*losses, delta=0.02)

    def test_replay_takes_runs(self):
        further, made = self.folder("further"), self.folder("replayed.h5")
        b.run(b.tiny(further, model=self.run_dir, run__steps=2))
        b.run(["replay", self.run_dir, further, "-o", made])
        self.assertEqual(b.inspect(made)["fingerprint"],
                         b.inspect(os.path.join(further, "step-000002.h5"))["fingerprint"])

    def refused(self, path, *words, code=b.INPUT):
        said = b.run(["inspect", path], expect=code).err.splitlines()[-1]
        for word in words:
            self.assertIn(word, said)
        self.assertEqual(b.run(["generate", path, "a"], expect=code).err.splitlines()[-1], said)

    def test_a_run_without_a_checkpoint_says_so(self):
        run = self.folder("young")
        os.mkdir(run)
        shutil.copy(os.path.join(self.run_dir, "ballots.journal"), run)
        self.refused(run, "this run has no checkpoint yet", f"{run}/ballots.journal")
        self.write("young/LATEST", "../elsewhere.h5\n")
        self.refused(run, "LATEST: expected the name of something in")

    def cache(self, name, revision="1a2b"):
        """A model as huggingface_hub keeps it: links from a snapshot to blobs."""
        root = self.folder(name)
        snapshot = os.path.join(root, "snapshots", "1a2b")
        for folder in (snapshot, os.path.join(root, "blobs"), os.path.join(root, "refs")):
            os.makedirs(folder)
        self.write(f"{name}/refs/main", revision)
        for i, file in enumerate(sorted(os.listdir(FOLDER))):
            shutil.copy(os.path.join(FOLDER, file), os.path.join(root, "blobs", f"{i}"))
            os.symlink(f"../../blobs/{i}", os.path.join(snapshot, file))
        return root, snapshot

    def test_a_model_in_the_cache_is_its_snapshot(self):
        root, snapshot = self.cache("models--a--b")
        result = b.run(["generate", root, "a", "-n", "2"])
        self.assertEqual(result.out, b.run(["generate", FOLDER, "a", "-n", "2"]).out)
        self.assertIn(f"the model is {snapshot}\n", result.err)
        os.remove(os.path.join(root, "refs", "main"))
        b.run(["inspect", root])
        os.mkdir(os.path.join(root, "snapshots", "3c4d"))
        self.refused(root, "without refs/main", "one of the 2 folders", "1a2b", "3c4d")
        empty = self.folder("models--e--f")
        os.makedirs(os.path.join(empty, "snapshots"))
        self.refused(empty, f"{empty}/snapshots is empty; download the model again")
        self.refused(self.class_dir, "a cache of several models", "models--a--b")
        self.refused(self.cache("models--c--d", "9f9f")[0], "names the snapshot 9f9f")

    def test_a_link_that_leads_nowhere_is_named(self):
        for file in ("model.safetensors", "config.json", "tokenizer.json"):
            root, snapshot = self.cache("models--a--b")
            blob = os.path.join(snapshot, os.readlink(os.path.join(snapshot, file)))
            os.remove(blob)
            for path in (root, snapshot):
                self.refused(path, f"{snapshot}/{file}: a link to ../../blobs/",
                             "which is not there; copy or download the file again")
        root, snapshot = self.cache("models--a--b")
        shutil.rmtree(os.path.join(root, "blobs"))
        self.refused(snapshot, "a link to ../../blobs/")

    def test_any_other_folder_says_what_is_expected(self):
        self.refused("jobs", "jobs: no model in this folder; expected config.json and weights")


if __name__ == "__main__":
    b.main()
