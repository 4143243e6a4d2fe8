"""What a run makes of its travel, and what is said of it afterwards."""
import json
import os
import tarfile

import ballot_run as b


class Tune(b.TestCase):
    def tune(self, run, *more):
        return json.loads(b.run(["tune", run, "--json", *more]).out)

    def test_the_factor_1_is_the_run_itself(self):
        for travel in ("auto", 4):
            run, made = self.folder(f"run-{travel}"), self.folder(f"best-{travel}.h5")
            b.run(b.tiny(run, rule__travel=travel))
            found = self.tune(run, "-o", made)
            dev = {row["factor"]: row["dev_loss_nats"] for row in found["tried"]}
            with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as log:
                final = [json.loads(line) for line in log if '"final"' in line]
            self.assertAlmostEqual(dev[1.0], final[0]["dev_loss_nats"], 6)
            self.assertEqual(found["best_factor"], min(dev, key=dev.get))
            settings = ["-s", "data.dev=data/shakespeare/dev.txt", "-s", "data.dev_examples=4", "-s",
                        "data.context=16", "-s", "data.batch=1"]
            best = json.loads(b.run(["eval", made, *settings, "--json"]).out)
            self.assertAlmostEqual(best["loss_nats"], min(dev.values()), 6)

    def test_prompts_are_read_by_the_base_in_every_replay(self):
        run = self.folder("answer")
        b.run(b.tiny(run, data__train="", data__dev="", data__context=384, data__dev_examples=6,
                     data__task="data/tasks/sst2.ini", vote__positions="answer", rule__travel=20))
        dev = {row["factor"]: row["dev_loss_nats"] for row in self.tune(run)["tried"]}
        with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as log:
            final = [json.loads(line) for line in log if '"final"' in line]
        self.assertAlmostEqual(dev[1.0], final[0]["dev_loss_nats"], 6)

    def test_it_says_on_which_side_a_travel_was_wrong(self):
        for travel, side in ((0.5, "more"), (60, "less")):
            run = self.folder(f"side-{side}")
            b.run(b.tiny(run, rule__travel=travel, run__steps=20, data__dev_examples=32,
                         data__context=64, vote__slots=64))
            self.assertIn(f"with {side} travel", b.run(["tune", run]).out)

    def test_doctor_says_what_limits_a_run(self):
        run = self.folder("limited")
        b.run(b.tiny(run, rule__travel="auto", run__steps=20, data__batch=2, vote__slots=32))
        found = json.loads(b.run(["doctor", run, "--json"]).out)
        self.assertEqual(set(found), {"limit", "advice", "slope", "share", "share_error", "rise",
                                      "rise_error", "scale", "scale_error"})
        self.assertAlmostEqual(found["share_error"], 2 * (32 * 5) ** -0.5, 6)
        self.assertGreater(found["scale"], 0.2)
        said = b.run(["doctor", run]).out.splitlines()
        self.assertEqual(said[:2], [found["limit"], found["advice"]])
        with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as log:
            lines = [json.loads(line) for line in log]
        self.assertEqual(lines[-1]["limit"], found["limit"])
        searches = [line["search"] for line in lines if "search" in line]
        self.assertEqual(len(searches), 3)  # before steps 2, 5 and 10
        self.assertAlmostEqual(searches[-1]["scale"], found["scale"], 6)
        self.assertTrue(all(line["rate"] > 0 for line in lines if "step" in line
                            and "final" not in line))

    def test_equal_scores_say_nothing(self):
        run, made = self.folder("still"), self.folder("still.h5")
        b.run(b.tiny(run, rule__travel=1e-9))
        said = b.run(["tune", run, "-o", made])
        self.assertEqual(said.err.count("replaying"), 1)
        self.assertIn("nothing can be told", said.out)
        self.assertNotIn("best,", said.out)
        found = self.tune(run)
        self.assertEqual(len({row["dev_loss_nats"] for row in found["tried"]}), 1)
        self.assertEqual(found["best_factor"], 1.0)
        self.assertIn("nothing can be told", found["advice"])

    def test_it_shows_the_metric_and_says_what_decides(self):
        run = self.folder("metric")
        b.run(b.tiny(run, data__train="", data__dev="", data__context=384, data__dev_examples=6,
                     data__task="data/tasks/sst2.ini", rule__travel=20, run__best="loss"))
        rows = {}
        for best, key in (("loss", lambda row: -row["dev_loss_nats"]),
                          ("metric", lambda row: (row["dev_metric"], -row["dev_loss_nats"]))):
            job = os.path.join(run, "job.ini")
            text = b.bytes_of(job).decode()
            with open(job, "w", encoding="utf-8") as file:
                file.write(text.replace("best = loss", f"best = {best}"))
            found = self.tune(run)
            self.assertEqual(found["best_by"], best)
            rows = {row["factor"]: row for row in found["tried"]}
            self.assertTrue(all(0 <= row["dev_metric"] <= 1 for row in rows.values()))
            self.assertEqual(key(rows[found["best_factor"]]), max(map(key, rows.values())))
            said = b.run(["tune", run]).out.splitlines()
            self.assertEqual(said[0].split(), ["factor", "travel", "dev", "loss", "dev", "metric"])
            self.assertEqual(sum(line.endswith(f"best, by the {best}") for line in said), 1)

    def test_what_no_travel_has_moved_is_refused(self):
        run = self.folder("zoqo")
        with tarfile.open("tests/golden/version-0.1/zoqo.tar.xz") as tar:
            tar.extractall(run)
        self.assertIn("its rule has no travel", b.run(["tune", run], expect=b.USAGE).err)
        said = b.run(["doctor", run]).out
        self.assertIn("nothing can be told", said)
        self.assertNotIn("too few slots", said)
        run = self.folder("new")
        b.run(b.tiny(run, run__steps=1))
        journal = os.path.join(run, "ballots.journal")
        os.truncate(journal, os.path.getsize(journal) - 1)
        self.assertIn("not taken a step", b.run(["tune", run], expect=b.USAGE).err)

    def test_a_run_without_a_dev_text_is_refused(self):
        run = self.folder("blind")
        b.run(b.tiny(run, data__dev=""))
        self.assertIn("no [data] dev", b.run(["tune", run], expect=b.USAGE).err)


if __name__ == "__main__":
    b.main()
