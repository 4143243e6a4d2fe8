"""jobs/workstation.sh brings a run to its end whatever kills its ranks, and stops when it should."""
import os
import signal
import time

import ballot_run as b

STEPS = 400
OPTIONS = dict(run__steps=STEPS, run__eval_every=100, run__checkpoint_every=100,
               run__check_every=10, data__context=32, data__batch=2, vote__slots=12)


def is_pending(pid, number):
    """Has a process that is stopped been sent this signal?"""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        pending = dict(line.split(":", 1) for line in file)["ShdPnd"]
    return int(pending, 16) >> number - 1 & 1


class Workstation(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        whole = os.path.join(cls.class_dir, "whole")
        cls.fingerprint = b.printed_fingerprint(b.run(b.tiny(whole, **OPTIONS)))

    def start(self, name, *more, **environment):
        run = os.path.join(self.class_dir, name)
        settings = map(str, b.tiny(run, **OPTIONS)[4:])
        words = ["jobs/workstation.sh", b.JOB, run, "2", *settings, *more]
        environment.setdefault("BALLOT", b.BALLOT)
        # as a shell does for a command: Ctrl-C reaches its whole group
        return run, b.start_command(words, os.setsid, **environment)

    def hold(self, run, process):
        """Let the ranks go on for some steps, and stop them there; their pids."""
        enough = len(b.metrics(run)) + 3
        self.assertTrue(b.wait_until(process, lambda: len(b.metrics(run)) >= enough))
        ranks = b.rank_pids(process)
        b.kill(ranks, signal.SIGSTOP)
        self.assertEqual(len(ranks), 2)
        self.assertLess(len(b.metrics(run)), STEPS, "the run ended too early")
        return ranks

    def assert_done(self, run, process, *said):
        result = b.finish(process)
        made = b.inspect(os.path.join(run, f"step-{STEPS:06d}.h5"), "--verify")
        self.assertEqual(made["fingerprint"], self.fingerprint, result.err)
        for words in said:
            self.assertIn(words, result.err)
        return result

    # ---- what it starts anew ----

    def test_a_killed_rank(self):
        run, process = self.start("rank")
        for times in (1, 2):
            ranks = self.hold(run, process)
            b.kill([self.random.choice(ranks)])
            b.kill(ranks, signal.SIGCONT)
            self.assertTrue(b.wait_until(process,
                                         lambda: not set(ranks) & set(b.rank_pids(process))))
        result = self.assert_done(run, process)
        self.assertEqual(result.err.count("ended with 137: starting it anew"), 2, result.err)

    def test_a_killed_mpirun(self):
        run, process = self.start("mpirun")
        ranks = self.hold(run, process)
        with open(f"/proc/{ranks[0]}/stat", encoding="utf-8") as file:
            mpirun = int(file.read().rsplit(")", 1)[1].split()[1])
        b.kill([mpirun])
        b.kill(ranks, signal.SIGCONT)
        self.assert_done(run, process, "ended with 137: starting it anew")

    def test_ranks_that_hang(self):
        run, process = self.start("hang", BALLOT_PATIENCE="5")
        self.hold(run, process)
        self.assert_done(run, process, "no new step in 5 s: killing the ranks", "starting it anew")

    def test_a_rank_that_was_asked_to_stop(self):
        run, process = self.start("asked")
        ranks = self.hold(run, process)
        b.kill(ranks[:1], signal.SIGUSR2)
        b.kill(ranks, signal.SIGCONT)
        self.assert_done(run, process, "ended with 75: starting it anew")

    # ---- what ends it ----

    def assert_stops_and_continues(self, name, process, ranks):
        """The held ranks go on once the word to stop has come to them."""
        self.assertTrue(b.wait_until(process, lambda: all(is_pending(pid, signal.SIGUSR2)
                                                          for pid in ranks)))
        b.kill(ranks, signal.SIGCONT)
        result = b.finish(process, b.STOPPED)
        self.assertIn("with a good checkpoint", result.err)
        self.assertNotIn("anew", result.err)
        self.assertNotRegex(result.err, r"workstation\.sh: line")
        self.assertEqual(b.rank_pids(process), [])
        self.assert_done(*self.start(name))

    def test_term(self):
        run, process = self.start("term")
        ranks = self.hold(run, process)
        process.terminate()
        self.assert_stops_and_continues("term", process, ranks)

    def test_control_c(self):
        run, process = self.start("int")
        ranks = self.hold(run, process)
        os.killpg(process.pid, signal.SIGINT)
        self.assert_stops_and_continues("int", process, ranks)

    def test_term_while_ranks_hang(self):
        run, process = self.start("grace", BALLOT_GRACE="3")
        self.hold(run, process)
        process.terminate()
        result = b.finish(process, b.STOPPED)
        self.assertIn("the ranks did not stop within 3 s: killing them", result.err)
        self.assertEqual(b.rank_pids(process), [])
        self.assert_done(*self.start("grace"))

    def test_three_starts_without_a_step_are_enough(self):
        dies = self.write("dies.sh", "#!/bin/sh\necho start\nkill -9 $$\n")
        os.chmod(dies, 0o755)
        began = time.monotonic()
        _, process = self.start("hopeless", BALLOT=dies)
        result = b.finish(process, b.FAILURE)
        self.assertEqual(result.err.count("anew in 5 s"), 2, result.err)
        self.assertIn("three starts in a row added no step", result.err)
        self.assertGreater(time.monotonic() - began, 10, "it did not wait between starts")
        self.assert_done(*self.start("hopeless"))

    def test_three_starts_while_another_process_has_the_run(self):
        """Its steps are not taken for those of the starts that are refused."""
        run = self.folder("taken")
        options = dict(OPTIONS, run__steps=100 * STEPS)
        has_it = b.start(b.tiny(run, **options))
        self.assertTrue(b.wait_until(has_it, lambda: len(b.metrics(run)) >= 3))
        _, process = self.start("taken", "-s", f"run.steps={100 * STEPS}")
        result, steps = b.finish(process, b.FAILURE), len(b.metrics(run))
        self.assertEqual(result.err.count("has this run"), 3, result.err)
        self.assertIn("three starts in a row added no step", result.err)
        self.assertTrue(b.wait_until(has_it, lambda: len(b.metrics(run)) > steps))
        has_it.terminate()
        b.finish(has_it, b.STOPPED)

    def test_what_a_restart_cannot_mend(self):
        damaged = self.damaged_model()
        for code, setting in ((b.USAGE, "run.stepz=1"), (b.INPUT, f"model.path={damaged}")):
            _, process = self.start(f"bad{code}", "-s", setting)
            self.assertNotIn("anew", b.finish(process, code).err)
        self.assertEqual(b.finish(b.start_command(["jobs/workstation.sh", b.JOB]), b.USAGE).out, "")

    def test_a_limit_of_hours_is_no_end(self):
        for words in (("--max-hours", "1e-9"), ("--max-h=1e-9",), ("-h1e-9",)):
            _, process = self.start("hours", *words)
            result = b.finish(process, b.USAGE)
            self.assertRegex(result.err, r"anew: .* timeout --preserve-status 8h jobs/work")


if __name__ == "__main__":
    b.main()
