"""A rank that is lost does not keep the others: they name it, leave with 75, and the same command goes
on to the same bits."""
import collections
import os
import signal

import ballot_run as b

LIMIT_S = 6 if b.SLOW else 3
STEPS = 12 if b.SLOW else 60
JOB = {"run__steps": STEPS, "vote__slots": 12}


class LostRanks(b.TestCase):
    def setUp(self):
        self.whole = b.printed_fingerprint(b.run(b.tiny(self.folder("whole"), **JOB)))

    def test_a_rank_that_does_not_answer_is_named_and_the_run_continues(self):
        for rank in range(3):
            for attempt in range(5):
                run = self.folder("stopped")
                process = b.start(b.tiny(run, "--wait-limit", LIMIT_S, **JOB), ranks=3)
                if b.wait_until(process, lambda: len(b.metrics(run)) >= 3):
                    b.kill([b.pid_of_rank(process, rank)], signal.SIGSTOP)
                    result = b.finish(process, expect=None, timeout=LIMIT_S + 60)
                    if result.rc != b.DONE:
                        break
            self.assertEqual(result.rc, b.STOPPED, f"{result.command}\n{result.err}")
            self.assertRegex(result.err, rf"step \d+: no answer from rank {rank} on \S+ for "
                             rf"{LIMIT_S} s; last heard of in step \d+;")
            self.assertEqual(result.err.count("no answer from rank"), 1, result.err)
            end = b.run(b.tiny(run, **JOB), ranks=1 + rank)
            self.assertEqual(b.printed_fingerprint(end), self.whole, f"rank {rank}: {end.command}")

    def test_a_rank_that_is_slow_within_the_limit_is_waited_for(self):
        run = self.folder("slow")
        process = b.start(b.tiny(run, "--wait-limit", 60, **JOB), ranks=2)
        if b.wait_until(process, lambda: len(b.metrics(run)) >= 3):
            pid = b.pid_of_rank(process, 1)
            b.kill([pid], signal.SIGSTOP)
            b.time.sleep(1.5)
            b.kill([pid], signal.SIGCONT)
        self.assertEqual(b.printed_fingerprint(b.finish(process)), self.whole)

    def run_with_a_late_rank(self, deadline, pause_s, dealing, **more):
        """Its result, and the slots that each rank left without a vote: rank 1 is stopped four times."""
        run = self.folder("late")
        process = b.start(b.tiny(run, vote__deadline=deadline, vote__dealing=dealing, **more), ranks=2)
        for stop in range(4):
            done = len(b.metrics(run))
            if b.wait_until(process, lambda: len(b.metrics(run)) >= done + 1):
                pid = b.pid_of_rank(process, 1)
                b.kill([pid], signal.SIGSTOP)
                b.time.sleep(pause_s)
                b.kill([pid], signal.SIGCONT)
        result = b.finish(process)
        late = collections.Counter()
        for row in b.metrics(run):
            late.update(row.get("abstained", {}))
        return result, late

    def test_a_rank_that_is_late_abstains_or_another_of_its_node_takes_its_slots(self):
        # Probes take most of the time, so that the rank is stopped in one of them.
        options = dict(JOB, data__context=128, data__batch=4)
        alone = self.folder("alone")
        on_time = b.printed_fingerprint(b.run(b.tiny(alone, **options)))
        deadline = max(0.6, 3 * max(row["seconds"]["probe"] for row in b.metrics(alone)))
        for limit in (deadline, "auto"):
            for attempt in range(5):
                result, late = self.run_with_a_late_rank(limit, deadline + 0.2, "fixed", **options)
                if late["1"]:
                    break  # else it was stopped outside its probes each time
            self.assertTrue(late["1"], f"the rank never abstained with deadline {limit}")
            self.assertRegex(result.out, r"abstained +\d+ slots:.* rank 1 \d+")
            journal = os.path.join(self.class_dir, "late", "ballots.journal")
            out = self.folder("late.h5")
            b.run(["replay", b.STORIES, journal, "-o", out])
            self.assertEqual(b.inspect(out)["fingerprint"], b.printed_fingerprint(result))

        for attempt in range(5):  # the other rank must keep the deadline alone, on a busy machine
            result, late = self.run_with_a_late_rank(deadline, deadline + 0.2, "node", **options)
            if not late:
                break
        self.assertEqual((dict(late), b.printed_fingerprint(result)), ({}, on_time))

    def two(self, arguments, first, second, expect):
        """Two ranks, each as odd as it is said."""
        ranks = [["env", f"LD_PRELOAD={b.ODD_HOST}", odd, b.BALLOT, *map(str, arguments)]
                 for odd in (first, second)]
        return b.finish(b.start_each(*ranks), expect, timeout=60)

    @b.needs_odd_host
    def test_the_start_and_the_end_have_limits_too(self):
        """One of two ranks takes ten minutes to start or to end MPI."""
        result = self.two(["doctor"], "ODD_ALARM=300", "ODD_START=600", b.STOPPED)
        self.assertRegex(result.err, r"ballot: \S+ has no connection to all other ranks after 300 s")
        train = b.tiny(self.folder("end"), "--wait-limit", 5, **JOB)
        result = self.two(train, "ODD_END=0", "ODD_END=600", None)
        # mpiexec 4.1 may crash itself, in PMIx_server_finalize, when a rank leaves MPI's end
        self.assertIn(result.rc, (b.STOPPED, -signal.SIGSEGV), result.err)
        self.assertRegex(result.err, r"ballot: \S+ is done, but not all other ranks are after 5 s")
        self.assertEqual(b.printed_fingerprint(result), self.whole)

    @b.needs_odd_host
    def test_ranks_without_work_wait_for_the_one_that_has_it(self):
        """The limit of half an hour is over in two seconds for a rank that waits four."""
        run = self.folder("alone")
        b.run(b.tiny(run, **JOB))
        result = self.two(["inspect", os.path.join(run, "ballots.journal")], "ODD_END=4",
                          "ODD_ALARM=1800", b.DONE)
        self.assertIn("steps", result.out)

    def test_a_limit_that_is_no_number_is_refused(self):
        for text in ("soon", "-1", "nan", "3s", ""):
            result = b.run(["train", b.JOB, "--run", os.path.join(self.class_dir, "no"),
                            f"--wait-limit={text}"], expect=b.USAGE)
            self.assertIn("--wait-limit", result.err)


if __name__ == "__main__":
    b.main()
