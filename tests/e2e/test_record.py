"""What a run leaves on disk says what the run did, and says so when it is damaged."""
import json
import os
import signal
import struct

import h5py
import numpy

import ballot_run as b

STEPS = b.TINY["run.steps"]
HEADER_BYTES = 128  # of a journal
FLIPS = 12 if b.SLOW else 30  # of each file; the unit tests of the room do 1,000


def read_safetensors(path):
    raw = b.bytes_of(path)
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", entry
        first, last = entry["data_offsets"]
        tensors[name] = numpy.frombuffer(data[first:last], "<f4").reshape(entry["shape"])
    return tensors


class Record(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_dir = os.path.join(cls.class_dir, "run")
        cls.fingerprint = b.printed_fingerprint(b.run(b.tiny(
            cls.run_dir, run__keep=3, run__checkpoint_every=2)))
        cls.steps = {int(name[5:-3]): os.path.join(cls.run_dir, name)
                     for name in os.listdir(cls.run_dir) if name.startswith("step-")}
        cls.last = cls.steps[STEPS]
        cls.journal = os.path.join(cls.run_dir, "ballots.journal")

    def copy(self, path):
        return self.write("copy" + os.path.splitext(path)[1], b.bytes_of(path))

    # ---- metrics ----

    def test_steps_take_no_memory(self):
        """What they did is on disk: 3,000 rows would be more than a MiB."""
        if b.SLOW:
            self.skipTest("sanitizers hold memory of their own")
        run = self.folder("steps")
        process = b.start(b.tiny(run, run__steps=10**6, run__eval_every=0, run__check_every=0,
                                 run__checkpoint_every=0, data__context=4, vote__slots=1))
        found = []
        for steps in (1000, 4000):
            self.assertTrue(b.wait_until(process, lambda: len(b.metrics(run)) >= steps, poll=0.2))
            found.append(b.memory(process.pid))
        self.assertNotIn(".metrics.rows", os.listdir(run))
        b.kill([process.pid], signal.SIGUSR2)
        b.finish(process, expect=b.STOPPED)
        self.assertLess(found[1] - found[0], 300 << 10, f"after 1,000 and 4,000 steps: {found}")

    def test_a_killed_run_has_the_rows_of_all_steps(self):
        """From the checkpoint, and of steps after it, from the journal."""
        run = self.folder("rows")
        train = b.tiny(run, run__steps=40, run__checkpoint_every=9)
        process = b.start(train)
        self.assertTrue(b.wait_until(process, lambda: len(b.metrics(run)) >= 12))
        b.kill([process.pid])
        b.finish(process, expect=None)
        b.run(train)
        rows = b.metrics(run)
        with h5py.File(os.path.join(run, "step-000040.h5")) as file:
            table = {name: dataset[:] for name, dataset in file["metrics"].items()}
            tensors = file["metrics/flips"].attrs["tensors"].decode().split(",")
        self.assertEqual(list(table["step"]), list(range(40)))
        for i, row in enumerate(rows):
            self.assertAlmostEqual(table["loss_nats"][i], row["loss_nats"], places=6)
            self.assertEqual(table["forward_passes"][i], row["forward_passes"])
            self.assertEqual({name: n for name, n in zip(tensors, table["flips"][i]) if n > 0},
                             row["flips"])
        self.assertEqual(numpy.isnan(table["dev_loss_nats"]).tolist(),
                         [row["dev_loss_nats"] is None for row in rows])

    def test_what_slots_have_found_is_the_same_in_lines_columns_and_replayed_rows(self):
        options = dict(run__steps=20, run__checkpoint_every=0, rule__travel="auto", vote__bits=8,
                       vote__probe="one-sided", vote__team=4, data__batch=2)
        tables, keys = [], ("slope", "share", "rise")
        for ranks in (1, 2):
            run = self.folder(f"found-{ranks}")
            b.run(b.tiny(run, **options), ranks)
            for replayed in range(2):
                with h5py.File(os.path.join(run, "step-000020.h5")) as file:
                    tables.append(numpy.array([file["metrics"][key][:] for key in keys]))
                    steps, seconds = file["metrics/step"][:], file["metrics/seconds"][:]
                if replayed == 0:
                    self.assertGreater(seconds.sum(), 0)
                    os.remove(os.path.join(run, "step-000020.h5"))
                    b.run(b.tiny(run, **options), ranks)
            lines = numpy.array([[row.get(key, numpy.nan) for row in b.metrics(run)]
                                 for key in keys])
            numpy.testing.assert_allclose(lines, tables[-1], rtol=1e-8)
        for table in tables[1:]:
            numpy.testing.assert_array_equal(table, tables[0])
        slope, share, rise = tables[0]
        self.assertTrue((slope > 0).all() and numpy.isfinite(share).all())
        self.assertEqual(list(steps[numpy.isfinite(rise)]), [2, 5, 10], "where the line is searched")

    # ---- replay ----

    def replay(self, name, *more, base=b.STORIES):
        out = self.folder(name)
        made = json.loads(b.run(["replay", base, self.journal, "-o", out, "--json", *more]).out)
        self.assertEqual(b.inspect(out, "--verify")["fingerprint"], made["fingerprint"])
        return made, out

    def test_base_and_journal_give_the_final_model(self):
        made, _ = self.replay("replay.h5")
        self.assertEqual((made["step"], made["fingerprint"]), (STEPS, self.fingerprint))

    def test_base_and_journal_give_every_kept_step(self):
        self.assertEqual(len(self.steps), 3, f"run.keep=3: {sorted(self.steps)}")
        for step, path in self.steps.items():
            made, _ = self.replay("replay.h5", "--step", step)
            self.assertEqual(made["fingerprint"], b.inspect(path)["fingerprint"], f"step {step}")

    def test_base_and_journal_give_every_step_of_the_metrics(self):
        prints = b.fingerprints(self.run_dir)
        for step in (0, 1, STEPS // 2):
            made, _ = self.replay("replay.h5", "--step", step)
            self.assertEqual(made["fingerprint"], prints[step], f"step {step}")

    def test_replay_does_not_depend_on_the_kernels(self):
        for isa in b.isa_levels():
            for tally in ("table", "slots"):
                made, _ = self.replay("replay.h5", "--isa", isa, "--tally", tally)
                self.assertEqual(made["fingerprint"], self.fingerprint, f"{isa}, {tally}")

    def test_codes_and_carries_of_the_replay_are_those_of_the_run(self):
        _, out = self.replay("replay.h5")
        with h5py.File(out) as made, h5py.File(self.last) as run:
            for group in ("model", "optimizer/carry", "scale"):
                for name in run[group]:
                    self.assertTrue(numpy.array_equal(made[group][name], run[group][name]),
                                    f"/{group}/{name}")

    # ---- every bit counts ----

    def verify(self, path):
        return b.run(["inspect", "--verify", path], expect=None)

    def test_verify_accepts_what_is_whole(self):
        for path in (*self.steps.values(), self.journal, os.path.join(self.run_dir, "best.h5")):
            self.assertEqual(self.verify(path).rc, b.DONE, path)

    def flips(self, path):
        n_bits = 8 * os.path.getsize(path)
        for bit in [0, n_bits - 1] + [self.random.randrange(n_bits) for _ in range(FLIPS - 2)]:
            copy = self.copy(path)
            b.flip_bit(copy, bit)
            result = self.verify(copy)
            self.assertEqual(result.rc, b.INPUT, f"bit {bit} of {path} flipped: {result.command}\n"
                             f"{result.out}\n{result.err}")
            lines = result.err.splitlines()
            self.assertEqual(len(lines), 1, f"bit {bit}: one sentence, not {lines}")
            self.assertTrue(lines[0].startswith("ballot: ") and copy in lines[0], lines[0])

    def test_verify_finds_any_flipped_bit_of_a_checkpoint(self):
        self.flips(self.last)

    def test_verify_finds_any_flipped_bit_of_a_journal(self):
        self.flips(self.journal)

    def test_verify_finds_a_checkpoint_that_was_cut(self):
        size = os.path.getsize(self.last)
        for length in (0, 1, 100, self.random.randrange(size), size - 1):
            copy = self.copy(self.last)
            os.truncate(copy, length)
            result = self.verify(copy)
            self.assertEqual(result.rc, b.INPUT,
                             f"{self.last} cut to {length} bytes: {result.out}{result.err}")

    def test_verify_finds_a_journal_that_was_cut_within_a_record(self):
        """Cut after a record it is the whole journal of an earlier moment."""
        size = os.path.getsize(self.journal)
        record = (size - HEADER_BYTES) // STEPS
        self.assertEqual(HEADER_BYTES + STEPS * record, size)
        whole = {HEADER_BYTES + n * record: n for n in range(STEPS + 1)}
        for length in (0, 1, 100, self.random.randrange(size), size - 1,
                       *self.random.sample(sorted(whole), 3)):
            copy = self.copy(self.journal)
            os.truncate(copy, length)
            result = self.verify(copy)
            told = f"{self.journal} cut to {length} bytes: {result.out}{result.err}"
            if length in whole:
                self.assertEqual(result.rc, b.DONE, told)
                self.assertEqual(b.inspect(copy)["step"], whole[length], told)
            else:
                self.assertEqual(result.rc, b.INPUT, told)

    # ---- other programs can read it ----

    def test_h5py_reads_groups_types_and_checksums(self):
        with h5py.File(self.last) as file:
            for group in ("model", "scale", "optimizer", "metrics", "ballots", "job"):
                self.assertIn(group, file)
            self.assertEqual(file.attrs["fingerprint"].decode(), self.fingerprint)
            self.assertEqual(file.attrs["step"], STEPS)
            seen = []

            def visit(name, item):
                if isinstance(item, h5py.Dataset):
                    seen.append(name)
                    item[()]  # reads every chunk through its checksum
                    if item.shape != () and item.size > 0:
                        self.assertTrue(item.fletcher32, f"/{name} has no fletcher32")

            file.visititems(visit)
            types = {"matrix": ("i8", "|i1"), "vector": ("i16", "<i2"), "gain": ("i16", "<i2")}
            for name, codes in file["model"].items():
                role = codes.attrs["role"].decode()
                found = codes.attrs["format"].decode(), codes.dtype.str
                self.assertEqual(found, types[role], name)
                self.assertEqual(tuple(codes.attrs["shape"]), codes.shape, name)
                self.assertEqual(file["optimizer/carry"][name].shape, codes.shape, name)
                self.assertEqual(file["optimizer/carry"][name].dtype.str, "|i1", name)
                self.assertEqual(file["scale"][name].dtype.str, "<f4", name)
            self.assertEqual(list(file["metrics/step"]), list(range(STEPS)))
            self.assertEqual(file["metrics/flips"].shape, (STEPS, len(file["model"])))
            self.assertEqual(file["ballots/journal"][()].tobytes(), b.bytes_of(self.journal))
            self.assertEqual(file["job/text"][()], b.bytes_of(self.run_dir, "job.ini"))
        with h5py.File(self.last) as file, open(os.path.join(self.run_dir, "metrics.jsonl"),
                                                encoding="utf-8") as lines:
            rows = [row for row in map(json.loads, lines) if "loss_nats" in row]
            numpy.testing.assert_allclose([row["loss_nats"] for row in rows],
                                          file["metrics/loss_nats"], rtol=1e-8)

    def test_codes_times_scale_are_the_exported_weights(self):
        folder = self.folder("exported")
        b.run(["export", self.last, folder])
        exported = read_safetensors(os.path.join(folder, "model.safetensors"))
        with h5py.File(self.last) as file:
            model, shape = file["model"], dict(file["model"].attrs)
            self.assertEqual(sorted(exported),
                             sorted(n for n in model if model[n].attrs["role"] != b"gain"))
            moved = 0
            for name, values in exported.items():
                codes = model[name][()].astype("f8")
                scale = file["scale"][name][()].astype("f8")
                if model[name].attrs["role"] == b"matrix":
                    gains = model[name.replace(".weight", ".gain")][()].astype("f8")
                    moved += numpy.count_nonzero(gains)
                    expected = codes * (scale * 1.02**gains)[:, None]
                else:
                    expected = codes * scale
                if ".q_proj." in name or ".k_proj." in name:
                    if shape["rope_pairs"] == b"adjacent":  # Hugging Face keeps the halves apart
                        d = int(shape["head_dim"])
                        expected = expected.reshape(-1, d // 2, 2, expected.shape[1])
                        expected = expected.transpose(0, 2, 1, 3).reshape(values.shape)
                numpy.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-9, err_msg=name)
            self.assertGreater(moved, 0, "no gain moved: the test shows less than it should")


if __name__ == "__main__":
    b.main()
