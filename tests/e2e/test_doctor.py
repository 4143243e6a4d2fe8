"""ballot doctor: names what would make a run fail or slow, and nothing else."""
import json
import os
import re
import resource
import shutil
import subprocess
import unittest

import ballot_run as b
import test_bad_input as bad
import test_estimate as est

ALWAYS = ["mpi", "program", "job", "kernels", "cores", "binding", "threads", "memory", "limits",
          "shared", "clock", "slurm"]
OF_RUN = ["run", "sync", "disk", "locks"]
CPUS = sorted(os.sched_getaffinity(0))


class Doctor(b.TestCase):
    def doctor(self, *arguments, ranks=1, expect=b.DONE, **more):
        """{check: (result, text)}, and the whole result under ""."""
        return self.parse(b.run(["doctor", "--json", *arguments], ranks=ranks, expect=expect,
                                **more))

    def each(self, *ranks, expect=b.DONE, **more):
        """The same, of ranks that were started differently: the words of each."""
        return self.parse(b.finish(b.start_each(*ranks, **more), expect))

    def parse(self, result):
        found = json.loads(result.out)
        self.assertEqual(set(found), {"ranks", "result", "checks"})
        for check in found["checks"]:
            self.assertEqual(set(check), {"check", "result", "text"})
            self.assertIn(check["result"], ("ok", "warn", "fail"))
            self.assertGreater(len(check["text"]), 5)
        order = ["ok", "warn", "fail"]
        self.assertEqual(found["result"],
                         max((c["result"] for c in found["checks"]), key=order.index))
        self.assertEqual(result.rc == b.FAILURE, found["result"] == "fail", result.err)
        return {"": found["result"],
                **{c["check"]: (c["result"], c["text"]) for c in found["checks"]}}

    def assert_says(self, found, check, result, pattern):
        self.assertEqual(found[check][0], result, found)
        self.assertRegex(found[check][1], pattern)

    # ---- a place that is fit ----

    def test_a_line_for_each_check_and_once(self):
        for ranks in (1, 3):
            for more, names in (([], ALWAYS), ([b.JOB], ALWAYS),
                                ([b.JOB, "--run", self.folder("lines")], ALWAYS + OF_RUN)):
                result = b.run(["doctor", *more], ranks=ranks)
                lines = result.out.splitlines()
                self.assertEqual([line.split()[1] for line in lines], names, result.out)
                for line in lines:
                    self.assertRegex(line, r"^(ok|warn|fail) +[a-z]+ +\S")
                self.assertEqual([n for n in self.doctor(*more, ranks=ranks) if n], names)

    def test_what_is_right_is_ok(self):
        found = self.doctor(b.JOB, "--run", self.folder("right"))
        for check in ALWAYS[:6] + ["limits", "shared", "clock", "slurm", "run", "disk", "locks"]:
            self.assertEqual(found[check][0], "ok", found[check])

    def test_nothing_is_left_in_the_run_directory(self):
        run = self.folder("run")
        self.doctor(b.JOB, "--run", os.path.join(run, "a", "b"))
        self.assertFalse(os.path.exists(run))
        b.run(b.tiny(run))
        before = b.contents(run)
        self.assertIn(run, self.doctor(b.JOB, "--run", run, ranks=2)["run"][1])
        self.assertEqual(b.contents(run), before)

    # ---- cores ----

    @unittest.skipIf(len(CPUS) < 2, "one processor")
    def test_ranks_bound_to_one_core(self):
        bound = lambda cpu: ["taskset", "-c", str(cpu), b.BALLOT, "doctor", "--json"]
        found = self.each(bound(CPUS[0]), bound(CPUS[0]))
        self.assert_says(found, "binding", "warn", rf"2 ranks .* same 1 of .* core {CPUS[0]} on")
        found = self.each(bound(CPUS[0]), bound(CPUS[1]))
        self.assert_says(found, "binding", "ok", "a core of its own")
        found = self.each(bound(CPUS[0]), bound(CPUS[1]), bound(f"{CPUS[0]},{CPUS[1]}"))
        if len(CPUS) > 2:  # three ranks on two cores of more
            self.assert_says(found, "binding", "warn", "3 ranks .* same 2 of")

    def test_more_ranks_than_cores(self):
        n = os.cpu_count() + 1
        if n > 16:
            self.skipTest("many cores")
        found = self.doctor(ranks=n)
        self.assert_says(found, "cores", "warn", rf"{n} ranks on .* has \d+ cores.*: more ranks")

    def test_a_quota_of_processor_time_counts(self):
        enter = est.enter_cgroup(self, "cpu", {"cpu.cfs_quota_us": "100000",
                                               "cpu.max": "100000 100000"})
        found = self.doctor(ranks=2, preexec=enter)
        self.assert_says(found, "cores", "warn",
                         r"2 ranks .* cgroup may use 1\.00: .* take 1 there")
        self.assertEqual(self.doctor(preexec=enter)["cores"][0], "ok")

    def test_threads_of_libraries(self):
        n = os.cpu_count()
        found = self.doctor(ranks=2, OPENBLAS_NUM_THREADS=str(n))
        self.assert_says(found, "threads", "warn", rf"{n} threads in each of 2 ranks")
        self.assertEqual(self.doctor(ranks=2, OPENBLAS_NUM_THREADS="1")["threads"][0], "ok")

    # ---- memory ----

    def test_limits_of_a_process(self):
        def limit(n_bytes):
            return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
        found = self.doctor(b.JOB, expect=b.FAILURE, preexec=limit(500000))
        self.assert_says(found, "limits", "fail", r"ulimit -f allows files of 0\.5 MiB")
        self.assert_says(self.doctor(preexec=limit(500000)), "limits", "warn", "ulimit -f")
        self.assert_says(self.doctor(b.JOB, preexec=limit(1 << 30)), "limits", "warn", "ulimit -f")

    def test_memory_of_a_container(self):
        if b.SLOW:
            self.skipTest("sanitizers need more memory")
        big = self.folder("big")
        est.random_model(big, 12)
        enter = est.enter_cgroup(self, "memory", {"memory.limit_in_bytes": str(60 << 20),
                                                  "memory.max": str(60 << 20)})
        found = self.doctor(b.JOB, "-s", f"model.path={big}", preexec=enter, expect=b.FAILURE)
        self.assert_says(found, "memory", "fail", r"has 0\.06 GiB; the job takes 0\.\d+ there")
        self.assertEqual(self.doctor(b.JOB, preexec=enter)["memory"][0], "ok")

    def test_shared_memory_that_cannot_be_had(self):
        nowhere = os.path.join(self.class_dir, "nowhere")
        found = self.doctor(b.JOB, ranks=2, OMPI_MCA_osc_sm_backing_directory=nowhere)
        self.assert_says(found, "shared", "warn", r"0\.0 MiB free.* each of 2 ranks")
        self.assertEqual(self.doctor(b.JOB, ranks=2)["shared"][0], "ok")
        found = self.doctor(b.JOB, "-s", "run.share=rank", ranks=2)
        self.assertEqual(found["shared"][0], "ok")

    # ---- ranks that differ ----

    def test_another_program(self):
        other = os.path.join(self.class_dir, "ballot")
        shutil.copy(b.BALLOT, other)
        self.addCleanup(os.remove, other)
        same = self.each([b.BALLOT, "doctor", "--json"], [other, "doctor"])
        self.assertEqual(same["program"][0], "ok")
        with open(other, "ab") as file:
            file.write(b"x")
        found = self.each([b.BALLOT, "doctor", "--json"], [b.BALLOT, "doctor"], [other, "doctor"],
                          expect=b.FAILURE)
        self.assert_says(found, "program", "fail", "1 of 3 ranks have another program .* rank 2 ")

    def test_another_job(self):
        job = [b.BALLOT, "doctor", "--json", b.JOB]
        for other in ([*job, "-s", "run.seed=2"], [b.BALLOT, "doctor", "--json"]):
            found = self.each(job, other, expect=b.FAILURE)
            self.assert_says(found, "job", "fail", "1 of 2 ranks have another job .* rank 1 ")
        found = self.each(job, [*job, "-s", "run.seed=1"])
        self.assert_says(found, "job", "ok", "[0-9a-f]{16} on all ranks")

    def test_a_rank_that_fails_alone_leaves_nobody_waiting(self):
        job = [b.BALLOT, "doctor", b.JOB]
        for rc, more in ((b.INPUT, ["-s", "model.path=nowhere"]), (b.USAGE, ["-s", "run.step=1"])):
            for ranks in ([job, job + more], [job + more, job]):
                result = b.finish(b.start_each(*ranks), rc, timeout=60)
                self.assertEqual(len(bad.sentences(result)), 1, result.err)

    @b.needs_odd_host
    def test_odd_hosts(self):
        plain = [b.BALLOT, "doctor", "--json", "--run", self.class_dir]
        odd = lambda *settings: ["env", f"LD_PRELOAD={b.ODD_HOST}", *settings, *plain]
        found = self.each(plain, plain, odd("ODD_CLOCK=30"))
        self.assert_says(found, "clock", "warn", r"\(rank 2\) is (29\.9|30\.\d) s ahead of")
        found = self.each(plain, odd("ODD_CLOCK=-3000"))
        self.assert_says(found, "clock", "warn", r"\(rank 1\) is (2999\.\d|3000\.\d) s behind")
        found = self.each(plain, odd("ODD_LOCKS=1"))
        self.assert_says(found, "locks", "warn", r"does not carry a lock .* \(rank 1\)")
        found = self.each(odd("ODD_SYNC=20"), plain)
        self.assert_says(found, "sync", "warn", r"takes 2\d\.\d+ ms")
        found = self.each(odd("ODD_SYNC=0"), odd())
        for check in ("clock", "locks", "sync"):
            self.assertEqual(found[check][0], "ok", found[check])

    # ---- the run directory ----

    def test_directories_that_cannot_be(self):
        file = self.write("file", "")
        for run, pattern in ((os.path.join(file, "run"), "Not a directory"), (file, "file: no run"),
                             ("/proc/nowhere", "/proc: cannot be written"),
                             ("x" * 5000, "too long")):
            for ranks in (1, 2):
                found = self.doctor("--run", run, ranks=ranks, expect=b.FAILURE)
                self.assert_says(found, "run", "fail", pattern)
                self.assertEqual([n for n in found if n], ALWAYS + ["run"], "the rest is unknown")

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_a_directory_that_may_not_be_written_to(self):
        folder = self.folder("locked")
        os.mkdir(folder, 0o555)
        self.assert_says(self.doctor("--run", folder, expect=b.FAILURE), "run", "fail", "denied")

    def tmpfs(self, name, size):
        """A mounted folder of that size."""
        folder = self.folder(name)
        os.mkdir(folder)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "ballot-test", folder],
                          capture_output=True, check=False).returncode != 0:
            self.skipTest("nothing can be mounted here")
        self.addCleanup(subprocess.run, ["umount", folder], check=True)
        return folder

    def test_a_full_disk(self):
        folder = self.tmpfs("full", "64k")
        with open(os.path.join(folder, "fill"), "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
        found = self.doctor("--run", os.path.join(folder, "run"), ranks=2, expect=b.FAILURE)
        self.assert_says(found, "run", "fail", "No space left")
        self.assertEqual(os.listdir(folder), ["fill"])

    def test_a_disk_too_small_for_the_checkpoints(self):
        run = os.path.join(self.tmpfs("small", "5m"), "run")
        found = self.doctor(b.JOB, "--run", run, expect=b.FAILURE)
        self.assert_says(found, "run", "ok", "on tmpfs")
        self.assert_says(found, "disk", "fail",
                         r"5\.0 MiB free; expected [89]\.\d MiB: 2 checkpoints")
        self.assertEqual(self.doctor(b.JOB, "--run", run, "-s", "run.keep=1",
                                     "-s", "run.steps=1")["disk"][0], "ok")
        self.assertEqual(self.doctor("--run", run)["disk"][0], "warn")

    def test_a_directory_that_another_host_does_not_see(self):
        folder = self.folder("own")
        os.mkdir(folder)
        plain = [b.BALLOT, "doctor", "--json", "--run", folder]
        hidden = ["unshare", "--mount", "sh", "-c",
                  f'mount -t tmpfs ballot-test {folder} && exec "$@"', "sh", *plain]
        if subprocess.run(hidden[:5] + ["true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("nothing can be mounted here")
        found = self.each(plain, hidden, expect=b.FAILURE)
        self.assert_says(found, "run", "fail", f"{folder}: rank 1 on .* does not see")

    # ---- launchers ----

    def test_a_launcher_of_another_mpi(self):
        found = self.doctor(expect=b.FAILURE, PMI_SIZE="4")
        self.assert_says(found, "mpi", "fail", "PMI_SIZE says 4, but this is 1 rank")

    def slurm(self, *ranks, scontrol="", **more):
        """Ranks with what srun would have told them, and an scontrol that answers so."""
        folder = self.folder("bin")
        os.mkdir(folder)
        self.write("bin/scontrol", f"#!/bin/sh\necho '{scontrol}'\n")
        os.chmod(os.path.join(folder, "scontrol"), 0o755)
        return self.each(*[["env", "SLURM_JOB_ID=77", f"PATH={folder}:{os.environ['PATH']}",
                            *(f"SLURM_{k}={v}" for k, v in {**rank, **more}.items()), b.BALLOT,
                            "doctor", "--json"] for rank in ranks])

    def test_in_a_slurm_job(self):
        tasks = [{"PROCID": i, "STEP_ID": 0, "STEP_NUM_TASKS": 2} for i in range(2)]
        answer = "JobId=77 Requeue=1 Restarts=3 EndTime=2100-01-01T00:00:00"
        found = self.slurm(*tasks, scontrol=answer)
        self.assert_says(found, "slurm", "ok",
                         "job 77, 2 tasks by srun, may be requeued, 3 restarts; "
                         r"it ends in [\d.]+ hours.*--kill-on-bad-exit=1")
        self.assertNotIn("kill", self.slurm(*tasks, scontrol=answer, KILL_BAD_EXIT=1)["slurm"][1])
        for pattern, found in (
                ("rank 1 was not started by srun",
                 self.slurm({"PROCID": 0, "STEP_ID": 0}, {"PROCID": 0, "STEP_ID": 0})),
                ("rank 0 was not started by srun", self.slurm({"PROCID": 0}, {"PROCID": 1})),
                ("4 tasks in the step, but 2 ranks", self.slurm(*tasks, STEP_NUM_TASKS=4)),
                ("a dead rank leaves", self.slurm(*tasks, scontrol=answer, KILL_BAD_EXIT=0)),
                ("may not be requeued",
                 self.slurm(*tasks, scontrol=answer.replace("Requeue=1", "Requeue=0")))):
            self.assert_says(found, "slurm", "warn", pattern)
        self.assert_says(self.slurm(*tasks, scontrol="slurm_load_jobs error"), "slurm", "ok",
                         "no end is known")
        self.assert_says(self.doctor(SLURM_JOB_ID=""), "slurm", "ok", "not in a Slurm job")

    # ---- bad input ----

    def test_bad_input_gets_a_sentence(self):
        for rc, pattern, arguments in (
                (b.USAGE, "more than one job file", [b.JOB, b.JOB]),
                (b.USAGE, "give JOB.ini as well", ["-s", "run.steps=3"]),
                (b.USAGE, "a directory is missing", ["--run", ""]),
                (b.USAGE, "nowhere.ini", ["nowhere.ini"]),
                (b.USAGE, r"\[data\] train is missing", [b.JOB, "-s", "data.train="]),
                (b.INPUT, "nowhere", [b.JOB, "-s", "model.path=nowhere"])):
            bad.BadInput.assert_refused(self, rc, [pattern], ["doctor", *arguments], alone=False,
                                        ranks=(1, 3) if rc == b.INPUT else (1,))

    def test_it_opens_what_a_run_would_open(self):
        short = self.write("short.txt", "a b")
        for option, rc in (("data.train=nowhere.txt", b.INPUT), ("data.dev=nowhere.txt", b.INPUT),
                           (f"data.train={short}", b.INPUT), ("data.context=1024", b.USAGE),
                           ("data.task=mlm", b.USAGE), ("vote.tensors=none", b.USAGE)):
            said = [b.run([*command, b.JOB, "-s", option], expect=rc).err.splitlines()[-1]
                    for command in (["doctor"], ["train", "--run", self.folder("run")])]
            self.assertEqual(said[0], said[1], option)


if __name__ == "__main__":
    b.main()
