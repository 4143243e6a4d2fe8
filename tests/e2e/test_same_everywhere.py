"""The same job gives the same bits on any number of ranks, with any kernels, however counted, and
whoever shares a model in memory."""
import json
import os
import subprocess

import ballot_run as b


class SameEverywhere(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.levels = b.isa_levels()

    def trace(self, name, *more, ranks=1, **options):
        """Fingerprint before every step, and after the last."""
        run = self.folder(name)
        result = b.run(b.tiny(run, *more, **options), ranks=ranks)
        return self.trace_of(run, result)

    def trace_of(self, run, result):
        steps = b.TINY["run.steps"]
        prints = b.fingerprints(run)
        self.assertEqual(sorted(prints), list(range(steps)),
                         f"every step is checked, with its fingerprint in {run}: {result.command}")
        last = b.printed_fingerprint(result)
        self.assertEqual(len(set(prints.values()) | {last}), steps + 1,
                         f"every step changes the model: {result.command}")
        return [prints[step] for step in range(steps)] + [last]

    def assert_same(self, traces):
        names = list(traces)
        for name in names[1:]:
            self.assertEqual(traces[name], traces[names[0]],
                             f"fingerprints of {name} differ from those of {names[0]}")

    def test_on_1_to_4_ranks(self):
        self.assert_same({f"{n} ranks": self.trace(f"ranks{n}", ranks=n) for n in (1, 2, 3, 4)})

    def test_more_ranks_than_slots(self):
        self.assert_same({f"{n} ranks": self.trace(f"few{n}", ranks=n, vote__slots=2)
                          for n in (1, 3)})

    def test_one_model_per_node_or_per_rank(self):
        self.assert_same({f"share={share} on {n} ranks":
                          self.trace(f"share-{share}{n}", ranks=n, run__share=share)
                          for share in ("node", "rank") for n in (1, 2, 3)})

    def test_whoever_of_a_node_probes_a_slot(self):
        self.assert_same({f"dealing={dealing}, share={share}, {n} ranks":
                          self.trace(f"dealing-{dealing}-{share}{n}", ranks=n, vote__dealing=dealing,
                                     run__share=share)
                          for dealing, share, n in (("fixed", "node", 1), ("node", "node", 1),
                                                    ("node", "node", 3), ("node", "rank", 4))})

    def without_room(self, name, backing, found):
        """A run whose shared memory has no room says so once, and ends in the same bits."""
        run = self.folder(name)
        result = b.run(b.tiny(run), ranks=2, timeout=120, OMPI_MCA_osc_sm_backing_directory=backing)
        self.assertRegex(result.err,
                         rf"warning: {backing} on \S+ {found}.*; each rank there holds a model")
        self.assertEqual(result.err.count("warning"), 1, result.err)
        self.assert_same({"shared": self.trace("room"), name: self.trace_of(run, result)})

    def test_no_folder_for_shared_memory(self):
        self.without_room("no-folder", "/nonexistent", "cannot be used")

    def test_a_full_folder_for_shared_memory(self):
        disk = self.folder("tmpfs")
        b.os.makedirs(disk)
        words = ["mount", "-t", "tmpfs", "-o", "size=1m", "ballot-test", disk]
        if subprocess.run(words, capture_output=True).returncode != 0:
            self.skipTest("a small file system cannot be mounted: this needs root")
        try:
            self.without_room("full-folder", disk, "has room for 1 MiB")
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_at_every_isa_level(self):
        self.assert_same({level: self.trace(f"isa-{level}", "--isa", level)
                          for level in self.levels})

    def test_levels_mixed_in_one_mpirun(self):
        if len(self.levels) < 2:
            self.skipTest("this processor has no level above ref")
        plain, mixed = self.folder("one-level"), self.folder("mixed")
        traces = {"one level": self.trace_of(plain, b.run(b.tiny(plain)))}
        rank = lambda level: [b.BALLOT, *map(str, b.tiny(mixed, "--isa", level))]
        for first, second in (("ref", self.levels[-1]), (self.levels[-1], "ref")):
            self.folder("mixed")
            result = b.finish(b.start_each(rank(first), rank(second)))
            traces[f"{first} : {second}"] = self.trace_of(mixed, result)
        self.assert_same(traces)

    def test_tally_by_table_and_by_slots(self):
        options = {"table": ["--tally", "table"], "slots": ["--tally", "slots"]}
        self.assert_same({how: self.trace(f"tally-{how}", *more, vote__directions="walsh")
                          for how, more in options.items()})

    def test_wide_sets_of_more_than_256_slots(self):
        """Votes of 8 bits so many that tallies are in units; the streams have a version of their own.
        Unit tests add them up slot by slot and at level ref, which takes long here."""
        wide = dict(vote__slots=700, vote__bits=8, data__context=2)
        traces = {f"{n} ranks": self.trace(f"wide{n}", ranks=n, **wide) for n in (1, 3)}
        for level in self.levels[1:-1]:
            traces[level] = self.trace(f"wide-{level}", "--isa", level, **wide)
        self.assert_same(traces)
        run = os.path.join(self.class_dir, "wide1")
        journal = os.path.join(run, "ballots.journal")
        self.assertEqual(b.inspect(journal)["stream_version"], 3)
        os.remove(journal)  # the checkpoint has a copy
        again = b.run(b.tiny(run, **wide))
        self.assertEqual(b.printed_fingerprint(again), traces["1 ranks"][-1])

    def test_independent_directions_on_1_and_3_ranks(self):
        self.assert_same({f"{n} ranks": self.trace(f"independent{n}", ranks=n,
                                                   vote__directions="independent")
                          for n in (1, 3)})

    def test_zoqo_on_1_and_3_ranks(self):
        options = {"rule__name": "zoqo", "vote__directions": "uniform", "vote__slots": 1,
                   "vote__noise": 2}
        traces = {}
        for n in (1, 3):
            run = self.folder(f"zoqo{n}")
            traces[n] = (b.printed_fingerprint(b.run(b.tiny(run, **options), ranks=n)),
                         b.fingerprints(run))
        self.assertEqual(traces[1], traces[3], "zoqo on 1 and 3 ranks")
        self.assertGreater(len(set(traces[1][1].values())), 1, "zoqo changes the model")

    def test_zoqo_at_every_isa_level(self):
        self.assert_same({level: self.trace(f"zoqo-{level}", "--isa", level, rule__name="zoqo",
                                            vote__directions="uniform", vote__slots=1,
                                            vote__noise=2)
                          for level in self.levels})

    def test_rules_of_real_numbers(self):
        """Their states are floats or have 8 bits, and checkpoints hold them."""
        for rule, codes, states in (("sign", "i8", {}), ("momentum", "i4", {"rule__states": "8bit"}),
                                    ("adam", "i8", {"rule__states": "8bit:2048"}),
                                    ("adam", "nf4", {"rule__states": "f32"}), ("sgd", "i8", {}),
                                    ("ztest", "i4", {"rule__z_score": 1}), ("quzo", "i8", {}),
                                    ("feedsign", "i8", {"vote__directions": "shared",
                                                        "vote__slots": 11})):
            options = {"rule__name": rule, "model__codes": codes, "vote__slots": 12, **states}
            traces = {f"{n} ranks": self.trace(f"{rule}-{codes}-{n}", ranks=n, **options)
                      for n in (1, 3)}
            traces["share=rank"] = self.trace(f"{rule}-{codes}-copies", ranks=2, run__share="rank",
                                              **options)
            for level in self.levels[:-1]:
                traces[level] = self.trace(f"{rule}-{codes}-{level}", "--isa", level, **options)
            self.assert_same(traces)
            run, made = os.path.join(self.class_dir, f"{rule}-{codes}-3"), self.folder("made.h5")
            b.run(["replay", b.STORIES, run, "-o", made])
            self.assertEqual(b.inspect(made)["fingerprint"], traces["1 ranks"][-1])
            stopped = self.folder(f"{rule}-{codes}-stopped")
            b.run(b.tiny(stopped, "--max-hours", "1e-9", **options), expect=b.STOPPED)
            again = b.run(b.tiny(stopped, **options), ranks=2)
            self.assertEqual(b.printed_fingerprint(again), traces["1 ranks"][-1])

    def test_one_sided_teams_and_votes_of_8_bits(self):
        one_sided = dict(vote__probe="one-sided", vote__team=2, vote__bits=8,
                         rule__schedule="cosine", rule__warmup=2)
        traces = {f"{n} ranks": self.trace(f"one-sided{n}", ranks=n, **one_sided)
                  for n in (1, 2, 3, 4)}
        for level in self.levels:
            traces[level] = self.trace(f"one-sided-{level}", "--isa", level, **one_sided)
        traces["dealt"] = self.trace("one-sided-dealt", ranks=3, vote__dealing="node", **one_sided)
        self.assert_same(traces)
        alone = self.trace("two-sided-bits", vote__bits=4)
        self.assert_same({"1 rank": alone,
                          "3 ranks": self.trace("two-sided-bits3", ranks=3, vote__bits=4)})

    def test_travel_that_the_run_finds(self):
        """Three searches in 20 steps; what they found is in the journal, so a replay needs none."""
        auto = dict(rule__travel="auto", vote__slots=12)
        for name, options in (("int8", dict(auto, vote__probe="one-sided", vote__team=4,
                                            vote__bits=8)),
                              ("int4", dict(auto, model__codes="i4", vote__density=0.3))):
            traces = {f"{n} ranks": self.trace(f"{name}-{n}", ranks=n, **options)
                      for n in (1, 2, 3, 4)}
            traces["share=rank"] = self.trace(f"{name}-copies", ranks=3, run__share="rank",
                                              **options)
            for level in self.levels:
                traces[level] = self.trace(f"{name}-{level}", "--isa", level, **options)
            self.assert_same(traces)
            run, made = os.path.join(self.class_dir, f"{name}-3"), self.folder(f"{name}.h5")
            self.assertEqual(b.bytes_of(run, "ballots.journal"), b.bytes_of(
                os.path.join(self.class_dir, f"{name}-1"), "ballots.journal"))
            b.run(["replay", b.STORIES, run, "-o", made])
            self.assertEqual(b.inspect(made)["fingerprint"], traces["1 ranks"][-1])

    def test_blocks_that_vote_by_turns(self):
        for turns, rule in (("cyclic", "carry"), ("random", "adam")):
            options = dict(vote__blocks=3, vote__turns=turns, vote__probe="one-sided", vote__team=4,
                           vote__slots=8, rule__name=rule, rule__travel="auto")
            traces = {f"{n} ranks": self.trace(f"{turns}{n}", ranks=n, **options) for n in (1, 3)}
            traces["share=rank"] = self.trace(f"{turns}-copies", ranks=2, run__share="rank",
                                              **options)
            traces["ref"] = self.trace(f"{turns}-ref", "--isa", "ref", **options)
            self.assert_same(traces)
            run, made = os.path.join(self.class_dir, f"{turns}3"), self.folder("made.h5")
            b.run(["replay", b.STORIES, run, "-o", made])
            self.assertEqual(b.inspect(made)["fingerprint"], traces["1 ranks"][-1])
            with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as log:
                steps = [set(json.loads(line).get("flips", ())) for line in log]
            moved = [flips for flips in steps if flips]
            self.assertGreaterEqual(len(moved), b.TINY["run.steps"] - 1)
            layers = [{name.split(".")[2] for name in flips if ".layers." in name}
                      for flips in moved]
            self.assertTrue(all(len(of) <= 2 for of in layers), layers)
            self.assertGreaterEqual(len({min(of) for of in layers if of}),
                                    3 if turns == "cyclic" else 2, layers)

    def test_the_upper_layers_alone(self):
        options = dict(vote__tensors="upper", vote__probe="one-sided", vote__team=4)
        self.assert_same({f"{n} ranks": self.trace(f"upper{n}", ranks=n, **options)
                          for n in (1, 3)})
        with open(os.path.join(self.class_dir, "upper1", "metrics.jsonl"), encoding="utf-8") as log:
            moved = {name for line in log for name in json.loads(line).get("flips", ())}
        layers = {name.split(".")[2] for name in moved if ".layers." in name}
        self.assertEqual(layers, {"2", "3", "4"}, "of five layers")
        self.assertEqual({name for name in moved if ".layers." not in name},
                         {"model.norm.weight"}, "the head is the embedding's matrix")

    def test_density_on_1_and_3_ranks(self):
        self.assert_same({f"{n} ranks": self.trace(f"density{n}", ranks=n, vote__density=0.3)
                          for n in (1, 3)})

    def test_another_seed_gives_another_run(self):
        self.assertNotEqual(self.trace("seed1", run__seed=1), self.trace("seed2", run__seed=2),
                            "fingerprints of run.seed=1 and run.seed=2")


if __name__ == "__main__":
    b.main()
