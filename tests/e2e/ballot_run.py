"""ballot_run.py: starts the ballot program for the tests of this folder, and reads what it wrote.

A test is called as SCRIPT BALLOT MPIEXEC SCRATCH [unittest arguments], in the repository root.
"""
import atexit
import collections
import fcntl
import glob
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

if len(sys.argv) < 4:
    sys.exit(f"usage: {sys.argv[0]} BALLOT MPIEXEC SCRATCH [unittest arguments]; ctest does this")
BALLOT, MPIEXEC, SCRATCH = (os.path.abspath(p) for p in sys.argv[1:4])
NAME = os.path.splitext(os.path.basename(sys.argv[0]))[0]

# Open MPI deletes its folder below TMPDIR when it is empty, under another test that is just about to
# use it: every script has one of its own. Its name is short, for sockets are made in it.
os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="bal-")
atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)

with open(BALLOT, "rb") as program:
    SLOW = b"__asan_init" in program.read()  # under sanitizers: the same tests, fewer steps

ODD_HOST = os.environ.get("BALLOT_ODD_HOST", "")  # of some tests, see their CMakeLists.txt
STORIES = "data/stories260k"
JOB = "tests/e2e/pairs.ini"
DONE, FAILURE, USAGE, INPUT, STOPPED = 0, 1, 2, 3, 75
LIMIT_S = 600
F_SETPIPE_SZ = 1031  # of Linux; fcntl names it from Python 3.10 on

# A job of about a second: everything that a large one does, with little arithmetic.
TINY = {
    "run.steps": 6 if SLOW else 20,
    "run.check_every": 1,
    "run.eval_every": 5,
    "run.checkpoint_every": 3,
    "data.train": "data/shakespeare/dev.txt",  # short: reading the text is what a start costs
    "data.context": 16,
    "data.batch": 1,
    "data.dev_examples": 4,
    "vote.slots": 8,
}

Result = collections.namedtuple("Result", "rc out err command")


def environment(**more):
    """As root, on more ranks than cores, and with an exit code of their own for the sanitizers."""
    env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
               OMPI_MCA_rmaps_base_oversubscribe="1", **more)
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":exitcode=99"
    env["UBSAN_OPTIONS"] = env.get("UBSAN_OPTIONS", "") + ":exitcode=99"
    return env


def command(arguments, ranks=1):
    launch = [] if ranks == 1 else [MPIEXEC, "--oversubscribe", "-n", str(ranks)]
    return launch + [BALLOT] + [str(a) for a in arguments]


def tiny(run, *more, job=JOB, model=STORIES, **options):
    """Arguments of a tiny training run; vote__slots=4 sets vote.slots."""
    settings = dict(TINY)
    settings.update({key.replace("__", "."): value for key, value in options.items()})
    overrides = [a for pair in settings.items() for a in ("-s", "%s=%s" % pair)]
    return ["train", job, "--run", run, "-s", f"model.path={model}", *overrides, *more]


def check_sanitizers(result):
    found = re.search(r"ERROR: (Address|Leak)Sanitizer|runtime error:|:DEADLYSIGNAL", result.err)
    if found or result.rc == 99:
        raise AssertionError(f"a sanitizer reports an error in: {result.command}\n{result.err}")
    return result


def finish(process, expect=DONE, timeout=LIMIT_S):
    """Wait for a process of start(), and check its exit code (None: any)."""
    words = shlex.join(process.args)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        kill(members(process))
        process.wait()
        raise AssertionError(f"still running after {timeout} s: {words}\n{read(process)[1]}")
    out, err = read(process)
    result = check_sanitizers(Result(process.returncode, out, err, words))
    if expect is not None and result.rc != expect:
        raise AssertionError(f"exit code {result.rc}, expected {expect}: {words}\n{out}\n{err}")
    return result


def read(process):
    """stdout and stderr of a process that has ended."""
    texts = []
    for pipe in (process.stdout, process.stderr):
        with pipe:
            os.set_blocking(pipe.fileno(), False)  # an orphan may still hold the other end
            texts.append((pipe.read() or b"").decode("utf-8", "replace"))
    return texts


def start_command(words, preexec=None, **more):
    """Start a process. The mark in its environment finds the ranks that mpiexec starts for it."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(words, bufsize=0, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, preexec_fn=preexec,
                               env=environment(BALLOT_TEST_MARK=mark, **more))
    for pipe in (process.stdout, process.stderr):
        fcntl.fcntl(pipe, F_SETPIPE_SZ, 1 << 20)  # read only at the end: it must not block
    process.mark = mark
    return process


def start(arguments, ranks=1, preexec=None, **more):
    return start_command(command(arguments, ranks), preexec, **more)


def start_each(*ranks, **more):
    """Start ranks that differ: the words of each, of which the last are BALLOT and its arguments."""
    words = [MPIEXEC, "--oversubscribe", "--bind-to", "none"]
    for i, rank in enumerate(ranks):
        words += [":"] * (i > 0) + ["-n", "1", *rank]
    return start_command(words, **more)


def run(arguments, ranks=1, expect=DONE, preexec=None, timeout=LIMIT_S, **more):
    return finish(start(arguments, ranks, preexec, **more), expect, timeout)


def members(process):
    """Pids of everything that was started for a process, the ranks before their launcher."""
    pids = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit():
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if process.mark.encode() in file.read():
                        pids.append(int(entry))
        except OSError:
            pass  # gone, or someone else's
    return sorted(pids, key=lambda pid: pid == process.pid)


def rank_pids(process):
    """Pids of the ballot processes among the members."""
    ranks = []
    for pid in members(process):
        try:
            if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(BALLOT):
                ranks.append(pid)
        except OSError:
            pass
    return ranks


def pid_of_rank(process, rank):
    for pid in rank_pids(process):
        with open(f"/proc/{pid}/environ", "rb") as file:
            if f"OMPI_COMM_WORLD_RANK={rank}".encode() in file.read().split(b"\0"):
                return pid
    raise AssertionError(f"rank {rank} is not running: {process.args}")


def memory(pid):
    """Bytes that the process alone has in memory, the heap and its own pages, not files."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        rows = dict(line.split(":", 1) for line in file if ":" in line)
    return 1024 * int(rows["Private_Dirty"].split()[0])


def kill(pids, number=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def wait_gone(process, seconds=30):
    """Wait until all members of a killed process are gone; help those that hang. Its stderr."""
    deadline = time.monotonic() + seconds
    while True:
        process.poll()
        left = members(process)
        if not left:
            break
        if time.monotonic() > deadline:
            kill(left)
        time.sleep(0.02)
    process.wait()
    for left in glob.glob(f"{tempfile.gettempdir()}/ompi.*/pid.{process.pid}"):
        shutil.rmtree(left, ignore_errors=True)  # Open MPI's, where it had no time to clean up
    return read(process)[1]


def wait_until(process, condition, seconds=120, poll=0.003):
    """True as soon as the condition holds, False if the process ended before."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if condition():
            return True
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain: {shlex.join(process.args)}")
        time.sleep(poll)
    return False


def metrics(run_dir):
    """The step lines of metrics.jsonl; a torn last line is left out."""
    try:
        with open(os.path.join(run_dir, "metrics.jsonl"), encoding="utf-8") as file:
            lines = file.read().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [row for row in map(json.loads, lines) if "loss_nats" in row and "step" in row]


def fingerprints(run_dir):
    """Fingerprint of the model before each step that was checked."""
    return {row["step"]: row["fingerprint"] for row in metrics(run_dir) if "fingerprint" in row}


def inspect(path, *more, expect=DONE):
    result = run(["inspect", "--json", path, *more], expect=expect)
    return json.loads(result.out) if result.rc == DONE else None


def printed_fingerprint(result):
    found = re.search(r"^fingerprint\s+([0-9a-f]{16})$", result.out, re.M)
    if not found:
        raise AssertionError(f"no fingerprint on stdout of: {result.command}\n{result.out}")
    return found.group(1)


def bytes_of(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def flip_bit(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << bit % 8)]))


def contents(folder):
    return {name: bytes_of(folder, name) for name in sorted(os.listdir(folder))}


def isa_levels():
    """Kernel levels of this processor; those it lacks are named on stderr."""
    levels = []
    for level in ("ref", "avx2", "avx512", "amx"):
        tried = run(["generate", STORIES, "a", "-n", "1", "--isa", level], expect=None)
        if tried.rc == DONE:
            levels.append(level)
        else:
            sys.stderr.write(f"\nleft out: --isa={level}: {tried.err.splitlines()[0]}\n")
    return levels


def needs_odd_host(test):
    """Of a test whose ranks have tests/support/odd_host.c preloaded."""
    test = unittest.skipUnless(ODD_HOST, "BALLOT_ODD_HOST is not set; ctest does this")(test)
    return unittest.skipIf(SLOW, "a sanitizer wants to be loaded first")(test)


class TestCase(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.class_dir = os.path.join(SCRATCH, cls.__name__)
        shutil.rmtree(cls.class_dir, ignore_errors=True)
        os.makedirs(cls.class_dir)
        seed = int(os.environ.get("BALLOT_TEST_SEED", time.time_ns() % 1000000))
        sys.stderr.write(f"{cls.__name__}: BALLOT_TEST_SEED={seed}\n")
        cls.random = random.Random(seed)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.class_dir, ignore_errors=True)

    def folder(self, name):
        """A path that does not exist yet, in the scratch folder of the class."""
        path = os.path.join(self.class_dir, name)
        if os.path.isfile(path):
            os.remove(path)
        shutil.rmtree(path, ignore_errors=True)
        return path

    def damaged_model(self):
        """A model folder of which every file is cut short."""
        damaged = self.folder("damaged-model")
        shutil.copytree(STORIES, damaged)
        for name in os.listdir(damaged):
            os.truncate(os.path.join(damaged, name), 20)
        return damaged

    def write(self, name, content):
        path = os.path.join(self.class_dir, name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path


def main():
    os.makedirs(SCRATCH, exist_ok=True)
    unittest.main(argv=[sys.argv[0]] + sys.argv[4:], verbosity=2)
