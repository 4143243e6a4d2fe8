"""Three hosts, of which one is lost, cut off, slowed or switched off in the middle of a run: nobody hangs
past the limit, and the same command goes on to the same bits.

BALLOT_HOSTS_TRIALS: how many random losses of a rank; BALLOT_HOSTS_REPEATS: of each fault of the network.
"""
import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import ballot_run as b

HOSTS = os.path.abspath("tests/support/hosts.sh")
# Longer than mpirun takes to notice a lost daemon (11 s): once it has sent that daemon a word, it
# waits as long as TCP does.
LIMIT_S = 20
MPIRUN_LOST_A_DAEMON = 205
TRIALS = int(os.environ.get("BALLOT_HOSTS_TRIALS", 4))
REPEATS = int(os.environ.get("BALLOT_HOSTS_REPEATS", 1))
STEPS = 300
# About five seconds: a probe takes a few milliseconds.
JOB = {"run__steps": STEPS, "vote__slots": 12, "data__context": 32, "data__batch": 2,
       "run__checkpoint_every": 50, "run__eval_every": 100}


def hosts(*arguments, check=True):
    return subprocess.run([HOSTS, b.HOSTS_DIR, *map(str, arguments)], check=check,
                          capture_output=True, text=True)


class Hosts(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        b.HOSTS_DIR = os.path.join(b.SCRATCH, "net")
        made = hosts("up", 3, check=False)
        if made.returncode != 0 or shutil.which("tc") is None:
            hosts("down", check=False)
            sys.stderr.write(f"skipped: no hosts can be made here: {made.stderr.strip()}\n")
            sys.exit(77)
        cls.fingerprint = b.printed_fingerprint(b.run(b.tiny(cls.path("whole"), **JOB)))
        cls.summary = []

    @classmethod
    def tearDownClass(cls):
        hosts("down", check=False)
        sys.stderr.write("\n  " + "\n  ".join(cls.summary) + "\n")
        super().tearDownClass()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.class_dir, name)

    def start(self, run):
        words = [HOSTS, b.HOSTS_DIR, "run", b.BALLOT,
                 *map(str, b.tiny(run, "--wait-limit", LIMIT_S, **JOB))]
        return b.start_command(words)

    def ballot_pids(self, host):
        found = []
        for pid in hosts("pids", host).stdout.split():
            try:
                if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(b.BALLOT):
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def disturb(self, run, how):
        """Start the run, call how() at a random step, and wait for the end. (what how() returned, exit
        code or None if it was not over in time, seconds from the disturbance to the end, stderr)"""
        shutil.rmtree(run, ignore_errors=True)
        process = self.start(run)
        at = self.random.randrange(2, STEPS // 2)
        if not b.wait_until(process, lambda: len(b.metrics(run)) >= at):
            self.fail(f"the run ended before it could be disturbed: {b.wait_gone(process)}")
        told = how()
        began, code = time.monotonic(), None
        try:
            code = process.wait(LIMIT_S + 15)
        except subprocess.TimeoutExpired:
            b.kill(b.members(process))
        took = time.monotonic() - began
        for host in ("h1", "h2", "h3"):
            hosts("heal", host)
            # What is left on a cut-off host leaves by itself, too, soon after the limit.
            deadline = time.monotonic() + LIMIT_S + 15
            while self.ballot_pids(host) and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertEqual(self.ballot_pids(host), [], f"ranks that hang on {host}")
            b.kill(map(int, hosts("pids", host).stdout.split()))
        return told, code, took, b.wait_gone(process)

    def assert_continues(self, run, why):
        for attempt in range(2):
            if os.path.exists(os.path.join(run, f"step-{STEPS:06d}.h5")):
                break
            b.run(b.tiny(run, **JOB), ranks=1 + attempt)
        made = b.inspect(os.path.join(run, f"step-{STEPS:06d}.h5"), "--verify")
        self.assertEqual(made["fingerprint"], self.fingerprint, why)

    def lose(self, kind, how, repeats):
        """Disturb runs; each ends in time with the exit code and the words (a regular expression)
        that how() returned, and continues."""
        codes, longest = collections.Counter(), 0.0
        for trial in range(repeats):
            run = self.path("run")
            (end, words), code, took, err = self.disturb(run, how)
            what = f"{kind}, trial {trial}:\n{err}"
            codes[code] += 1
            longest = max(longest, took)
            self.assertIsNotNone(code, f"still running after {LIMIT_S} + 15 s: {what}")
            self.assertEqual(code, end, what)
            self.assertRegex(err, words, what)
            self.assert_continues(run, what)
        self.summary.append(f"{kind}: {repeats} of {repeats}, exit codes {dict(codes)}, ended after "
                            f"at most {longest:.1f} s (limit {LIMIT_S} s)")

    def test_a_rank_that_is_lost(self):
        def lose_one():
            number = self.random.choice((signal.SIGKILL, signal.SIGSTOP, signal.SIGABRT))
            rank = self.random.randrange(3)
            host = f"h{rank + 1}"
            b.kill(self.ballot_pids(host), number)
            if number != signal.SIGSTOP:
                return 128 + number, rf"process rank {rank} .* on node {host} exited on signal"
            return b.STOPPED, (rf"step \d+: no answer from rank {rank} on {host} for {LIMIT_S} s; "
                               r"last heard of in step \d+;")

        self.lose("a rank killed, stopped or aborted", lose_one, TRIALS)

    def test_a_cable_that_is_out_for_three_seconds(self):
        def blink():
            host = self.random.choice(("h2", "h3"))
            hosts("cut", host)
            time.sleep(3)
            hosts("heal", host)
            return b.DONE, "ETA"

        self.lose("a cable out for 3 s", blink, REPEATS)

    def lose_a_host(self, what):
        """mpirun notices it before the limit is over."""
        host = self.random.choice(("h2", "h3"))
        hosts(what, host)
        return MPIRUN_LOST_A_DAEMON, rf"lost communication with a remote daemon[^?]* node {host}\b"

    def test_a_cable_that_is_out_for_good(self):
        self.lose("a cable out for good", lambda: self.lose_a_host("cut"), REPEATS)

    def test_a_host_that_loses_power(self):
        self.lose("a host without power", lambda: self.lose_a_host("off"), REPEATS)

    def test_a_slow_link(self):
        hosts("slow", "h3", *"tbf rate 10mbit burst 32kbit latency 400ms".split())
        try:
            for trial in range(REPEATS):
                run = self.path("slow")
                shutil.rmtree(run, ignore_errors=True)
                result = b.finish(self.start(run))
                self.assertEqual(b.printed_fingerprint(result), self.fingerprint)
        finally:
            hosts("down")
            hosts("up", 3)
        self.summary.append(f"a link of 10 Mbit/s: {REPEATS} of {REPEATS} the same bits")

    def test_doctor_says_the_worst_of_several_nodes(self):
        """The first has hardly any memory free, the second too little at all, the third enough."""
        for rank, (total, free) in enumerate(((99000000, 40000), (2000, 2000),
                                              (99000000, 99000000))):
            self.write(f"meminfo{rank}", f"MemTotal: {total} kB\nMemAvailable: {free} kB\n")
        inner = f'mount --bind {self.class_dir}/meminfo$1 /proc/meminfo && shift && exec "$@"'
        script = self.write("odd.sh", "#!/bin/sh\nexec unshare --mount sh -c "
                            f"'{inner}' sh \"$OMPI_COMM_WORLD_RANK\" \"$@\"\n")
        os.chmod(script, 0o755)
        words = [HOSTS, b.HOSTS_DIR, "run", script, b.BALLOT, "doctor", "--json"]
        found = {}
        for more, code in (([], b.DONE), ([b.JOB], b.FAILURE)):
            result = b.finish(b.start_command(words + more), code)
            checks = {c["check"]: c for c in json.loads(result.out)["checks"]}
            found[code] = checks["memory"]
        self.assertEqual(found[b.DONE]["result"], "warn", found)
        self.assertRegex(found[b.DONE]["text"], r"^h1 has .* 0\.04 are free now: something else")
        self.assertEqual(found[b.FAILURE]["result"], "fail", found)
        self.assertRegex(found[b.FAILURE]["text"], r"^h2 has 0\.00 GiB; the job takes")


if __name__ == "__main__":
    b.main()
