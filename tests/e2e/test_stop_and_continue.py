"""A run that is stopped, killed or damaged continues with the same command to the same bits."""
import os
import shutil
import signal
import sys

import ballot_run as b

STEPS = 9 if b.SLOW else 20
JOB = {"run__steps": STEPS}
# For signals that must arrive in the middle: about two seconds.
LONG = {"run__steps": 12 if b.SLOW else 40, "vote__slots": 12, "data__context": 32,
        "data__batch": 2}


def final_checkpoint(steps):
    return "step-%06d.h5" % steps


class StopAndContinue(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.whole = {}
        for ranks in (1, 2, 3):  # uninterrupted
            run = os.path.join(cls.class_dir, f"whole{ranks}")
            cls.fingerprint = b.printed_fingerprint(b.run(b.tiny(run, **JOB), ranks=ranks))
            cls.whole[ranks] = run
        cls.journal = b.bytes_of(cls.whole[1], "ballots.journal")
        long_run = os.path.join(cls.class_dir, "long")
        cls.long_fingerprint = b.printed_fingerprint(b.run(b.tiny(long_run, **LONG)))
        cls.long_prints = b.fingerprints(long_run)

    def assert_whole(self, run, why):
        """The run ended as the uninterrupted one: fingerprint, journal, checkpoint, metrics."""
        made = b.inspect(os.path.join(run, final_checkpoint(STEPS)), "--verify")
        self.assertEqual(made["fingerprint"], self.fingerprint, f"final fingerprint; {why}")
        self.assertEqual(made["step"], STEPS, why)
        self.assertEqual(b.bytes_of(run, "ballots.journal"), self.journal,
                         f"the journal differs from that of the uninterrupted run; {why}")
        rows = b.metrics(run)
        self.assertEqual([row["step"] for row in rows], list(range(STEPS)),
                         f"steps of metrics.jsonl; {why}")
        whole = b.fingerprints(self.whole[1])
        for step, found in b.fingerprints(run).items():
            self.assertEqual(found, whole[step], f"fingerprint before step {step}; {why}")

    def copy_of_whole(self, name):
        run = self.folder(name)
        shutil.copytree(self.whole[1], run)
        return run

    def stop_in_the_middle(self, name, ranks, number, targets):
        """Send a signal once three steps are done; a run that was quicker is tried again."""
        for attempt in range(5):
            run = self.folder(name)
            process = b.start(b.tiny(run, **LONG), ranks=ranks)
            if b.wait_until(process, lambda: len(b.metrics(run)) >= 3):
                b.kill(targets(process), number)
                result = b.finish(process, expect=None)
                if result.rc != b.DONE:
                    return run, result
        self.fail(f"the run ended 5 times before the signal came: {result.command}")

    def assert_stopped_and_continues(self, run, result, ranks_after):
        step = len(b.metrics(run))
        self.assertEqual(result.rc, b.STOPPED, f"{result.command}\n{result.err}")
        self.assertIn(f"stopped after step {step} of", result.err)
        self.assertEqual(b.bytes_of(run, "LATEST").decode().strip(), final_checkpoint(step))
        made = b.inspect(os.path.join(run, final_checkpoint(step)), "--verify")
        self.assertEqual((made["step"], made["fingerprint"]), (step, self.long_prints[step]),
                         f"checkpoint of: {result.command}")
        end = b.run(b.tiny(run, **LONG), ranks=ranks_after)
        self.assertEqual(b.printed_fingerprint(end), self.long_fingerprint,
                         f"continued on {ranks_after} ranks: {end.command}")

    # ---- signals and limits ----

    def test_the_whole_run_is_the_same_on_1_to_3_ranks(self):
        for ranks in (1, 2, 3):
            self.assert_whole(self.whole[ranks], f"{ranks} ranks")

    def test_term_stops_one_process(self):
        run, result = self.stop_in_the_middle("term", 1, signal.SIGTERM, lambda p: [p.pid])
        self.assert_stopped_and_continues(run, result, 1)

    def test_int_stops_one_process_that_continues_on_2_ranks(self):
        run, result = self.stop_in_the_middle("int", 1, signal.SIGINT, lambda p: [p.pid])
        self.assert_stopped_and_continues(run, result, 2)

    def test_term_to_one_of_3_ranks_stops_all(self):
        run, result = self.stop_in_the_middle("term3", 3, signal.SIGTERM,
                                              lambda p: [self.random.choice(b.rank_pids(p))])
        self.assert_stopped_and_continues(run, result, 1)

    def test_usr2_to_mpirun_stops_all_ranks(self):
        run, result = self.stop_in_the_middle("usr2", 2, signal.SIGUSR2, lambda p: [p.pid])
        self.assert_stopped_and_continues(run, result, 3)

    def test_usr1_saves_and_goes_on(self):
        for name, ranks, targets in (("usr1", 1, lambda p: [p.pid]),
                                     ("usr1-of-3", 3, lambda p: b.rank_pids(p)[-1:])):
            options = dict(LONG, run__checkpoint_every=0)
            for attempt in range(5):
                run = self.folder(name)
                process = b.start(b.tiny(run, **options), ranks=ranks)
                b.wait_until(process, lambda: len(b.metrics(run)) >= 3)
                b.kill(targets(process), signal.SIGUSR1)
                result = b.finish(process)
                saved = sorted(n for n in os.listdir(run) if n.startswith("step-"))
                if len(saved) > 1:
                    break
            self.assertEqual(len(saved), 2, f"checkpoints of the signal and of the end: {saved}; "
                             f"{result.command}")
            self.assertEqual(b.printed_fingerprint(result), self.long_fingerprint)
            made = b.inspect(os.path.join(run, saved[0]), "--verify")
            self.assertEqual(made["fingerprint"], self.long_prints[made["step"]],
                             f"checkpoint of USR1: {result.command}")

    def test_a_wall_limit_stops_after_a_whole_step(self):
        run = self.folder("hours")
        for step in range(1, 5):  # no call is without progress
            result = b.run(b.tiny(run, "--max-hours", "1e-9", **JOB), ranks=1 + step % 3,
                           expect=b.STOPPED)
            self.assertIn(f"stopped after step {step} of {STEPS}", result.err)
            self.assertTrue(os.path.exists(os.path.join(run, final_checkpoint(step))))
        end = b.run(b.tiny(run, **JOB))
        self.assertEqual(b.printed_fingerprint(end), self.fingerprint)

    def test_who_shares_a_model_may_change_on_the_way(self):
        run = self.folder("share")
        for step in range(1, 5):
            b.run(b.tiny(run, "--max-hours", "1e-9", run__share=("node", "rank")[step % 2], **JOB),
                  ranks=1 + step % 3, expect=b.STOPPED)
        end = b.run(b.tiny(run, **JOB), ranks=2)
        self.assertEqual(b.printed_fingerprint(end), self.fingerprint, end.command)

    # ---- kill -9; at random moments: test_killed.py ----

    def test_kill_in_the_middle_of_every_write_of_a_small_run(self):
        # Each system call that changes the directory, one after the other, is the last one.
        if shutil.which("strace") is None:
            self.skipTest("strace is not installed: it stops a process at a chosen system call")
        calls = "write,pwrite64,rename,fsync,fdatasync,ftruncate,unlink"
        options = dict(JOB, run__steps=4, run__checkpoint_every=2, run__keep=1)
        whole = self.folder("strace-whole")
        fingerprint = b.printed_fingerprint(b.run(b.tiny(whole, **options)))
        n_killed = 0
        for call in calls.split(","):
            run = self.folder("strace")
            for number in sorted(self.random.sample(range(1, 60), 4)):
                words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e",
                         f"inject={call}:signal=KILL:when={number}", b.BALLOT,
                         *map(str, b.tiny(run, **options))]
                process = b.start_command(words)
                process.wait()
                n_killed += process.returncode == -signal.SIGKILL
                b.wait_gone(process)
            end = b.run(b.tiny(run, **options))
            self.assertEqual(b.printed_fingerprint(end), fingerprint, f"killed at {call}")
            self.assertEqual(b.bytes_of(run, "ballots.journal"),
                             b.bytes_of(whole, "ballots.journal"), f"killed at {call}")
        sys.stderr.write(f"{n_killed} kills ... ")

    def test_what_a_killed_writer_left_is_cleared_away(self):
        run = self.copy_of_whole("temporary")
        os.remove(os.path.join(run, final_checkpoint(STEPS)))
        for name in (final_checkpoint(3), "best.h5"):
            shutil.copy(os.path.join(run, "best.h5"), os.path.join(run, f".{name}.new"))
        b.run(b.tiny(run, **JOB))
        self.assert_whole(run, "with temporary files of a killed writer")
        self.assertEqual([name for name in os.listdir(run) if name.startswith(".")], [],
                         "temporary files, each as large as the model, are still there")

    # ---- damage ----

    def test_a_torn_journal_is_cut_and_the_steps_are_done_again(self):
        whole = len(self.journal)
        head = b.inspect(os.path.join(self.whole[1], "ballots.journal"))
        self.assertEqual(head["step"], STEPS)
        cuts = [1, 7, 8] + [self.random.randrange(1, 90) for _ in range(3)]
        for cut in cuts[:3 if b.SLOW else None]:
            run = self.copy_of_whole("torn")
            os.remove(os.path.join(run, final_checkpoint(STEPS)))  # as if killed before it
            os.truncate(os.path.join(run, "ballots.journal"), whole - cut)
            end = b.run(b.tiny(run, **JOB), ranks=self.random.choice((1, 2)))
            self.assertIn("torn tail", end.err, f"{cut} bytes cut off; {end.command}")
            self.assert_whole(run, f"{cut} bytes of the journal cut off")

    def test_a_flipped_bit_in_the_journal_is_where_it_ends(self):
        for _ in range(2 if b.SLOW else 5):
            run = self.copy_of_whole("flip")
            for name in os.listdir(run):
                if name.startswith("step-"):
                    os.remove(os.path.join(run, name))
            bit = self.random.randrange(8 * 128, 8 * len(self.journal))
            b.flip_bit(os.path.join(run, "ballots.journal"), bit)
            b.run(b.tiny(run, **JOB))
            self.assert_whole(run, f"bit {bit} of the journal flipped, no checkpoint")

    def test_a_damaged_journal_is_put_back_from_the_checkpoint(self):
        for _ in range(2 if b.SLOW else 4):
            run = self.copy_of_whole("flip-with-checkpoint")
            bit = self.random.randrange(8 * len(self.journal))
            b.flip_bit(os.path.join(run, "ballots.journal"), bit)
            b.run(b.tiny(run, **JOB))
            self.assert_whole(run, f"bit {bit} of the journal flipped, checkpoints whole")

    def test_a_deleted_journal_is_put_back_from_the_checkpoint(self):
        run = self.copy_of_whole("no-journal")
        os.remove(os.path.join(run, "ballots.journal"))
        end = b.run(b.tiny(run, **JOB), ranks=2)
        self.assertIn("journal is put back from", end.err)
        self.assert_whole(run, "journal deleted after the end")
        os.remove(os.path.join(run, "ballots.journal"))  # and in the middle
        os.remove(os.path.join(run, final_checkpoint(STEPS)))
        b.run(b.tiny(run, **JOB))
        self.assert_whole(run, "journal and last checkpoint deleted")

    def test_a_journal_damaged_while_the_run_lives_goes_into_no_checkpoint(self):
        """The damage ends the run, and costs it steps, not its record."""
        for attempt in range(5):
            run = self.folder("flip-alive")
            process = b.start(b.tiny(run, **LONG, run__checkpoint_every=5))
            if not b.wait_until(process, lambda: len(b.metrics(run)) >= 2):
                continue
            b.kill([process.pid], signal.SIGSTOP)
            b.flip_bit(os.path.join(run, "ballots.journal"), 8 * 128 + 100)  # of the first record
            b.kill([process.pid], signal.SIGCONT)
            result = b.finish(process, expect=None)
            if result.rc != b.DONE:  # else all was written before
                break
        self.assertEqual(result.rc, b.FAILURE, f"{result.command}\n{result.err}")
        self.assertIn("ballots.journal: damaged on disk after step 0 of", result.err)
        end = b.run(b.tiny(run, **LONG, run__checkpoint_every=5))
        self.assertEqual(b.printed_fingerprint(end), self.long_fingerprint, end.command)
        made = b.inspect(os.path.join(run, "ballots.journal"), "--verify")
        self.assertEqual(made["step"], LONG["run__steps"], "steps in the journal")

    def test_a_run_killed_before_it_named_its_last_checkpoint_names_it(self):
        run = self.copy_of_whole("latest")
        with open(os.path.join(run, "LATEST"), "w", encoding="utf-8") as file:
            file.write(final_checkpoint(3) + "\n")
        b.run(b.tiny(run, **JOB))
        self.assertEqual(b.bytes_of(run, "LATEST").decode().strip(), final_checkpoint(STEPS))

    def damage(self, path):
        b.flip_bit(path, self.random.randrange(8 * os.path.getsize(path)))

    def test_a_damaged_newest_checkpoint_is_passed_over(self):
        for ranks in (1, 3):
            run = self.copy_of_whole("damaged-middle")
            os.remove(os.path.join(run, final_checkpoint(STEPS)))
            os.truncate(os.path.join(run, "ballots.journal"), len(self.journal) - 3)
            newest = max(n for n in os.listdir(run) if n.startswith("step-"))
            self.damage(os.path.join(run, newest))
            end = b.run(b.tiny(run, **JOB), ranks=ranks)
            self.assertIn(newest, end.err, f"the damaged file is named; {end.command}")
            self.assert_whole(run, f"{newest} damaged; {ranks} ranks")

    @b.needs_odd_host
    def test_a_checkpoint_that_the_disk_does_not_give_back_is_passed_over(self):
        run = self.copy_of_whole("unreadable")
        os.remove(os.path.join(run, final_checkpoint(STEPS)))
        os.truncate(os.path.join(run, "ballots.journal"), len(self.journal) - 3)
        newest = max(n for n in os.listdir(run) if n.startswith("step-"))
        end = b.run(b.tiny(run, **JOB), LD_PRELOAD=b.ODD_HOST, ODD_UNREADABLE=newest)
        self.assertRegex(end.err, f"{newest}: reading at byte 0 failed: Input/output error; the one "
                         "before it is used")
        self.assert_whole(run, f"{newest} unreadable")

    @b.needs_odd_host
    def test_a_checkpoint_that_cannot_be_read_any_more_is_no_damaged_input(self):
        """From each read on, of verifying it and of HDF5."""
        path, n_failed, reads = os.path.join(self.whole[1], final_checkpoint(STEPS)), 0, 0
        while True:
            result = b.run(["inspect", "--json", path], expect=None, LD_PRELOAD=b.ODD_HOST,
                           ODD_UNREADABLE=final_checkpoint(STEPS), ODD_READS=str(reads))
            if result.rc == b.DONE:
                break
            self.assertEqual(result.rc, b.FAILURE, f"{reads} reads: {result.err}")
            self.assertIn("failed: Input/output error", result.err)
            n_failed, reads = n_failed + 1, reads + 3
        self.assertGreater(n_failed, 10)

    def test_a_page_that_the_disk_does_not_give_back_is_said(self):
        """Of a file that is mapped; the system then sends SIGBUS."""
        run, result = self.stop_in_the_middle("bus", 1, signal.SIGBUS, lambda p: [p.pid])
        self.assertEqual(result.rc, b.FAILURE, result.err)
        self.assertIn("could not be read to its end", result.err)
        end = b.run(b.tiny(run, **LONG))
        self.assertEqual(b.printed_fingerprint(end), self.long_fingerprint)

    def test_a_checkpoint_of_another_run_costs_no_journal(self):
        other, run = self.folder("other"), self.copy_of_whole("strange")
        b.run(b.tiny(other, run__seed=77, **JOB))
        os.truncate(os.path.join(run, "ballots.journal"), len(self.journal) - 3)
        strange = os.path.join(run, final_checkpoint(STEPS))
        shutil.copy(os.path.join(other, final_checkpoint(STEPS)), strange)
        before = b.bytes_of(run, "ballots.journal")
        result = b.run(b.tiny(run, **JOB), expect=b.USAGE)
        self.assertIn(f"{strange}: is ahead of the journal and of another run", result.err)
        left = b.bytes_of(run, "ballots.journal")
        record = (len(self.journal) - 128) // STEPS
        self.assertEqual(left, before[:len(self.journal) - record], "but for the torn tail")
        os.remove(strange)
        b.run(b.tiny(run, **JOB))
        self.assert_whole(run, "with another run's checkpoint for a time")

    def test_a_damaged_last_checkpoint_is_written_again(self):
        run = self.copy_of_whole("damaged-last")
        self.damage(os.path.join(run, final_checkpoint(STEPS)))
        end = b.run(b.tiny(run, **JOB))
        self.assertEqual(b.printed_fingerprint(end), self.fingerprint)
        self.assert_whole(run, f"{final_checkpoint(STEPS)} damaged after the end")

    # ---- once more ----

    def test_the_finished_command_again_changes_nothing(self):
        run = self.copy_of_whole("again")
        before = b.contents(run)
        for ranks in (1, 2):
            end = b.run(b.tiny(run, **JOB), ranks=ranks)
            self.assertEqual(b.printed_fingerprint(end), self.fingerprint, end.command)
            after = b.contents(run)
            self.assertEqual(sorted(after), sorted(before), "files in the run directory")
            changed = [name for name in before
                       if name != "run.lock" and before[name] != after[name]]
            self.assertEqual(changed, [], f"files changed by: {end.command}")


if __name__ == "__main__":
    b.main()
