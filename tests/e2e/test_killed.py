"""Killed with SIGKILL at a random moment, a run that is continued ends in the bits of one that was not:
three models, on 1, 2 and 4 ranks. One kill in five comes at any moment from the start, when reading the
model takes most of the time; the others within a step drawn at random. BALLOT_KILLS: how many kills."""
import collections
import os
import shutil
import sys
import time

import ballot_run as b

KILLS = int(os.environ.get("BALLOT_KILLS", 9 if b.SLOW else 30))
STEPS = 9 if b.SLOW else 60
TEXT = "data/tinystories/dev.txt"
MODELS = {
    "stories260k, int8": {},
    "opt, int4": {"model": "tests/golden/families/opt-post", "model__codes": "i4",
                  "data__train": TEXT, "data__dev": TEXT, "rule__travel": "auto"},
    "qwen3, nf4": {"model": "tests/golden/families/qwen3", "model__codes": "nf4",
                   "data__train": TEXT, "data__dev": TEXT, "rule__name": "adam"},
}
RANKS = (1, 2, 4)


def final_checkpoint(run):
    return os.path.join(run, f"step-{STEPS:06d}.h5")


def size(run):
    """Bytes of the record on disk."""
    path = os.path.join(run, "ballots.journal")
    return os.path.getsize(path) if os.path.exists(path) else 0


class Killed(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.whole, cls.seconds = {}, {}
        for model, options in MODELS.items():
            for ranks in RANKS:
                run, began = os.path.join(cls.class_dir, "whole"), time.monotonic()
                shutil.rmtree(run, ignore_errors=True)
                b.run(b.tiny(run, run__steps=STEPS, **options), ranks=ranks)
                cls.seconds[model, ranks] = time.monotonic() - began
                found = cls.outcome(run)
                assert cls.whole.setdefault(model, found) == found, f"{model} on {ranks} ranks"

    @staticmethod
    def outcome(run):
        made = b.inspect(final_checkpoint(run), "--verify")
        return made["step"], made["fingerprint"], b.bytes_of(run, "ballots.journal")

    def wait_somehow(self, process, run, model, ranks):
        """Until a random moment; False if the run ended before."""
        if self.random.random() < 0.2:
            seconds = self.random.random() * self.seconds[model, ranks]
        else:
            n_bytes = self.random.random() * len(self.whole[model][2])
            if not b.wait_until(process, lambda: size(run) >= n_bytes):
                return False
            seconds = self.random.random() * self.seconds[model, ranks] / STEPS
        time.sleep(seconds)
        return process.poll() is None

    def kill_somehow(self, process):
        """All ranks at once, or one of them, whose loss then ends the others. The launcher, which
        cleans up shared memory, is killed only where there is no rank yet."""
        ranks = b.rank_pids(process)
        if not ranks:
            b.kill(b.members(process))
        elif self.random.random() < 0.7:
            b.kill(ranks)
        else:
            b.kill([self.random.choice(ranks)])
        b.wait_gone(process)

    def test_a_run_that_was_killed_ends_in_the_same_bits(self):
        cases = [(model, ranks) for model in MODELS for ranks in RANKS]
        steps, writing = collections.Counter(), 0
        for trial in range(KILLS):
            model, ranks = cases[trial % len(cases)]
            options = MODELS[model]
            run, done, killed = self.folder("run"), 0, False
            while not killed:  # a run that ended before is begun anew
                shutil.rmtree(run, ignore_errors=True)
                process = b.start(b.tiny(run, run__steps=STEPS, **options), ranks=ranks)
                killed = self.wait_somehow(process, run, model, ranks)
                if killed:
                    self.kill_somehow(process)
                else:
                    b.finish(process)
            done = len(b.metrics(run))
            files = os.listdir(run) if os.path.isdir(run) else []
            writing += any(name.startswith(".") for name in files)
            steps["before step 1" if done == 0 else "after the last" if done == STEPS
                  else "between"] += 1
            after = self.random.choice(RANKS)
            b.run(b.tiny(run, run__steps=STEPS, **options), ranks=after)
            self.assertEqual(self.outcome(run), self.whole[model],
                             f"trial {trial}: {model} killed on {ranks} ranks after step {done}, "
                             f"continued on {after}")
        sys.stderr.write(f"\n  {KILLS} of {KILLS} kills: {dict(steps)}, {writing} while a file was "
                         "being written ... ")


if __name__ == "__main__":
    b.main()
