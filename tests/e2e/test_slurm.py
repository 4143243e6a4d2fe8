"""jobs/ballot.sbatch and jobs/array.sbatch under a real Slurm of three nodes on this machine:
whatever ends a job, it goes on to the same bits. While a test waits for Slurm the ranks are held
by SIGSTOP."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import types

os.environ["PATH"] += ":/usr/sbin:/sbin"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
missing = [program for program in NEEDED if shutil.which(program) is None]
if missing:
    print(f"skipped: {', '.join(missing)} not installed; Debian has slurmctld, slurmd, "
          "slurm-client, slurm-wlm-basic-plugins and munge")
    sys.exit(77)

import ballot_run as b  # noqa: E402

CLUSTER = os.path.join(b.SCRATCH, "cluster")
STEPS = 600
OPTIONS = dict(run__steps=STEPS, run__eval_every=200, run__checkpoint_every=100,
               run__check_every=10, data__context=32, data__batch=2, vote__slots=12)
TWO_NODES = ("--nodes=2", "--ntasks-per-node=1")
JOURNAL_HEADER, JOURNAL_RECORD = 128, 104


def free_ports(n):
    """The first of n ports in a row that nobody listens on, below those the kernel gives out."""
    for first in range(20000 + os.getpid() % 10000, 32000, n):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + n):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("there are no four free ports in a row below 32000")


def slurm(*words):
    done = subprocess.run(words, env=Slurm.env, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{words} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def everything():
    """What b.members() wants to know of all that these tests start."""
    return types.SimpleNamespace(mark=Slurm.env["BALLOT_TEST_MARK"], pid=0)


def node_of(pid):
    """The name of the node that a process of a job is on, or None."""
    found = re.search(rb"\0SLURMD_NODENAME=(\w+)\0", b.bytes_of(f"/proc/{pid}/environ"))
    return found and found.group(1).decode()


class Job:
    """A batch job, or a task of an array."""

    def __init__(self, number, run, log):
        self.id, self.run, self.log = number, run, log

    def show(self):
        """scontrol's fields of the job."""
        return dict(re.findall(r"(\S+?)=(\S*)", slurm("scontrol", "-o", "show", "job", self.id)))

    def text(self):
        with contextlib.suppress(FileNotFoundError):
            return b.bytes_of(self.log).decode("utf-8", "replace")
        return ""

    def wait(self, what, condition, seconds=120):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s in vain: {what}\n{self.show()}\n"
                                     f"{self.text()}")
            time.sleep(0.1)

    def wait_state(self, *states, seconds=120):
        self.wait(f"job {self.id} {states}", lambda: self.show()["JobState"] in states, seconds)
        return self.show()

    def steps(self):
        try:
            size = os.stat(os.path.join(self.run, "ballots.journal")).st_size
        except FileNotFoundError:
            return 0
        return max(0, size - JOURNAL_HEADER) // JOURNAL_RECORD

    def ranks(self):
        """Node and pid of each rank."""
        found = []
        for pid in b.rank_pids(everything()):
            with contextlib.suppress(OSError):
                if self.run in b.bytes_of(f"/proc/{pid}/cmdline").decode().split("\0"):
                    found.append((node_of(pid), pid))
        return sorted(found)

    def hold(self, more=3):
        """Let the ranks go on for some steps, and stop them there; their nodes and pids."""
        enough = self.steps() + more
        deadline = time.monotonic() + 120
        while self.steps() < enough:
            if time.monotonic() > deadline:
                raise AssertionError(f"no new steps\n{self.show()}\n{self.text()}")
            time.sleep(0.003)
        ranks = self.ranks()
        b.kill([pid for _, pid in ranks], signal.SIGSTOP)
        if len(ranks) != 2 or self.steps() >= STEPS:
            raise AssertionError(f"the ranks were not held: {ranks}, {self.steps()} steps\n"
                                 f"{self.text()}")
        return ranks

    def let_go(self):
        b.kill([pid for _, pid in self.ranks()], signal.SIGCONT)


class Slurm(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        around = {k: v for k, v in b.environment().items() if not k.startswith("SLURM")}
        cls.env = dict(around, SLURM_CONF=f"{CLUSTER}/slurm.conf", BALLOT=b.BALLOT,
                       SLURM_TEST_PORT=str(free_ports(4)),
                       # tests on one machine use shared memory alone; nodes have none in common
                       OMPI_MCA_btl="self,tcp", OMPI_MCA_btl_tcp_if_include="lo",
                       BALLOT_TEST_MARK=f"slurm-{os.getpid()}-{time.time_ns()}")
        cls.addClassCleanup(cls.slurm_sh, "down")
        cls.slurm_sh("up")
        cls.fingerprint = cls.undisturbed("whole")
        cls.job_ini = os.path.join(cls.class_dir, "whole", "job.ini")

    @classmethod
    def slurm_sh(cls, what):
        subprocess.run(["tests/support/slurm.sh", what, CLUSTER], env=cls.env, check=True)

    @classmethod
    def undisturbed(cls, name, *settings):
        whole = os.path.join(cls.class_dir, name)
        return b.printed_fingerprint(b.run(b.tiny(whole, *settings, **OPTIONS)))

    def sbatch(self, name, *options, script="ballot.sbatch", arguments=(), **environment):
        """Submit; the log's name and the job's number."""
        log = os.path.join(self.class_dir, name + ".log")
        words = ["sbatch", "--parsable", f"--output={log}", *options, f"jobs/{script}",
                 self.job_ini, os.path.join(self.class_dir, name), *arguments]
        done = subprocess.run(words, env=dict(self.env, **environment), check=True, text=True,
                              stdout=subprocess.PIPE)
        return done.stdout.strip(), log

    def submit(self, name, *options, **more):
        number, log = self.sbatch(name, *options, **more)
        return Job(number, os.path.join(self.class_dir, name), log)

    def assert_done(self, job, restarts, fingerprint=None):
        shown = job.wait_state("COMPLETED", "FAILED", "CANCELLED")
        self.assertEqual(shown["JobState"], "COMPLETED", job.text())
        self.assertFalse(os.path.exists(os.path.join(job.run, f"restarts.{job.id}")), job.text())
        if restarts is not None:
            self.assertEqual(int(shown["Restarts"]), restarts, job.text())
        made = b.inspect(os.path.join(job.run, f"step-{STEPS:06d}.h5"), "--verify")
        self.assertEqual(made["fingerprint"], fingerprint or self.fingerprint, job.text())

    # ---- what ends a job and lets it go on ----

    def test_the_limit_with_and_without_time_to_stop(self):
        """Two jobs: one stops at the warning, one is stuck until Slurm ends it."""
        options = (*TWO_NODES, "--time=1", "--signal=B:USR1@20")
        warned, stuck = (self.submit(name, *options) for name in ("warned", "stuck"))
        warned.hold()
        stuck.hold()
        warned.wait("the warning", lambda: "near the limit" in warned.text())
        self.assertEqual(warned.show()["JobState"], "RUNNING", "the warning came before the limit")
        warned.let_go()
        warned.wait("the end", lambda: "ended with 75: back to the queue" in warned.text())
        self.assert_done(warned, restarts=None)
        stuck.wait("the end", lambda: "ended with 75: back to the queue" in stuck.text())
        self.assertIn("DUE TO TIME LIMIT", stuck.text())
        self.assert_done(stuck, restarts=None)
        for job in (warned, stuck):
            self.assertGreaterEqual(int(job.show()["Restarts"]), 1)

    def test_preemption(self):
        job = self.submit("preempted", *TWO_NODES, "--exclusive")
        job.hold()
        urgent = Job(slurm("sbatch", "--parsable", "--partition=urgent", "--nodes=3", "--exclusive",
                           "--output=/dev/null", "--wrap=sleep 1").strip(), "", "/dev/null")
        job.wait("the end", lambda: "ended with 75: back to the queue" in job.text())
        urgent.wait_state("COMPLETED")
        self.assert_done(job, restarts=1)

    def test_a_killed_rank(self):
        for name, options in (("killed-far", TWO_NODES), ("killed-near", ("--nodes=1",))):
            job = self.submit(name, *options)
            b.kill([self.random.choice(job.hold())[1]])
            job.let_go()
            self.assert_done(job, restarts=1)
            self.assertIn("ended with 137: back to the queue", job.text())

    def test_a_node_without_power(self):
        """The node of the batch script, then the other: slurmd, its steps and ranks die at once,
        and nobody tells Slurm, which finds out after SlurmdTimeout."""
        for which in (0, 1):
            job = self.submit(f"node{which}", *TWO_NODES)
            node = job.hold()[which][0]
            victims = [int(b.bytes_of(CLUSTER, f"slurmd.{node}.pid"))]
            for pid in b.members(everything()):
                with contextlib.suppress(OSError):
                    if node_of(pid) == node:
                        stat = b.bytes_of(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()
                        victims += [int(stat[1]), pid]  # slurmstepd or a shell, and its child
            b.kill(victims)
            job.let_go()
            self.assert_done(job, restarts=None)
            sys.stderr.write(f"\n  {node}: {job.show()['Restarts']} restarts, then on "
                             f"{job.show()['NodeList']}\n")
            self.assertNotIn(node, job.show()["NodeList"])
            slurm("slurmd", "-f", f"{CLUSTER}/{node}/slurm.conf", "-N", node)
            job.wait(f"{node} back", lambda: slurm("sinfo", "-h", "-n", node, "-p", "normal",
                                                   "-o", "%t").strip() == "idle")

    # ---- what ends a job for good ----

    def test_scancel(self):
        job = self.submit("cancelled", *TWO_NODES)
        job.hold()
        slurm("scancel", job.id)
        job.wait_state("CANCELLED")
        self.assertIn("with a good checkpoint", job.text())
        self.assertNotIn("back to the queue", job.text())
        step = job.steps()
        self.assertTrue(os.path.exists(os.path.join(job.run, f"step-{step:06d}.h5")), job.text())
        self.assert_done(self.submit("cancelled", "--nodes=1"), restarts=0)

    def test_scancel_near_the_limit(self):
        job = self.submit("cancelled-late", *TWO_NODES, "--time=3", "--signal=B:USR1@130")
        job.hold()
        job.wait("the warning", lambda: "near the limit" in job.text())
        slurm("scancel", job.id)
        job.let_go()
        job.wait_state("CANCELLED")
        self.assertIn("with a good checkpoint", job.text())
        self.assertNotIn("back to the queue", job.text())

    def test_three_starts_while_another_job_has_the_run(self):
        """That job's steps are not taken for those of the starts that are refused."""
        more = ("-s", f"run.steps={100 * STEPS}")
        has_it = self.submit("taken", "--nodes=1", arguments=more)
        has_it.wait("its first steps", lambda: has_it.steps() > 3)
        log = os.path.join(self.class_dir, "refused.log")
        refused = self.submit("taken", "--nodes=1", f"--output={log}", arguments=more)
        refused.log, steps = log, has_it.steps()
        shown = refused.wait_state("FAILED", "COMPLETED")
        self.assertEqual((shown["JobState"], shown["Restarts"]), ("FAILED", "2"), refused.text())
        self.assertEqual(refused.text().count("has this run"), 3, refused.text())
        self.assertIn("three starts in a row added no step", refused.text())
        self.assertGreater(has_it.steps(), steps)
        slurm("scancel", has_it.id)
        has_it.wait_state("CANCELLED")

    def test_three_starts_without_a_step_are_enough(self):
        dies = self.write("dies.sh", "#!/bin/sh\nkill -9 $$\n")
        os.chmod(dies, 0o755)
        slow = self.folder("slow")  # an answer of Slurm that comes when the job is being ended
        os.mkdir(slow)
        with open(os.path.join(slow, "scontrol"), "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\n{shutil.which("scontrol")} "$@" || exit\nsleep 2\n')
        os.chmod(file.name, 0o755)
        job = self.submit("hopeless", *TWO_NODES, BALLOT=dies,
                          PATH=slow + os.pathsep + os.environ["PATH"])
        shown = job.wait_state("FAILED", "COMPLETED")
        self.assertEqual((shown["JobState"], shown["Restarts"]), ("FAILED", "2"), job.text())
        self.assertIn("three starts in a row added no step", job.text())
        self.assert_done(self.submit("hopeless", *TWO_NODES), restarts=0)  # mended

    def test_what_a_restart_cannot_mend_is_not_restarted(self):
        damaged = self.damaged_model()
        for code, setting in ((b.USAGE, "run.stepz=1"), (b.INPUT, f"model.path={damaged}")):
            job = self.submit(f"bad{code}", *TWO_NODES, arguments=("-s", setting))
            shown = job.wait_state("FAILED", "COMPLETED")
            self.assertEqual((shown["JobState"], shown["ExitCode"], shown["Restarts"]),
                             ("FAILED", f"{code}:0", "0"), job.text())

    # ---- arrays ----

    def test_a_sweep(self):
        """A task that loses a rank starts anew alone; the table has what undisturbed runs give."""
        lines = ["run.seed=7", "run.seed=8 'vote.train=codes gains'"]
        settings = self.write("settings.txt", f"# two seeds\n{lines[0]}\n\n{lines[1]}\n")
        number, log = self.sbatch("sweep", "--array=0-1", "--nodes=1", script="array.sbatch",
                                  arguments=[settings])
        runs = os.path.join(self.class_dir, "sweep")
        tasks = [Job(f"{number}_{i}", os.path.join(runs, f"{i:03d}"), log) for i in (0, 1)]
        b.kill([tasks[1].hold()[0][1]])  # Slurm gives the last task the array's own id
        tasks[1].let_go()
        prints = [self.undisturbed("seed7", "-s", "run.seed=7"),
                  self.undisturbed("seed8", "-s", "run.seed=8", "-s", "vote.train=codes gains")]
        for task, restarts, fingerprint in zip(tasks, (0, 1), prints):
            self.assert_done(task, restarts, fingerprint)
        broken = self.write("broken.txt", "vote.train='codes gains\n")
        for name, array, said in (("broken", "0", "cannot be read: vote.train='codes gains"),
                                  ("beyond", "7", "none for task 7 (the first is 0)")):
            number, log = self.sbatch(name, f"--array={array}", "--nodes=1", script="array.sbatch",
                                      arguments=[broken])
            task = Job(f"{number}_{array}", "", log)
            shown = task.wait_state("FAILED", "COMPLETED")
            self.assertEqual((shown["JobState"], shown["ExitCode"]), ("FAILED", "2:0"), task.text())
            self.assertIn(said, task.text())
        table = slurm("analysis/sweep.py", runs, settings).splitlines()
        self.assertEqual(len(table), 4)
        labels = [f"{line.split()[0]} 'vote.train=codes gains'" for line in lines]  # that of 0, too
        for i, line in enumerate(table[2:]):
            for words in (f"| {i:03d} | {labels[i]} | finished | {STEPS} of {STEPS} |", prints[i]):
                self.assertIn(words, line)


if __name__ == "__main__":
    b.main()
